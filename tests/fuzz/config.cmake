skerry_fuzz(config SOURCES ${CMAKE_CURRENT_LIST_DIR}/config_fuzz.cpp DEPS skerry::config)
