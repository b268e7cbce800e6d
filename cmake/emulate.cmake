# SPDX-License-Identifier: Apache-2.0
#
# KITH_EMULATE: tests/support/emulated_x86.h goes in front of every source that names an instruction set, and detection
# reports AVX-512 where it finds AVX2. What comes out is slow, and for tests only.
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64|AMD64" OR NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
    message(FATAL_ERROR "KITH_EMULATE is for x86-64 and gcc")
endif()
find_path(simde_INCLUDE simde/x86/avx512.h)
if(NOT simde_INCLUDE)
    message(FATAL_ERROR "KITH_EMULATE needs simde/x86/avx512.h: install libsimde-dev, or run tools/setup emulated")
endif()
target_include_directories(kith_objects SYSTEM PRIVATE "${simde_INCLUDE}")

# Only where it is asked for: all other files are compiled as ever, and a cache has them.
set_source_files_properties("${PROJECT_SOURCE_DIR}/src/cpu/cpu_x86.c" PROPERTIES COMPILE_DEFINITIONS KITH_EMULATE)
foreach(source IN LISTS library_sources)
    file(STRINGS "${source}" names_instruction_set REGEX "__attribute__\\(\\(target\\(" LIMIT_COUNT 1)
    if(names_instruction_set)
        # Passing 512-bit vectors without AVX-512 draws a note about old compilers, which no pragma silences. Tracking
        # variables would take a third of the compiler's time.
        set_source_files_properties("${source}" PROPERTIES COMPILE_OPTIONS
            "-DKITH_EMULATE;-include;${PROJECT_SOURCE_DIR}/tests/support/emulated_x86.h;-Wno-psabi;-fno-var-tracking")
    endif()
endforeach()
