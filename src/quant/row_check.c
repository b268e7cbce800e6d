/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/row_check.h"

#include "kernel/distance.h"

#include <math.h>

ki_row_fault ki_row_check(kith_metric metric, kith_dtype dtype, const void *row, size_t dim, double *norm2) {
    const double sum = ki_distance()->norm2[dtype](row, dim);
    *norm2 = sum;
    if (!isfinite(sum)) return KI_ROW_NOT_FINITE;
    if (sum > KITH_NORM_MAX * KITH_NORM_MAX) return KI_ROW_TOO_LONG;
    if (metric == KITH_COSINE && sum < KITH_COSINE_NORM_MIN * KITH_COSINE_NORM_MIN) return KI_ROW_ZERO;
    return KI_ROW_FINE;
}
