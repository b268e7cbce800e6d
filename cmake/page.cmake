# SPDX-License-Identifier: Apache-2.0
#
# The web page inside of the server: all files of web/, and chart.js from Debian's package where it is installed. Without
# that the page shows figures without charts, and says so.

include("${CMAKE_CURRENT_LIST_DIR}/embed.cmake")

file(GLOB page_files CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/web/*.html" "${CMAKE_CURRENT_SOURCE_DIR}/web/*.css"
                                       "${CMAKE_CURRENT_SOURCE_DIR}/web/*.js" "${CMAKE_CURRENT_SOURCE_DIR}/web/*.svg")
find_file(KITH_CHART_JS chart.min.js PATHS /usr/share/javascript/chart.js NO_DEFAULT_PATH)
set(page_chart "${KITH_CHART_JS}")
if(NOT KITH_CHART_JS)
    message(STATUS "chart.js is not installed (libjs-chart.js): the web page will draw no charts")
    set(page_chart "${CMAKE_BINARY_DIR}/embedded/no_chart.js")
    file(CONFIGURE OUTPUT "${page_chart}" CONTENT "/* chart.js was not there when this was built. */\n")
endif()

set(page_known "")
set(page_rows "")
function(kith_page_file name path)
    string(MAKE_C_IDENTIFIER "ks_page_${name}" symbol)
    kith_embed(kith_server ${symbol} "${path}")
    set(page_known "${page_known}extern const unsigned char ${symbol}[];\nextern const size_t ${symbol}_bytes;\n" PARENT_SCOPE)
    set(page_rows "${page_rows}    {\"${name}\", ${symbol}, &${symbol}_bytes},\n" PARENT_SCOPE)
endfunction()
kith_page_file(chart.js "${page_chart}")
foreach(path IN LISTS page_files)
    get_filename_component(name "${path}" NAME)
    kith_page_file("${name}" "${path}")
endforeach()
file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/embedded/ks_page_files.c" @ONLY CONTENT
"#include \"page/files.h\"\n\n@page_known@\nconst ks_page_file ks_page_files[] = {\n@page_rows@    {0}};\n")
target_sources(kith_server PRIVATE "${CMAKE_BINARY_DIR}/embedded/ks_page_files.c")
