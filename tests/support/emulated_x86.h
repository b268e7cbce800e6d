/* SPDX-License-Identifier: Apache-2.0
 *
 * AVX-512 in software, for a build with KITH_EMULATE: CMake puts this header in front of every kernel that names an
 * instruction set, so that the intrinsics for 512-bit registers, for masks and for VNNI become SIMDe's functions, and
 * what SIMDe lacks the functions below. So the avx512 tier's kernels, and with tests/support/amx_emulator.h the amx
 * tier's, run on any x86-64 machine with AVX2: what they compute can be tested everywhere, how fast they are cannot.
 *
 * V1. The functions for 256-bit registers are the processor's own. SIMDe works by halves, so a fused multiplication and
 *     addition stays fused: the bits are AVX-512's.
 * V2. Target attributes vanish, because the compiler would make AVX-512 instructions inside of them. The pragma says
 *     instead what all of these files may use.
 * V3. Masked loads and stores touch only the elements of their mask, so a forbidden page behind them is found. */
#ifndef TESTS_SUPPORT_EMULATED_X86_H
#define TESTS_SUPPORT_EMULATED_X86_H

#pragma GCC target("avx2,fma,f16c,bmi2,popcnt")

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#if !defined(SIMDE_X86_FMA_NATIVE) || !defined(SIMDE_X86_AVX2_NATIVE) || defined(SIMDE_X86_AVX512F_NATIVE)
#error "SIMDe was expected to use AVX2 and FMA, and to emulate AVX-512"
#endif

#define target(list)

#define EMULATED static inline __attribute__((always_inline, unused))

typedef union emulated_512 {
    __m512 ps;
    __m512d pd;
    __m512i si;
    __m256 ps256[2];
    __m256d pd256[2];
    __m256i si256[2];
    float f32[16];
    uint32_t u32[16];
    uint64_t u64[8];
    uint8_t u8[64];
} emulated_512;

/* ---- Conversions ------------------------------------------------------------------------------------------------- */

EMULATED __m512 emulated_cvtepi32_ps(__m512i x) {
    const emulated_512 v = {.si = x};
    return (emulated_512){.ps256 = {_mm256_cvtepi32_ps(v.si256[0]), _mm256_cvtepi32_ps(v.si256[1])}}.ps;
}

EMULATED __m512i emulated_cvtps_epi32(__m512 x) {
    const emulated_512 v = {.ps = x};
    return (emulated_512){.si256 = {_mm256_cvtps_epi32(v.ps256[0]), _mm256_cvtps_epi32(v.ps256[1])}}.si;
}

EMULATED __m512d emulated_cvtps_pd(__m256 x) {
    return (emulated_512){
        .pd256 = {_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))}}
        .pd;
}

EMULATED __m512 emulated_cvtph_ps(__m256i x) {
    return (emulated_512){
        .ps256 = {_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1))}}
        .ps;
}

EMULATED __m512i emulated_cvtepu16_epi32(__m256i x) {
    return (emulated_512){.si256 = {_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)),
                                    _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1))}}
        .si;
}

EMULATED __m512i emulated_cvtepi16_epi32(__m256i x) {
    return (emulated_512){.si256 = {_mm256_cvtepi16_epi32(_mm256_castsi256_si128(x)),
                                    _mm256_cvtepi16_epi32(_mm256_extracti128_si256(x, 1))}}
        .si;
}

EMULATED __m512i emulated_cvtepu8_epi32(__m128i x) {
    return (emulated_512){.si256 = {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))}}.si;
}

EMULATED __m512i emulated_cvtepi8_epi32(__m128i x) {
    return (emulated_512){.si256 = {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))}}.si;
}

/* These two cut. */
EMULATED __m128i emulated_cvtepi32_epi8(__m512i x) {
    const emulated_512 v = {.si = x};
    uint8_t bytes[16];
    for (int i = 0; i < 16; i++) bytes[i] = (uint8_t)v.u32[i];
    return _mm_loadu_si128((const void *)bytes);
}

EMULATED __m256i emulated_cvtepi32_epi16(__m512i x) {
    const emulated_512 v = {.si = x};
    uint16_t words[16];
    for (int i = 0; i < 16; i++) words[i] = (uint16_t)v.u32[i];
    return _mm256_loadu_si256((const void *)words);
}

/* To the nearest, whatever `rounding` says: the kernels ask for nothing else. */
EMULATED __m256i emulated_maskz_cvtps_ph(__mmask16 mask, __m512 x, int rounding) {
    const emulated_512 v = {.ps = x};
    const __m128i low = _mm256_cvtps_ph(v.ps256[0], _MM_FROUND_TO_NEAREST_INT);
    uint16_t words[16];
    (void)rounding;
    _mm256_storeu_si256((void *)words,
                        _mm256_inserti128_si256(_mm256_castsi128_si256(low),
                                                _mm256_cvtps_ph(v.ps256[1], _MM_FROUND_TO_NEAREST_INT), 1));
    for (int i = 0; i < 16; i++) words[i] = mask >> i & 1 ? words[i] : 0;
    return _mm256_loadu_si256((const void *)words);
}

EMULATED __m256 emulated_extractf32x8_ps(__m512 x, int half) {
    const emulated_512 v = {.ps = x};
    return v.ps256[half];
}

/* ---- VPDPBUSD ---------------------------------------------------------------------------------------------------- */

/* SIMDe has it, several times slower, and whole searches spend most of their time here. */
EMULATED __m256i emulated_dpbusd_256(__m256i sum, __m256i codes, __m256i query) {
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(0xFF)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(query, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), _mm256_srai_epi16(query, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

EMULATED __m512i emulated_dpbusd(__m512i sum, __m512i codes, __m512i query) {
    const emulated_512 s = {.si = sum}, c = {.si = codes}, q = {.si = query};
    return (emulated_512){.si256 = {emulated_dpbusd_256(s.si256[0], c.si256[0], q.si256[0]),
                                    emulated_dpbusd_256(s.si256[1], c.si256[1], q.si256[1])}}
        .si;
}

/* ---- Products of 16 bits ----------------------------------------------------------------------------------------- */

/* SIMDe's alias of the first takes four arguments. */
EMULATED __m512i emulated_madd_epi16(__m512i a, __m512i b) {
    const emulated_512 x = {.si = a}, y = {.si = b};
    return (emulated_512){
        .si256 = {_mm256_madd_epi16(x.si256[0], y.si256[0]), _mm256_madd_epi16(x.si256[1], y.si256[1])}}
        .si;
}

EMULATED __m512i emulated_dpwssd(__m512i sum, __m512i a, __m512i b) {
    const emulated_512 s = {.si = sum}, p = {.si = emulated_madd_epi16(a, b)};
    return (emulated_512){.si256 = {_mm256_add_epi32(s.si256[0], p.si256[0]), _mm256_add_epi32(s.si256[1], p.si256[1])}}
        .si;
}

/* ---- Masks ------------------------------------------------------------------------------------------------------- */

/* Copies of the elements of `bytes` bytes that the mask names. */
EMULATED void emulated_copy(void *to, const void *from, size_t bytes, uint64_t mask) {
    for (size_t i = 0; mask; i += bytes, mask >>= 1)
        if (mask & 1) memcpy((uint8_t *)to + i, (const uint8_t *)from + i, bytes);
}

EMULATED __m512 emulated_maskz_loadu_ps(__mmask16 mask, const void *from) {
    emulated_512 v = {.u64 = {0}};
    emulated_copy(&v, from, 4, mask);
    return v.ps;
}

EMULATED __m512i emulated_maskz_loadu_epi8(uint64_t mask, const void *from) {
    emulated_512 v = {.u64 = {0}};
    emulated_copy(&v, from, 1, mask);
    return v.si;
}

EMULATED __m256i emulated_maskz_loadu_epi16_256(__mmask16 mask, const void *from) {
    uint16_t words[16] = {0};
    emulated_copy(words, from, 2, mask);
    return _mm256_loadu_si256((const void *)words);
}

EMULATED __m128i emulated_maskz_loadu_epi8_128(__mmask16 mask, const void *from) {
    uint8_t bytes[16] = {0};
    emulated_copy(bytes, from, 1, mask);
    return _mm_loadu_si128((const void *)bytes);
}

EMULATED void emulated_mask_storeu_ps(void *to, __mmask16 mask, __m512 x) {
    emulated_copy(to, &x, 4, mask);
}

EMULATED void emulated_mask_storeu_epi16_256(void *to, __mmask16 mask, __m256i x) {
    emulated_copy(to, &x, 2, mask);
}

EMULATED __mmask16 emulated_mask_cmplt_epi32_mask(__mmask16 mask, __m512i a, __m512i b) {
    const emulated_512 x = {.si = a}, y = {.si = b};
    const int low = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(y.si256[0], x.si256[0])));
    const int high = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(y.si256[1], x.si256[1])));
    return (__mmask16)(mask & (low | high << 8));
}

/* ---- One number of all lanes ------------------------------------------------------------------------------------- */

EMULATED int64_t emulated_reduce_add_epi64(__m512i x) {
    const emulated_512 v = {.si = x};
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++) sum += v.u64[i];
    return (int64_t)sum;
}

EMULATED float emulated_reduce_max_ps(__m512 x) {
    const emulated_512 v = {.ps = x};
    float most = v.f32[0];
    for (int i = 1; i < 16; i++) most = v.f32[i] > most ? v.f32[i] : most;
    return most;
}

EMULATED float emulated_reduce_min_ps(__m512 x) {
    const emulated_512 v = {.ps = x};
    float least = v.f32[0];
    for (int i = 1; i < 16; i++) least = v.f32[i] < least ? v.f32[i] : least;
    return least;
}

EMULATED uint32_t emulated_reduce_min_epu32(__m512i x) {
    const emulated_512 v = {.si = x};
    uint32_t least = v.u32[0];
    for (int i = 1; i < 16; i++) least = v.u32[i] < least ? v.u32[i] : least;
    return least;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

#undef _mm256_dpbusd_epi32
#undef _mm512_dpbusd_epi32
#define _mm256_dpbusd_epi32 emulated_dpbusd_256
#define _mm512_dpbusd_epi32 emulated_dpbusd
#undef _mm512_madd_epi16
#undef _mm512_dpwssd_epi32
#define _mm512_madd_epi16   emulated_madd_epi16
#define _mm512_dpwssd_epi32 emulated_dpwssd
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_epi32
#undef _mm512_maskz_cvtps_ph
#undef _mm512_extractf32x8_ps
#define _mm512_cvtepi32_ps           emulated_cvtepi32_ps
#define _mm512_cvtps_epi32           emulated_cvtps_epi32
#define _mm512_cvtps_pd              emulated_cvtps_pd
#define _mm512_cvtph_ps              emulated_cvtph_ps
#define _mm512_cvtepu16_epi32        emulated_cvtepu16_epi32
#define _mm512_cvtepi16_epi32        emulated_cvtepi16_epi32
#define _mm512_cvtepu8_epi32         emulated_cvtepu8_epi32
#define _mm512_cvtepi8_epi32         emulated_cvtepi8_epi32
#define _mm512_cvtepi32_epi8         emulated_cvtepi32_epi8
#define _mm512_cvtepi32_epi16        emulated_cvtepi32_epi16
#define _mm512_maskz_cvtps_ph        emulated_maskz_cvtps_ph
#define _mm512_extractf32x8_ps       emulated_extractf32x8_ps
#define _mm512_maskz_loadu_ps        emulated_maskz_loadu_ps
#define _mm512_maskz_loadu_epi8      emulated_maskz_loadu_epi8
#define _mm256_maskz_loadu_epi16     emulated_maskz_loadu_epi16_256
#define _mm_maskz_loadu_epi8         emulated_maskz_loadu_epi8_128
#define _mm512_mask_storeu_ps        emulated_mask_storeu_ps
#define _mm256_mask_storeu_epi16     emulated_mask_storeu_epi16_256
#define _mm512_mask_cmplt_epi32_mask emulated_mask_cmplt_epi32_mask
#define _mm512_reduce_add_epi64      emulated_reduce_add_epi64
#define _mm512_reduce_max_ps         emulated_reduce_max_ps
#define _mm512_reduce_min_ps         emulated_reduce_min_ps
#define _mm512_reduce_min_epu32      emulated_reduce_min_epu32

#endif
