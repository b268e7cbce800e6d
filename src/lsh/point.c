/* SPDX-License-Identifier: Apache-2.0
 *
 * Where vectors of numbers are hashed: around their centre, on the unit sphere. Near neighbours by any of the three
 * metrics lie in near directions from the centre, unless they lie at the centre itself.
 *
 * For l2 the other choice is to cut random lines into pieces [Datar, Immorlica, Indyk, Mirrokni 2004]. Measured with 7,800
 * pictures of 784 bytes and 16 tables, best widths: directions have .75 of the ten nearest among 4.3 % of the vectors
 * and .88 among 11 %, lines .71 among 4.7 % and .76 among 9.2 %. */
#include "kernel/distance.h"
#include "lsh/inner.h"

#include <math.h>
#include <string.h>

void ki_lsh_point(const ki_lsh *lsh, const float *x, size_t dim, kith_metric metric, int query, float *point) {
    ki_norm2_fn *const norm2_of = ki_distance()->norm2[KITH_F32];
    const size_t used = ki_lsh_dim(dim, metric);
    const double norm2 = metric == KITH_L2SQ ? 0 : norm2_of(x, dim);
    float factor = 1;
    if (metric == KITH_COSINE) factor = ki_inverse_norm(norm2);
    if (metric == KITH_IP && query) factor = norm2 > 0 ? (float)((double)lsh->limit / sqrt(norm2)) : 0;
    for (size_t j = 0; j < dim; j++) point[j] = x[j] * factor;
    if (metric == KITH_IP) {
        const double left = query ? 0 : (double)lsh->limit * (double)lsh->limit - norm2;
        point[dim] = left > 0 ? (float)sqrt(left) : 0;
    }
    for (size_t j = 0; j < used; j++) point[j] -= lsh->centre[j];
    for (size_t j = used; j < lsh->width; j++) point[j] = 0;
    const double length2 = norm2_of(point, used), inverse = 1 / sqrt(length2);
    if (!(length2 > 0) || !isfinite(length2) || !isfinite((float)inverse)) {
        memset(point, 0, lsh->width * sizeof(*point));
        return;
    }
    for (size_t j = 0; j < used; j++) point[j] *= (float)inverse;
}
