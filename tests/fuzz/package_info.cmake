skerry_fuzz(package_info SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/package_info_fuzz.cpp DEPS skerry::inference)
