/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types that occur in files, and their exact conversion to what a reader delivers.
 *
 * E1. Types of kith (f4, f2, i1, u1) are delivered as they lie; the others are narrowed to float, and a value that
 *     float cannot hold exactly is refused, or where the caller asks for that, rounded to nearest, ties to even. NaN
 *     and infinities pass: whoever uses the rows refuses them.
 *
 * Pure functions: any thread. */
#ifndef KI_IO_ELEMENT_H
#define KI_IO_ELEMENT_H

#include "kith.h"

#include <stdbool.h>
#include <stddef.h>

/* The first four, up to KI_ELEMENT_U1, are delivered as they lie. */
typedef enum ki_element {
    KI_ELEMENT_F4,
    KI_ELEMENT_F2,
    KI_ELEMENT_I1,
    KI_ELEMENT_U1,
    KI_ELEMENT_F8,
    KI_ELEMENT_I2,
    KI_ELEMENT_I4,
    KI_ELEMENT_I8,
    KI_ELEMENT_U2,
    KI_ELEMENT_U4,
    KI_ELEMENT_U8,
    KI_ELEMENTS
} ki_element;

size_t ki_element_bytes(ki_element element);
/* What rows of it are delivered as. */
kith_dtype ki_element_dtype(ki_element element);
/* numpy's name, such as "f4". */
const char *ki_element_name(ki_element element);

/* Narrow `count` elements at `from` (any alignment) to floats; the position of the first that is not exact (with
 * `round`: that is finite and beyond the largest float), or count. */
size_t ki_element_narrow(ki_element element, const void *from, size_t count, bool round, float *to);
/* One element as text, for messages. */
void ki_element_print(ki_element element, const void *at, char *text, size_t text_bytes);

/* One element of any dtype but b1 as float; exact. */
float ki_dtype_float(kith_dtype dtype, const void *row, size_t position);

#endif
