skerry_fuzz(job SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/job_fuzz.cpp DEPS skerry::learning)
