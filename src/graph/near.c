/* SPDX-License-Identifier: Apache-2.0
 *
 * Each elder's nearest among those of the cells around its own, by tile kernels, and its edges of those.
 *
 * How many are looked at decides what the graph is worth, more than the rule by which edges are chosen. Text embeddings
 * (115,659 x 384), recall in walks of 50 steps, of 1,500 and 6,000 that are met: .877, .943; with widen.c after it,
 * of 1,500 and 4,000: .910, .952. */
#include "graph/inner.h"

#include "base/checked.h"
#include "base/status.h"
#include "kernel/distance.h"
#include "kernel/pick.h"

#include <math.h>
#include <string.h>

enum {
    GROUP = 128, /* elders whose nearest are sought together */
    CHUNK = 16,  /* blocks of others that they meet at a time */
    HITS = 512,
    LOOK_AT = 4000, /* others that an elder is compared with, at least */
    LEAST_CELLS = 24,
    KEEP_MAX = 96,
    ROOM = 4 * KEEP_MAX
};

struct seeker {
    ki_graph_build *build;
    size_t keep;
    ki_graph_pruner pruner;
    uint8_t *codes; /* CHUNK blocks */
    float *factors;
    uint32_t other[CHUNK * KI_BLOCK];
    void *packed;
    ki_tile_hit *hits;
    float (*scores)[KI_BLOCK];
    ki_hit *cells;
    /* of each of the group */
    float *score;    /* GROUP x ROOM */
    uint32_t *found; /* likewise */
    uint32_t used[GROUP];
    float least[GROUP], work[ROOM];
};

static void seeker_free(struct seeker *s) {
    if (!s) return;
    free(s->codes);
    free(s->factors);
    free(s->packed);
    free(s->hits);
    free(s->scores);
    free(s->cells);
    free(s->score);
    free(s->found);
    free(s);
}

static struct seeker *seeker_create(ki_graph_build *build) {
    const size_t bytes = build->codes.bytes;
    struct seeker *s = ki_alloc_array_zeroed(1, sizeof(*s));
    if (!s) return NULL;
    s->build = build;
    s->keep = build->in.degree + build->in.degree / 2;
    s->codes = ki_alloc_array_zeroed((uint64_t)CHUNK * KI_BLOCK * bytes + KI_TILE_OVERREAD, 1);
    s->factors = ki_alloc_array((uint64_t)CHUNK * KI_FACTORS, sizeof(float));
    s->packed = ki_alloc_array_zeroed(ki_tile()->packed_bytes(bytes / 4, ki_tile()->width), 1);
    s->hits = ki_alloc_array(HITS, sizeof(*s->hits));
    s->scores = ki_alloc_array(HITS, sizeof(*s->scores));
    s->cells = ki_alloc_array(build->cells.count, sizeof(*s->cells));
    s->score = ki_alloc_array((uint64_t)GROUP * ROOM, sizeof(*s->score));
    s->found = ki_alloc_array((uint64_t)GROUP * ROOM, sizeof(*s->found));
    if (s->codes && s->factors && s->packed && s->hits && s->scores && s->cells && s->score && s->found) return s;
    seeker_free(s);
    return NULL;
}

/* The cells around one, the nearest first, itself among them: so many that enough others are met. */
static size_t cells_around(struct seeker *s, size_t cell) {
    const ki_graph_cells *cells = &s->build->cells;
    const size_t bytes = s->build->codes.bytes;
    ki_pair_fn *const l2sq = ki_distance()->l2sq[KITH_F32];
    const float *centre = cells->centre + cell * bytes;
    for (size_t c = 0; c < cells->count; c++)
        s->cells[c] = (ki_hit){l2sq(centre, cells->centre + c * bytes, bytes), (uint32_t)c, c};
    s->cells[cell].distance = -1;
    for (size_t taken = LEAST_CELLS;; taken *= 2) {
        const size_t count = ki_min_size(taken, cells->count);
        size_t met = 0, used = 0;
        ki_hits_select(s->cells, cells->count, count);
        ki_hits_sort(s->cells, count);
        for (; used < count && (used < LEAST_CELLS || met < LOOK_AT); used++)
            met += cells->first[s->cells[used].position + 1] - cells->first[s->cells[used].position];
        if (met >= LOOK_AT || used == cells->count) return used;
    }
}

static void lay_others(struct seeker *s, const uint32_t *other, size_t count) {
    const ki_graph_codes *codes = &s->build->codes;
    const ki_tile_room room = {s->codes, s->factors, codes->bytes / 4};
    memcpy(s->other, other, count * sizeof(*other));
    if (count % KI_BLOCK) ki_tile_clear(&room, count / KI_BLOCK, count / KI_BLOCK + 1);
    for (size_t i = 0; i < count; i++) {
        const float factors[4] = {codes->scale[other[i]], -0.5f * codes->square[other[i]], 0, 0};
        ki_tile_put(&room, i, ki_graph_code(codes, other[i]), factors);
    }
}

/* Only the best stay; of equal ones those that came first. */
static void make_room(struct seeker *s, size_t q) {
    float *score = s->score + q * ROOM;
    uint32_t *found = s->found + q * ROOM;
    const size_t count = s->used[q];
    size_t kept = 0, ties = s->keep;
    if (count <= s->keep) return;
    const float last = ki_pick()->nth(score, count, s->keep, s->work);
    for (size_t i = 0; i < count; i++) ties -= score[i] > last;
    for (size_t i = 0; i < count; i++) {
        const int tie = score[i] == last && ties;
        if (score[i] < last || (score[i] == last && !tie)) continue;
        ties -= (size_t)tie;
        score[kept] = score[i];
        found[kept++] = found[i];
    }
    s->used[q] = (uint32_t)kept;
    s->least[q] = last;
}

static void take_hit(struct seeker *s, const uint32_t *group, size_t q, size_t h) {
    if (s->used[q] + 2 * KI_BLOCK > ROOM) make_room(s, q);
    uint32_t *found = s->found + q * ROOM;
    float *score = s->score + q * ROOM;
    const size_t used = s->used[q];
    size_t kept = used;
    const size_t end = ki_pick()->collect(s->scores[h], 0, s->hits[h].mask, s->least[q], s->hits[h].block * KI_BLOCK,
                                          score, found, used);
    for (size_t i = used; i < end; i++) {
        const uint32_t id = s->other[found[i]];
        score[kept] = score[i];
        found[kept] = id;
        kept += id != group[q];
    }
    s->used[q] = (uint32_t)kept;
}

/* Some of the group, as a panel, against the chunk. */
static void meet(struct seeker *s, const uint32_t *group, size_t first, unsigned count, size_t others) {
    const ki_graph_codes *codes = &s->build->codes;
    const ki_level level = {s->codes, s->factors, codes->bytes / 4, (others + KI_BLOCK - 1) / KI_BLOCK};
    const int8_t *row[KI_PANEL_MAX];
    ki_panel panel = {.packed = s->packed, .count = count};
    for (unsigned i = 0; i < KI_PANEL_MAX; i++) panel.need[i] = INFINITY;
    for (unsigned i = 0; i < count; i++) {
        row[i] = ki_graph_code(codes, group[first + i]);
        panel.scale[i] = codes->scale[group[first + i]];
        panel.start[i] = codes->start[group[first + i]];
        panel.need[i] = s->least[first + i];
    }
    ki_tile()->pack(row, count, level.quads, s->packed);
    for (size_t block = 0; block < level.blocks;) {
        size_t hits = 0;
        block = ki_tile()->score(&level, &panel, block, level.blocks, s->hits, s->scores, HITS, &hits);
        for (size_t h = 0; h < hits; h++) {
            const size_t left = others - s->hits[h].block * KI_BLOCK;
            if (left < KI_BLOCK) s->hits[h].mask &= (uint16_t)((1u << left) - 1);
            take_hit(s, group, first + s->hits[h].query, h);
        }
        for (unsigned i = 0; i < count; i++) panel.need[i] = s->least[first + i];
    }
}

/* The edges of elder v, number q of the group. */
static void choose(struct seeker *s, uint32_t v, size_t q) {
    ki_graph_build *build = s->build;
    make_room(s, q);
    s->pruner.count = s->used[q];
    for (size_t i = 0; i < s->used[q]; i++) {
        const float apart = build->codes.square[v] - 2 * s->score[q * ROOM + i];
        s->pruner.id[i] = s->found[q * ROOM + i];
        s->pruner.apart[i] = apart > 0 ? apart : 0;
    }
    ki_graph_choose(build, &s->pruner, v);
}

static void seek(struct seeker *s, const uint32_t *group, size_t count, size_t around) {
    ki_graph_build *build = s->build;
    const ki_graph_cells *cells = &build->cells;
    const unsigned width = ki_tile()->width;
    for (size_t q = 0; q < count; q++) {
        s->used[q] = 0;
        s->least[q] = -INFINITY;
    }
    for (size_t c = 0; c < around; c++) {
        const uint32_t first = cells->first[s->cells[c].position], end = cells->first[s->cells[c].position + 1];
        for (uint32_t at = first; at < end; at += CHUNK * KI_BLOCK) {
            const size_t others = ki_min_size(CHUNK * KI_BLOCK, end - at);
            lay_others(s, cells->member + at, others);
            for (size_t q = 0; q < count; q += width) {
                meet(s, group, q, (unsigned)ki_min_size(width, count - q), others);
                for (size_t i = q; i < ki_min_size(q + width, count); i++)
                    if (s->used[i] > 2 * s->keep) make_room(s, i);
            }
        }
    }
    for (size_t q = 0; q < count; q++) choose(s, group[q], q);
}

static void seek_cell(void *context, size_t piece, unsigned worker) {
    struct seeker **seekers = context, *s = seekers[worker];
    ki_graph_build *build = s->build;
    const uint32_t first = build->cells.first[piece], end = build->cells.first[piece + 1];
    if (first == end || atomic_load(&build->stop)) return;
    const size_t around = cells_around(s, piece);
    for (uint32_t at = first; at < end; at += GROUP)
        seek(s, build->cells.member + at, ki_min_size(GROUP, end - at), around);
    atomic_fetch_add(&build->done, end - first);
    if (worker == 0) ki_graph_tell(build, atomic_load(&build->done));
}

kith_status ki_graph_find_near(ki_graph_build *build, kith_error *error) {
    const unsigned threads = ki_pool_threads(build->in.pool);
    struct seeker **seekers = ki_alloc_array_zeroed(threads, sizeof(*seekers));
    int ready = seekers != NULL;
    kith_status status;
    for (unsigned t = 0; t < threads && ready; t++) ready = (seekers[t] = seeker_create(build)) != NULL;
    atomic_store(&build->done, 0);
    status = ready ? ki_graph_run(build, build->cells.count, seek_cell, seekers, error)
                   : ki_fail(error, KITH_E_NOMEM, "out of memory to find neighbours of %llu vectors",
                             (unsigned long long)build->in.rows);
    for (unsigned t = 0; t < threads && seekers; t++) seeker_free(seekers[t]);
    free(seekers);
    return status;
}
