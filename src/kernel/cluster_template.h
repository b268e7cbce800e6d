/* SPDX-License-Identifier: Apache-2.0
 *
 * The passes of cluster.h for one tier; included by cluster.c once a tier with TARGET and NAME(x) defined, as
 * project_template.h is and for the same reason. */
TARGET static void NAME(estimate)(const int32_t (*dot)[KI_BLOCK], unsigned count, const float *factors,
                                  const float *scale, float (*scores)[KI_BLOCK]) {
    floats a, bias;
    memcpy(&a, factors + KI_FACTOR_SCALE, sizeof(a));
    memcpy(&bias, factors + KI_FACTOR_BIAS, sizeof(bias));
    for (unsigned i = 0; i < count; i++) {
        ints product;
        memcpy(&product, dot[i], sizeof(product));
        const floats score = __builtin_convertvector(product, floats) * scale[i] * a + bias;
        memcpy(scores[i], &score, sizeof(score));
    }
}

TARGET static void NAME(nearest)(const int32_t (*dot)[KI_BLOCK], unsigned count, const float *a, const float *scale,
                                 const float *bias, const uint32_t *name, float *best, uint32_t *choice) {
    floats factor, top;
    ints chosen;
    memcpy(&factor, a, sizeof(factor));
    memcpy(&top, best, sizeof(top));
    memcpy(&chosen, choice, sizeof(chosen));
    for (unsigned i = 0; i < count; i++) {
        ints product;
        memcpy(&product, dot[i], sizeof(product));
        const floats score = __builtin_convertvector(product, floats) * scale[i] * factor + bias[i];
        const ints better = score > top;
        top = (floats)(((ints)score & better) | ((ints)top & ~better));
        chosen = (((ints){0} + (int32_t)name[i]) & better) | (chosen & ~better);
    }
    memcpy(best, &top, sizeof(top));
    memcpy(choice, &chosen, sizeof(chosen));
}
