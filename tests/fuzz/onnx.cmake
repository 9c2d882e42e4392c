skerry_fuzz(onnx SOURCES ${CMAKE_CURRENT_LIST_DIR}/onnx_fuzz.cpp DEPS skerry::inference_frontends)
