/* SPDX-License-Identifier: Apache-2.0
 *
 * The passes of pick.h for one tier; included by pick.c once a tier with TARGET and NAME(x) defined, as
 * project_template.h is and for the same reason. */
TARGET static void NAME(maxima)(const float *scores, size_t blocks, size_t groups, float *maxima) {
    for (size_t b = 0; b < blocks; b++) {
        float *to = maxima + (b & (groups - 1)) * KI_BLOCK;
        floats old, new;
        memcpy(&old, to, sizeof(old));
        memcpy(&new, scores + b * KI_BLOCK, sizeof(new));
        const ints larger = new > old;
        old = (floats)(((ints) new &larger) | ((ints)old & ~larger));
        memcpy(to, &old, sizeof(old));
    }
}

TARGET static void NAME(lift)(float *scores, float base, unsigned mask, float *maxima) {
    floats lifted, old;
    memcpy(&lifted, scores, sizeof(lifted));
    memcpy(&old, maxima, sizeof(old));
    lifted += (floats){0} + base;
    if (mask != 0xffff)
        for (int v = 0; v < KI_BLOCK; v++)
            if (!(mask >> v & 1)) lifted[v] = -__builtin_inff();
    memcpy(scores, &lifted, sizeof(lifted));
    const ints larger = lifted > old;
    old = (floats)(((ints)lifted & larger) | ((ints)old & ~larger));
    memcpy(maxima, &old, sizeof(old));
}
