/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rows can be coded and searched: finite, of a length that no sum of squares overflows for, and under cosine long
 * enough to have a direction. Pure; any thread. */
#ifndef KI_QUANT_ROW_CHECK_H
#define KI_QUANT_ROW_CHECK_H

#include "kith.h"

/* Why a row was refused. */
typedef enum ki_row_fault {
    KI_ROW_FINE = 0,
    KI_ROW_NOT_FINITE,
    KI_ROW_TOO_LONG,
    KI_ROW_ZERO,
    KI_ROW_NOT_WHOLE, /* the recipe assumed whole numbers: build again without */
    KI_ROW_OUTSIDE,   /* a whole number beyond the codes around the recipe's centre: build again with a wider one */
    KI_ROW_NO_MEMORY
} ki_row_fault;

/* Check one row of `dtype`; *norm2: the sum of squares of its elements. */
ki_row_fault ki_row_check(kith_metric metric, kith_dtype dtype, const void *row, size_t dim, double *norm2);

#endif
