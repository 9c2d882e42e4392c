skerry_fuzz(gunzip SOURCES ${CMAKE_CURRENT_LIST_DIR}/gunzip_fuzz.cpp DEPS skerry::node)
