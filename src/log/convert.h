/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of callers in the stored type of their vector, and back. Pure functions: any thread. */
#ifndef KI_LOG_CONVERT_H
#define KI_LOG_CONVERT_H

#include "state/collection.h"

/* Bring a row into the stored type of a vector and check that it can be searched: what is wrong is said behind `item`.
 * floats: room for dim of them. to NULL: the row is of the stored type, and only looked at. KITH_E_DATA. */
kith_status ki_convert_row(const ki_vector *vector, kith_dtype from, const void *row, void *to, float *floats,
                           const char *item, kith_error *error);
/* Back to the stored type from the floats that a stored vector was read as: the same bits. */
void ki_convert_back(const ki_vector *vector, const float *floats, void *row);

#endif
