/* SPDX-License-Identifier: Apache-2.0
 *
 * Assignment: rows against blocks of centroids by the tile kernels' dots, which need no packing: where lists are many,
 * every row looks into the few supers that are nearest to it, and would be packed once for each. The rows that look
 * into one super are taken together, so that its centroids come from the nearest cache. */
#include "kmeans/inner.h"

#include "base/checked.h"
#include "base/counting_sort.h"
#include "kernel/cluster.h"
#include "kernel/pick.h"
#include "kernel/project.h"
#include "quant/int8.h"

#include <math.h>
#include <string.h>

enum {
    /* One super in so many is looked into. Text embeddings, 1,360 lists: 97 % of the rows find their nearest list, and
     * residuals grow by 0.2 %. */
    VISIT_PART = 6,
    VISITS_LEAST = 8,      /* at least KI_CHOICES, so that there are as many lists */
    ROWS_LEAST = 1024,     /* rows at a time */
    ROWS_A_SUPER = 16,     /* so that supers are read for several rows each */
    ROWS_BYTES = 4 << 20,  /* of the rows' codes, at most */
    TILE_BYTES = 256 << 10 /* of centroids that stay in the cache while all rows pass */
};

struct ki_assign_scratch {
    const ki_kmeans *kmeans;
    size_t rows;             /* at a time */
    ki_coded coded;          /* that many, or none */
    float *residual;         /* dim */
    float *best;             /* rows x choices */
    ki_level supers;         /* blocks 0: every row looks at every list */
    size_t visits;           /* supers that a row looks into */
    float *visit_best;       /* rows x visits */
    uint32_t *visit;         /* rows x visits: which supers, nearest first */
    uint32_t *visitors;      /* rows x visits: which rows, by super */
    uint32_t *visitor_first; /* supers + 2: where each super's begin */
    void *memory;            /* of the supers' codes */
};

/* ---- Coding ------------------------------------------------------------------------------------------------------ */

int ki_coded_create(size_t rows, size_t dim, ki_coded *coded) {
    const size_t bytes = (size_t)ki_round_up(dim, 4);
    *coded = (ki_coded){.bytes = bytes,
                        .codes = ki_alloc_array(rows, bytes),
                        .scale = ki_alloc_array(rows, sizeof(float)),
                        .start = ki_alloc_array(rows, sizeof(int32_t))};
    if (coded->codes && coded->scale && coded->start) return 1;
    ki_coded_free(coded);
    return 0;
}

void ki_coded_free(ki_coded *coded) {
    free(coded->codes);
    free(coded->scale);
    free(coded->start);
    *coded = (ki_coded){0};
}

void ki_coded_set(ki_coded *coded, size_t at, const float *row, const float *centre, size_t dim, float *residual) {
    int8_t *code = coded->codes + at * coded->bytes;
    float largest, norm2;
    ki_int8_facts facts;
    ki_projector()->centre(row, 1, centre, dim, residual, &largest, &norm2);
    ki_int8_encode(residual, dim, largest, norm2, code, &facts);
    memset(code + dim, 0, coded->bytes - dim);
    coded->scale[at] = facts.scale;
    coded->start[at] = -KI_CODE_OFFSET * facts.sum;
}

size_t ki_centroid_code_bytes(size_t lists, size_t dim) {
    return (lists + KI_BLOCK - 1) / KI_BLOCK * ((dim + 3) / 4) * KI_QUAD_BYTES + KI_TILE_OVERREAD;
}

size_t ki_centroid_factors(size_t lists) {
    return (lists + KI_BLOCK - 1) / KI_BLOCK * KI_FACTORS;
}

ki_level ki_centroids_code(const float *centroids, size_t lists, size_t dim, const float *centre, int8_t *code,
                           float *residual, const ki_tile_room *room) {
    const size_t blocks = (lists + KI_BLOCK - 1) / KI_BLOCK;
    ki_tile_clear(room, 0, blocks);
    memset(code + dim, 0, 4 * room->quads - dim);
    for (size_t list = 0; list < lists; list++) {
        ki_int8_facts facts;
        float largest, norm2;
        ki_projector()->centre(centroids + list * dim, 1, centre, dim, residual, &largest, &norm2);
        ki_int8_encode(residual, dim, largest, norm2, code, &facts);
        ki_tile_put(room, list, code, (float[]){facts.scale, -norm2 / 2, facts.norm, facts.error});
    }
    return (ki_level){room->codes, room->factors, room->quads, blocks};
}

/* ---- Scratch ----------------------------------------------------------------------------------------------------- */

static int code_supers(ki_assign_scratch *scratch) {
    const ki_kmeans *kmeans = scratch->kmeans;
    const size_t dim = kmeans->dim, code_bytes = (size_t)ki_round_up(ki_centroid_code_bytes(kmeans->supers, dim), 64);
    scratch->memory = ki_alloc_array_zeroed(code_bytes + ki_centroid_factors(kmeans->supers) * sizeof(float), 1);
    int8_t *code = ki_alloc_array(ki_round_up(dim, 4), 1);
    const int ready = scratch->memory && code;
    if (ready) {
        uint8_t *codes = scratch->memory;
        const ki_tile_room room = {codes, (float *)(void *)(codes + code_bytes), (dim + 3) / 4};
        scratch->supers = ki_centroids_code(kmeans->super_centroids, kmeans->supers, dim, kmeans->centre, code,
                                            scratch->residual, &room);
    }
    free(code);
    return ready;
}

static int make_visits(ki_assign_scratch *scratch) {
    const size_t supers = scratch->kmeans->supers, part = (supers + VISIT_PART - 1) / VISIT_PART;
    scratch->visits = ki_min_size(supers, part < VISITS_LEAST ? VISITS_LEAST : part);
    const size_t pairs = scratch->rows * scratch->visits;
    scratch->visit_best = ki_alloc_array(pairs, sizeof(float));
    scratch->visit = ki_alloc_array(pairs, sizeof(uint32_t));
    scratch->visitors = ki_alloc_array(pairs, sizeof(uint32_t));
    scratch->visitor_first = ki_alloc_array(supers + 2, sizeof(uint32_t));
    return scratch->visit_best && scratch->visit && scratch->visitors && scratch->visitor_first && code_supers(scratch);
}

static size_t rows_at_a_time(const ki_kmeans *kmeans) {
    const size_t wanted = kmeans->supers * ROWS_A_SUPER, fit = ROWS_BYTES / kmeans->dim;
    return ki_min_size(wanted < ROWS_LEAST ? ROWS_LEAST : wanted, fit < KI_PANEL_MAX ? KI_PANEL_MAX : fit);
}

ki_assign_scratch *ki_assign_scratch_make(const ki_kmeans *kmeans, unsigned keep, int codes) {
    ki_assign_scratch *scratch = ki_alloc_array_zeroed(1, sizeof(*scratch));
    if (!scratch) return NULL;
    scratch->kmeans = kmeans;
    scratch->rows = rows_at_a_time(kmeans);
    scratch->residual = ki_alloc_array(kmeans->dim, sizeof(float));
    scratch->best = ki_alloc_array(scratch->rows, keep * sizeof(float));
    int ready = scratch->residual && scratch->best;
    if (ready && codes) ready = ki_coded_create(scratch->rows, kmeans->dim, &scratch->coded);
    if (ready && kmeans->supers && kmeans->lists >= KI_ASSIGN_LEAST) ready = make_visits(scratch);
    if (ready) return scratch;
    ki_assign_scratch_destroy(scratch);
    return NULL;
}

ki_assign_scratch *ki_assign_scratch_create(const ki_kmeans *kmeans) {
    return ki_assign_scratch_make(kmeans, KI_CHOICES, 1);
}

void ki_assign_scratch_destroy(ki_assign_scratch *scratch) {
    if (!scratch) return;
    ki_coded_free(&scratch->coded);
    free(scratch->residual);
    free(scratch->best);
    free(scratch->visit_best);
    free(scratch->visit);
    free(scratch->visitors);
    free(scratch->visitor_first);
    free(scratch->memory);
    free(scratch);
}

size_t ki_assign_rows(const ki_assign_scratch *scratch) {
    return scratch->rows;
}

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

/* What rows are held against, and where the best of each are kept: `keep` of them, best first. */
struct keeper {
    const ki_level *level;
    size_t low, high; /* vectors of the level that count */
    const ki_coded *rows;
    size_t first; /* row 0 of best and choice is this coded row */
    unsigned keep;
    size_t stride; /* of a row in best and choice */
    float *best;
    uint32_t *choice;
};

static void forget(const struct keeper *k, size_t count) {
    for (size_t row = 0; row < count; row++)
        for (unsigned i = 0; i < k->keep; i++) {
            k->best[row * k->stride + i] = -INFINITY;
            k->choice[row * k->stride + i] = UINT32_MAX;
        }
}

static void keep_list(float *best, uint32_t *choice, unsigned keep, float score, uint32_t list) {
    unsigned at = keep - 1;
    for (; at > 0 && score > best[at - 1]; at--) {
        best[at] = best[at - 1];
        choice[at] = choice[at - 1];
    }
    best[at] = score;
    choice[at] = list;
}

static void take_block(const struct keeper *k, uint32_t row, size_t block, const float *score) {
    float *best = k->best + row * k->stride;
    for (unsigned mask = ki_pick()->reach(score, best[k->keep - 1]); mask; mask &= mask - 1) {
        const unsigned v = (unsigned)__builtin_ctz(mask);
        const size_t list = block * KI_BLOCK + v;
        if (score[v] > best[k->keep - 1] && list >= k->low && list < k->high)
            keep_list(best, k->choice + row * k->stride, k->keep, score[v], (uint32_t)list);
    }
}

/* Rows row[0..count] (at most the width of dots) against the blocks that hold low..high. */
static void score_rows(const struct keeper *k, const uint32_t *row, unsigned count) {
    const int8_t *code[KI_DOTS_MAX];
    int32_t start[KI_DOTS_MAX], dot[KI_DOTS_MAX][KI_BLOCK];
    float scale[KI_DOTS_MAX], score[KI_DOTS_MAX][KI_BLOCK];
    for (unsigned i = 0; i < count; i++) {
        code[i] = k->rows->codes + (k->first + row[i]) * k->rows->bytes;
        start[i] = k->rows->start[k->first + row[i]];
        scale[i] = k->rows->scale[k->first + row[i]];
    }
    for (size_t block = k->low / KI_BLOCK; block * KI_BLOCK < k->high; block++) {
        ki_tile()->dots(k->level, block, code, start, count, dot);
        ki_cluster()->estimate((const int32_t(*)[KI_BLOCK])dot, count, k->level->factors + block * KI_FACTORS, scale,
                               score);
        for (unsigned i = 0; i < count; i++) take_block(k, row[i], block, score[i]);
    }
}

/* All of `count` rows against all of `lists`. */
static void score_all(struct keeper *k, size_t count, size_t lists) {
    const size_t width = ki_tile()->dots_width, fit = TILE_BYTES / (k->level->quads * KI_QUAD_BYTES);
    const size_t tile = (fit ? fit : 1) * KI_BLOCK;
    forget(k, count);
    for (k->low = 0; k->low < lists; k->low = k->high) {
        k->high = ki_min_size(lists, k->low + tile);
        for (size_t i = 0; i < count; i += width) {
            uint32_t row[KI_DOTS_MAX];
            for (uint32_t r = 0; r < width; r++) row[r] = (uint32_t)i + r;
            score_rows(k, row, (unsigned)ki_min_size(width, count - i));
        }
    }
}

/* Sort the (row, super) pairs by super. */
static void group_visitors(ki_assign_scratch *scratch, size_t count, size_t visits) {
    const size_t supers = scratch->kmeans->supers;
    uint32_t *first = scratch->visitor_first;
    ki_sort_begin(first, supers);
    for (size_t i = 0; i < count * visits; i++) ki_sort_count(first, scratch->visit[i]);
    ki_sort_starts(first, supers);
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < visits; p++)
            scratch->visitors[ki_sort_place(first, scratch->visit[i * visits + p])] = (uint32_t)i;
}

/* Rows look into `visits` supers. */
static void score_by_supers(ki_assign_scratch *scratch, struct keeper *k, size_t count, size_t visits) {
    const ki_kmeans *kmeans = scratch->kmeans;
    const size_t width = ki_tile()->dots_width;
    struct keeper visit = *k;
    visit.level = &scratch->supers;
    visit.keep = (unsigned)visits;
    visit.stride = visits;
    visit.best = scratch->visit_best;
    visit.choice = scratch->visit;
    score_all(&visit, count, kmeans->supers);
    group_visitors(scratch, count, visits);
    forget(k, count);
    for (size_t s = 0, i = 0; s < kmeans->supers; s++) {
        k->low = s ? kmeans->super_end[s - 1] : 0;
        k->high = kmeans->super_end[s];
        for (size_t rows; i < scratch->visitor_first[s + 1]; i += rows) {
            rows = ki_min_size(width, scratch->visitor_first[s + 1] - i);
            score_rows(k, scratch->visitors + i, (unsigned)rows);
        }
    }
}

void ki_assign_coded(ki_assign_scratch *scratch, const ki_coded *rows, size_t first, size_t count, unsigned keep,
                     int hasty, uint32_t *choices) {
    struct keeper k = {.level = &scratch->kmeans->coarse,
                       .rows = rows,
                       .first = first,
                       .keep = keep,
                       .stride = keep,
                       .best = scratch->best,
                       .choice = choices};
    if (scratch->visits)
        score_by_supers(scratch, &k, count, hasty ? (scratch->visits + 1) / 2 : scratch->visits);
    else
        score_all(&k, count, scratch->kmeans->lists);
}

void ki_kmeans_assign(const ki_kmeans *kmeans, ki_assign_scratch *scratch, const float *rows, size_t count,
                      uint32_t (*choices)[KI_CHOICES]) {
    for (size_t done = 0, step; done < count; done += step) {
        step = ki_min_size(scratch->rows, count - done);
        for (size_t i = 0; i < step; i++)
            ki_coded_set(&scratch->coded, i, rows + (done + i) * kmeans->dim, kmeans->centre, kmeans->dim,
                         scratch->residual);
        ki_assign_coded(scratch, &scratch->coded, 0, step, KI_CHOICES, 0, choices[done]);
    }
}
