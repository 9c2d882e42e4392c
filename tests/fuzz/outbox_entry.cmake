skerry_fuzz(outbox_entry SOURCES ${CMAKE_CURRENT_LIST_DIR}/outbox_entry_fuzz.cpp DEPS skerry::storage)
