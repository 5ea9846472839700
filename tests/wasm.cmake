# The suites that need nothing native but files (and bf16 kernels, which are native), for
# tests/web/suites.test.mjs: with the kernels of plain and of relaxed SIMD. Debian has GoogleTest as
# sources too.
set(gtest /usr/src/googletest/googletest)
list(FILTER sources EXCLUDE REGEX
  "/(allocation|cli|dataset|device|embedding|image|kernels_bf16|model_file|npy|onednn|onnx_node_backend|session|thread_pool|weight_cache)_test")
add_library(octavo_tests_objects OBJECT ${sources} paths.cc ${gtest}/src/gtest-all.cc
  ${gtest}/src/gtest_main.cc ${PROJECT_SOURCE_DIR}/native/files.cc
  ${PROJECT_SOURCE_DIR}/native/onnx_test.cc ${PROJECT_SOURCE_DIR}/tools/digits/digits.cc
  ${PROJECT_SOURCE_DIR}/tools/digits/glyphs.cc)
target_include_directories(octavo_tests_objects SYSTEM PRIVATE ${gtest}/include ${gtest})
target_compile_options(octavo_tests_objects PRIVATE -O1)
target_link_libraries(octavo_tests_objects PUBLIC octavo_onnx_proto octavo_core)
foreach(simd "" _relaxed)
  add_executable(octavo_tests${simd})
  set_target_properties(octavo_tests${simd} PROPERTIES SUFFIX .mjs)
  target_link_options(octavo_tests${simd} PRIVATE -O1 $<$<BOOL:${simd}>:-mrelaxed-simd>
    -sMODULARIZE -sEXPORT_ES6 -sENVIRONMENT=web,node -sALLOW_MEMORY_GROWTH -sMAXIMUM_MEMORY=4GB
    -sABORTING_MALLOC=0 -sSTACK_SIZE=1MB -sINVOKE_RUN=0 -sEXIT_RUNTIME -sFORCE_FILESYSTEM
    -lnodefs.js -sEXPORTED_RUNTIME_METHODS=FS,callMain)
  target_link_libraries(octavo_tests${simd} PRIVATE octavo_tests_objects octavo_kernels${simd})
endforeach()
