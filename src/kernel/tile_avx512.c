/* SPDX-License-Identifier: Apache-2.0
 *
 * The tile scan by AVX-512 VNNI: VPDPBUSD multiplies 64 unsigned code bytes with four signed query bytes broadcast to
 * all lanes, so that lane v accumulates vector v. Panels of twelve queries against two blocks keep 24 accumulators, two
 * rows of codes and one broadcast in the 32 registers: 14 loads feed 24 products. Fewer queries take more blocks. */
#include "kernel/tile.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum { WIDE = 12, NARROW = 4 };

/* The panel widths that have a kernel: 1, 4, 12. More of them, for what is left of a list's queries, gained nothing. */
static unsigned packed_width(unsigned count) {
    return count == 1 ? 1 : count <= NARROW ? NARROW : WIDE;
}

static size_t vnni_packed_bytes(size_t quads, unsigned count) {
    return quads * 4 * packed_width(count);
}

/* Sixteen quads of four queries to their places: quad after quad, a stride apart. */
INLINE void pack_four(const int8_t *const *rows, size_t at, int8_t *out, size_t stride) {
    const __m512i a = _mm512_loadu_si512(rows[0] + at), b = _mm512_loadu_si512(rows[1] + at);
    const __m512i c = _mm512_loadu_si512(rows[2] + at), d = _mm512_loadu_si512(rows[3] + at);
    const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
    const __m512i quad[4] = {_mm512_unpacklo_epi64(ab_low, cd_low), _mm512_unpackhi_epi64(ab_low, cd_low),
                             _mm512_unpacklo_epi64(ab_high, cd_high), _mm512_unpackhi_epi64(ab_high, cd_high)};
#pragma GCC unroll 4
    for (size_t q = 0; q < 4; q++) { /* of each run of four quads the q-th */
        _mm_storeu_si128((__m128i *)(void *)(out + q * stride), _mm512_castsi512_si128(quad[q]));
        _mm_storeu_si128((__m128i *)(void *)(out + (q + 4) * stride), _mm512_extracti32x4_epi32(quad[q], 1));
        _mm_storeu_si128((__m128i *)(void *)(out + (q + 8) * stride), _mm512_extracti32x4_epi32(quad[q], 2));
        _mm_storeu_si128((__m128i *)(void *)(out + (q + 12) * stride), _mm512_extracti32x4_epi32(quad[q], 3));
    }
}

/* [quad][query][4]: the broadcasts of one step lie together. */
TARGET static void vnni_pack(const int8_t *const *rows, unsigned count, size_t quads, void *packed) {
    enum { FOUR = 4, QUADS = 16 };
    const unsigned width = packed_width(count);
    const size_t stride = 4 * width, wide = quads / QUADS * QUADS;
    if (count < width) memset(packed, 0, quads * stride);
    unsigned done = 0;
    for (; done + FOUR <= count; done += FOUR)
        for (size_t j = 0; j < wide; j += QUADS)
            pack_four(rows + done, 4 * j, (int8_t *)packed + j * stride + 4 * done, stride);
    for (unsigned i = 0; i < count; i++) {
        const size_t first = i < done ? wide : 0;
        int8_t *out = (int8_t *)packed + first * stride + 4 * i;
        for (size_t j = first; j < quads; j++, out += stride) memcpy(out, rows[i] + 4 * j, 4);
    }
}

/* acc += the four products of each lane. Written as assembly because compilers copy the accumulator of the intrinsic,
 * run out of registers with 24 of them, and lose half of the speed to moving them. */
INLINE __m512i add_products(__m512i acc, __m512i codes, __m512i query) {
#ifdef KITH_EMULATE
    return _mm512_dpbusd_epi32(acc, codes, query);
#else
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(codes), "v"(query));
    return acc;
#endif
}

/* acc[i * blocks + s] = dots of query i with block s. */
INLINE void products(const uint8_t *codes, size_t quads, const int8_t *packed, const int32_t *start, unsigned width,
                     unsigned blocks, ki_tile_ask *beside, __m512i *acc) {
    const size_t block_bytes = quads * KI_QUAD_BYTES;
#pragma GCC unroll 12
    for (unsigned i = 0; i < width; i++)
#pragma GCC unroll 4
        for (unsigned s = 0; s < blocks; s++) acc[i * blocks + s] = _mm512_set1_epi32(start[i]);
    for (size_t j = 0; j < quads; j++, codes += KI_QUAD_BYTES, packed += 4 * width) {
        __m512i row[4];
#pragma GCC unroll 4
        for (unsigned s = 0; s < blocks; s++) {
            row[s] = _mm512_loadu_si512(codes + s * block_bytes);
            _mm_prefetch((const char *)codes + (blocks + s) * block_bytes, _MM_HINT_T0);
            if (beside) ki_tile_ask_next(beside);
        }
#pragma GCC unroll 12
        for (unsigned i = 0; i < width; i++) {
            int32_t four;
            memcpy(&four, packed + 4 * i, 4);
            const __m512i query = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (unsigned s = 0; s < blocks; s++)
                acc[i * blocks + s] = add_products(acc[i * blocks + s], row[s], query);
        }
    }
}

/* The threshold of each query of the panel for one block. */
INLINE __m512 needs(const ki_panel *panel, const ki_block_bound *bound) {
    __m512 need = _mm512_sub_ps(_mm512_loadu_ps(panel->need), _mm512_set1_ps(bound->slack));
    need = _mm512_fnmadd_ps(_mm512_loadu_ps(panel->a), _mm512_set1_ps(bound->norm), need);
    return _mm512_fnmadd_ps(_mm512_loadu_ps(panel->b), _mm512_set1_ps(bound->error), need);
}

INLINE size_t scan_panel(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                         size_t end, ki_tile_hit *hits, size_t capacity, size_t *count, unsigned width,
                         unsigned blocks) {
    size_t used = *count, block = first;
    for (; block + blocks <= end && used + 4 * KI_PANEL_MAX <= capacity; block += blocks, bounds += blocks) {
        __m512i acc[24];
        float need[4][KI_BLOCK];
        products(level->codes + block * level->quads * KI_QUAD_BYTES, level->quads, panel->packed, panel->start, width,
                 blocks, NULL, acc);
        __mmask16 mask[24];
        unsigned any = 0;
        const float *factors = level->factors + block * KI_FACTORS;
#pragma GCC unroll 4
        for (unsigned s = 0; s < blocks; s++) {
            _mm512_storeu_ps(need[s], needs(panel, &bounds[s]));
            const __m512 scale = _mm512_loadu_ps(factors + s * KI_FACTORS + KI_FACTOR_SCALE);
            const __m512 bias = _mm512_loadu_ps(factors + s * KI_FACTORS + KI_FACTOR_BIAS);
#pragma GCC unroll 12
            for (unsigned i = 0; i < width; i++) {
                const __m512 dot =
                    _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i * blocks + s]), _mm512_set1_ps(panel->scale[i]));
                mask[i * blocks + s] =
                    _mm512_cmp_ps_mask(_mm512_fmadd_ps(dot, scale, bias), _mm512_set1_ps(need[s][i]), _CMP_GE_OQ);
                any |= mask[i * blocks + s];
            }
        }
        if (!any) continue;
        for (unsigned s = 0; s < blocks; s++)
            for (unsigned i = 0; i < width; i++) {
                ki_tile_note(&hits[used], block + s, i, mask[i * blocks + s]);
                used += mask[i * blocks + s] != 0;
            }
    }
    *count = used;
    return block;
}

TARGET static size_t scan_wide(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                               size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    const size_t next = scan_panel(level, panel, bounds, first, end, hits, capacity, count, WIDE, 2);
    if (next + 1 != end) return next;
    return scan_panel(level, panel, bounds + (next - first), next, end, hits, capacity, count, WIDE, 1);
}

TARGET static size_t scan_narrow(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds,
                                 size_t first, size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    const size_t next = scan_panel(level, panel, bounds, first, end, hits, capacity, count, NARROW, 4);
    if (next + 4 <= end) return next;
    return scan_panel(level, panel, bounds + (next - first), next, end, hits, capacity, count, NARROW, 1);
}

/* The dots of one query with one block. One query is a matter of reading: row after row in the order of memory, so that
 * the prefetcher sees one stream, in four chains that hide the latency of VPDPBUSD. */
INLINE __m512i single_dots(const uint8_t *codes, size_t quads, const int8_t *query, int32_t start,
                           ki_tile_ask *beside) {
    enum { CHAINS = 4 };
    __m512i acc[CHAINS] = {_mm512_set1_epi32(start), _mm512_setzero_si512(), _mm512_setzero_si512(),
                           _mm512_setzero_si512()};
    size_t j = 0;
    for (; j + CHAINS <= quads; j += CHAINS, codes += CHAINS * KI_QUAD_BYTES, query += 4 * CHAINS) {
#pragma GCC unroll 4
        for (size_t c = 0; c < CHAINS; c++) {
            int32_t four;
            memcpy(&four, query + 4 * c, 4);
            acc[c] = add_products(acc[c], _mm512_loadu_si512(codes + c * KI_QUAD_BYTES), _mm512_set1_epi32(four));
            if (beside) ki_tile_ask_next(beside);
        }
    }
    for (; j < quads; j++, codes += KI_QUAD_BYTES, query += 4) {
        int32_t four;
        memcpy(&four, query, 4);
        acc[0] = add_products(acc[0], _mm512_loadu_si512(codes), _mm512_set1_epi32(four));
    }
    return _mm512_add_epi32(_mm512_add_epi32(acc[0], acc[1]), _mm512_add_epi32(acc[2], acc[3]));
}

/* Each vector has its own bound: no maxima over the block are needed. */
TARGET static size_t scan_single(const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                                 ki_tile_hit *hits, size_t capacity, size_t *count) {
    const uint8_t *codes = level->codes + first * level->quads * KI_QUAD_BYTES;
    const __m512 query_scale = _mm512_set1_ps(panel->scale[0]), need = _mm512_set1_ps(panel->need[0]);
    const __m512 a = _mm512_set1_ps(panel->a[0]), b = _mm512_set1_ps(panel->b[0]);
    const __m512 slack = _mm512_set1_ps(panel->norm2_slack);
    size_t used = *count, block = first;
    for (; block < end && used < capacity; block++, codes += level->quads * KI_QUAD_BYTES) {
        const __m512i dots = single_dots(codes, level->quads, panel->packed, panel->start[0], NULL);
        const float *factors = level->factors + block * KI_FACTORS;
        const __m512 norm = _mm512_loadu_ps(factors + KI_FACTOR_NORM);
        __m512 bound = _mm512_mul_ps(_mm512_cvtepi32_ps(dots), query_scale);
        bound = _mm512_fmadd_ps(bound, _mm512_loadu_ps(factors + KI_FACTOR_SCALE),
                                _mm512_loadu_ps(factors + KI_FACTOR_BIAS));
        bound = _mm512_fmadd_ps(_mm512_fmadd_ps(slack, norm, a), norm, bound);
        bound = _mm512_fmadd_ps(b, _mm512_loadu_ps(factors + KI_FACTOR_ERROR), bound);
        const __mmask16 mask = _mm512_cmp_ps_mask(bound, need, _CMP_GE_OQ);
        ki_tile_note(&hits[used], block, 0, mask);
        used += mask != 0;
    }
    *count = used;
    return block;
}

static size_t vnni_scan(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                        size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    switch (packed_width(panel->count)) {
    case 1:
        return scan_single(level, panel, first, end, hits, capacity, count);
    case NARROW:
        return scan_narrow(level, panel, bounds, first, end, hits, capacity, count);
    default:
        return scan_wide(level, panel, bounds, first, end, hits, capacity, count);
    }
}

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

/* The scores of T4. */
INLINE __m512 score_block(__m512i dots, float query_scale, const float *factors) {
    const __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(dots), _mm512_set1_ps(query_scale));
    return _mm512_fmadd_ps(dot, _mm512_loadu_ps(factors + KI_FACTOR_SCALE), _mm512_loadu_ps(factors + KI_FACTOR_BIAS));
}

/* Hits are frequent, so that a branch for each would be mispredicted: all is stored at the next free place, which is
 * taken only by a hit. */
INLINE size_t append(__m512 score, __mmask16 mask, size_t block, unsigned query, ki_tile_hit *hits,
                     float (*scores)[KI_BLOCK], size_t used) {
    ki_tile_note(&hits[used], block, query, mask);
    _mm512_storeu_ps(scores[used], score);
    return used + (mask != 0);
}

/* begin: the block with which the caller began. */
INLINE size_t score_panel(const ki_level *level, const ki_panel *panel, size_t begin, size_t first, size_t end,
                          ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count, unsigned width,
                          unsigned blocks) {
    size_t used = *count, block = first;
    const size_t quads = level->quads;
    for (; block + blocks <= end && used + 4 * KI_PANEL_MAX <= capacity; block += blocks) {
        ki_tile_ask beside = ki_tile_ask_beside(panel, (block - begin) * quads, blocks * quads);
        __m512i acc[24];
        products(level->codes + block * quads * KI_QUAD_BYTES, quads, panel->packed, panel->start, width, blocks,
                 &beside, acc);
#pragma GCC unroll 4
        for (unsigned s = 0; s < blocks; s++) {
            const float *factors = level->factors + (block + s) * KI_FACTORS;
#pragma GCC unroll 12
            for (unsigned i = 0; i < width; i++) {
                const __m512 score = score_block(acc[i * blocks + s], panel->scale[i], factors);
                const __mmask16 mask = _mm512_cmp_ps_mask(score, _mm512_set1_ps(panel->need[i]), _CMP_GE_OQ);
                used = append(score, mask, block + s, i, hits, scores, used);
            }
        }
    }
    *count = used;
    return block;
}

TARGET static size_t score_wide(const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                                ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    const size_t next = score_panel(level, panel, first, first, end, hits, scores, capacity, count, WIDE, 2);
    if (next + 1 != end) return next;
    return score_panel(level, panel, first, next, end, hits, scores, capacity, count, WIDE, 1);
}

TARGET static size_t score_narrow(const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                                  ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    const size_t next = score_panel(level, panel, first, first, end, hits, scores, capacity, count, NARROW, 4);
    if (next + 4 <= end) return next;
    return score_panel(level, panel, first, next, end, hits, scores, capacity, count, NARROW, 1);
}

TARGET static size_t score_single(const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                                  ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    const uint8_t *codes = level->codes + first * level->quads * KI_QUAD_BYTES;
    const __m512 need = _mm512_set1_ps(panel->need[0]);
    size_t used = *count, block = first;
    for (; block < end && used < capacity; block++, codes += level->quads * KI_QUAD_BYTES) {
        ki_tile_ask beside = ki_tile_ask_beside(panel, (block - first) * level->quads, level->quads);
        const __m512i dots = single_dots(codes, level->quads, panel->packed, panel->start[0], &beside);
        const __m512 score = score_block(dots, panel->scale[0], level->factors + block * KI_FACTORS);
        used = append(score, _mm512_cmp_ps_mask(score, need, _CMP_GE_OQ), block, 0, hits, scores, used);
    }
    *count = used;
    return block;
}

static size_t vnni_score(const ki_level *level, const ki_panel *panel, size_t first, size_t end, ki_tile_hit *hits,
                         float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    switch (packed_width(panel->count)) {
    case 1:
        return score_single(level, panel, first, end, hits, scores, capacity, count);
    case NARROW:
        return score_narrow(level, panel, first, end, hits, scores, capacity, count);
    default:
        return score_wide(level, panel, first, end, hits, scores, capacity, count);
    }
}

/* ---- Single blocks ----------------------------------------------------------------------------------------------- */

/* Dots of `count` queries with one block, in `chains` sums each: eight sums hide the latency of VPDPBUSD. */
INLINE void block_dots(const uint8_t *codes, size_t quads, const int8_t *const *queries, const int32_t *starts,
                       unsigned count, unsigned chains, int32_t (*dot)[KI_BLOCK]) {
    __m512i acc[8];
#pragma GCC unroll 8
    for (unsigned a = 0; a < count * chains; a++)
        acc[a] = a % chains ? _mm512_setzero_si512() : _mm512_set1_epi32(starts[a / chains]);
    size_t j = 0;
    for (; j + chains <= quads; j += chains) {
        __m512i row[4];
#pragma GCC unroll 4
        for (unsigned c = 0; c < chains; c++) row[c] = _mm512_loadu_si512(codes + (j + c) * KI_QUAD_BYTES);
#pragma GCC unroll 8
        for (unsigned a = 0; a < count * chains; a++) {
            int32_t four;
            memcpy(&four, queries[a / chains] + 4 * (j + a % chains), 4);
            acc[a] = add_products(acc[a], row[a % chains], _mm512_set1_epi32(four));
        }
    }
    for (; j < quads; j++)
#pragma GCC unroll 8
        for (unsigned i = 0; i < count; i++) {
            int32_t four;
            memcpy(&four, queries[i] + 4 * j, 4);
            acc[i * chains] =
                add_products(acc[i * chains], _mm512_loadu_si512(codes + j * KI_QUAD_BYTES), _mm512_set1_epi32(four));
        }
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++) {
        __m512i sum = acc[i * chains];
#pragma GCC unroll 4
        for (unsigned c = 1; c < chains; c++) sum = _mm512_add_epi32(sum, acc[i * chains + c]);
        _mm512_storeu_si512(dot[i], sum);
    }
}

TARGET static void vnni_dots(const ki_level *level, size_t block, const int8_t *const *queries, const int32_t *starts,
                             unsigned count, int32_t (*dot)[KI_BLOCK]) {
    const uint8_t *codes = level->codes + block * level->quads * KI_QUAD_BYTES;
    for (unsigned done = 0; done < count;) {
        const unsigned left = count - done;
        if (left >= 8) {
            block_dots(codes, level->quads, queries + done, starts + done, 8, 1, dot + done);
            done += 8;
        } else if (left >= 4) {
            block_dots(codes, level->quads, queries + done, starts + done, 4, 2, dot + done);
            done += 4;
        } else if (left >= 2) {
            block_dots(codes, level->quads, queries + done, starts + done, 2, 4, dot + done);
            done += 2;
        } else {
            block_dots(codes, level->quads, queries + done, starts + done, 1, 4, dot + done);
            done++;
        }
    }
}

void ki_tile_fill_avx512(uint32_t features, ki_tile_kernels *table) {
    if ((features & (KI_AVX512 | KI_AVX512VNNI)) != (KI_AVX512 | KI_AVX512VNNI)) return;
    *table = (ki_tile_kernels){.width = WIDE,
                               .dots_width = KI_DOTS_MAX,
                               .bounds_single = 1,
                               .packed_bytes = vnni_packed_bytes,
                               .pack = vnni_pack,
                               .scan = vnni_scan,
                               .score = vnni_score,
                               .dots = vnni_dots};
}

#else
void ki_tile_fill_avx512(uint32_t features, ki_tile_kernels *table) {
    (void)features;
    (void)table;
}
#endif
