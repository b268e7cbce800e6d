/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of the web page, which lie in the program: cmake/page.cmake makes the table of web/ and chart.js. */
#ifndef KITH_SERVER_PAGE_FILES_H
#define KITH_SERVER_PAGE_FILES_H

#include <stddef.h>

typedef struct ks_page_file {
    const char *name; /* "app.js" */
    const unsigned char *bytes;
    const size_t *count;
} ks_page_file;

/* Ends in one without a name. */
extern const ks_page_file ks_page_files[];

#endif
