skerry_fuzz(tflite SOURCES ${CMAKE_CURRENT_LIST_DIR}/tflite_fuzz.cpp DEPS skerry::inference_frontends)
