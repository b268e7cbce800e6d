/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/cluster.h"

#include "cpu/cpu.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef float floats __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64)));

#define TARGET
#define NAME(x) x##_scalar
#include "kernel/cluster_template.h"
#undef TARGET
#undef NAME

static void add_scalar(const int8_t *code, float scale, size_t dim, float *sum) {
    for (size_t j = 0; j < dim; j++) sum[j] += scale * (float)code[j];
}

#if defined(__x86_64__)
#define AVX2   __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

/* By hand: compilers take vectors of bytes apart to widen them. */
AVX2 static void add_avx2(const int8_t *code, float scale, size_t dim, float *sum) {
    const __m256 times = _mm256_set1_ps(scale);
    size_t j = 0;
    for (; j + 8 <= dim; j += 8) {
        const __m256i eight = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(code + j)));
        const __m256 more = _mm256_mul_ps(_mm256_cvtepi32_ps(eight), times);
        _mm256_storeu_ps(sum + j, _mm256_add_ps(_mm256_loadu_ps(sum + j), more));
    }
    add_scalar(code + j, scale, dim - j, sum + j);
}

AVX512 static void add_avx512(const int8_t *code, float scale, size_t dim, float *sum) {
    const __m512 times = _mm512_set1_ps(scale);
    size_t j = 0;
    for (; j + 16 <= dim; j += 16) {
        const __m512i sixteen = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(code + j)));
        const __m512 more = _mm512_mul_ps(_mm512_cvtepi32_ps(sixteen), times);
        _mm512_storeu_ps(sum + j, _mm512_add_ps(_mm512_loadu_ps(sum + j), more));
    }
    add_scalar(code + j, scale, dim - j, sum + j);
}

#define TARGET  AVX2
#define NAME(x) x##_avx2
#include "kernel/cluster_template.h"
#undef TARGET
#undef NAME
#define TARGET  AVX512
#define NAME(x) x##_avx512
#include "kernel/cluster_template.h"
#undef TARGET
#undef NAME
#endif

void ki_cluster_fill(uint32_t features, ki_cluster_kernels *table) {
    *table = (ki_cluster_kernels){estimate_scalar, nearest_scalar, add_scalar};
#if defined(__x86_64__)
    if (features & KI_AVX2) *table = (ki_cluster_kernels){estimate_avx2, nearest_avx2, add_avx2};
    if (features & KI_AVX512) *table = (ki_cluster_kernels){estimate_avx512, nearest_avx512, add_avx512};
#else
    (void)features;
#endif
}
