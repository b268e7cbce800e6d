/* SPDX-License-Identifier: Apache-2.0
 *
 * One text for all tiers: vector types of 16 floats become one, two or four registers by the function's target. */
#include "kernel/project.h"

#include "base/checked.h"
#include "cpu/cpu.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between always-inlined functions only */

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };

typedef float floats __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(64), aligned(4), may_alias));
typedef int8_t bytes __attribute__((vector_size(16), aligned(1), may_alias));

#define TARGET
#define NAME(x) x##_scalar
#include "kernel/project_template.h"
#undef TARGET
#undef NAME

#if defined(__x86_64__)
#define AVX2   __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

#define TARGET  AVX2
#define NAME(x) x##_avx2
#include "kernel/project_template.h"
#undef TARGET
#undef NAME

#define TARGET  AVX512
#define NAME(x) x##_avx512
#include "kernel/project_template.h"
#undef TARGET
#undef NAME

/* Three rows by 32 columns: twelve accumulators, four basis vectors, as the 16 registers allow. */
AVX2 static void project_avx2(const float *rows, size_t count, size_t dim, const float *basis, size_t columns,
                              float *out) {
    enum { ROWS = 3, TILE = 32 };
    size_t i = 0;
    for (; i + ROWS <= count; i += ROWS)
        for (size_t c = 0, first = 0; first < dim;
             c += TILE, first += c == columns ? KI_PROJECT_RUN : 0, c = c == columns ? 0 : c) {
            const size_t end = ki_min_size(dim, first + KI_PROJECT_RUN);
            __m256 acc[ROWS][4];
#pragma GCC unroll 3
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
                for (int s = 0; s < 4; s++) acc[r][s] = _mm256_setzero_ps();
            for (size_t j = first; j < end; j++) {
                const float *b = basis + j * columns + c;
#pragma GCC unroll 3
                for (int r = 0; r < ROWS; r++) {
                    const __m256 x = _mm256_set1_ps(rows[(i + (size_t)r) * dim + j]);
#pragma GCC unroll 4
                    for (int s = 0; s < 4; s++) acc[r][s] = _mm256_fmadd_ps(x, _mm256_loadu_ps(b + 8 * s), acc[r][s]);
                }
            }
#pragma GCC unroll 3
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
                for (int s = 0; s < 4; s++) {
                    float *to = out + (i + (size_t)r) * columns + c + 8 * s;
                    _mm256_storeu_ps(to, first ? _mm256_add_ps(acc[r][s], _mm256_loadu_ps(to)) : acc[r][s]);
                }
        }
    project_rows_avx2(rows + i * dim, count - i, dim, basis, columns, out + i * columns);
}

/* Six rows by 64 columns: 24 accumulators, four basis vectors. */
AVX512 static void project_avx512(const float *rows, size_t count, size_t dim, const float *basis, size_t columns,
                                  float *out) {
    enum { ROWS = 6, TILE = 64 };
    size_t i = 0;
    for (; i + ROWS <= count; i += ROWS)
        for (size_t c = 0, first = 0; first < dim;
             c += TILE, first += c == columns ? KI_PROJECT_RUN : 0, c = c == columns ? 0 : c) {
            const size_t end = ki_min_size(dim, first + KI_PROJECT_RUN);
            __m512 acc[ROWS][4];
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
                for (int s = 0; s < 4; s++) acc[r][s] = _mm512_setzero_ps();
            for (size_t j = first; j < end; j++) {
                const float *b = basis + j * columns + c;
                __m512 v[4];
#pragma GCC unroll 4
                for (int s = 0; s < 4; s++) v[s] = _mm512_loadu_ps(b + 16 * s);
#pragma GCC unroll 6
                for (int r = 0; r < ROWS; r++) {
                    const __m512 x = _mm512_set1_ps(rows[(i + (size_t)r) * dim + j]);
#pragma GCC unroll 4
                    for (int s = 0; s < 4; s++) acc[r][s] = _mm512_fmadd_ps(x, v[s], acc[r][s]);
                }
            }
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
                for (int s = 0; s < 4; s++) {
                    float *to = out + (i + (size_t)r) * columns + c + 16 * s;
                    _mm512_storeu_ps(to, first ? _mm512_add_ps(acc[r][s], _mm512_loadu_ps(to)) : acc[r][s]);
                }
        }
    project_rows_avx512(rows + i * dim, count - i, dim, basis, columns, out + i * columns);
}
#endif

void ki_project_fill(uint32_t features, ki_project_kernels *table) {
    *table = (ki_project_kernels){project_rows_scalar, centre_scalar, quantise_scalar};
#if defined(__x86_64__)
    if (features & KI_AVX2) *table = (ki_project_kernels){project_avx2, centre_avx2, quantise_avx2};
    if (features & KI_AVX512) *table = (ki_project_kernels){project_avx512, centre_avx512, quantise_avx512};
#else
    (void)features;
#endif
}
