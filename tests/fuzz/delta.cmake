skerry_fuzz(delta SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/delta_fuzz.cpp DEPS skerry::learning)
