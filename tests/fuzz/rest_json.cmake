skerry_fuzz(rest_json SOURCES ${CMAKE_CURRENT_LIST_DIR}/rest_json_fuzz.cpp DEPS skerry::node nlohmann_json::nlohmann_json)
