/* SPDX-License-Identifier: Apache-2.0
 *
 * The distance kernels for AVX-512 (F, BW, DQ, VL). The sixteen partial sums of D1 are one register, so a pair is one
 * chain of fma: its latency bounds a single pair in cache, which is what the kernels for four rows are for.
 *
 * Departure: AVX512-BF16's products take denormals for zero and AVX512-FP16 rounds to half, so neither may be used:
 * every element becomes a float first.
 *
 * I1. Tails are masked loads, which do not touch what they leave out.
 * I2. Only explicit fma: no multiplication stands where a compiler could fuse it with an addition.
 *
 * Any thread, on a processor with KI_AVX512; the bit kernels also need KI_AVX512VPOPCNT and otherwise stay AVX2's. */
#include "kernel/distance.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernel/distance_types.h"

#define TARGET_LIST   "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2,popcnt"
#define TARGET        __attribute__((target(TARGET_LIST)))
#define TARGET_POPCNT __attribute__((target(TARGET_LIST ",avx512vpopcntdq")))
#define INLINE        TARGET static inline __attribute__((always_inline))

enum { LANES = 16, BITS_STEP = 64 };

/* ---- Loads ------------------------------------------------------------------------------------------------------- */

INLINE size_t element_bytes(kith_dtype type) {
    return type == KITH_F32 ? 4 : type == KITH_F16 || type == KITH_BF16 ? 2 : 1;
}

/* Sixteen elements from `bytes`, any alignment. */
INLINE __m512 load(kith_dtype type, const uint8_t *bytes) {
    switch (type) {
    case KITH_F32:
        return _mm512_loadu_ps(bytes);
    case KITH_F16:
        return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)bytes));
    case KITH_BF16:
        return _mm512_castsi512_ps(
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)bytes)), 16));
    case KITH_I8:
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)bytes)));
    default:
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)bytes)));
    }
}

INLINE __mmask16 tail_mask(size_t count) {
    return (__mmask16)_bzhi_u32(0xFFFF, (unsigned)count);
}

/* The elements in `mask`, zeros elsewhere. */
INLINE __m512 load_masked(kith_dtype type, const uint8_t *bytes, __mmask16 mask) {
    switch (type) {
    case KITH_F32:
        return _mm512_maskz_loadu_ps(mask, bytes);
    case KITH_F16:
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, bytes));
    case KITH_BF16:
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, bytes)), 16));
    case KITH_I8:
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, bytes)));
    default:
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, bytes)));
    }
}

/* ---- Sums (D1, D3) ----------------------------------------------------------------------------------------------- */

INLINE __m512 step(enum pair_op op, __m512 q, __m512 x, __m512 sum) {
    if (op == PAIR_DOT) return _mm512_fmadd_ps(q, x, sum);
    const __m512 difference = _mm512_sub_ps(q, x);
    return _mm512_fmadd_ps(difference, difference, sum);
}

INLINE __m256 reduce_to_8(__m512 sum) {
    return _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
}

INLINE float reduce(__m512 sum) {
    const __m256 r8 = reduce_to_8(sum);
    const __m128 r4 = _mm_add_ps(_mm256_castps256_ps128(r8), _mm256_extractf128_ps(r8, 1));
    const __m128 r2 = _mm_add_ps(r4, _mm_movehl_ps(r4, r4));
    return _mm_cvtss_f32(_mm_add_ss(r2, _mm_movehdup_ps(r2)));
}

/* The same tree for four sums side by side. */
INLINE void reduce4(__m512 a, __m512 b, __m512 c, __m512 d, float out[4]) {
    const __m256 a8 = reduce_to_8(a), b8 = reduce_to_8(b), c8 = reduce_to_8(c), d8 = reduce_to_8(d);
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
    __m512 sum = _mm512_setzero_ps();

    for (size_t i = 0; i < whole; i += LANES)
        sum = step(op, load(KITH_F32, q_bytes + i * 4), load(type, x_bytes + i * size), sum);
    if (whole < dim) {
        const __mmask16 mask = tail_mask(dim - whole);
        sum = step(op, load_masked(KITH_F32, q_bytes + whole * 4, mask),
                   load_masked(type, x_bytes + whole * size, mask), sum);
    }
    return reduce(sum);
}

INLINE void quad_any(enum pair_op op, kith_dtype type, const float *q, const void *const x[4], size_t dim,
                     float out[4]) {
    const uint8_t *q_bytes = (const uint8_t *)q, *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    const size_t size = element_bytes(type), whole = dim - dim % LANES;
    __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0, sum2 = sum0, sum3 = sum0;

    for (size_t i = 0; i < whole; i += LANES) {
        const __m512 query = load(KITH_F32, q_bytes + i * 4);
        sum0 = step(op, query, load(type, x0 + i * size), sum0);
        sum1 = step(op, query, load(type, x1 + i * size), sum1);
        sum2 = step(op, query, load(type, x2 + i * size), sum2);
        sum3 = step(op, query, load(type, x3 + i * size), sum3);
    }
    if (whole < dim) {
        const __mmask16 mask = tail_mask(dim - whole);
        const __m512 query = load_masked(KITH_F32, q_bytes + whole * 4, mask);
        sum0 = step(op, query, load_masked(type, x0 + whole * size, mask), sum0);
        sum1 = step(op, query, load_masked(type, x1 + whole * size, mask), sum1);
        sum2 = step(op, query, load_masked(type, x2 + whole * size, mask), sum2);
        sum3 = step(op, query, load_masked(type, x3 + whole * size, mask), sum3);
    }
    reduce4(sum0, sum1, sum2, sum3, out);
}

INLINE double norm2_any(kith_dtype type, const void *x, size_t dim) {
    const uint8_t *bytes = x;
    const size_t size = element_bytes(type);
    __m512d sum0 = _mm512_setzero_pd(), sum8 = sum0;

    for (size_t i = 0; i < dim; i += LANES) {
        const __m512 b =
            dim - i >= LANES ? load(type, bytes + i * size) : load_masked(type, bytes + i * size, tail_mask(dim - i));
        const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(b));
        const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(b, 1));
        sum0 = _mm512_fmadd_pd(low, low, sum0);
        sum8 = _mm512_fmadd_pd(high, high, sum8);
    }
    const __m512d r8 = _mm512_add_pd(sum0, sum8);
    const __m256d r4 = _mm256_add_pd(_mm512_castpd512_pd256(r8), _mm512_extractf64x4_pd(r8, 1));
    const __m128d r2 = _mm_add_pd(_mm256_castpd256_pd128(r4), _mm256_extractf128_pd(r4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(r2, _mm_unpackhi_pd(r2, r2)));
}

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

INLINE void to_f32_any(kith_dtype type, const void *x, size_t count, float *out) {
    const uint8_t *bytes = x;
    const size_t size = element_bytes(type), whole = count - count % LANES;

    for (size_t i = 0; i < whole; i += LANES) _mm512_storeu_ps(out + i, load(type, bytes + i * size));
    if (whole < count) {
        const __mmask16 mask = tail_mask(count - whole);
        _mm512_mask_storeu_ps(out + whole, mask, load_masked(type, bytes + whole * size, mask));
    }
}

/* With a full mask, because gcc's form without one is a macro that trips -Wsign-conversion when not optimising. */
INLINE __m256i to_f16(__m512 x) {
    return _mm512_maskz_cvtps_ph((__mmask16)0xFFFF, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* Sixteen floats to the nearest bf16, ties to even; NaN is cut and made quiet. By integers: the processor's own
 * instruction takes denormals for zero. */
INLINE __m256i to_bf16(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i fixed = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x00400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(fixed, 16));
}

INLINE void from_f32_any(kith_dtype type, const float *x, size_t count, void *out) {
    const uint8_t *from = (const uint8_t *)x;
    uint8_t *to = out;

    for (size_t i = 0; i < count; i += LANES) {
        const __mmask16 mask = count - i < LANES ? tail_mask(count - i) : (__mmask16)0xFFFF;
        const __m512 b = load_masked(KITH_F32, from + i * 4, mask);
        const __m256i halves = type == KITH_F16 ? to_f16(b) : to_bf16(b);
        _mm256_mask_storeu_epi16(to + i * 2, mask, halves);
    }
}

TARGET static void from_f32_f16_avx512(const float *x, size_t count, void *out) {
    from_f32_any(KITH_F16, x, count, out);
}

TARGET static void from_f32_bf16_avx512(const float *x, size_t count, void *out) {
    from_f32_any(KITH_BF16, x, count, out);
}

/* ---- Bits -------------------------------------------------------------------------------------------------------- */

/* 64 bytes, or the `left` that there are and then zeros. */
INLINE __m512i load_bits(const uint8_t *bytes, size_t left) {
    if (left >= BITS_STEP) return _mm512_loadu_si512(bytes);
    return _mm512_maskz_loadu_epi8(_bzhi_u64(UINT64_MAX, (unsigned)left), bytes);
}

TARGET_POPCNT static void bits_avx512(const uint8_t *a, const uint8_t *b, size_t bytes, uint64_t *both,
                                      uint64_t *either) {
    __m512i sum_both = _mm512_setzero_si512(), sum_either = sum_both;

    for (size_t i = 0; i < bytes; i += BITS_STEP) {
        const __m512i block_a = load_bits(a + i, bytes - i), block_b = load_bits(b + i, bytes - i);
        sum_both = _mm512_add_epi64(sum_both, _mm512_popcnt_epi64(_mm512_and_si512(block_a, block_b)));
        sum_either = _mm512_add_epi64(sum_either, _mm512_popcnt_epi64(_mm512_or_si512(block_a, block_b)));
    }
    *both = (uint64_t)_mm512_reduce_add_epi64(sum_both);
    *either = (uint64_t)_mm512_reduce_add_epi64(sum_either);
}

TARGET_POPCNT static uint64_t hamming_avx512(const uint8_t *a, const uint8_t *b, size_t bytes) {
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < bytes; i += BITS_STEP) {
        const __m512i differ = _mm512_xor_si512(load_bits(a + i, bytes - i), load_bits(b + i, bytes - i));
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(differ));
    }
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

KI_DISTANCE_TYPES(TARGET, avx512)

void ki_distance_fill_avx512(uint32_t features, ki_distance_kernels *table) {
    if (!(features & KI_AVX512)) return;
    KI_DISTANCE_SET_ALL(table, avx512);
    table->from_f32[KITH_F16] = from_f32_f16_avx512;
    table->from_f32[KITH_BF16] = from_f32_bf16_avx512;
    if (features & KI_AVX512VPOPCNT) {
        table->bits = bits_avx512;
        table->hamming = hamming_avx512;
    }
}

#else

void ki_distance_fill_avx512(uint32_t features, ki_distance_kernels *table) {
    (void)features;
    (void)table;
}

#endif
