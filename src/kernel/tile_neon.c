/* SPDX-License-Identifier: Apache-2.0
 *
 * The tile scan by NEON, in three forms that differ in the product of 16 bytes with one query's four: USDOT (unsigned
 * codes as they lie), SDOT (codes with the top bit turned, which makes 128 + c the signed c), and for processors
 * without either SMULL and SADALP, whose 16-bit products of two signed bytes cannot overflow.
 *
 * A row of a block is four registers of four vectors. Four queries keep 16 accumulators of the 32 registers and lie in
 * one register for the products by element; SADALP leaves two sums a vector, so that form takes its queries singly. */
#include "kernel/tile.h"

#include "cpu/cpu.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { WIDTH = 4, PARTS = 4 };

enum form { WIDENED, SDOT, USDOT };

/* ---- Packing ----------------------------------------------------------------------------------------------------- */

static unsigned packed_width(unsigned count) {
    return count == 1 ? 1 : WIDTH;
}

static size_t neon_packed_bytes(size_t quads, unsigned count) {
    return quads * 4 * packed_width(count);
}

/* [quad][query][4] */
static void neon_pack(const int8_t *const *rows, unsigned count, size_t quads, void *packed) {
    const unsigned width = packed_width(count);
    int8_t *out = packed;
    for (size_t j = 0; j < quads; j++)
        for (unsigned i = 0; i < width; i++, out += 4) {
            if (i < count)
                memcpy(out, rows[i] + 4 * j, 4);
            else
                memset(out, 0, 4);
        }
}

/* ---- Products ---------------------------------------------------------------------------------------------------- */

/* Assembly that names its own architecture, so that the file needs no target. clang's assembler does not take that
 * within a function: there the product forms exist only where the whole build is for processors that have them. */
#if !defined(__clang__) || (defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8))
#define DOT_BY_ELEMENT(extension, instruction, acc, codes, queries, element)                                           \
    __asm__(".arch armv8.2-a+" extension "\n\t" instruction " %0.4s, %1.16b, %2.4b[" #element "]"                      \
            : "+w"(acc)                                                                                                \
            : "w"(codes), "w"(queries))
static const uint32_t dot_forms = KI_NEON_DOT | KI_NEON_I8MM;
#else
#define DOT_BY_ELEMENT(extension, instruction, acc, codes, queries, element) ((void)(codes), (void)(queries))
static const uint32_t dot_forms = 0;
#endif

/* acc += the four products of each lane of codes with element `i` of the queries. */
INLINE int32x4_t add_dot(enum form form, int32x4_t acc, uint8x16_t codes, int8x16_t queries, unsigned i) {
    if (form == SDOT) {
        if (i == 0) DOT_BY_ELEMENT("dotprod", "sdot", acc, codes, queries, 0);
        if (i == 1) DOT_BY_ELEMENT("dotprod", "sdot", acc, codes, queries, 1);
        if (i == 2) DOT_BY_ELEMENT("dotprod", "sdot", acc, codes, queries, 2);
        if (i == 3) DOT_BY_ELEMENT("dotprod", "sdot", acc, codes, queries, 3);
    } else {
        if (i == 0) DOT_BY_ELEMENT("i8mm", "usdot", acc, codes, queries, 0);
        if (i == 1) DOT_BY_ELEMENT("i8mm", "usdot", acc, codes, queries, 1);
        if (i == 2) DOT_BY_ELEMENT("i8mm", "usdot", acc, codes, queries, 2);
        if (i == 3) DOT_BY_ELEMENT("i8mm", "usdot", acc, codes, queries, 3);
    }
    return acc;
}

/* USDOT sums 128 + c and begins with the query's start; the signed forms sum c alone. */
INLINE int32x4_t beginning(enum form form, int32_t start) {
    return vdupq_n_s32(form == USDOT ? start : 0);
}

INLINE uint8x16_t load_codes(enum form form, const uint8_t *codes) {
    const uint8x16_t row = vld1q_u8(codes);
    return form == USDOT ? row : veorq_u8(row, vdupq_n_u8(0x80));
}

/* Bytes at..at+3 of each of `width` queries. Packed queries lie together. */
INLINE int8x16_t load_queries(const int8_t *const *queries, size_t at, size_t stride, unsigned width) {
    int32x4_t four = vdupq_n_s32(0);
    int32_t bytes;
    if (width == WIDTH && stride == 4 * WIDTH) return vld1q_s8(queries[0] + at);
    memcpy(&bytes, queries[0] + at, 4);
    four = vsetq_lane_s32(bytes, four, 0);
    if (width > 1) memcpy(&bytes, queries[1] + at, 4), four = vsetq_lane_s32(bytes, four, 1);
    if (width > 2) memcpy(&bytes, queries[2] + at, 4), four = vsetq_lane_s32(bytes, four, 2);
    if (width > 3) memcpy(&bytes, queries[3] + at, 4), four = vsetq_lane_s32(bytes, four, 3);
    return vreinterpretq_s8_s32(four);
}

/* acc[i * PARTS + p] = dots of query i with vectors 4p..4p+3. Rows of a query's bytes are `stride` apart. */
INLINE void products_dot(enum form form, const uint8_t *codes, size_t quads, const int8_t *const *queries,
                         size_t stride, const int32_t *starts, unsigned width, int32x4_t *acc) {
#pragma GCC unroll 16
    for (unsigned a = 0; a < width * PARTS; a++) acc[a] = beginning(form, starts[a / PARTS]);
    for (size_t j = 0; j < quads; j++, codes += KI_QUAD_BYTES) {
        const int8x16_t four = load_queries(queries, j * stride, stride, width);
#pragma GCC unroll 4
        for (unsigned p = 0; p < PARTS; p++) {
            const uint8x16_t row = load_codes(form, codes + 16 * p);
#pragma GCC unroll 4
            for (unsigned i = 0; i < width; i++) acc[i * PARTS + p] = add_dot(form, acc[i * PARTS + p], row, four, i);
        }
    }
}

/* The same for one query by widening: each vector has two sums, which are added at the end. */
INLINE void products_widened(const uint8_t *codes, size_t quads, const int8_t *query, size_t stride, int32x4_t *acc) {
    int32x4_t pair[2 * PARTS];
#pragma GCC unroll 8
    for (unsigned a = 0; a < 2 * PARTS; a++) pair[a] = vdupq_n_s32(0);
    for (size_t j = 0; j < quads; j++, codes += KI_QUAD_BYTES, query += stride) {
        int32_t bytes;
        memcpy(&bytes, query, 4);
        const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(bytes));
#pragma GCC unroll 4
        for (unsigned p = 0; p < PARTS; p++) {
            const int8x16_t row = vreinterpretq_s8_u8(load_codes(WIDENED, codes + 16 * p));
            pair[2 * p] = vpadalq_s16(pair[2 * p], vmull_s8(vget_low_s8(row), vget_low_s8(four)));
            pair[2 * p + 1] = vpadalq_s16(pair[2 * p + 1], vmull_high_s8(row, four));
        }
    }
#pragma GCC unroll 4
    for (unsigned p = 0; p < PARTS; p++) acc[p] = vpaddq_s32(pair[2 * p], pair[2 * p + 1]);
}

INLINE void products(enum form form, const uint8_t *codes, size_t quads, const int8_t *const *queries, size_t stride,
                     const int32_t *starts, unsigned width, int32x4_t *acc) {
    if (form == WIDENED)
        for (unsigned i = 0; i < width; i++) products_widened(codes, quads, queries[i], stride, &acc[i * PARTS]);
    else
        products_dot(form, codes, quads, queries, stride, starts, width, acc);
}

/* ---- The scan ---------------------------------------------------------------------------------------------------- */

/* Which of the 16 vectors reach the threshold. */
INLINE unsigned reach(const int32x4_t *dots, float query_scale, const float *factors, float need) {
    static const uint32_t bits[4] = {1, 2, 4, 8};
    unsigned mask = 0;
    for (unsigned p = 0; p < PARTS; p++) {
        const float32x4_t dot = vmulq_n_f32(vcvtq_f32_s32(dots[p]), query_scale);
        const float32x4_t estimate =
            vfmaq_f32(vld1q_f32(factors + KI_FACTOR_BIAS + 4 * p), dot, vld1q_f32(factors + KI_FACTOR_SCALE + 4 * p));
        const uint32x4_t reached = vandq_u32(vcgeq_f32(estimate, vdupq_n_f32(need)), vld1q_u32(bits));
        mask |= vaddvq_u32(reached) << 4 * p;
    }
    return mask;
}

INLINE size_t scan_panel(enum form form, const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds,
                         size_t first, size_t end, ki_tile_hit *hits, size_t capacity, size_t *count, unsigned width) {
    const int8_t *queries[WIDTH];
    size_t used = *count, block = first;
    for (unsigned i = 0; i < width; i++) queries[i] = (const int8_t *)panel->packed + 4 * i;
    for (; block < end && used + 4 * KI_PANEL_MAX <= capacity; block++, bounds++) {
        int32x4_t acc[WIDTH * PARTS];
        products(form, level->codes + block * level->quads * KI_QUAD_BYTES, level->quads, queries, 4 * width,
                 panel->start, width, acc);
        for (unsigned i = 0; i < width; i++) {
            const float need =
                panel->need[i] - panel->a[i] * bounds->norm - panel->b[i] * bounds->error - bounds->slack;
            const unsigned mask = reach(&acc[i * PARTS], panel->scale[i], level->factors + block * KI_FACTORS, need);
            ki_tile_note(&hits[used], block, i, mask);
            used += mask != 0;
        }
    }
    *count = used;
    return block;
}

INLINE size_t scan(enum form form, const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds,
                   size_t first, size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    if (panel->count == 1) return scan_panel(form, level, panel, bounds, first, end, hits, capacity, count, 1);
    return scan_panel(form, level, panel, bounds, first, end, hits, capacity, count, WIDTH);
}

static size_t scan_widened(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                           size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    return scan(WIDENED, level, panel, bounds, first, end, hits, capacity, count);
}

static size_t scan_sdot(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                        size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    return scan(SDOT, level, panel, bounds, first, end, hits, capacity, count);
}

static size_t scan_usdot(const ki_level *level, const ki_panel *panel, const ki_block_bound *bounds, size_t first,
                         size_t end, ki_tile_hit *hits, size_t capacity, size_t *count) {
    return scan(USDOT, level, panel, bounds, first, end, hits, capacity, count);
}

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

/* The scores of T4, and which of the 16 vectors reach the threshold. */
INLINE unsigned score_block(const int32x4_t *dots, float query_scale, const float *factors, float need, float *score) {
    static const uint32_t bits[4] = {1, 2, 4, 8};
    unsigned mask = 0;
    for (unsigned p = 0; p < PARTS; p++) {
        const float32x4_t dot = vmulq_n_f32(vcvtq_f32_s32(dots[p]), query_scale);
        const float32x4_t s =
            vfmaq_f32(vld1q_f32(factors + KI_FACTOR_BIAS + 4 * p), dot, vld1q_f32(factors + KI_FACTOR_SCALE + 4 * p));
        vst1q_f32(score + 4 * p, s);
        mask |= vaddvq_u32(vandq_u32(vcgeq_f32(s, vdupq_n_f32(need)), vld1q_u32(bits))) << 4 * p;
    }
    return mask;
}

/* Hits are frequent, so that a branch for each would be mispredicted: all is stored at the next free place, which is
 * taken only by a hit. */
INLINE size_t score_panel(enum form form, const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                          ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count,
                          unsigned width) {
    const int8_t *queries[WIDTH];
    size_t used = *count, block = first;
    for (unsigned i = 0; i < width; i++) queries[i] = (const int8_t *)panel->packed + 4 * i;
    for (; block < end && used + 4 * KI_PANEL_MAX <= capacity; block++) {
        int32x4_t acc[WIDTH * PARTS];
        products(form, level->codes + block * level->quads * KI_QUAD_BYTES, level->quads, queries, 4 * width,
                 panel->start, width, acc);
        for (unsigned i = 0; i < width; i++) {
            const unsigned mask = score_block(&acc[i * PARTS], panel->scale[i], level->factors + block * KI_FACTORS,
                                              panel->need[i], scores[used]);
            ki_tile_note(&hits[used], block, i, mask);
            used += mask != 0;
        }
    }
    *count = used;
    return block;
}

INLINE size_t score(enum form form, const ki_level *level, const ki_panel *panel, size_t first, size_t end,
                    ki_tile_hit *hits, float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    if (panel->count == 1) return score_panel(form, level, panel, first, end, hits, scores, capacity, count, 1);
    return score_panel(form, level, panel, first, end, hits, scores, capacity, count, WIDTH);
}

static size_t score_widened(const ki_level *level, const ki_panel *panel, size_t first, size_t end, ki_tile_hit *hits,
                            float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    return score(WIDENED, level, panel, first, end, hits, scores, capacity, count);
}

static size_t score_sdot(const ki_level *level, const ki_panel *panel, size_t first, size_t end, ki_tile_hit *hits,
                         float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    return score(SDOT, level, panel, first, end, hits, scores, capacity, count);
}

static size_t score_usdot(const ki_level *level, const ki_panel *panel, size_t first, size_t end, ki_tile_hit *hits,
                          float (*scores)[KI_BLOCK], size_t capacity, size_t *count) {
    return score(USDOT, level, panel, first, end, hits, scores, capacity, count);
}

/* ---- Single blocks ----------------------------------------------------------------------------------------------- */

INLINE void block_dots(enum form form, const ki_level *level, size_t block, const int8_t *const *queries,
                       const int32_t *starts, unsigned width, int32_t (*dot)[KI_BLOCK]) {
    int32x4_t acc[WIDTH * PARTS];
    products(form, level->codes + block * level->quads * KI_QUAD_BYTES, level->quads, queries, 4, starts, width, acc);
#pragma GCC unroll 16
    for (unsigned a = 0; a < width * PARTS; a++) vst1q_s32(dot[a / PARTS] + 4 * (a % PARTS), acc[a]);
}

INLINE void dots(enum form form, const ki_level *level, size_t block, const int8_t *const *queries,
                 const int32_t *starts, unsigned count, int32_t (*dot)[KI_BLOCK]) {
    switch (count) {
    case 1:
        block_dots(form, level, block, queries, starts, 1, dot);
        return;
    case 2:
        block_dots(form, level, block, queries, starts, 2, dot);
        return;
    case 3:
        block_dots(form, level, block, queries, starts, 3, dot);
        return;
    default:
        block_dots(form, level, block, queries, starts, 4, dot);
    }
}

static void dots_widened(const ki_level *level, size_t block, const int8_t *const *queries, const int32_t *starts,
                         unsigned count, int32_t (*dot)[KI_BLOCK]) {
    dots(WIDENED, level, block, queries, starts, count, dot);
}

static void dots_sdot(const ki_level *level, size_t block, const int8_t *const *queries, const int32_t *starts,
                      unsigned count, int32_t (*dot)[KI_BLOCK]) {
    dots(SDOT, level, block, queries, starts, count, dot);
}

static void dots_usdot(const ki_level *level, size_t block, const int8_t *const *queries, const int32_t *starts,
                       unsigned count, int32_t (*dot)[KI_BLOCK]) {
    dots(USDOT, level, block, queries, starts, count, dot);
}

void ki_tile_fill_neon(uint32_t features, ki_tile_kernels *table) {
    if (!(features & KI_NEON)) return;
    *table = (ki_tile_kernels){.width = WIDTH,
                               .dots_width = WIDTH,
                               .packed_bytes = neon_packed_bytes,
                               .pack = neon_pack,
                               .scan = scan_widened,
                               .score = score_widened,
                               .dots = dots_widened};
    features &= dot_forms;
    if (features & KI_NEON_DOT) table->scan = scan_sdot, table->score = score_sdot, table->dots = dots_sdot;
    if (features & KI_NEON_I8MM) table->scan = scan_usdot, table->score = score_usdot, table->dots = dots_usdot;
}

#else
void ki_tile_fill_neon(uint32_t features, ki_tile_kernels *table) {
    (void)features;
    (void)table;
}
#endif
