/* SPDX-License-Identifier: Apache-2.0
 *
 * Cells: elders in small groups of vectors that lie near each other, whose means say which groups lie near. The lists
 * of the segment, where it has many; else what is nearest to leaders drawn at random [PiPNN], and of few vectors any.
 * */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

enum {
    FEW = 4096,       /* elders, among which all are compared with all */
    RUN = 64,         /* elders of a cell then */
    LONGEST = 1024,   /* mean rows of a list, beyond which lists are no cells */
    PER_LEADER = 128, /* elders of a leader's cell, about */
    LEADERS_MAX = 4096
};

static kith_status no_memory(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for the cells of a graph");
}

static int make_room(ki_graph_build *build, size_t count, size_t elders) {
    ki_graph_cells *cells = &build->cells;
    cells->count = count;
    cells->first = ki_alloc_array_zeroed((uint64_t)count + 2, sizeof(uint32_t));
    cells->member = ki_alloc_array(elders, sizeof(uint32_t));
    cells->centre = ki_alloc_array(count, build->codes.bytes * sizeof(float));
    return cells->first && cells->member && cells->centre;
}

/* Lists without twins. */
static void from_lists(ki_graph_build *build) {
    ki_graph_cells *cells = &build->cells;
    uint32_t used = 0;
    for (size_t l = 0; l < cells->count; l++) {
        cells->first[l] = used;
        for (uint32_t v = build->in.first_row[l]; v < build->in.first_row[l + 1]; v++)
            if (build->elder[v] == v) cells->member[used++] = v;
    }
    cells->first[cells->count] = used;
}

static void from_order(ki_graph_build *build) {
    ki_graph_cells *cells = &build->cells;
    uint32_t used = 0;
    for (uint32_t v = 0; v < build->codes.rows; v++)
        if (build->elder[v] == v) cells->member[used++] = v;
    for (size_t c = 0; c <= cells->count; c++) cells->first[c] = (uint32_t)ki_min_size(c * RUN, used);
}

/* ---- Leaders ----------------------------------------------------------------------------------------------------- */

struct leading {
    ki_graph_build *build;
    const uint32_t *elder;
    size_t elders, leaders;
    const uint32_t *leader;
    ki_level level;   /* their codes */
    uint32_t *choice; /* elders: the leader of each */
};

static void choose_leaders(void *context, size_t piece, unsigned worker) {
    const struct leading *l = context;
    const ki_graph_codes *codes = &l->build->codes;
    const size_t first = piece * RUN, end = ki_min_size(first + RUN, l->elders), width = ki_tile()->dots_width;
    (void)worker;
    float best[RUN];
    for (size_t i = first; i < end; i++) best[i - first] = INFINITY;
    for (size_t block = 0; block < l->level.blocks; block++)
        for (size_t i = first; i < end; i += width) {
            const unsigned taken = (unsigned)ki_min_size(width, end - i);
            const int8_t *row[KI_DOTS_MAX];
            int32_t start[KI_DOTS_MAX], dot[KI_DOTS_MAX][KI_BLOCK];
            for (unsigned q = 0; q < taken; q++) {
                row[q] = ki_graph_code(codes, l->elder[i + q]);
                start[q] = codes->start[l->elder[i + q]];
            }
            ki_tile()->dots(&l->level, block, row, start, taken, dot);
            for (unsigned q = 0; q < taken; q++)
                for (size_t v = 0; v < KI_BLOCK && block * KI_BLOCK + v < l->leaders; v++) {
                    const size_t at = block * KI_BLOCK + v;
                    const float apart = ki_graph_apart_by(codes, l->elder[i + q], l->leader[at], dot[q][v]);
                    if (apart >= best[i + q - first]) continue;
                    best[i + q - first] = apart;
                    l->choice[i + q] = (uint32_t)at;
                }
        }
}

/* Cells by leader; long ones are cut. */
static int sort_choices(ki_graph_build *build, const struct leading *l) {
    enum { LONG = 4 * PER_LEADER };
    uint32_t *next = ki_alloc_array_zeroed(l->leaders + 1, sizeof(*next));
    size_t count = 0;
    if (!next) return 0;
    for (size_t i = 0; i < l->elders; i++) next[l->choice[i] + 1]++;
    for (size_t c = 0; c < l->leaders; c++) count += (next[c + 1] + LONG - 1) / LONG;
    const int ready = make_room(build, count, l->elders);
    if (ready) {
        ki_graph_cells *cells = &build->cells;
        size_t cell = 0;
        for (size_t c = 0; c < l->leaders; c++) {
            const uint32_t size = next[c + 1];
            next[c + 1] += next[c];
            for (uint32_t at = 0; at < size; at += LONG) cells->first[cell++] = next[c] + at;
        }
        cells->first[cell] = (uint32_t)l->elders;
        for (size_t i = 0; i < l->elders; i++) cells->member[next[l->choice[i]]++] = l->elder[i];
    }
    free(next);
    return ready;
}

static int from_leaders(ki_graph_build *build, size_t elders) {
    const ki_graph_codes *codes = &build->codes;
    const size_t leaders = ki_min_size((elders + PER_LEADER - 1) / PER_LEADER, LEADERS_MAX);
    const size_t quads = codes->bytes / 4, blocks = (leaders + KI_BLOCK - 1) / KI_BLOCK;
    uint32_t *elder = ki_alloc_array(elders, sizeof(*elder)), *leader = ki_alloc_array(leaders, sizeof(*leader));
    uint32_t *choice = ki_alloc_array_zeroed(elders, sizeof(*choice));
    uint8_t *laid = ki_alloc_array_zeroed(blocks * quads * KI_QUAD_BYTES + KI_TILE_OVERREAD, 1);
    int ready = elder && leader && choice && laid;
    if (ready) {
        ki_rng rng = {build->in.seed ^ 0x6c656164};
        size_t used = 0;
        for (uint32_t v = 0; v < codes->rows; v++)
            if (build->elder[v] == v) elder[used++] = v;
        for (size_t c = 0; c < leaders; c++) { /* one of each stretch */
            const size_t from = c * elders / leaders, to = (c + 1) * elders / leaders;
            leader[c] = elder[from + (size_t)ki_rng_below(&rng, to - from)];
            ki_tile_lay(ki_graph_code(codes, leader[c]), quads, c % KI_BLOCK,
                        laid + c / KI_BLOCK * quads * KI_QUAD_BYTES);
        }
        struct leading leading = {build, elder, elders, leaders, leader, {laid, NULL, quads, blocks}, choice};
        ki_pool_run(build->in.pool, (elders + RUN - 1) / RUN, choose_leaders, &leading);
        ready = sort_choices(build, &leading);
    }
    free(elder);
    free(leader);
    free(choice);
    free(laid);
    return ready;
}

/* ---- Their means ------------------------------------------------------------------------------------------------- */

static void find_mean(void *context, size_t piece, unsigned worker) {
    ki_graph_build *build = context;
    const ki_graph_codes *codes = &build->codes;
    const uint32_t *member = build->cells.member + build->cells.first[piece];
    const uint32_t count = build->cells.first[piece + 1] - build->cells.first[piece];
    float *mean = build->cells.centre + piece * codes->bytes;
    (void)worker;
    memset(mean, 0, codes->bytes * sizeof(*mean));
    for (uint32_t i = 0; i < count; i++) {
        const int8_t *code = ki_graph_code(codes, member[i]);
        const float share = codes->scale[member[i]] / (float)count;
        for (size_t j = 0; j < codes->bytes; j++) mean[j] += share * code[j];
    }
}

kith_status ki_graph_make_cells(ki_graph_build *build, kith_error *error) {
    const uint64_t rows = build->codes.rows;
    size_t elders = 0;
    int ready;
    for (uint32_t v = 0; v < rows; v++) elders += build->elder[v] == v;
    if (elders <= FEW) {
        ready = make_room(build, (elders + RUN - 1) / RUN, elders);
        if (ready) from_order(build);
    } else if (build->in.lists > 1 && rows / build->in.lists <= LONGEST) {
        ready = make_room(build, build->in.lists, elders);
        if (ready) from_lists(build);
    } else {
        ready = from_leaders(build, elders);
    }
    if (!ready) return no_memory(error);
    ki_pool_run(build->in.pool, build->cells.count, find_mean, build);
    return KITH_OK;
}
