skerry_fuzz(plan SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/plan_fuzz.cpp DEPS skerry::inference_plan)
