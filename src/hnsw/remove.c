/* SPDX-License-Identifier: Apache-2.0
 *
 * Removal, alone [after IP-DiskANN: Xu, Manohar, Bernstein, et al. 2025]: the vertices that have an edge to what goes
 * are found by a walk to it; each chooses anew among what it has and what was behind that edge. What would have no edge
 * coming in any more gets one from its own neighbours.
 *
 * A row that went keeps its list until its number is used again: who stands there can go on. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/checked.h"
#include "base/status.h"
#include "hnsw/state.h"

#include <string.h>

static uint32_t word_at(const uint8_t *row, size_t at) {
    uint32_t value;
    memcpy(&value, row + at, sizeof(value));
    return value;
}

static void drop_in(const ki_hnsw *h, uint32_t number) {
    atomic_fetch_sub(&ki_hnsw_beside(h, number)->in, 1);
}

/* Walks to what goes look at so many times as many vertices as those of insertions, while its count says that edges to
 * it are left. */
enum { WIDE = 16 };

/* ---- Repair ------------------------------------------------------------------------------------------------------ */

static int holds(const uint32_t *ids, size_t count, uint32_t number) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] == number) return 1;
    return 0;
}

/* Let `from` choose anew, if it has an edge to `gone`, whose list is `out`. */
static void repair(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t from, uint32_t gone, uint32_t layer, const uint32_t *out,
                   size_t out_count) {
    size_t count = ki_hnsw_neighbours(&h->net, from, layer, UINT32_MAX, s->ids), kept = 0;
    const size_t before = count;
    if (!holds(s->ids, count, gone)) return;
    for (size_t i = 0; i < count; i++)
        if (s->ids[i] != gone) s->ids[kept++] = s->ids[i];
    if (layer == 0) drop_in(h, gone);
    count = kept;
    for (size_t i = 0; i < out_count; i++) {
        if (out[i] == from || holds(s->ids, count, out[i])) continue;
        s->ids[kept++] = out[i];
        if (layer == 0) atomic_fetch_add(&ki_hnsw_beside(h, out[i])->in, 1);
    }
    count = ki_hnsw_rank(h, s, from, layer, kept);
    ki_hnsw_relist(h, s, from, layer, s->list, count, before);
}

static void repair_layer(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t gone, uint32_t layer) {
    ki_hnsw_query q;
    uint32_t *out = s->picked[layer];
    const size_t count = ki_hnsw_neighbours(&h->net, gone, layer, UINT32_MAX, out);
    s->picked_count[layer] = count;
    if (layer > s->entry >> 32) return;
    ki_hnsw_query_of_row(&h->net, ki_hnsw_row(&h->net, gone), s->z, ki_hnsw_limit2(h), &q);
    ki_hnsw_descend(s, &h->net, &q, s->entry, layer);
    const _Atomic uint32_t *in = &ki_hnsw_beside(h, gone)->in;
    for (size_t i = 0; i < count; i++) repair(h, s, out[i], gone, layer, out, count);
    for (size_t wide = 1; wide <= (layer ? 1 : WIDE) && (layer || atomic_load(in)); wide *= 4) {
        ki_hnsw_walk(s, &h->net, &q, layer, wide * h->options.ef);
        for (size_t i = 0; i < s->pool.count; i++) {
            const uint32_t from = ki_hnsw_number(s->pool.entry[i]);
            if (from != gone) repair(h, s, from, gone, layer, out, count);
        }
    }
}

/* ---- Entry ------------------------------------------------------------------------------------------------------- */

static uint32_t level_of(const ki_hnsw *h, uint32_t number) {
    return word_at(ki_hnsw_row(&h->net, number), KI_HNSW_LEVEL_AT);
}

static int is_vertex(const ki_hnsw *h, uint32_t number) {
    if (!atomic_load(&h->net.rows.chunk[(uint64_t)number >> h->net.rows.shift])) return 0;
    return ki_hnsw_load(ki_hnsw_row(&h->net, number) + KI_HNSW_STATE_AT) == KI_HNSW_VERTEX;
}

/* One of the highest vertices but `gone`. Only the entry's removal looks for one, which is one in as many as there
 * are. */
static void choose_entry(ki_hnsw *h, uint32_t gone) {
    uint64_t best = UINT64_MAX;
    int level = KI_HNSW_LEVEL_MAX;
    while (level >= 0 && atomic_load(&h->at_level[level]) == 0) level--;
    for (uint32_t i = 0; level >= 0 && best == UINT64_MAX && i < atomic_load(&h->limit); i++)
        if (i != gone && is_vertex(h, i) && level_of(h, i) == (uint32_t)level) best = (uint64_t)level << 32 | i;
    atomic_store(&h->entry, best);
}

/* ---- Removal ----------------------------------------------------------------------------------------------------- */

static void end_life(ki_hnsw *h, uint32_t number) {
    ki_hnsw_store(ki_hnsw_row(&h->net, number) + KI_HNSW_STATE_AT, KI_HNSW_GONE);
    ki_hnsw_beside(h, number)->ticket = atomic_load(&h->begun);
    atomic_fetch_sub(&h->count, 1);
}

static void remove_twin(ki_hnsw *h, uint32_t number) {
    const uint32_t before = ki_hnsw_beside(h, number)->before;
    const uint32_t next = ki_hnsw_load(ki_hnsw_row(&h->net, number) + KI_HNSW_NEXT_AT);
    ki_hnsw_store(ki_hnsw_row(&h->net, before) + KI_HNSW_NEXT_AT, next);
    if (next != KI_HNSW_NONE) ki_hnsw_beside(h, next)->before = before;
    end_life(h, number);
}

/* The first twin of a vertex becomes a vertex; the others are its own then. 0: no memory. */
static int promote(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number) {
    uint8_t *row = ki_hnsw_row(&h->net, number);
    const uint32_t twin = ki_hnsw_load(row + KI_HNSW_NEXT_AT);
    if (twin == KI_HNSW_NONE) return 1;
    uint8_t *to = ki_hnsw_row(&h->net, twin);
    const uint32_t level = ki_hnsw_level(&h->options, twin);
    uint32_t upper = 0;
    if (level && !ki_hnsw_take_blocks(h, level, &upper)) return 0;
    memcpy(to + KI_HNSW_UPPER_AT, &upper, sizeof(upper));
    memcpy(to + KI_HNSW_LEVEL_AT, &level, sizeof(level));
    ki_hnsw_place(h, s, twin, 0);
    ki_hnsw_store(row + KI_HNSW_NEXT_AT, KI_HNSW_NONE);
    return 1;
}

static void remove_vertex(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number) {
    const uint32_t level = level_of(h, number);
    s->entry = atomic_load(&h->entry); /* that of a twin, perhaps */
    for (uint32_t layer = level + 1; layer-- > 0;) repair_layer(h, s, number, layer);
    atomic_fetch_sub(&h->at_level[level], 1);
    if ((uint32_t)atomic_load(&h->entry) == number) choose_entry(h, number);
    end_life(h, number);
    const uint32_t *out = s->picked[0];
    for (size_t i = 0; i < s->picked_count[0]; i++) drop_in(h, out[i]);
    for (size_t i = 0; i < s->picked_count[0]; i++) {
        const _Atomic uint32_t *in = &ki_hnsw_beside(h, out[i])->in;
        if (!is_vertex(h, out[i]) || atomic_load(in)) continue;
        uint32_t *near = s->picked[1];
        const size_t count = ki_hnsw_neighbours(&h->net, out[i], 0, UINT32_MAX, near);
        for (size_t j = 0; j < count && atomic_load(in) == 0; j++)
            if (is_vertex(h, near[j])) ki_hnsw_link(h, s, near[j], out[i], 0);
    }
    if (level) ki_hnsw_give_blocks(h, level, word_at(ki_hnsw_row(&h->net, number), KI_HNSW_UPPER_AT));
}

kith_status ki_hnsw_remove(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number, kith_error *error) {
    kith_status status = KITH_OK;
    pthread_rwlock_wrlock(&h->changing);
    uint32_t state = KI_HNSW_FREE;
    if (number < atomic_load(&h->limit) && atomic_load(&h->net.rows.chunk[(uint64_t)number >> h->net.rows.shift]))
        state = ki_hnsw_load(ki_hnsw_row(&h->net, number) + KI_HNSW_STATE_AT);
    if (state == KI_HNSW_TWIN)
        remove_twin(h, number);
    else if (state != KI_HNSW_VERTEX)
        status = ki_fail(error, KITH_E_NOTFOUND, "hnsw: vector %u is not in", number);
    else if (!ki_hnsw_ready_in(h, s, WIDE * (size_t)h->options.ef) || !promote(h, s, number))
        status = ki_fail(error, KITH_E_NOMEM, "out of memory to remove vector %u of an HNSW", number);
    else
        remove_vertex(h, s, number);
    pthread_rwlock_unlock(&h->changing);
    return status;
}

void ki_hnsw_settle(ki_hnsw *h) {
    ki_hnsw_wait(h, atomic_load(&h->begun));
}
