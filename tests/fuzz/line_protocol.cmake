skerry_fuzz(line_protocol SOURCES ${CMAKE_CURRENT_LIST_DIR}/line_protocol_fuzz.cpp DEPS skerry::line_protocol)
