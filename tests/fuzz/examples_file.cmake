skerry_fuzz(examples_file SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/examples_file_fuzz.cpp DEPS skerry::learning)
