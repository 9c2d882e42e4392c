skerry_fuzz(chunk SOURCES ${CMAKE_CURRENT_LIST_DIR}/chunk_fuzz.cpp DEPS skerry::storage)
