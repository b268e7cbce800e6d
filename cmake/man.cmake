# SPDX-License-Identifier: Apache-2.0
#
# The man page and the completions, made by the command from the table that its --help prints, so that the three cannot
# disagree. A cross build cannot run the command and a machine without scdoc cannot make man pages: both leave out what
# they cannot make.

if(CMAKE_CROSSCOMPILING OR KITH_SANITIZE)
    return()
endif()

set(made "")
function(kith_make output) # kith_make(file command...)
    add_custom_command(OUTPUT "${output}" COMMAND ${ARGN} > "${output}.new" COMMAND ${CMAKE_COMMAND} -E rename
                       "${output}.new" "${output}" DEPENDS kith VERBATIM COMMENT "Making ${output}"
                       WORKING_DIRECTORY "${CMAKE_BINARY_DIR}")
endfunction()

file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/man" "${CMAKE_BINARY_DIR}/completions")

find_program(SCDOC scdoc)
if(SCDOC)
    kith_make(man/kith.1.scd $<TARGET_FILE:kith> help --man)
    add_custom_command(OUTPUT man/kith.1 COMMAND ${SCDOC} < man/kith.1.scd > man/kith.1.new
                       COMMAND ${CMAKE_COMMAND} -E rename man/kith.1.new man/kith.1 DEPENDS man/kith.1.scd VERBATIM
                       WORKING_DIRECTORY "${CMAKE_BINARY_DIR}")
    list(APPEND made man/kith.1)
    install(FILES "${CMAKE_BINARY_DIR}/man/kith.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
else()
    message(STATUS "scdoc is not installed: no man page will be made")
endif()

foreach(shell bash zsh fish)
    kith_make(completions/kith.${shell} $<TARGET_FILE:kith> help --completion ${shell})
    list(APPEND made completions/kith.${shell})
endforeach()
install(FILES "${CMAKE_BINARY_DIR}/completions/kith.bash" RENAME kith
        DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
install(FILES "${CMAKE_BINARY_DIR}/completions/kith.zsh" RENAME _kith
        DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
install(FILES "${CMAKE_BINARY_DIR}/completions/kith.fish" RENAME kith.fish
        DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")

add_custom_target(kith_manual ALL DEPENDS ${made})
