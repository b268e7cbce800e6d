/* SPDX-License-Identifier: Apache-2.0
 *
 * The tile scan by 256-bit registers, in two forms that share all but the product: VPDPBUSD where the processor has it
 * in VEX form (AVX-VNNI), else VPMADDWD on codes widened to 16 bits. VPMADDUBSW alone saturates for bytes of full
 * range; ways around that (splitting the query in two parts) need more multiplications than widening, whose cost the
 * queries of a panel share: a row's words, and 0xff (even dimensions) or shifted right by 8 (odd ones), against the
 * query's (v0, v2) and (v1, v3).
 *
 * A row of a block is two registers. Six queries keep twelve accumulators of the 16 registers. Widening wants four
 * registers for a row, which leaves room for four queries; five were no faster. */
#include "kernel/tile.h"

#include "cpu/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))

enum { WIDE = 6, NARROW = 4, HALVES = 2, DOTS = 4 };

enum form { WIDENED, VNNI };

/* The panel widths that have a kernel: 1, 4 and, for VNNI, 6. */
static unsigned packed_width(unsigned count) {
    return count == 1 ? 1 : count <= NARROW ? NARROW : WIDE;
}

/* ---- Packing ----------------------------------------------------------------------------------------------------- */

static size_t vnni_packed_bytes(size_t quads, unsigned count) {
    return quads * 4 * packed_width(count);
}

/* [quad][query][4] */
static void vnni_pack(const int8_t *const *rows, unsigned count, size_t quads, void *packed) {
    const unsigned width = packed_width(count);
    if (count < width) memset(packed, 0, quads * 4 * width);
    for (unsigned i = 0; i < count; i++) {
        int8_t *out = (int8_t *)packed + 4 * i;
        for (size_t j = 0; j < quads; j++, out += 4 * width) memcpy(out, rows[i] + 4 * j, 4);
    }
}

static size_t widened_packed_bytes(size_t quads, unsigned count) {
    return quads * 8 * packed_width(count);
}

/* One quad: v0 v2 v1 v3, each of 16 bits. */
static inline void widen_quad(const int8_t *v, int8_t *out) {
    const int16_t four[4] = {v[0], v[2], v[1], v[3]};
    memcpy(out, four, sizeof(four));
}

/* [quad][query][v0 v2 v1 v3]: four quads at a time. */
TARGET static void widened_pack(const int8_t *const *rows, unsigned count, size_t quads, void *packed) {
    const size_t step = 8 * (size_t)packed_width(count);
    const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    if (count < packed_width(count)) memset(packed, 0, quads * step);
    for (unsigned i = 0; i < count; i++) {
        int8_t *out = (int8_t *)packed + 8 * i;
        size_t j = 0;
        for (; j + 4 <= quads; j += 4, out += 4 * step) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(rows[i] + 4 * j));
            const __m256i words = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, order));
            const __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
            _mm_storel_epi64((__m128i *)(void *)out, low);
            _mm_storeh_pd((double *)(void *)(out + step), _mm_castsi128_pd(low));
            _mm_storel_epi64((__m128i *)(void *)(out + 2 * step), high);
            _mm_storeh_pd((double *)(void *)(out + 3 * step), _mm_castsi128_pd(high));
        }
        for (; j < quads; j++, out += step) widen_quad(rows[i] + 4 * j, out);
    }
}

/* ---- Products ---------------------------------------------------------------------------------------------------- */

INLINE __m256i load(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE __m256i broadcast(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

/* Assembly, because the intrinsic needs a target that not every compiler knows, and is compiled with copies. */
INLINE __m256i add_products(__m256i acc, __m256i codes, __m256i query) {
#ifdef KITH_EMULATE
    return _mm256_dpbusd_epi32(acc, codes, query);
#else
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(codes), "x"(query));
    return acc;
#endif
}

/* acc[0..1] += the two products of each lane of words. One piece of assembly with the broadcast in it, because
 * compilers gather the broadcasts first and move the accumulators to memory. */
INLINE void add_words(__m256i *acc, __m256i low, __m256i high, const int8_t *query) {
    __m256i one, two;
    __asm__("vpbroadcastd %6, %2\n\tvpmaddwd %2, %4, %3\n\tvpmaddwd %2, %5, %2\n\t"
            "vpaddd %3, %0, %0\n\tvpaddd %2, %1, %1"
            : "+&x"(acc[0]), "+&x"(acc[1]), "=&x"(one), "=&x"(two)
            : "x"(low), "x"(high), "m"(*(const int8_t(*)[4])(const void *)query));
}

INLINE __m256i even_words(__m256i row) {
    return _mm256_and_si256(row, _mm256_set1_epi16(0xff));
}

INLINE __m256i odd_words(__m256i row) {
    return _mm256_srli_epi16(row, 8);
}

INLINE void add_row_words(__m256i low, __m256i high, __m256i even, __m256i odd, __m256i *acc) {
    acc[0] = _mm256_add_epi32(
        acc[0], _mm256_add_epi32(_mm256_madd_epi16(even_words(low), even), _mm256_madd_epi16(odd_words(low), odd)));
    acc[1] = _mm256_add_epi32(
        acc[1], _mm256_add_epi32(_mm256_madd_epi16(even_words(high), even), _mm256_madd_epi16(odd_words(high), odd)));
}

/* acc[i * HALVES + h] = dots of query i with half h of the block. */
INLINE void products(enum form form, const uint8_t *codes, size_t quads, const int8_t *packed, const int32_t *start,
                     unsigned width, ki_tile_ask *beside, __m256i *acc) {
#pragma GCC unroll 12
    for (unsigned a = 0; a < width * HALVES; a++) acc[a] = _mm256_set1_epi32(start[a / HALVES]);
    for (size_t j = 0; j < quads; j++, codes += KI_QUAD_BYTES) {
        const __m256i low = load(codes), high = load(codes + 32);
        if (beside) ki_tile_ask_next(beside);
        if (form == VNNI) {
#pragma GCC unroll 6
            for (unsigned i = 0; i < width; i++, packed += 4) {
                const __m256i query = broadcast(packed);
                acc[i * HALVES] = add_products(acc[i * HALVES], low, query);
                acc[i * HALVES + 1] = add_products(acc[i * HALVES + 1], high, query);
            }
        } else {
            const __m256i even[HALVES] = {even_words(low), even_words(high)};
            const __m256i odd[HALVES] = {odd_words(low), odd_words(high)};
#pragma GCC unroll 6
            for (unsigned i = 0; i < width; i++, packed += 8) {
                add_words(&acc[i * HALVES], even[0], even[1], packed);
                add_words(&acc[i * HALVES], odd[0], odd[1], packed + 4);
            }
        }
    }
}

/* ---- The scan ---------------------------------------------------------------------------------------------------- */

/* The thresholds of up to eight queries for one block. */
INLINE void needs(const ki_panel *panel, const ki_block_bound *bound, float *need) {
    __m256 value = _mm256_sub_ps(_mm256_loadu_ps(panel->need), _mm256_set1_ps(bound->slack));
    value = _mm256_fnmadd_ps(_mm256_loadu_ps(panel->a), _mm256_set1_ps(bound->norm), value);
    value = _mm256_fnmadd_ps(_mm256_loadu_ps(panel->b), _mm256_set1_ps(bound->error), value);
    _mm256_storeu_ps(need, value);
}

/* Which of eight vectors reach the threshold. */
INLINE unsigned reach(__m256i dots, float query_scale, const float *factors, float need) {
    const __m256 dot = _mm256_mul_ps(_mm256_cvtepi32_ps(dots), _mm256_set1_ps(query_scale));
    const __m256 estimate =
        _mm256_fmadd_ps(dot, _mm256_loadu_ps(factors + KI_FACTOR_SCALE), _mm256_loadu_ps(factors + KI_FACTOR_BIAS));
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(estimate, _mm256_set1_ps(need), _CMP_GE_OQ));
}

INLINE size_t scan_panel(enum form form, const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds,
                         size_t first, size_t end, ki_tile_hit *hits, size_t capacity, size_t *count, unsigned width) {
    size_t used = *count, block = first;
    for (; block < end && used + 4 * KI_PANEL_MAX <= capacity; block++, bounds++) {
        const float *factors = level->factors + block * KI_FACTORS;
        __m256i acc[WIDE * HALVES];
        unsigned mask[WIDE], any = 0;
        float need[8];
        products(form, level->codes + block * level->quads * KI_QUAD_BYTES, level->quads, panel->packed, panel->start,
                 width, NULL, acc);
        needs(panel, bounds, need);
#pragma GCC unroll 6
        for (unsigned i = 0; i < width; i++) {
            mask[i] = reach(acc[i * HALVES], panel->scale[i], factors, need[i]) |
                      reach(acc[i * HALVES + 1], panel->scale[i], factors + 8, need[i]) << 8;
            any |= mask[i];
        }
        if (!any) continue;
        for (unsigned i = 0; i < width; i++) {
            ki_tile_note(&hits[used], block, i, mask[i]);
            used += mask[i] != 0;
        }
    }
    *count = used;
    return block;
}

/* One row against one packed query. */
INLINE void add_packed(enum form form, const uint8_t *codes, const int8_t *packed, __m256i *acc) {
    const __m256i low = load(codes), high = load(codes + 32), first = broadcast(packed);
    if (form == VNNI) {
        acc[0] = add_products(acc[0], low, first);
        acc[1] = add_products(acc[1], high, first);
    } else {
        add_row_words(low, high, first, broadcast(packed + 4), acc);
    }
}

/* Which of eight vectors reach the threshold, each with its own bound. */
INLINE unsigned reach_single(__m256i dots, const ki_panel *panel, const float *factors) {
    const __m256 norm = _mm256_loadu_ps(factors + KI_FACTOR_NORM);
    __m256 bound = _mm256_mul_ps(_mm256_cvtepi32_ps(dots), _mm256_set1_ps(panel->scale[0]));
    bound =
        _mm256_fmadd_ps(bound, _mm256_loadu_ps(factors + KI_FACTOR_SCALE), _mm256_loadu_ps(factors + KI_FACTOR_BIAS));
    const __m256 slope = _mm256_fmadd_ps(_mm256_set1_ps(panel->norm2_slack), norm, _mm256_set1_ps(panel->a[0]));
    bound = _mm256_fmadd_ps(slope, norm, bound);
    bound = _mm256_fmadd_ps(_mm256_set1_ps(panel->b[0]), _mm256_loadu_ps(factors + KI_FACTOR_ERROR), bound);
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(bound, _mm256_set1_ps(panel->need[0]), _CMP_GE_OQ));
}

/* The dots of one query with one block, to acc[0..1]. One query is a matter of reading: row after row in the order of
 * memory, in four chains that hide the latency of VPDPBUSD. */
INLINE void single_dots(enum form form, const uint8_t *codes, size_t quads, const int8_t *query, int32_t start,
                        ki_tile_ask *beside, __m256i *dots) {
    enum { CHAINS = 4 };
    const size_t query_bytes = form == VNNI ? 4 : 8;
    __m256i acc[CHAINS * HALVES];
#pragma GCC unroll 8
    for (unsigned a = 0; a < CHAINS * HALVES; a++)
        acc[a] = a < HALVES ? _mm256_set1_epi32(start) : _mm256_setzero_si256();
    size_t j = 0;
    for (; j + CHAINS <= quads; j += CHAINS, codes += CHAINS * KI_QUAD_BYTES, query += CHAINS * query_bytes)
#pragma GCC unroll 4
        for (unsigned c = 0; c < CHAINS; c++) {
            add_packed(form, codes + c * KI_QUAD_BYTES, query + c * query_bytes, &acc[c * HALVES]);
            if (beside) ki_tile_ask_next(beside);
        }
    for (; j < quads; j++, codes += KI_QUAD_BYTES, query += query_bytes) add_packed(form, codes, query, acc);
#pragma GCC unroll 2
    for (unsigned h = 0; h < HALVES; h++)
        dots[h] = _mm256_add_epi32(_mm256_add_epi32(acc[h], acc[HALVES + h]),
                                   _mm256_add_epi32(acc[2 * HALVES + h], acc[3 * HALVES + h]));
}

/* Each vector has its own bound, so no maxima over the block are needed. */
INLINE size_t scan_single(enum form form, const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                          ki_tile_hit *hits, size_t capacity, size_t *count) {
    const uint8_t *codes = level->codes + first * level->quads * KI_QUAD_BYTES;
    size_t used = *count, block = first;
    for (; block < end && used + 4 * KI_PANEL_MAX <= capacity; block++, codes += level->quads * KI_QUAD_BYTES) {
        __m256i dots[HALVES];
        single_dots(form, codes, level->quads, panel->packed, panel->start[0], NULL, dots);
        const float *factors = level->factors + block * KI_FACTORS;
        const unsigned mask = reach_single(dots[0], panel, factors) | reach_single(dots[1], panel, factors + 8) << 8;
        ki_tile_note(&hits[used], block, 0, mask);
        used += mask != 0;
    }
    *count = used;
    return block;
}

INLINE size_t scan(enum form form, const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds,
                   size_t first, size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    if (panel->count == 1) return scan_single(form, level, panel, first, end, hits, capacity, count);
    if (panel->count <= NARROW || form == WIDENED)
        return scan_panel(form, level, panel, bounds, first, end, hits, capacity, count, NARROW);
    return scan_panel(form, level, panel, bounds, first, end, hits, capacity, count, WIDE);
}

TARGET static size_t vnni_scan(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                               size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    return scan(VNNI, level, panel, bounds, first, end, hits, capacity, count);
}

TARGET static size_t widened_scan(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds,
                                  size_t first, size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    return scan(WIDENED, level, panel, bounds, first, end, hits, capacity, count);
}

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

/* The scores of T4 of eight vectors, and which of them reach the threshold. */
INLINE unsigned score_half(__m256i dots, float query_scale, const float *factors, float need, float *score) {
    const __m256 dot = _mm256_mul_ps(_mm256_cvtepi32_ps(dots), _mm256_set1_ps(query_scale));
    const __m256 s =
        _mm256_fmadd_ps(dot, _mm256_loadu_ps(factors + KI_FACTOR_SCALE), _mm256_loadu_ps(factors + KI_FACTOR_BIAS));
    _mm256_storeu_ps(score, s);
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(s, _mm256_set1_ps(need), _CMP_GE_OQ));
}

/* Hits are frequent, so that a branch for each would be mispredicted: all is stored at the next free place, which is
 * taken only by a hit. */
INLINE size_t append(const __m256i *dots, const ki_panel *panel, unsigned query, const float *factors, size_t block,
                     ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t used) {
    const float scale = panel->scale[query], need = panel->need[query];
    const unsigned mask = score_half(dots[0], scale, factors, need, scores[used]) |
                          score_half(dots[1], scale, factors + 8, need, scores[used] + 8) << 8;
    ki_tile_note(&hits[used], block, query, mask);
    return used + (mask != 0);
}

INLINE size_t score_panel(enum form form, const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                          ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count,
                          unsigned width) {
    const size_t quads = level->quads;
    size_t used = *count, block = first;
    for (; block < end && used + 4 * KI_PANEL_MAX <= capacity; block++) {
        ki_tile_ask beside = ki_tile_ask_beside(panel, (block - first) * quads, quads);
        const uint8_t *codes = level->codes + block * quads * KI_QUAD_BYTES;
        __m256i acc[WIDE * HALVES];
        if (width == 1)
            single_dots(form, codes, quads, panel->packed, panel->start[0], &beside, acc);
        else
            products(form, codes, quads, panel->packed, panel->start, width, &beside, acc);
#pragma GCC unroll 6
        for (unsigned i = 0; i < width; i++)
            used = append(&acc[i * HALVES], panel, i, level->factors + block * KI_FACTORS, block, hits, scores, used);
    }
    *count = used;
    return block;
}

INLINE size_t score(enum form form, const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                    ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    if (panel->count == 1) return score_panel(form, level, panel, first, end, hits, scores, capacity, count, 1);
    if (panel->count <= NARROW || form == WIDENED)
        return score_panel(form, level, panel, first, end, hits, scores, capacity, count, NARROW);
    return score_panel(form, level, panel, first, end, hits, scores, capacity, count, WIDE);
}

TARGET static size_t vnni_score(const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                                ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    return score(VNNI, level, panel, first, end, hits, scores, capacity, count);
}

TARGET static size_t widened_score(const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                                   ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    return score(WIDENED, level, panel, first, end, hits, scores, capacity, count);
}

/* ---- Single blocks ----------------------------------------------------------------------------------------------- */

/* One row against one query's four bytes. */
INLINE void add_row(enum form form, const uint8_t *codes, const int8_t *query, __m256i *acc) {
    const __m256i four = broadcast(query), low = load(codes), high = load(codes + 32);
    if (form == VNNI) {
        acc[0] = add_products(acc[0], low, four);
        acc[1] = add_products(acc[1], high, four);
        return;
    }
    add_row_words(low, high, _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8), _mm256_srai_epi16(four, 8), acc);
}

/* `chains` pairs of accumulators a query hide the latency of VPDPBUSD. */
INLINE void block_dots(enum form form, const uint8_t *codes, size_t quads, const int8_t *const *queries,
                       const int32_t *starts, unsigned count, unsigned chains, int32_t (*dot)[KI_BLOCK]) {
    __m256i acc[8];
#pragma GCC unroll 8
    for (unsigned a = 0; a < count * chains * HALVES; a++)
        acc[a] = a / HALVES % chains ? _mm256_setzero_si256() : _mm256_set1_epi32(starts[a / HALVES / chains]);
    size_t j = 0;
    for (; j + chains <= quads; j += chains)
#pragma GCC unroll 4
        for (unsigned a = 0; a < count * chains; a++) {
            const size_t row = j + a % chains;
            add_row(form, codes + row * KI_QUAD_BYTES, queries[a / chains] + 4 * row, &acc[a * HALVES]);
        }
    for (; j < quads; j++)
#pragma GCC unroll 4
        for (unsigned i = 0; i < count; i++)
            add_row(form, codes + j * KI_QUAD_BYTES, queries[i] + 4 * j, &acc[i * chains * HALVES]);
#pragma GCC unroll 4
    for (unsigned i = 0; i < count; i++)
#pragma GCC unroll 2
        for (unsigned h = 0; h < HALVES; h++) {
            __m256i sum = acc[i * chains * HALVES + h];
#pragma GCC unroll 4
            for (unsigned c = 1; c < chains; c++) sum = _mm256_add_epi32(sum, acc[(i * chains + c) * HALVES + h]);
            _mm256_storeu_si256((__m256i *)(void *)(dot[i] + 8 * h), sum);
        }
}

INLINE void dots(enum form form, const ki_level *level, size_t block, const int8_t *const *queries,
                 const int32_t *starts, unsigned count, int32_t (*dot)[KI_BLOCK]) {
    const uint8_t *codes = level->codes + block * level->quads * KI_QUAD_BYTES;
    switch (count) {
    case 1:
        block_dots(form, codes, level->quads, queries, starts, 1, 4, dot);
        return;
    case 2:
        block_dots(form, codes, level->quads, queries, starts, 2, 2, dot);
        return;
    case 3:
        block_dots(form, codes, level->quads, queries, starts, 3, 1, dot);
        return;
    default:
        block_dots(form, codes, level->quads, queries, starts, 4, 1, dot);
    }
}

TARGET static void vnni_dots(const ki_level *level, size_t block, const int8_t *const *queries, const int32_t *starts,
                             unsigned count, int32_t (*dot)[KI_BLOCK]) {
    dots(VNNI, level, block, queries, starts, count, dot);
}

TARGET static void widened_dots(const ki_level *level, size_t block, const int8_t *const *queries,
                                const int32_t *starts, unsigned count, int32_t (*dot)[KI_BLOCK]) {
    dots(WIDENED, level, block, queries, starts, count, dot);
}

void ki_tile_fill_avx2(uint32_t features, ki_tile_kernels *table) {
    if (!(features & KI_AVX2)) return;
    if (features & KI_AVXVNNI)
        *table = (ki_tile_kernels){.width = WIDE,
                                   .dots_width = DOTS,
                                   .bounds_single = 1,
                                   .packed_bytes = vnni_packed_bytes,
                                   .pack = vnni_pack,
                                   .scan = vnni_scan,
                                   .score = vnni_score,
                                   .dots = vnni_dots};
    else
        *table = (ki_tile_kernels){.width = NARROW,
                                   .dots_width = DOTS,
                                   .bounds_single = 1,
                                   .packed_bytes = widened_packed_bytes,
                                   .pack = widened_pack,
                                   .scan = widened_scan,
                                   .score = widened_score,
                                   .dots = widened_dots};
}

#else
void ki_tile_fill_avx2(uint32_t features, ki_tile_kernels *table) {
    (void)features;
    (void)table;
}
#endif
