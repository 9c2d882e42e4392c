skerry_fuzz(npy SOURCES ${CMAKE_CURRENT_LIST_DIR}/npy_fuzz.cpp DEPS skerry::plugins)
