# Every tests/test_NAME.c is a program of cmocka tests that links everything.
find_library(CMOCKA cmocka)
if(CMOCKA)
  file(GLOB TESTS CONFIGURE_DEPENDS tests/test_*.c)
  foreach(source ${TESTS})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} ctltrain ctlc_lib ${CMOCKA})
    target_compile_definitions(${name} PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}" CTLC="$<TARGET_FILE:ctlc>")
    add_dependencies(${name} ctlc)
    add_test(NAME ${name} COMMAND ${name})
  endforeach()
else()
  message(STATUS "cmocka not found: no tests are built (tools/setup installs it)")
endif()

# The theorems' host program is an example and its own test.
add_executable(theorems ${CMAKE_SOURCE_DIR}/examples/theorems.c)
target_link_libraries(theorems ctlc_lib)
add_test(NAME theorems COMMAND theorems ${CMAKE_SOURCE_DIR}/examples/theorems.ctl)

# The fuzzer, with a corpus made of the library, the examples and its own seed (tests/fuzz/fuzz_compile.c says how).
if(CTL_FUZZ)
  add_executable(fuzz_compile ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_compile.c)
  target_link_libraries(fuzz_compile ctlc_lib)
  target_link_options(fuzz_compile PRIVATE -fsanitize=fuzzer)
  file(GLOB SEEDS ${CMAKE_SOURCE_DIR}/stdlib/*.ctl ${CMAKE_SOURCE_DIR}/examples/*.ctl ${CMAKE_SOURCE_DIR}/tests/fuzz/*.ctl)
  file(COPY ${SEEDS} DESTINATION ${CMAKE_BINARY_DIR}/corpus)
endif()
