/* SPDX-License-Identifier: Apache-2.0
 *
 * The header of .npy files, also for files of ids. One owner at a time. */
#ifndef KI_IO_NPY_H
#define KI_IO_NPY_H

#include "io/element.h"
#include "kith.h"

#define KI_NPY_MAGIC "\x93NUMPY"
enum { KI_NPY_HEADER_MAX = 128 }; /* bytes of a header that is written here */

typedef struct ki_npy_header {
    ki_element element;
    unsigned dims;     /* 1 or 2 */
    uint64_t shape[2]; /* [1] is 1 when dims is 1 */
    uint64_t data_offset;
} ki_npy_header;

/* Read and check the header, and the file's size against it. */
kith_status ki_npy_read_header(int fd, const char *path, uint64_t file_bytes, ki_npy_header *header, kith_error *error);

/* The header of a file of rows x columns elements; its bytes, a multiple of 64. */
size_t ki_npy_print_header(ki_element element, uint64_t rows, uint64_t columns, char header[KI_NPY_HEADER_MAX]);

#endif
