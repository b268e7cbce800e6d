/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks through a layer (Algorithm 2). Candidates and results are one sorted pool: what is not among the ef nearest so
 * far would not be walked to anyway. Where not all may be results they are apart, and candidates without bound.
 *
 * A vertex as far as the worst of a full pool does not enter: of very many at equal distance a walk looks at ef. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/checked.h"
#include "hnsw/state.h"

#include <math.h>
#include <string.h>

static const uint64_t expanded = 1;

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

size_t ki_hnsw_neighbours(const ki_hnsw_net *net, uint32_t number, uint32_t layer, uint32_t limit, uint32_t *ids) {
    const uint8_t *row = ki_hnsw_row(net, number), *from = row + net->ids_at;
    size_t most = 2 * (size_t)net->m, count, kept = 0;
    if (layer == 0) {
        count = ki_hnsw_load(row + KI_HNSW_COUNT_AT);
    } else {
        uint32_t upper, level;
        memcpy(&upper, row + KI_HNSW_UPPER_AT, sizeof(upper));
        memcpy(&level, row + KI_HNSW_LEVEL_AT, sizeof(level));
        if (level < layer || (uint64_t)upper + layer > net->blocks_limit) return 0;
        const uint8_t *block = ki_hnsw_at(&net->blocks, (uint64_t)upper + layer - 1);
        count = ki_hnsw_load(block);
        from = block + sizeof(uint32_t);
        most = net->m;
    }
    if (count > most) count = most;
    for (size_t i = 0; i < count; i++) {
        ids[kept] = ki_hnsw_load(from + i * sizeof(uint32_t));
        kept += ids[kept] < limit;
    }
    return kept;
}

int ki_hnsw_view_is_vertex(const ki_view *view, uint32_t number) {
    _Atomic(uint8_t *) memory[2];
    ki_hnsw_net net;
    ki_hnsw_net_of_view(view, memory, &net);
    return ki_hnsw_load(ki_hnsw_row(&net, number) + KI_HNSW_STATE_AT) == KI_HNSW_VERTEX;
}

size_t ki_hnsw_view_neighbours(const ki_view *view, uint32_t number, uint32_t *ids) {
    _Atomic(uint8_t *) memory[2];
    ki_hnsw_net net;
    ki_hnsw_net_of_view(view, memory, &net);
    return ki_hnsw_neighbours(&net, number, 0, (uint32_t)view->rows, ids);
}

void ki_hnsw_begin_walk(ki_hnsw_searcher *s) {
    if (++s->epoch) return;
    memset(s->seen, 0, s->seen_count);
    s->epoch = 1;
}

/* The neighbours of a vertex that were not seen before. */
static size_t fresh(ki_hnsw_searcher *s, const ki_hnsw_net *net, uint32_t number, uint32_t layer) {
    const size_t count = ki_hnsw_neighbours(net, number, layer, s->limit, s->ids);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t id = s->ids[i];
        s->ids[kept] = id;
        kept += s->seen[id] != s->epoch;
        s->seen[id] = s->epoch;
    }
    return kept;
}

/* ---- Pools ------------------------------------------------------------------------------------------------------- */

static void pool_insert(ki_hnsw_pool *pool, uint64_t entry) {
    if (pool->count == pool->capacity && entry >> 32 >= pool->entry[pool->count - 1] >> 32) return;
    size_t low = 0, high = pool->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (pool->entry[middle] < entry)
            low = middle + 1;
        else
            high = middle;
    }
    pool->count += pool->count < pool->capacity;
    memmove(pool->entry + low + 1, pool->entry + low, (pool->count - low - 1) * sizeof(uint64_t));
    pool->entry[low] = entry;
    if (low < pool->next) pool->next = low;
}

static void fetch_list(const ki_hnsw_net *net, uint32_t number) {
    const uint8_t *row = ki_hnsw_row(net, number);
    __builtin_prefetch(row, 0, 3);
    for (size_t at = net->ids_at; at < net->ids_at + 2 * net->m * sizeof(uint32_t); at += 64)
        __builtin_prefetch(row + at, 0, 3);
    __asm__ volatile("" : : "r"(row)); /* as in ki_query_prefetch() */
}

void ki_hnsw_walk(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_query *q, uint32_t layer, size_t ef) {
    ki_hnsw_pool *pool = &s->pool;
    ki_hnsw_begin_walk(s);
    pool->capacity = ef;
    pool->count = ki_min_size(pool->count, ef);
    pool->next = 0;
    for (size_t i = 0; i < pool->count; i++) {
        pool->entry[i] &= ~expanded;
        s->seen[ki_hnsw_number(pool->entry[i])] = s->epoch;
    }
    while (pool->next < pool->count) {
        uint64_t *entry = &pool->entry[pool->next++];
        if (*entry & expanded) continue;
        *entry |= expanded;
        const size_t count = fresh(s, net, ki_hnsw_number(*entry), layer);
        if (layer == 0 && pool->next < pool->count) fetch_list(net, ki_hnsw_number(pool->entry[pool->next]));
        ki_hnsw_score(net, q, s->ids, count, s->distances);
        s->visited += count;
        for (size_t i = 0; i < count; i++)
            if (s->distances[i] < INFINITY) pool_insert(pool, ki_hnsw_entry(s->distances[i], s->ids[i]));
    }
}

/* ---- Down from the entry ----------------------------------------------------------------------------------------- */

void ki_hnsw_descend(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_query *q, uint64_t entry,
                     uint32_t layer) {
    uint32_t at = (uint32_t)entry;
    float nearest;
    ki_hnsw_score(net, q, &at, 1, &nearest);
    s->visited++;
    for (uint32_t l = (uint32_t)(entry >> 32); l > layer; l--)
        for (int moved = 1; moved;) {
            const size_t count = ki_hnsw_neighbours(net, at, l, s->limit, s->ids);
            ki_hnsw_score(net, q, s->ids, count, s->distances);
            s->visited += count;
            moved = 0;
            for (size_t i = 0; i < count; i++) {
                if (!(s->distances[i] < nearest)) continue;
                nearest = s->distances[i];
                at = s->ids[i];
                moved = 1;
            }
        }
    if (!(nearest < INFINITY)) nearest = INFINITY; /* a NaN, of a damaged file */
    s->pool.entry[0] = ki_hnsw_entry(nearest, at);
    s->pool.count = 1;
}

/* ---- Where not all may be results -------------------------------------------------------------------------------- */

static int is_bit(const ki_hnsw_search *search, uint32_t number) {
    return number < search->allowed_count && search->allowed[number / 64] >> number % 64 & 1;
}

int ki_hnsw_is_allowed(const ki_hnsw_search *search, uint32_t number) {
    return !search->allowed || is_bit(search, number);
}

/* Whether a vertex or one of its first twins may be a result. */
static int is_wanted(const ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_search *search, uint32_t number) {
    enum { TWINS = 4096 }; /* more of them are looked at only once the vertex is a result */
    for (int i = 0; i < TWINS && number < s->limit; i++) {
        if (is_bit(search, number)) return 1;
        number = ki_hnsw_load(ki_hnsw_row(net, number) + KI_HNSW_NEXT_AT);
    }
    return 0;
}

/* A heap, the least first. */
static int heap_push(ki_hnsw_searcher *s, uint64_t entry) {
    uint64_t *heap = ki_area_grow(&s->heap_area, (uint64_t)s->heap_count + 1, sizeof(*heap));
    if (!heap) return 0;
    size_t at = s->heap_count++;
    for (; at && heap[(at - 1) / 2] > entry; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = entry;
    return 1;
}

static uint64_t heap_pop(ki_hnsw_searcher *s) {
    uint64_t *heap = s->heap_area.data;
    const uint64_t least = heap[0], last = heap[--s->heap_count];
    size_t at = 0;
    for (size_t child = 1; child < s->heap_count; child = 2 * at + 1) {
        child += child + 1 < s->heap_count && heap[child + 1] < heap[child];
        if (heap[child] >= last) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return least;
}

static int meet(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_search *search, uint64_t entry) {
    ki_hnsw_pool *pool = &s->pool;
    if (pool->count == pool->capacity && entry >> 32 >= pool->entry[pool->count - 1] >> 32) return 1;
    if (!heap_push(s, entry)) return 0;
    if (is_wanted(s, net, search, ki_hnsw_number(entry))) pool_insert(pool, entry);
    return 1;
}

int ki_hnsw_walk_allowed(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_query *q, size_t ef,
                         ki_hnsw_search *search) {
    ki_hnsw_pool *pool = &s->pool;
    const uint64_t start = pool->entry[0];
    ki_hnsw_begin_walk(s);
    *pool = (ki_hnsw_pool){.entry = pool->entry, .capacity = ef};
    s->heap_count = 0;
    s->seen[ki_hnsw_number(start)] = s->epoch;
    if (!meet(s, net, search, start)) return 0;
    for (uint64_t visits = 0; s->heap_count;) {
        const uint64_t entry = heap_pop(s);
        if (pool->count == pool->capacity && entry >> 32 > pool->entry[pool->count - 1] >> 32) break;
        if (search->visits_max && visits > search->visits_max) {
            search->gave_up = 1;
            break;
        }
        const size_t count = fresh(s, net, ki_hnsw_number(entry), 0);
        ki_hnsw_score(net, q, s->ids, count, s->distances);
        s->visited += count;
        visits += count;
        for (size_t i = 0; i < count; i++)
            if (s->distances[i] < INFINITY && !meet(s, net, search, ki_hnsw_entry(s->distances[i], s->ids[i])))
                return 0;
    }
    return 1;
}
