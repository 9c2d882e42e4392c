skerry_fuzz(ids SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/ids_fuzz.cpp DEPS skerry::learning)
