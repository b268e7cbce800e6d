/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/pick.h"

#include "base/rng.h"
#include "cpu/cpu.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef float floats __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64)));

#define TARGET
#define NAME(x) x##_scalar
#include "kernel/pick_template.h"
#undef TARGET
#undef NAME

static size_t above_scalar(const float *scores, size_t blocks, float threshold, uint32_t *index, size_t capacity) {
    size_t count = 0;
    for (size_t i = 0; i < blocks * KI_BLOCK; i++)
        if (scores[i] >= threshold) {
            if (count < capacity) index[count] = (uint32_t)i;
            count++;
        }
    return count;
}

static unsigned reach_scalar(const float *scores, float threshold) {
    unsigned mask = 0;
    for (int v = 0; v < KI_BLOCK; v++) mask |= (unsigned)(scores[v] >= threshold) << v;
    return mask;
}

static float nth_by_selection(const float *values, size_t groups, size_t n, float *work) {
    memcpy(work, values, groups * KI_BLOCK * sizeof(float));
    return ki_pick_nth(work, groups * KI_BLOCK, n);
}

#if defined(__x86_64__)
#define AVX2   __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt")))

#define TARGET  AVX2
#define NAME(x) x##_avx2
#include "kernel/pick_template.h"
#undef TARGET
#undef NAME
#define TARGET  AVX512
#define NAME(x) x##_avx512
#include "kernel/pick_template.h"
#undef TARGET
#undef NAME

/* Note the set bits of a block's mask. */
#define NOTE_MASK(mask, block)                                                                                         \
    for (unsigned m = (mask); m; m &= m - 1) {                                                                         \
        if (count < capacity) index[count] = (uint32_t)((block)*KI_BLOCK) + (unsigned)__builtin_ctz(m);                \
        count++;                                                                                                       \
    }

AVX2 static size_t above_avx2(const float *scores, size_t blocks, float threshold, uint32_t *index, size_t capacity) {
    const __m256 least = _mm256_set1_ps(threshold);
    size_t count = 0;
    for (size_t b = 0; b < blocks; b++) {
        const __m256 low = _mm256_cmp_ps(_mm256_loadu_ps(scores + b * KI_BLOCK), least, _CMP_GE_OQ);
        const __m256 high = _mm256_cmp_ps(_mm256_loadu_ps(scores + b * KI_BLOCK + 8), least, _CMP_GE_OQ);
        NOTE_MASK((unsigned)_mm256_movemask_ps(low) | (unsigned)_mm256_movemask_ps(high) << 8, b)
    }
    return count;
}

AVX2 static unsigned reach_avx2(const float *scores, float threshold) {
    const __m256 least = _mm256_set1_ps(threshold);
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(scores), least, _CMP_GE_OQ)) |
           (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(scores + 8), least, _CMP_GE_OQ)) << 8;
}

/* Few values: those with fewer than n larger ones are the n largest (and their equals); the least of them is sought. */
AVX2 static float nth_avx2(const float *values, size_t groups, size_t n, float *work) {
    __m256i larger[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                         _mm256_setzero_si256()};
    if (groups > 2) return nth_by_selection(values, groups, n, work);
    for (size_t i = 0; i < groups * KI_BLOCK; i++)
        for (size_t h = 0; h < groups * 2; h++)
            larger[h] = _mm256_sub_epi32(
                larger[h], _mm256_castps_si256(_mm256_cmp_ps(_mm256_broadcast_ss(values + i),
                                                             _mm256_loadu_ps(values + 8 * h), _CMP_GT_OQ)));
    __m256 least = _mm256_set1_ps(__builtin_inff());
    for (size_t h = 0; h < groups * 2; h++) {
        const __m256i among = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), larger[h]);
        least =
            _mm256_min_ps(least, _mm256_blendv_ps(least, _mm256_loadu_ps(values + 8 * h), _mm256_castsi256_ps(among)));
    }
    float lane[8], result = __builtin_inff();
    _mm256_storeu_ps(lane, least);
    for (int v = 0; v < 8; v++) result = lane[v] < result ? lane[v] : result;
    return result;
}

AVX512 static unsigned reach_avx512(const float *scores, float threshold) {
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(scores), _mm512_set1_ps(threshold), _CMP_GE_OQ);
}

AVX512 static float nth_avx512(const float *values, size_t groups, size_t n, float *work) {
    if (groups > 4) return nth_by_selection(values, groups, n, work);
    float least = __builtin_inff();
    for (size_t i = 0; i < groups * KI_BLOCK; i++) {
        const __m512 value = _mm512_set1_ps(values[i]);
        unsigned larger = 0;
        for (size_t g = 0; g < groups; g++)
            larger += (unsigned)__builtin_popcount(
                _mm512_cmp_ps_mask(_mm512_loadu_ps(values + g * KI_BLOCK), value, _CMP_GT_OQ));
        least = larger < n && values[i] < least ? values[i] : least;
    }
    return least;
}

AVX512 static size_t above_avx512(const float *scores, size_t blocks, float threshold, uint32_t *index,
                                  size_t capacity) {
    const __m512 least = _mm512_set1_ps(threshold);
    size_t count = 0;
    for (size_t b = 0; b < blocks; b++)
        NOTE_MASK(_mm512_cmp_ps_mask(_mm512_loadu_ps(scores + b * KI_BLOCK), least, _CMP_GE_OQ), b)
    return count;
}
#endif

void ki_pick_fill(uint32_t features, ki_pick_kernels *table) {
    *table = (ki_pick_kernels){maxima_scalar, above_scalar, lift_scalar, reach_scalar, nth_by_selection};
#if defined(__x86_64__)
    if (features & KI_AVX2) *table = (ki_pick_kernels){maxima_avx2, above_avx2, lift_avx2, reach_avx2, nth_avx2};
    if (features & KI_AVX512)
        *table = (ki_pick_kernels){maxima_avx512, above_avx512, lift_avx512, reach_avx512, nth_avx512};
#else
    (void)features;
#endif
}

static ki_pick_kernels process_table;

static void fill_process_table(void) {
    ki_pick_fill(ki_cpu_features(), &process_table);
}

const ki_pick_kernels *ki_pick(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_process_table);
    return &process_table;
}

float ki_pick_nth(float *values, size_t count, size_t n) {
    ki_rng rng = {count};
    size_t low = 0, high = count; /* the n-th largest lies in low..high */
    while (high - low > 1) {
        const float pivot = values[low + ki_rng_below(&rng, high - low)];
        size_t more = low, less = high, i = low;
        while (i < less) {
            const float value = values[i];
            if (value > pivot) {
                values[i++] = values[more];
                values[more++] = value;
            } else if (value < pivot) {
                values[i] = values[--less];
                values[less] = value;
            } else {
                i++;
            }
        }
        if (n <= more)
            high = more;
        else if (n > less)
            low = less;
        else
            return pivot;
    }
    return values[low];
}
