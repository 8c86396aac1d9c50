# Every tests/test_NAME.c is a program of cmocka tests that links everything.
find_library(CMOCKA cmocka)
# There are many of them: linked by a quick linker, where there is one.
include(CheckLinkerFlag)
foreach(linker lld gold)
  check_linker_flag(C -fuse-ld=${linker} CTL_HAS_${linker})
  if(CTL_HAS_${linker})
    add_link_options(-fuse-ld=${linker})
    break()
  endif()
endforeach()
set_source_files_properties(tests/test_cpu_lanes.c PROPERTIES COMPILE_OPTIONS "-Wno-psabi")
if(CTL_SANITIZE)
  # Of the tests alone: to optimise instrumented tests takes longer than they run. Not of those that compute much themselves, nor
  # of one that names what it never calls.
  add_compile_options(-O0)
  set_source_files_properties(tests/test_pack.c tests/test_chain.c tests/test_cpu_attention.c tests/test_cpu_tasks.c tests/test_cuda_build.c
    tests/test_cuda_headers.c PROPERTIES COMPILE_OPTIONS -O1)
endif()
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
  # The editors' grammar is tested by running its regular expressions.
  pkg_check_modules(PCRE2 IMPORTED_TARGET libpcre2-8)
  if(PCRE2_FOUND)
    target_link_libraries(test_editors PkgConfig::PCRE2)
    target_compile_definitions(test_editors PRIVATE CTL_HAVE_PCRE2=1)
  endif()
  # The tests of row programs once more, on kernels of the CUDA back end that the host's compiler compiles and runs.
  foreach(name test_rows test_rows_values)
    string(REPLACE test_ test_cuda_ cuda_name ${name})
    add_executable(${cuda_name} tests/${name}.c)
    target_link_libraries(${cuda_name} ctltrain ctlc_lib ${CMOCKA})
    target_compile_definitions(${cuda_name} PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}" CTL_ROWS_ON_CUDA=1)
    add_test(NAME ${cuda_name} COMMAND ${cuda_name})
  endforeach()
  add_library(cuda_host OBJECT tests/cuda/host_runtime.c) # linked to what is compiled for the host
  add_library(cuda_watch OBJECT tests/cuda/watch_runtime.c) # in its place, where races are looked for
  foreach(name cuda_host cuda_watch)
    target_compile_options(${name} PRIVATE -D_GNU_SOURCE -DHOST_APART -fPIC -O2 -g0 -w -fno-strict-aliasing)
  endforeach()
  foreach(name test_cuda_rows test_cuda_rows_values test_cuda_build test_cuda_attend test_cuda_narrow test_cuda_tasks test_cuda_nvrtc
      test_cuda_races test_cuda_accesses)
    target_compile_definitions(${name} PRIVATE HOST_CC="${CMAKE_C_COMPILER}" HOST_RUNTIME_OBJECT="$<TARGET_OBJECTS:cuda_host>"
      HOST_WATCH_OBJECT="$<TARGET_OBJECTS:cuda_watch>")
    target_link_libraries(${name} ${CMAKE_DL_LIBS})
    add_dependencies(${name} cuda_host cuda_watch)
  endforeach()
  target_compile_definitions(test_cuda_build PRIVATE CTL_ROWS_ON_CUDA=1)
  target_compile_definitions(test_cuda_accesses PRIVATE CTL_ROWS_ON_CUDA=1)
  target_compile_definitions(test_cuda_fragments PRIVATE HOST_CC="${CMAKE_C_COMPILER}") # plants faults in threads.h too
  target_link_libraries(test_cuda_fragments ${CMAKE_DL_LIBS})
  # The driver, cuBLASLt and CUDA's compiler, as stand-ins in one shared object under their names.
  file(GLOB STANDINS CONFIGURE_DEPENDS tests/cuda/standin/*.c)
  add_library(cuda_standin MODULE ${STANDINS})
  target_compile_definitions(cuda_standin PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}" HOST_CC="${CMAKE_C_COMPILER}"
    HOST_RUNTIME_OBJECT="$<TARGET_OBJECTS:cuda_host>" HOST_WATCH_OBJECT="$<TARGET_OBJECTS:cuda_watch>")
  add_dependencies(cuda_standin cuda_host cuda_watch)
  target_compile_options(cuda_standin PRIVATE -D_GNU_SOURCE -O2 -Wno-missing-prototypes)
  target_link_libraries(cuda_standin m ${CMAKE_DL_LIBS})
  set(STANDIN_DIR ${CMAKE_BINARY_DIR}/cuda_standin)
  file(MAKE_DIRECTORY ${STANDIN_DIR}/cache)
  foreach(library libcuda.so.1 libcublasLt.so.13 libnvrtc.so.13)
    file(CREATE_LINK ${CMAKE_BINARY_DIR}/libcuda_standin.so ${STANDIN_DIR}/${library} SYMBOLIC)
  endforeach()
  foreach(name test_cuda_engine test_cuda_calls test_cuda_values test_cuda_choices test_cuda_contexts test_cuda_faults test_cuda_headers)
    target_compile_definitions(${name} PRIVATE STANDIN_DIR="${STANDIN_DIR}")
    add_dependencies(${name} cuda_standin)
  endforeach()
  # CUDA's headers, where a toolkit is, for what the runtime assumes of them; nothing else includes them.
  find_path(CTL_CUDA_HEADERS cublasLt.h HINTS ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES include)
  if(CTL_CUDA_HEADERS)
    target_include_directories(test_cuda_headers SYSTEM PRIVATE ${CTL_CUDA_HEADERS})
  endif()
  target_link_libraries(test_cuda_headers ${CMAKE_DL_LIBS})
  # The tests of the CPU's back end once more, on the CUDA engine.
  foreach(name test_backend test_backend_edges test_backend_random)
    string(REPLACE test_ test_cuda_ cuda_name ${name})
    add_executable(${cuda_name} tests/${name}.c)
    target_link_libraries(${cuda_name} ctltrain ctlc_lib ${CMOCKA} ${CMAKE_DL_LIBS})
    target_compile_definitions(${cuda_name} PRIVATE STANDIN_DIR="${STANDIN_DIR}" CTL_BACKEND_ON_CUDA=1)
    add_dependencies(${cuda_name} cuda_standin)
    add_test(NAME ${cuda_name} COMMAND ${cuda_name})
  endforeach()
  # The build without the CPU back end; builds with and without sanitizers may share it (tools/test).
  set(CTL_LEAN ${CMAKE_BINARY_DIR}/lean CACHE PATH "Where the test lean_build builds")
  # Linked anew by test_cuda_faults, to an engine with a fault: with what lean_build made, since that is quick.
  add_library(cuda_probe OBJECT tests/cuda/probe.c)
  string(REPLACE ";" " " PROBE_JANSSON "${JANSSON_LDFLAGS}")
  target_compile_definitions(test_cuda_faults PRIVATE HOST_CC="${CMAKE_C_COMPILER}" PROBE_OBJECT="$<TARGET_OBJECTS:cuda_probe>"
    PROBE_LIBRARIES="${CTL_LEAN}/libctlc.a ${CTL_LEAN}/libctlrt.a ${CTL_LEAN}/libctlbase.a ${PROBE_JANSSON} -lpthread -ldl -lm")
  add_dependencies(test_cuda_faults cuda_probe)
  add_test(NAME lean_build COMMAND bash ${CMAKE_SOURCE_DIR}/tests/lean_build.sh ${CMAKE_SOURCE_DIR} ${CTL_LEAN}
    ${CMAKE_C_COMPILER} $<$<NOT:$<BOOL:${CTL_SANITIZE}>>:${STANDIN_DIR}>)
  set_tests_properties(lean_build PROPERTIES FIXTURES_SETUP lean)
  set_tests_properties(test_cuda_faults PROPERTIES FIXTURES_REQUIRED lean)
else()
  message(STATUS "cmocka not found: no tests are built (tools/setup installs it)")
endif()

# tools/tokenize writes the token files that are kept, where its library is.
add_test(NAME tokenize COMMAND ${CMAKE_SOURCE_DIR}/tests/tokenize/check)
set_tests_properties(tokenize PROPERTIES SKIP_RETURN_CODE 77)

# What measures on a GPU (tools/gpu/check), tested without one; PyTorch's part where PyTorch is. It is Python, and the commands
# that it calls have tests of their own under sanitizers.
if(NOT CTL_SANITIZE)
  add_test(NAME gpu_script COMMAND ${CMAKE_SOURCE_DIR}/tests/gpu/check script $<TARGET_FILE:ctlc> ${STANDIN_DIR})
  add_test(NAME gpu_peers COMMAND ${CMAKE_SOURCE_DIR}/tests/gpu/check peers $<TARGET_FILE:ctlc>)
  set_tests_properties(gpu_script gpu_peers PROPERTIES SKIP_RETURN_CODE 77)
endif()

# Host programs are examples and their own tests; one is built as a user builds it (docs/embedding.md).
foreach(name theorems host)
  add_executable(${name} ${CMAKE_SOURCE_DIR}/examples/${name}.c)
  target_link_libraries(${name} ctlc_lib)
endforeach()
add_test(NAME theorems COMMAND theorems ${CMAKE_SOURCE_DIR}/examples/theorems.ctl)
add_test(NAME host COMMAND host ${CMAKE_SOURCE_DIR}/examples/tiny.ctl)
if(NOT CTL_SANITIZE) # pkg-config does not tell of its libraries
  add_test(NAME install COMMAND bash ${CMAKE_SOURCE_DIR}/tests/install.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER})
endif()

# What takes long begins first, so that no core waits for the last test alone: CPU seconds under sanitizers, or as built for use.
set(LONG test_cuda_nvrtc 200 lean_build 100 test_cli_data 87 test_cuda_engine 79 test_backend 76 test_backend_random 71 gpu_script 66
  test_cli_memory 60 test_cuda_calls 49 test_budget 46 test_cuda_attend 45 test_cuda_races 44 test_cuda_accesses 43 test_cli 39
  test_cuda_backend 38 test_exact 37 test_cuda_faults 36 test_errors_page 35 test_examples 34 test_pack 33 test_rows 32
  test_cuda_rows 31 test_import 30 test_cuda_backend_edges 29 test_cuda_choices 25 test_cli_bench 23 test_cpu_tasks 19 test_cuda_build 17)
while(LONG)
  list(POP_FRONT LONG name cost)
  if(TEST ${name})
    set_tests_properties(${name} PROPERTIES COST ${cost})
  endif()
endwhile()

# What libraries that are not ours keep until the process ends is no leak of ours.
if(CTL_SANITIZE)
  get_property(all DIRECTORY PROPERTY TESTS)
  set_tests_properties(${all} PROPERTIES ENVIRONMENT "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/leaks.supp:print_suppressions=0")
endif()

# The fuzzers (tools/fuzz runs them), with a corpus made of the library, the examples and their own seed.
if(CTL_FUZZ)
  file(GLOB FUZZERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
  add_custom_target(fuzzers)
  foreach(source ${FUZZERS})
    get_filename_component(name ${source} NAME_WE)
    if(name STREQUAL fuzz_files) # mutates by itself, and reads what a command of the tool reads
      set(with ${CMAKE_SOURCE_DIR}/tools/ctlc/import_architectures.c
        ${CMAKE_SOURCE_DIR}/tools/ctlc/import_config.c
        ${CMAKE_SOURCE_DIR}/tools/ctlc/import_reader.c
        ${CMAKE_SOURCE_DIR}/tools/ctlc/import_spec.c)
    else()
      set(with ${CMAKE_SOURCE_DIR}/tests/fuzz/mutate.c)
    endif()
    add_executable(${name} ${source} ${with})
    target_link_libraries(${name} ctlc_lib)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers ${name})
  endforeach()
  file(GLOB SEEDS ${CMAKE_SOURCE_DIR}/stdlib/*.ctl ${CMAKE_SOURCE_DIR}/examples/*.ctl ${CMAKE_SOURCE_DIR}/tests/fuzz/*.ctl)
  # Models of dozens of blocks take seconds each, which is all that there is, and show nothing that small ones do not.
  list(FILTER SEEDS EXCLUDE REGEX "/llama[0-9]_[0-9]+b_")
  file(REMOVE_RECURSE ${CMAKE_BINARY_DIR}/corpus)
  file(COPY ${SEEDS} DESTINATION ${CMAKE_BINARY_DIR}/corpus)
endif()
