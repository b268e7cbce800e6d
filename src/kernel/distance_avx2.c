/* SPDX-License-Identifier: Apache-2.0
 *
 * The distance kernels for AVX2 with FMA and F16C. The sixteen partial sums of D1 are two registers of eight floats.
 *
 * I1. Tails never read past the operand: floats come by masked loads, which do not touch what they leave out; narrower
 *     elements are copied to a block of zeros first.
 * I2. Only explicit fma: no multiplication stands where a compiler could fuse it with an addition.
 *
 * Any thread, on a processor with KI_AVX2. */
#include "kernel/distance.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/distance_types.h"

#define TARGET __attribute__((target("avx2,fma,f16c,bmi2,popcnt")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum { LANES = 16, BITS_STEP = 32 };

typedef struct block {
    __m256 low, high; /* elements 0..7 and 8..15 */
} block;

/* ---- Loads ------------------------------------------------------------------------------------------------------- */

INLINE size_t element_bytes(kith_dtype type) {
    return type == KITH_F32 ? 4 : type == KITH_F16 || type == KITH_BF16 ? 2 : 1;
}

/* Sixteen elements from `bytes`, any alignment. */
INLINE block load(kith_dtype type, const uint8_t *bytes) {
    switch (type) {
    case KITH_F32:
        return (block){_mm256_loadu_ps((const float *)(const void *)bytes),
                       _mm256_loadu_ps((const float *)(const void *)(bytes + 32))};
    case KITH_F16:
        return (block){_mm256_cvtph_ps(_mm_loadu_si128((const void *)bytes)),
                       _mm256_cvtph_ps(_mm_loadu_si128((const void *)(bytes + 16)))};
    case KITH_BF16: {
        const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)bytes));
        const __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(bytes + 16)));
        return (block){_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)),
                       _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
    }
    case KITH_I8: {
        const __m128i all = _mm_loadu_si128((const void *)bytes);
        return (block){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(all)),
                       _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(all, 8)))};
    }
    default: {
        const __m128i all = _mm_loadu_si128((const void *)bytes);
        return (block){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(all)),
                       _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(all, 8)))};
    }
    }
}

/* All bits set in the first `count` of eight lanes. */
INLINE __m256i lane_mask(size_t count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
}

/* The first `count` < 16 elements, then zeros. */
INLINE block load_tail(kith_dtype type, const uint8_t *bytes, size_t count) {
    if (type == KITH_F32) {
        const float *from = (const float *)(const void *)bytes;
        const size_t in_high = count > 8 ? count - 8 : 0;
        /* The high half's address may lie past the operand; with an empty mask it is not read. */
        const float *from_high = in_high ? from + 8 : from;
        return (block){_mm256_maskload_ps(from, lane_mask(count)), _mm256_maskload_ps(from_high, lane_mask(in_high))};
    }
    uint8_t padded[LANES * 2] = {0};
    uint8_t *to = padded;
    size_t left = count * element_bytes(type);
    if (left & 16) {
        memcpy(to, bytes, 16);
        to += 16, bytes += 16;
    }
    if (left & 8) {
        memcpy(to, bytes, 8);
        to += 8, bytes += 8;
    }
    if (left & 4) {
        memcpy(to, bytes, 4);
        to += 4, bytes += 4;
    }
    for (left &= 3; left; left--) *to++ = *bytes++;
    return load(type, padded);
}

/* ---- Sums (D1, D3) ----------------------------------------------------------------------------------------------- */

INLINE block step(enum pair_op op, block q, block x, block sum) {
    if (op == PAIR_DOT)
        return (block){_mm256_fmadd_ps(q.low, x.low, sum.low), _mm256_fmadd_ps(q.high, x.high, sum.high)};
    const __m256 low = _mm256_sub_ps(q.low, x.low), high = _mm256_sub_ps(q.high, x.high);
    return (block){_mm256_fmadd_ps(low, low, sum.low), _mm256_fmadd_ps(high, high, sum.high)};
}

INLINE block zero_block(void) {
    return (block){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

INLINE float reduce(block sum) {
    const __m256 r8 = _mm256_add_ps(sum.low, sum.high);
    const __m128 r4 = _mm_add_ps(_mm256_castps256_ps128(r8), _mm256_extractf128_ps(r8, 1));
    const __m128 r2 = _mm_add_ps(r4, _mm_movehl_ps(r4, r4));
    return _mm_cvtss_f32(_mm_add_ss(r2, _mm_movehdup_ps(r2)));
}

/* The same tree for four sums side by side. */
INLINE void reduce4(block a, block b, block c, block d, float out[4]) {
    const __m256 a8 = _mm256_add_ps(a.low, a.high), b8 = _mm256_add_ps(b.low, b.high);
    const __m256 c8 = _mm256_add_ps(c.low, c.high), d8 = _mm256_add_ps(d.low, d.high);
    const __m256 ab4 = _mm256_add_ps(_mm256_permute2f128_ps(a8, b8, 0x20), _mm256_permute2f128_ps(a8, b8, 0x31));
    const __m256 cd4 = _mm256_add_ps(_mm256_permute2f128_ps(c8, d8, 0x20), _mm256_permute2f128_ps(c8, d8, 0x31));
    const __m256d ab = _mm256_castps_pd(ab4), cd = _mm256_castps_pd(cd4);
    const __m256 acbd2 = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)),  /* elements 0, 1 of a c | b d */
                                       _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd))); /* and 2, 3 */
    const __m256 sums = _mm256_hadd_ps(acbd2, acbd2);                                 /* a c a c | b d b d */
    _mm_storeu_ps(out, _mm_unpacklo_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
}

INLINE float pair_any(enum pair_op op, kith_dtype type, const float *q, const void *x, size_t dim) {
    const uint8_t *q_bytes = (const uint8_t *)q, *x_bytes = x;
    const size_t size = element_bytes(type), whole = dim - dim % LANES;
    block sum = zero_block();

    for (size_t i = 0; i < whole; i += LANES)
        sum = step(op, load(KITH_F32, q_bytes + i * 4), load(type, x_bytes + i * size), sum);
    if (whole < dim)
        sum = step(op, load_tail(KITH_F32, q_bytes + whole * 4, dim - whole),
                   load_tail(type, x_bytes + whole * size, dim - whole), sum);
    return reduce(sum);
}

INLINE void quad_any(enum pair_op op, kith_dtype type, const float *q, const void *const x[4], size_t dim,
                     float out[4]) {
    const uint8_t *q_bytes = (const uint8_t *)q, *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    const size_t size = element_bytes(type), whole = dim - dim % LANES;
    block sum0 = zero_block(), sum1 = sum0, sum2 = sum0, sum3 = sum0;

    for (size_t i = 0; i < whole; i += LANES) {
        const block query = load(KITH_F32, q_bytes + i * 4);
        sum0 = step(op, query, load(type, x0 + i * size), sum0);
        sum1 = step(op, query, load(type, x1 + i * size), sum1);
        sum2 = step(op, query, load(type, x2 + i * size), sum2);
        sum3 = step(op, query, load(type, x3 + i * size), sum3);
    }
    if (whole < dim) {
        const block query = load_tail(KITH_F32, q_bytes + whole * 4, dim - whole);
        sum0 = step(op, query, load_tail(type, x0 + whole * size, dim - whole), sum0);
        sum1 = step(op, query, load_tail(type, x1 + whole * size, dim - whole), sum1);
        sum2 = step(op, query, load_tail(type, x2 + whole * size, dim - whole), sum2);
        sum3 = step(op, query, load_tail(type, x3 + whole * size, dim - whole), sum3);
    }
    reduce4(sum0, sum1, sum2, sum3, out);
}

/* Four floats squared into four sums of double. */
INLINE __m256d norm2_step(__m128 x, __m256d sum) {
    const __m256d wide = _mm256_cvtps_pd(x);
    return _mm256_fmadd_pd(wide, wide, sum);
}

INLINE double norm2_any(kith_dtype type, const void *x, size_t dim) {
    const uint8_t *bytes = x;
    const size_t size = element_bytes(type);
    __m256d sum0 = _mm256_setzero_pd(), sum4 = sum0, sum8 = sum0, sum12 = sum0;

    for (size_t i = 0; i < dim; i += LANES) {
        const block b = dim - i >= LANES ? load(type, bytes + i * size) : load_tail(type, bytes + i * size, dim - i);
        sum0 = norm2_step(_mm256_castps256_ps128(b.low), sum0);
        sum4 = norm2_step(_mm256_extractf128_ps(b.low, 1), sum4);
        sum8 = norm2_step(_mm256_castps256_ps128(b.high), sum8);
        sum12 = norm2_step(_mm256_extractf128_ps(b.high, 1), sum12);
    }
    const __m256d r4 = _mm256_add_pd(_mm256_add_pd(sum0, sum8), _mm256_add_pd(sum4, sum12));
    const __m128d r2 = _mm_add_pd(_mm256_castpd256_pd128(r4), _mm256_extractf128_pd(r4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(r2, _mm_unpackhi_pd(r2, r2)));
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

INLINE void store(float *out, block b) {
    _mm256_storeu_ps(out, b.low);
    _mm256_storeu_ps(out + 8, b.high);
}

INLINE void to_f32_any(kith_dtype type, const void *x, size_t count, float *out) {
    const uint8_t *bytes = x;
    const size_t size = element_bytes(type), whole = count - count % LANES;

    for (size_t i = 0; i < whole; i += LANES) store(out + i, load(type, bytes + i * size));
    if (whole < count) {
        float padded[LANES];
        store(padded, load_tail(type, bytes + whole * size, count - whole));
        memcpy(out + whole, padded, (count - whole) * sizeof(float));
    }
}

INLINE __m128i to_f16(__m256 x) {
    return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* Eight floats to the nearest bf16, ties to even; NaN is cut and made quiet. */
INLINE __m128i to_bf16(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
}

INLINE void from_f32_any(kith_dtype type, const float *x, size_t count, void *out) {
    const uint8_t *from = (const uint8_t *)x;
    uint8_t *to = out;

    for (size_t i = 0; i < count; i += LANES) {
        const bool tail = count - i < LANES;
        const block b = tail ? load_tail(KITH_F32, from + i * 4, count - i) : load(KITH_F32, from + i * 4);
        const __m128i low = type == KITH_F16 ? to_f16(b.low) : to_bf16(b.low);
        const __m128i high = type == KITH_F16 ? to_f16(b.high) : to_bf16(b.high);
        if (tail) {
            const __m128i padded[2] = {low, high};
            memcpy(to + i * 2, padded, (count - i) * 2);
        } else {
            _mm_storeu_si128((void *)(to + i * 2), low);
            _mm_storeu_si128((void *)(to + i * 2 + 16), high);
        }
    }
}

TARGET static void from_f32_f16_avx2(const float *x, size_t count, void *out) {
    from_f32_any(KITH_F16, x, count, out);
}

TARGET static void from_f32_bf16_avx2(const float *x, size_t count, void *out) {
    from_f32_any(KITH_BF16, x, count, out);
}

/* ---- Bits -------------------------------------------------------------------------------------------------------- */

/* Set bits of each 8 bytes, by looking up both nibbles of every byte. */
INLINE __m256i popcount(__m256i v) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, /* both lanes alike */
                                           0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(v, nibble));
    const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
    return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

INLINE uint64_t sum_words(__m256i v) {
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return (uint64_t)_mm_cvtsi128_si64(two) + (uint64_t)_mm_extract_epi64(two, 1);
}

INLINE __m256i load_bits(const uint8_t *bytes) {
    return _mm256_loadu_si256((const void *)bytes);
}

/* Eight bytes, or the `left` < 8 that there are and then zeros; reads whole pieces, no loop over bytes. */
INLINE uint64_t load_word(const uint8_t *bytes, size_t left) {
    uint64_t word = 0;
    uint32_t four;
    uint16_t two;

    if (left >= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        return word;
    }
    if (left & 1) word = bytes[left - 1];
    if (left & 2) {
        memcpy(&two, bytes + (left & 4), sizeof two);
        word = word << 16 | two;
    }
    if (left & 4) {
        memcpy(&four, bytes, sizeof four);
        word = word << 32 | four;
    }
    return word;
}

TARGET static void bits_avx2(const uint8_t *a, const uint8_t *b, size_t bytes, uint64_t *both, uint64_t *either) {
    __m256i sum_both = _mm256_setzero_si256(), sum_either = sum_both;
    size_t i = 0;

    for (; bytes - i >= BITS_STEP; i += BITS_STEP) {
        const __m256i block_a = load_bits(a + i), block_b = load_bits(b + i);
        sum_both = _mm256_add_epi64(sum_both, popcount(_mm256_and_si256(block_a, block_b)));
        sum_either = _mm256_add_epi64(sum_either, popcount(_mm256_or_si256(block_a, block_b)));
    }
    uint64_t tail_both = 0, tail_either = 0;
    for (; i < bytes; i += ki_min_size(bytes - i, sizeof(uint64_t))) {
        const uint64_t word_a = load_word(a + i, bytes - i), word_b = load_word(b + i, bytes - i);
        tail_both += (uint64_t)_mm_popcnt_u64(word_a & word_b);
        tail_either += (uint64_t)_mm_popcnt_u64(word_a | word_b);
    }
    *both = sum_words(sum_both) + tail_both;
    *either = sum_words(sum_either) + tail_either;
}

TARGET static uint64_t hamming_avx2(const uint8_t *a, const uint8_t *b, size_t bytes) {
    __m256i sum = _mm256_setzero_si256();
    uint64_t tail = 0;
    size_t i = 0;

    for (; bytes - i >= BITS_STEP; i += BITS_STEP)
        sum = _mm256_add_epi64(sum, popcount(_mm256_xor_si256(load_bits(a + i), load_bits(b + i))));
    for (; i < bytes; i += ki_min_size(bytes - i, sizeof(uint64_t)))
        tail += (uint64_t)_mm_popcnt_u64(load_word(a + i, bytes - i) ^ load_word(b + i, bytes - i));
    return sum_words(sum) + tail;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

KI_DISTANCE_TYPES(TARGET, avx2)

void ki_distance_fill_avx2(uint32_t features, ki_distance_kernels *table) {
    if (!(features & KI_AVX2)) return;
    KI_DISTANCE_SET_ALL(table, avx2);
    table->from_f32[KITH_F16] = from_f32_f16_avx2;
    table->from_f32[KITH_BF16] = from_f32_bf16_avx2;
    table->bits = bits_avx2;
    table->hamming = hamming_avx2;
}

#else

void ki_distance_fill_avx2(uint32_t features, ki_distance_kernels *table) {
    (void)features;
    (void)table;
}

#endif
