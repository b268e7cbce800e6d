/* SPDX-License-Identifier: Apache-2.0
 *
 * Elements of one type turned into another, exactly or not at all unless rounding is asked for. Every type's values are
 * floats, so a float is the way between any two. */
#ifndef KITH_CLI_VALUES_H
#define KITH_CLI_VALUES_H

#include <stdbool.h>

#include "kith.h"

/* Not for KITH_B1. */
void values_to_float(kith_dtype type, const void *from, size_t count, float *to);

/* Returns the place of the first value that the type cannot hold, or count. With `round` values between two of the
 * type's go to the nearer one, to the even one from the middle; values beyond its range, and NaN for integers, are
 * still refused. */
size_t values_from_float(kith_dtype type, const float *from, size_t count, bool round, void *to);

#endif
