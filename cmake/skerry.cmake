# How a room is built: one static library, explicit sources, the same warnings everywhere.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(nlohmann_json REQUIRED)

add_library(skerry_warnings INTERFACE)
target_compile_options(skerry_warnings INTERFACE -Wall -Wextra -Werror -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)  # g++ 12 sees overlaps in std::string that are none

option(SKERRY_SANITIZE "address,undefined or thread" "")
if(SKERRY_SANITIZE)
  add_compile_options(-fsanitize=${SKERRY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${SKERRY_SANITIZE})
  target_compile_options(skerry_warnings INTERFACE  # g++ 12 sees, through a sanitizer's checks, values without a beginning that have one
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  if(SKERRY_SANITIZE STREQUAL thread)
    add_compile_options(-Wno-tsan)  # Asio's fences, beside the mutex that TSan does understand
  endif()
endif()

# Coverage of everything, not of the targets alone: what a fuzzer does not see it cannot find its way into.
if(SKERRY_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# skerry_library(storage SOURCES a.cpp b.cpp DEPS skerry::base rocksdb): static library skerry_storage, alias skerry::storage.
function(skerry_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(skerry_${name} STATIC ${A_SOURCES})
  add_library(skerry::${name} ALIAS skerry_${name})
  target_include_directories(skerry_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(skerry_${name} PUBLIC ${A_DEPS} PRIVATE ${A_PRIVATE_DEPS} skerry_warnings)
endfunction()

# skerry_program(skerryd SOURCES main.cpp DEPS skerry::node)
function(skerry_program name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${A_DEPS} skerry_warnings)
endfunction()

# skerry_test(storage LABEL unit SOURCES x_test.cpp DEPS skerry::storage [TIMEOUT 60]): program storage_unit_test, a ctest entry per test case.
# Working folder: the source tree. SKERRY_TEST_DATA names the folder with real data, by default ../shared/data; tests say what they skip.
function(skerry_test room)
  cmake_parse_arguments(A "" "LABEL;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  if(NOT A_LABEL)
    set(A_LABEL unit)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  if(SKERRY_SANITIZE)
    math(EXPR A_TIMEOUT "5 * ${A_TIMEOUT}")
  endif()
  string(REPLACE "-" "_" label_name ${A_LABEL})
  set(target ${room}_${label_name}_test)
  add_executable(${target} ${A_SOURCES})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE ${A_DEPS} skerry_test_main skerry_warnings)
  target_compile_definitions(${target} PRIVATE SKERRY_SOURCE_DIR="${CMAKE_SOURCE_DIR}" SKERRY_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  catch_discover_tests(${target} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    PROPERTIES LABELS ${A_LABEL} TIMEOUT ${A_TIMEOUT})
endfunction()

# skerry_fuzz(sample_block SOURCES tests/fuzz/x.cpp DEPS skerry::storage): a libFuzzer program with clang; everywhere else a test that replays the
# corpus folder tests/fuzz/corpus/NAME.
function(skerry_fuzz name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  if(SKERRY_FUZZ)
    add_executable(fuzz_${name} ${A_SOURCES})
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${A_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cpp)
    add_test(NAME "fuzz corpus: ${name}" COMMAND fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set_tests_properties("fuzz corpus: ${name}" PROPERTIES LABELS unit TIMEOUT 120)
  endif()
  target_include_directories(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(fuzz_${name} PRIVATE ${A_DEPS} skerry_warnings)
endfunction()
