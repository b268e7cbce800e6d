/* SPDX-License-Identifier: Apache-2.0
 *
 * The passes of pick.h for one tier; included by pick.c once a tier with TARGET and NAME(x) defined, as
 * project_template.h is and for the same reason. A tier that has its own count_from defines OWN_COUNT. */
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

/* Floats as integers in the same order. */
TARGET static void NAME(keys_of)(const float *values, size_t count, ints *keys, ints *least, ints *most) {
    const ints lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    ints low = (ints){0} + INT32_MAX, high = (ints){0} + INT32_MIN;
    for (size_t i = 0; i < count; i += KI_BLOCK) {
        ints key;
        memcpy(&key, values + i, sizeof(key));
        key ^= (key >> 31) & 0x7fffffff;
        if (count - i < KI_BLOCK) { /* places without a value are below all */
            const ints there = lanes < (int32_t)(count - i);
            key = (key & there) | (INT32_MIN & ~there);
        }
        memcpy(keys + i / KI_BLOCK, &key, sizeof(key));
        const ints less = key<low, more = key> high;
        low = (key & less) | (low & ~less);
        high = (key & more) | (high & ~more);
    }
    *least = low;
    *most = high;
}

#ifndef OWN_COUNT
/* How many keys are at least `from`. */
TARGET static size_t NAME(count_from)(const ints *keys, size_t vectors, int32_t from) {
    ints sum = {0};
    for (size_t i = 0; i < vectors; i++) sum -= keys[i] >= from;
    int32_t count = 0;
    for (int v = 0; v < KI_BLOCK; v++) count += sum[v];
    return (size_t)count;
}
#endif

/* The least of those. */
TARGET static int32_t NAME(least_from)(const ints *keys, size_t vectors, int32_t from) {
    ints least = (ints){0} + INT32_MAX;
    for (size_t i = 0; i < vectors; i++) {
        const ints take = (keys[i] >= from) & (keys[i] < least);
        least = (keys[i] & take) | (least & ~take);
    }
    int32_t result = INT32_MAX;
    for (int v = 0; v < KI_BLOCK; v++) result = least[v] < result ? least[v] : result;
    return result;
}

TARGET static float NAME(nth)(const float *values, size_t count, size_t n, float *work) {
    ints *keys = (ints *)(void *)work, least, most;
    const size_t vectors = (count + KI_BLOCK - 1) / KI_BLOCK;
    NAME(keys_of)(values, count, keys, &least, &most);
    int32_t low = INT32_MAX, high = INT32_MIN; /* the key sought lies in low..high */
    for (int v = 0; v < KI_BLOCK; v++) {
        low = least[v] < low ? least[v] : low;
        high = most[v] > high ? most[v] : high;
    }
    for (int step = 0; low < high; step++) {
        const int32_t middle = middle_key(low, high, step);
        const size_t reached = NAME(count_from)(keys, vectors, middle);
        if (reached < n)
            high = middle - 1;
        else
            low = reached == n ? NAME(least_from)(keys, vectors, middle) : middle;
        if (reached == n) break;
    }
    return float_of(low);
}
