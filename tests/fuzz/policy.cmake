skerry_fuzz(policy SOURCES ${CMAKE_CURRENT_LIST_DIR}/policy_fuzz.cpp DEPS skerry::config skerry::sync)
