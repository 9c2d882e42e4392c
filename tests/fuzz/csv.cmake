skerry_fuzz(csv SOURCES ${CMAKE_CURRENT_LIST_DIR}/csv_fuzz.cpp DEPS skerry::plugins)
