/* SPDX-License-Identifier: Apache-2.0 */
#include "npy.h"

#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES = 128, LEAD_BYTES = 10 };

/* Version 1.0: magic, two bytes of version, the length of the text, the text filled with spaces to a newline. */
static void make_header(const struct traffic_npy *npy, char header[HEADER_BYTES]) {
    char shape[64], text[HEADER_BYTES];
    if (npy->dim) {
        snprintf(shape, sizeof(shape), "(%llu, %zu)", (unsigned long long)npy->rows, npy->dim);
    } else {
        snprintf(shape, sizeof(shape), "(%llu,)", (unsigned long long)npy->rows);
    }
    const int used = snprintf(text, sizeof(text), "{'descr': '<%s', 'fortran_order': False, 'shape': %s, }",
                              npy->dim ? "f4" : "u4", shape);
    memset(header, ' ', HEADER_BYTES);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = HEADER_BYTES - LEAD_BYTES;
    header[9] = 0;
    memcpy(header + LEAD_BYTES, text, (size_t)used);
    header[HEADER_BYTES - 1] = '\n';
}

kith_status traffic_npy_open(struct traffic_npy *npy, const char *path, size_t dim, kith_error *error) {
    char header[HEADER_BYTES];
    *npy = (struct traffic_npy){.dim = dim};
    make_header(npy, header);
    const kith_status status = traffic_output_open(&npy->output, path, true, error);
    return status == KITH_OK ? traffic_output_write(&npy->output, header, sizeof(header), error) : status;
}

void *traffic_npy_row(struct traffic_npy *npy, kith_error *error) {
    const size_t bytes = npy->dim ? npy->dim * sizeof(float) : sizeof(uint32_t);
    void *row = traffic_output_room(&npy->output, bytes, error);
    if (!row) return NULL;
    npy->output.used += bytes;
    npy->rows++;
    return row;
}

kith_status traffic_npy_commit(struct traffic_npy *npy, kith_error *error) {
    char header[HEADER_BYTES];
    make_header(npy, header);
    const kith_status status = traffic_output_patch(&npy->output, header, sizeof(header), 0, error);
    if (status == KITH_OK) return traffic_output_commit(&npy->output, error);
    traffic_output_discard(&npy->output);
    return status;
}

void traffic_npy_discard(struct traffic_npy *npy) {
    traffic_output_discard(&npy->output);
}
