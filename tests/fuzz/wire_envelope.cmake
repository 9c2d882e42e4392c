skerry_fuzz(wire_envelope SOURCES ${CMAKE_CURRENT_LIST_DIR}/wire_envelope_fuzz.cpp DEPS skerry::sync)
