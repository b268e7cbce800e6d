/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/pick.h"

#include "base/rng.h"
#include "cpu/cpu.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef float floats __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64), aligned(4)));

/* A helper of nth(): called, it would be code without the attribute between a tier's wide instructions, and each change
 * to old SSE and back stalls for some seventy cycles. */
#define INLINE static inline __attribute__((always_inline))

INLINE int32_t key_of(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits ^ ((bits >> 31) & 0x7fffffff);
}

INLINE float float_of(int32_t key) {
    const int32_t bits = key ^ ((key >> 31) & 0x7fffffff);
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* A key in low+1..high: first halfway between the values, which lie more evenly than their keys, and after some steps
 * halfway between the keys, so that an end is sure. */
INLINE int32_t middle_key(int32_t low, int32_t high, int step) {
    enum { BY_VALUE = 12 };
    const float middle = float_of(low) / 2 + float_of(high) / 2;
    const int32_t key = key_of(middle);
    if (step < BY_VALUE && isfinite(middle) && key > low && key <= high) return key;
    return (int32_t)(low + ((int64_t)high - low + 1) / 2);
}

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

static size_t collect_scalar(const float *scores, float base, unsigned mask, float threshold, uint32_t first,
                             float *score, uint32_t *place, size_t used) {
    for (; mask; mask &= mask - 1) {
        const unsigned v = (unsigned)__builtin_ctz(mask);
        score[used] = scores[v] + base;
        place[used] = first + v;
        used += score[used] >= threshold;
    }
    return used;
}

#if defined(__x86_64__)
#define AVX2   __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,popcnt")))

#define TARGET  AVX2
#define NAME(x) x##_avx2
#include "kernel/pick_template.h"
#undef TARGET
#undef NAME
/* Masks are counted sooner than lanes are added up. */
#define OWN_COUNT
AVX512 static size_t count_from_avx512(const ints *keys, size_t vectors, int32_t from) {
    const __m512i least = _mm512_set1_epi32(from);
    size_t count = 0;
    for (size_t i = 0; i < vectors; i++)
        count += (size_t)__builtin_popcount(_mm512_cmpge_epi32_mask(_mm512_loadu_si512(keys + i), least));
    return count;
}

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

AVX512 static unsigned reach_avx512(const float *scores, float threshold) {
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(scores), _mm512_set1_ps(threshold), _CMP_GE_OQ);
}

AVX512 static size_t collect_avx512(const float *scores, float base, unsigned mask, float threshold, uint32_t first,
                                    float *score, uint32_t *place, size_t used) {
    const __m512 lifted = _mm512_add_ps(_mm512_loadu_ps(scores), _mm512_set1_ps(base));
    const __mmask16 take = (__mmask16)(mask & _mm512_cmp_ps_mask(lifted, _mm512_set1_ps(threshold), _CMP_GE_OQ));
    const __m512i places = _mm512_add_epi32(_mm512_set1_epi32((int)first),
                                            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    /* Compressed in a register: straight to memory is slow on some processors. */
    _mm512_storeu_ps(score + used, _mm512_maskz_compress_ps(take, lifted));
    _mm512_storeu_si512(place + used, _mm512_maskz_compress_epi32(take, places));
    return used + (size_t)__builtin_popcount(take);
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
    *table = (ki_pick_kernels){maxima_scalar, above_scalar, collect_scalar, reach_scalar, nth_scalar};
#if defined(__x86_64__)
    if (features & KI_AVX2) *table = (ki_pick_kernels){maxima_avx2, above_avx2, collect_scalar, reach_avx2, nth_avx2};
    if (features & KI_AVX512)
        *table = (ki_pick_kernels){maxima_avx512, above_avx512, collect_avx512, reach_avx512, nth_avx512};
#else
    (void)features;
#endif
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
