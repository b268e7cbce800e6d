/* SPDX-License-Identifier: Apache-2.0
 *
 * The row passes of project.h for one tier. Included by project.c once a tier, with TARGET (a function attribute) and
 * NAME(x) (adds the tier's suffix) defined: compilers lower vector types before they inline, so a common function would
 * be lowered for the machine of the scalar tier. */
INLINE TARGET floats NAME(load)(const float *p) {
    floats v;
    memcpy(&v, p, sizeof(v));
    return v;
}

INLINE TARGET floats NAME(load_tail)(const float *p, size_t count) {
    floats v = {0};
    memcpy(&v, p, count * sizeof(float));
    return v;
}

INLINE TARGET floats NAME(spread)(float x) {
    return (floats){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

INLINE TARGET float NAME(sum_of)(floats v) {
    float lane[LANES];
    memcpy(lane, &v, sizeof(lane));
    for (int step = LANES / 2; step; step /= 2)
        for (int i = 0; i < step; i++) lane[i] += lane[i + step];
    return lane[0];
}

INLINE TARGET floats NAME(magnitude)(floats v) {
    return (floats)((ints)v & 0x7fffffff);
}

TARGET static void NAME(centre)(const float *x, float scale, const float *centre, size_t dim, float *out,
                                float *largest, float *norm2) {
    floats sum = {0}, top = {0};
    const floats factor = NAME(spread)(scale);
    for (size_t j = 0; j < dim; j += LANES) {
        const size_t left = ki_min_size(LANES, dim - j);
        const floats r = left == LANES ? NAME(load)(x + j) * factor - NAME(load)(centre + j)
                                       : NAME(load_tail)(x + j, left) * factor - NAME(load_tail)(centre + j, left);
        const floats m = NAME(magnitude)(r);
        sum += r * r;
        top = (floats)(((ints)m & (m > top)) | ((ints)top & ~(m > top)));
        memcpy(out + j, &r, left * sizeof(float));
    }
    float lane[LANES], best = 0;
    memcpy(lane, &top, sizeof(lane));
    for (int i = 0; i < LANES; i++) best = lane[i] > best ? lane[i] : best;
    *largest = best;
    *norm2 = NAME(sum_of)(sum);
}

TARGET static float NAME(quantise)(const float *r, float inverse, float step, size_t dim, int8_t *code, int32_t *sum,
                                   int64_t *square) {
    /* Adding and taking away 1.5 * 2^23 rounds to the nearest integer: |value| stays below 128. */
    const floats magic = NAME(spread)(12582912.0f), times = NAME(spread)(inverse), unit = NAME(spread)(step);
    floats error = {0};
    ints total = {0}, squares = {0};
    int64_t all_squares = 0;
    for (size_t j = 0; j < dim; j += LANES) {
        const size_t left = ki_min_size(LANES, dim - j);
        const floats value = left == LANES ? NAME(load)(r + j) : NAME(load_tail)(r + j, left);
        const floats shifted = value * times + magic;
        const floats rounded = shifted - magic;
        const floats e = value - rounded * unit;
        const ints whole = (ints)shifted - 0x4b400000;
        error += e * e;
        total += whole;
        squares += whole * whole;
        const bytes narrow = __builtin_convertvector(whole, bytes);
        memcpy(code + j, &narrow, left);
        if ((j & 0xffff) == 0xfff0) { /* 4096 steps of at most 2^14 a lane: far from overflow */
            for (int i = 0; i < LANES; i++) all_squares += squares[i];
            squares = (ints){0};
        }
    }
    int32_t codes = 0;
    for (int i = 0; i < LANES; i++) {
        codes += total[i];
        all_squares += squares[i];
    }
    *sum = codes;
    *square = all_squares;
    return NAME(sum_of)(error);
}

/* Any row count and column tile, by plain loops over vectors: the scalar tier, and the left-over rows of the others. */
/* out = or += v */
INLINE TARGET void NAME(put)(float *out, floats v, size_t first) {
    if (first) v += NAME(load)(out);
    memcpy(out, &v, sizeof(v));
}

TARGET static void NAME(project_rows)(const float *rows, size_t count, size_t dim, const float *basis, size_t columns,
                                      float *out) {
    for (size_t i = 0; i < count; i++)
        for (size_t first = 0; first < dim; first += KI_PROJECT_RUN)
            for (size_t c = 0; c < columns; c += 4 * LANES) {
                floats a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
                for (size_t j = first; j < dim && j < first + KI_PROJECT_RUN; j++) {
                    const floats x = NAME(spread)(rows[i * dim + j]);
                    const float *b = basis + j * columns + c;
                    a0 += x * NAME(load)(b);
                    a1 += x * NAME(load)(b + LANES);
                    a2 += x * NAME(load)(b + 2 * LANES);
                    a3 += x * NAME(load)(b + 3 * LANES);
                }
                float *to = out + i * columns + c;
                NAME(put)(to, a0, first);
                NAME(put)(to + LANES, a1, first);
                NAME(put)(to + 2 * LANES, a2, first);
                NAME(put)(to + 3 * LANES, a3, first);
            }
}
