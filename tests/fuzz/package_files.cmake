skerry_fuzz(package_files SOURCES ${CMAKE_CURRENT_LIST_DIR}/package_files_fuzz.cpp DEPS skerry::sync)
