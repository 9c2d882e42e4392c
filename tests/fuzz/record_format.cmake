skerry_fuzz(record_format SOURCES ${CMAKE_CURRENT_LIST_DIR}/record_format_fuzz.cpp DEPS skerry::storage)
