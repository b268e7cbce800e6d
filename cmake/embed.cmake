# SPDX-License-Identifier: Apache-2.0
#
# Files as arrays of a program: kith_embed(target name file) makes a source of the file, in the build folder, that has
#
#     const unsigned char NAME[] = {..., 0};      the bytes, and a zero that does not count
#     const size_t NAME_bytes = ...;
#
# and adds it to the target; who uses them declares them (extern). It is made again when the file changes.

set(KITH_EMBED_SCRIPT "${CMAKE_CURRENT_LIST_FILE}")

if(CMAKE_SCRIPT_MODE_FILE) # cmake -DNAME=... -DFROM=... -DTO=... -P embed.cmake
    file(READ "${FROM}" bytes HEX)
    string(LENGTH "${bytes}" digits)
    math(EXPR count "${digits} / 2")
    string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    file(WRITE "${TO}.new" "#include <stddef.h>\n\nextern const unsigned char ${NAME}[];\n"
                           "extern const size_t ${NAME}_bytes;\nconst unsigned char ${NAME}[] = {\n${bytes}0};\n"
                           "const size_t ${NAME}_bytes = ${count};\n")
    file(RENAME "${TO}.new" "${TO}")
    return()
endif()

function(kith_embed target name file)
    set(folder "${CMAKE_BINARY_DIR}/embedded")
    file(MAKE_DIRECTORY "${folder}")
    get_filename_component(from "${file}" ABSOLUTE)
    add_custom_command(OUTPUT "${folder}/${name}.c" DEPENDS "${from}" "${KITH_EMBED_SCRIPT}" VERBATIM
                       COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DFROM=${from} -DTO=${folder}/${name}.c
                               -P "${KITH_EMBED_SCRIPT}"
                       COMMENT "Embedding ${file}")
    target_sources(${target} PRIVATE "${folder}/${name}.c")
endfunction()
