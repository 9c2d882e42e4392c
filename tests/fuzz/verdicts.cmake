skerry_fuzz(verdicts SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/verdicts_fuzz.cpp DEPS skerry::label_check)
