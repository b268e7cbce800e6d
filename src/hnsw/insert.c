/* SPDX-License-Identifier: Apache-2.0
 *
 * Insertion (Algorithm 1). All memory is there before the first edge is made. A vertex has its own lists before anybody
 * has an edge to it, so that who comes to it can go on. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/checked.h"
#include "base/status.h"
#include "hnsw/state.h"

#include <math.h>
#include <string.h>

/* ---- Edges ------------------------------------------------------------------------------------------------------- */

static uint8_t *list_at(const ki_hnsw *h, uint32_t number, uint32_t layer, uint8_t **count_at) {
    uint8_t *row = ki_hnsw_row(&h->net, number);
    uint32_t upper;
    *count_at = row + KI_HNSW_COUNT_AT;
    if (layer == 0) return row + h->net.ids_at;
    memcpy(&upper, row + KI_HNSW_UPPER_AT, sizeof(upper));
    *count_at = ki_hnsw_at(&h->net.blocks, upper + layer - 1);
    return *count_at + sizeof(uint32_t);
}

static void add_in(const ki_hnsw *h, uint32_t number) {
    atomic_fetch_add_explicit(&ki_hnsw_beside(h, number)->in, 1, memory_order_relaxed);
}

static void drop_in(const ki_hnsw *h, uint32_t number) {
    atomic_fetch_sub_explicit(&ki_hnsw_beside(h, number)->in, 1, memory_order_relaxed);
}

/* Take an edge from a vertex that has others; 0: it is its last. */
static int release(const ki_hnsw *h, uint32_t number) {
    _Atomic uint32_t *in = &ki_hnsw_beside(h, number)->in;
    uint32_t now = atomic_load_explicit(in, memory_order_relaxed);
    while (now > 1)
        if (atomic_compare_exchange_weak(in, &now, now - 1)) return 1;
    return 0;
}

static void write_list(const ki_hnsw *h, uint32_t from, uint32_t layer, const uint64_t *list, size_t count) {
    uint8_t *count_at, *ids = list_at(h, from, layer, &count_at);
    for (size_t i = 0; i < count; i++) ki_hnsw_store(ids + i * sizeof(uint32_t), ki_hnsw_number(list[i]));
    ki_hnsw_store(count_at, (uint32_t)count);
}

/* Let what was not chosen go, list[*count..all]; what would be cut off takes a free place, or that of the farthest
 * which can do without. */
static void let_go(const ki_hnsw *h, uint64_t *list, size_t *count, size_t all, size_t most) {
    size_t kept = *count, replaced = *count;
    for (size_t i = *count; i < all; i++) {
        const uint64_t entry = list[i];
        if (release(h, ki_hnsw_number(entry))) continue;
        if (kept < most) {
            list[kept++] = entry;
            continue;
        }
        while (replaced > 0 && !release(h, ki_hnsw_number(list[replaced - 1]))) replaced--;
        if (replaced > 0)
            list[--replaced] = entry;
        else
            drop_in(h, ki_hnsw_number(entry));
    }
    *count = kept;
}

void ki_hnsw_relist(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t from, uint32_t layer, uint64_t *list, size_t count,
                    size_t least) {
    const size_t most = layer ? h->net.m : 2 * (size_t)h->net.m;
    size_t chosen = count;
    if (count > most) chosen = ki_hnsw_select(s, &h->net, ki_hnsw_limit2(h), list, count, most);
    if (chosen < least) chosen = ki_min_size(ki_min_size(least, count), most);
    if (layer == 0) let_go(h, list, &chosen, count, most);
    write_list(h, from, layer, list, chosen);
}

static void sort(uint64_t *list, size_t count) {
    for (size_t i = 1; i < count; i++) {
        const uint64_t entry = list[i];
        size_t at = i;
        for (; at && list[at - 1] > entry; at--) list[at] = list[at - 1];
        list[at] = entry;
    }
}

size_t ki_hnsw_rank(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t from, uint32_t layer, size_t count) {
    ki_hnsw_query q;
    size_t kept = 0;
    ki_hnsw_query_of_row(&h->net, ki_hnsw_row(&h->net, from), s->wide, ki_hnsw_limit2(h), &q);
    ki_hnsw_score(&h->net, &q, s->ids, count, s->distances);
    for (size_t i = 0; i < count; i++) {
        if (s->distances[i] < INFINITY)
            s->list[kept++] = ki_hnsw_entry(s->distances[i], s->ids[i]);
        else if (layer == 0)
            drop_in(h, s->ids[i]);
    }
    sort(s->list, kept);
    return kept;
}

void ki_hnsw_link(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t from, uint32_t to, uint32_t layer) {
    pthread_mutex_t *lock = &h->lock[from % KI_HNSW_LOCKS];
    const size_t most = layer ? h->net.m : 2 * (size_t)h->net.m;
    uint8_t *count_at, *ids = list_at(h, from, layer, &count_at);
    pthread_mutex_lock(lock);
    size_t count = ki_hnsw_neighbours(&h->net, from, layer, UINT32_MAX, s->ids);
    int there = 0;
    for (size_t i = 0; i < count; i++) there |= s->ids[i] == to;
    if (!there) {
        if (layer == 0) add_in(h, to);
        s->ids[count] = to;
        if (count < most) {
            ki_hnsw_store(ids + count * sizeof(uint32_t), to);
            ki_hnsw_store(count_at, (uint32_t)count + 1);
        } else {
            count = ki_hnsw_rank(h, s, from, layer, count + 1);
            ki_hnsw_relist(h, s, from, layer, s->list, count, 0);
        }
    }
    pthread_mutex_unlock(lock);
}

/* ---- Twins ------------------------------------------------------------------------------------------------------- */

/* A vertex of the pool whose vector has the same bytes, or KI_HNSW_NONE. Equal codes are equally far: among the
 * first. */
static uint32_t find_equal(const ki_hnsw *h, const ki_hnsw_searcher *s, uint32_t number) {
    enum { LOOK = 32 };
    const uint8_t *row = ki_hnsw_row(&h->net, number);
    const size_t bytes = kith_row_bytes(h->options.dtype, h->options.dim);
    const void *vector = h->options.vector(h->options.context, number);
    for (size_t i = 0; i < ki_min_size(s->pool.count, LOOK); i++) {
        const uint32_t other = ki_hnsw_number(s->pool.entry[i]);
        const uint8_t *at = ki_hnsw_row(&h->net, other);
        if (ki_hnsw_load(at + KI_HNSW_STATE_AT) != KI_HNSW_VERTEX || memcmp(row, at, sizeof(float)) != 0) continue;
        if (memcmp(ki_hnsw_code(row), ki_hnsw_code(at), h->net.code_bytes) != 0) continue;
        if (memcmp(vector, h->options.vector(h->options.context, other), bytes) == 0) return other;
    }
    return KI_HNSW_NONE;
}

static void become_twin(ki_hnsw *h, uint32_t number, uint32_t of) {
    uint8_t *row = ki_hnsw_row(&h->net, number), *first = ki_hnsw_row(&h->net, of);
    uint32_t upper, level;
    memcpy(&upper, row + KI_HNSW_UPPER_AT, sizeof(upper));
    memcpy(&level, row + KI_HNSW_LEVEL_AT, sizeof(level));
    if (level) ki_hnsw_give_blocks(h, level, upper);
    memset(row + KI_HNSW_UPPER_AT, 0, 2 * sizeof(uint32_t));
    pthread_mutex_lock(&h->twinning);
    const uint32_t next = ki_hnsw_load(first + KI_HNSW_NEXT_AT);
    ki_hnsw_store(row + KI_HNSW_NEXT_AT, next);
    if (next != KI_HNSW_NONE) ki_hnsw_beside(h, next)->before = number;
    ki_hnsw_beside(h, number)->before = of;
    ki_hnsw_store(row + KI_HNSW_STATE_AT, KI_HNSW_TWIN);
    ki_hnsw_store(first + KI_HNSW_NEXT_AT, number);
    pthread_mutex_unlock(&h->twinning);
}

/* ---- Vertices ---------------------------------------------------------------------------------------------------- */

/* The first one, or one above all others, is where walks begin. 0: there was an entry already, and must_be_first. */
static int raise_entry(ki_hnsw *h, uint32_t number, uint32_t level, int must_be_first) {
    int raised = 0;
    pthread_mutex_lock(&h->raising);
    const uint64_t now = atomic_load(&h->entry);
    if (now == UINT64_MAX || (!must_be_first && level > now >> 32)) {
        if (must_be_first) ki_hnsw_store(ki_hnsw_row(&h->net, number) + KI_HNSW_STATE_AT, KI_HNSW_VERTEX);
        atomic_store(&h->entry, (uint64_t)level << 32 | number);
        raised = 1;
    }
    pthread_mutex_unlock(&h->raising);
    return raised;
}

/* Choose neighbours in a layer: what the pool holds. */
static void pick(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t layer) {
    memcpy(s->list, s->pool.entry, s->pool.count * sizeof(*s->list));
    const size_t count =
        ki_hnsw_select(s, &h->net, ki_hnsw_limit2(h), s->list, s->pool.count, ki_min_size(h->net.m, s->pool.count));
    s->picked_count[layer] = count;
    for (size_t i = 0; i < count; i++) s->picked[layer][i] = ki_hnsw_number(s->list[i]);
}

static void publish(ki_hnsw *h, const ki_hnsw_searcher *s, uint32_t number, uint32_t top) {
    for (uint32_t layer = 0; layer <= top; layer++) {
        uint8_t *count_at, *ids = list_at(h, number, layer, &count_at);
        for (size_t i = 0; i < s->picked_count[layer]; i++) {
            ki_hnsw_store(ids + i * sizeof(uint32_t), s->picked[layer][i]);
            if (layer == 0) add_in(h, s->picked[layer][i]);
        }
        ki_hnsw_store(count_at, (uint32_t)s->picked_count[layer]);
    }
    ki_hnsw_store(ki_hnsw_row(&h->net, number) + KI_HNSW_STATE_AT, KI_HNSW_VERTEX);
}

static void link_back(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number, uint32_t top) {
    const _Atomic uint32_t *in = &ki_hnsw_beside(h, number)->in;
    for (uint32_t layer = 0; layer <= top; layer++)
        for (size_t i = 0; i < s->picked_count[layer]; i++) ki_hnsw_link(h, s, s->picked[layer][i], number, layer);
    for (size_t i = 0; i < s->pool.count && atomic_load(in) == 0; i++) { /* nobody had room: those farther away */
        const uint32_t other = ki_hnsw_number(s->pool.entry[i]);
        if (other != number) ki_hnsw_link(h, s, other, number, 0);
    }
}

int ki_hnsw_place(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number, int allow_twin) {
    ki_hnsw_query q;
    uint8_t *row = ki_hnsw_row(&h->net, number);
    const uint64_t entry = s->entry;
    uint32_t level, equal;
    memcpy(&level, row + KI_HNSW_LEVEL_AT, sizeof(level));
    ki_hnsw_store(row + KI_HNSW_COUNT_AT, 0);
    if (entry == UINT64_MAX) {
        if (!raise_entry(h, number, level, 1)) return 0;
        atomic_fetch_add(&h->at_level[level], 1);
        return 1;
    }
    ki_hnsw_query_of_row(&h->net, row, s->z, ki_hnsw_limit2(h), &q);
    const uint32_t top = (uint32_t)ki_min_u64(level, entry >> 32);
    ki_hnsw_descend(s, &h->net, &q, entry, top);
    for (uint32_t layer = top + 1; layer-- > 0;) {
        ki_hnsw_walk(s, &h->net, &q, layer, h->options.ef);
        if (layer == 0 && allow_twin && (equal = find_equal(h, s, number)) != KI_HNSW_NONE) {
            become_twin(h, number, equal);
            return 1;
        }
        pick(h, s, layer);
    }
    publish(h, s, number, top);
    atomic_fetch_add(&h->at_level[level], 1);
    link_back(h, s, number, top);
    if (level > entry >> 32) raise_entry(h, number, level, 0);
    return 1;
}

/* The limit is read after the entry, which is below it. */
int ki_hnsw_ready_in(ki_hnsw *h, ki_hnsw_searcher *s, size_t ef) {
    s->entry = atomic_load(&h->entry);
    return ki_hnsw_ready(s, &h->net, atomic_load(&h->limit), ef);
}

static void raise_limit(ki_hnsw *h, uint32_t number) {
    uint32_t now = atomic_load(&h->limit);
    while (now <= number && !atomic_compare_exchange_weak(&h->limit, &now, number + 1)) {
    }
}

/* The longest vector of all, for ip. Norms are not negative: their bits order them. */
static void raise_limit2(ki_hnsw *h, const uint8_t *row) {
    uint32_t norm, now = atomic_load(&h->limit2);
    memcpy(&norm, row + sizeof(float), sizeof(norm));
    while (now < norm && !atomic_compare_exchange_weak(&h->limit2, &now, norm)) {
    }
}

/* Not beside removals. 0: no memory, and nothing has changed. */
static int insert(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number) {
    uint8_t *row = ki_hnsw_row(&h->net, number);
    const uint32_t level = ki_hnsw_level(&h->options, number);
    uint32_t upper = 0;
    raise_limit(h, number);
    if (!ki_hnsw_ready_in(h, s, h->options.ef) || (level && !ki_hnsw_take_blocks(h, level, &upper))) return 0;
    memcpy(row + KI_HNSW_UPPER_AT, &upper, sizeof(upper));
    memcpy(row + KI_HNSW_LEVEL_AT, &level, sizeof(level));
    ki_hnsw_store(row + KI_HNSW_NEXT_AT, KI_HNSW_NONE);
    ki_hnsw_encode(&h->net, h->options.vector(h->options.context, number), s->floats.data, row);
    if (h->options.metric == KITH_IP) raise_limit2(h, row);
    while (!ki_hnsw_place(h, s, number, 1)) /* another one was first: it has to be known */
        if (!ki_hnsw_ready_in(h, s, h->options.ef)) {
            if (level) ki_hnsw_give_blocks(h, level, upper);
            return 0;
        }
    atomic_fetch_add(&h->count, 1);
    return 1;
}

kith_status ki_hnsw_insert(ki_hnsw *h, ki_hnsw_searcher *s, uint32_t number, kith_error *error) {
    if (number >= h->options.capacity)
        return ki_fail(error, KITH_E_LIMIT, "hnsw: vector %u is beyond the capacity of %u", number,
                       h->options.capacity);
    if (!ki_hnsw_reserve_row(h, number))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for vector %u of an HNSW", number);
    const uint8_t *state = ki_hnsw_row(&h->net, number) + KI_HNSW_STATE_AT;
    if (ki_hnsw_load(state) == KI_HNSW_GONE) ki_hnsw_wait(h, ki_hnsw_beside(h, number)->ticket);
    kith_status status = KITH_OK;
    pthread_rwlock_rdlock(&h->changing);
    const uint32_t now = ki_hnsw_load(state);
    if (now == KI_HNSW_VERTEX || now == KI_HNSW_TWIN)
        status = ki_fail(error, KITH_E_ARG, "hnsw: vector %u is in already", number);
    else if (!insert(h, s, number))
        status = ki_fail(error, KITH_E_NOMEM, "out of memory for vector %u of an HNSW", number);
    pthread_rwlock_unlock(&h->changing);
    return status;
}
