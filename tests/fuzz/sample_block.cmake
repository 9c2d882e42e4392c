skerry_fuzz(sample_block SOURCES ${CMAKE_CURRENT_LIST_DIR}/sample_block_fuzz.cpp DEPS skerry::storage)
