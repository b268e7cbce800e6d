/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows times a basis, and the row passes of the int8 coder: the float work of building and of preparing queries.
 *
 * Results may differ between tiers in the last bits (order and fusing of additions): callers bound the error, never
 * rely on a tier's behaviour. project adds runs of KI_PROJECT_RUN products and then the runs, so its relative error is
 * at most (KI_PROJECT_RUN + dim / KI_PROJECT_RUN + 1) * 2^-24 of the sum of absolute terms. Any thread. */
#ifndef KI_KERNEL_PROJECT_H
#define KI_KERNEL_PROJECT_H

#include "kith.h"

enum {
    KI_PROJECT_COLUMNS = 64, /* columns of a basis come in multiples of this */
    KI_PROJECT_RUN = 128
};

typedef struct ki_project_kernels {
    /* out[i][c] = sum_j rows[i][j] * basis[j][c];
     * rows count x dim, basis dim x columns, out count x columns, packed. */
    void (*project)(const float *rows, size_t count, size_t dim, const float *basis, size_t columns, float *out);
    /* out = scale * x - centre;
     * *largest = max |out|, *norm2 = sum out^2 (relative error below (dim/16 + 6) * 2^-24). */
    void (*centre)(const float *x, float scale, const float *centre, size_t dim, float *out, float *largest,
                   float *norm2);
    /* code[i] = r[i] * inverse rounded to the nearest integer;
     * returns sum (r[i] - step * code[i])^2, with an error as above and, in each difference, of 2^-23 |r[i]|.
     * *sum = sum code, *square = sum code^2. The caller keeps |r[i] * inverse| below 127.5. */
    float (*quantise)(const float *r, float inverse, float step, size_t dim, int8_t *code, int32_t *sum,
                      int64_t *square);
} ki_project_kernels;

const ki_project_kernels *ki_projector(void);
void ki_project_fill(uint32_t features, ki_project_kernels *table);

#endif
