skerry_fuzz(bundle SOURCES ${CMAKE_CURRENT_LIST_DIR}/bundle_fuzz.cpp DEPS skerry::sync)
