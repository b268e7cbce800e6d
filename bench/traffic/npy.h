/* SPDX-License-Identifier: Apache-2.0
 *
 * .npy files written as rows come, their number unknown until the end. */
#ifndef KITH_TRAFFIC_NPY_H
#define KITH_TRAFFIC_NPY_H

#include "output.h"

struct traffic_npy {
    struct traffic_output output;
    size_t dim; /* 0: one unsigned 32-bit number a row; else so many floats */
    uint64_t rows;
};

kith_status traffic_npy_open(struct traffic_npy *npy, const char *path, size_t dim, kith_error *error);
/* Room for one row, counted as written; NULL when writing failed. dim <= 4096. */
void *traffic_npy_row(struct traffic_npy *npy, kith_error *error);
kith_status traffic_npy_commit(struct traffic_npy *npy, kith_error *error);
void traffic_npy_discard(struct traffic_npy *npy); /* fine on a zeroed struct, and after commit */

#endif
