/* SPDX-License-Identifier: Apache-2.0
 *
 * Searches: down to layer 0, a walk there, and the best of it scored by the vectors themselves. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/checked.h"
#include "hnsw/state.h"
#include "kernel/distance.h"
#include "view/query.h"

#include <string.h>

/* Of what a walk finds so many are scored by the vectors: codes err, and the k-th may stand some places behind. */
static size_t rerank_of(size_t k, size_t ef) {
    enum { MORE = 16 };
    return ki_min_size(ef, k + k / 2 + MORE);
}

/* ---- Candidates -------------------------------------------------------------------------------------------------- */

/* Vertices that are worth scoring, in s->ids. SIZE_MAX: no memory. */
static size_t gather(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_query *q, ki_hnsw_search *search) {
    const size_t ef = search->ef < search->k ? search->k : search->ef, most = rerank_of(search->k, ef);
    size_t count = 0;
    search->gave_up = 0;
    ki_hnsw_descend(s, net, q, s->entry, 0);
    if (!search->allowed)
        ki_hnsw_walk(s, net, q, 0, ef);
    else if (!ki_hnsw_walk_allowed(s, net, q, ef, search))
        return SIZE_MAX;
    for (size_t i = 0; i < s->pool.count && count < most; i++) {
        const uint32_t number = ki_hnsw_number(s->pool.entry[i]);
        s->ids[count] = number;
        count += ki_hnsw_load(ki_hnsw_row(net, number) + KI_HNSW_STATE_AT) == KI_HNSW_VERTEX;
    }
    return count;
}

/* Append a vertex that was scored, and its twins, which are as far, up to k of all. labels NULL: numbers. */
static void take(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_search *search, const uint64_t *labels,
                 ki_hit vertex, ki_hit *hits, size_t *count) {
    uint32_t number = vertex.position;
    for (int is_first = 1; number < s->limit && *count < search->k; is_first = 0) {
        const uint8_t *row = ki_hnsw_row(net, number);
        const uint32_t state = ki_hnsw_load(row + KI_HNSW_STATE_AT);
        if (!is_first && s->seen[number] == s->epoch) return; /* a vertex by now; or a circle, in a damaged file */
        s->seen[number] = s->epoch;
        if ((state == KI_HNSW_VERTEX || state == KI_HNSW_TWIN) && ki_hnsw_is_allowed(search, number))
            hits[(*count)++] = (ki_hit){vertex.distance, number, labels ? labels[number] : number};
        number = ki_hnsw_load(row + KI_HNSW_NEXT_AT);
    }
}

/* The k best of what was scored, with their twins. */
static size_t keep(ki_hnsw_searcher *s, const ki_hnsw_net *net, const ki_hnsw_search *search, const uint64_t *labels,
                   ki_hit *scored, size_t found, ki_hit *hits) {
    size_t count = 0;
    ki_hits_sort(scored, found);
    for (size_t i = 0; i < found && count < search->k; i++) take(s, net, search, labels, scored[i], hits, &count);
    ki_hits_sort(hits, count);
    return count;
}

static float bits_distance(const ki_hnsw_net *net, const void *a, const void *b) {
    const size_t bytes = kith_row_bytes(net->dtype, net->dim);
    uint64_t both, either;
    if (net->metric == KITH_HAMMING) return (float)ki_distance()->hamming(a, b, bytes);
    ki_distance()->bits(a, b, bytes, &both, &either);
    return ki_jaccard_distance(both, either);
}

/* ---- In memory --------------------------------------------------------------------------------------------------- */

static float distance_of(const ki_hnsw_net *net, const float *query, float norm2, const void *x) {
    const ki_distance_kernels *kernels = ki_distance();
    if (net->dtype == KITH_B1) return bits_distance(net, query, x);
    if (net->metric == KITH_L2SQ) return kernels->l2sq[net->dtype](query, x, net->dim);
    const float dot = kernels->dot[net->dtype](query, x, net->dim);
    if (net->metric == KITH_IP) return -dot;
    return ki_cosine_distance(dot, norm2, ki_square(kernels, net->dtype, x, net->dim));
}

static kith_status find(ki_hnsw *h, ki_hnsw_searcher *s, ki_hnsw_search *search, ki_hit *hits, size_t *count) {
    const ki_hnsw_net *net = &h->net;
    const size_t ef = search->ef < search->k ? search->k : search->ef;
    ki_hnsw_query q;
    *count = 0;
    if (!ki_hnsw_ready_in(h, s, ef)) return KITH_E_NOMEM;
    if (s->entry == UINT64_MAX) return KITH_OK;
    ki_hnsw_query_of(net, search->query, s, &q);
    const size_t found = gather(s, net, &q, search);
    if (found == SIZE_MAX) return KITH_E_NOMEM;
    ki_hit *all = ki_area_grow(&s->heap_area, found, sizeof(*all));
    if (!all) return KITH_E_NOMEM;
    const float norm2 = net->metric == KITH_COSINE ? ki_square(ki_distance(), KITH_F32, search->query, net->dim) : 1;
    for (size_t i = 0; i < found; i++) {
        const void *x = h->options.vector(h->options.context, s->ids[i]);
        all[i] = (ki_hit){distance_of(net, search->query, norm2, x), s->ids[i], s->ids[i]};
    }
    *count = keep(s, net, search, NULL, all, found, hits);
    return KITH_OK;
}

kith_status ki_hnsw_find(ki_hnsw *h, ki_hnsw_searcher *s, ki_hnsw_search *search, ki_hit *hits, size_t *count) {
    const unsigned phase = ki_hnsw_enter(h);
    const uint64_t before = s->visited;
    const kith_status status = find(h, s, search, hits, count);
    ki_hnsw_leave(h, phase);
    search->visited = s->visited - before;
    return status;
}

/* ---- Segments ---------------------------------------------------------------------------------------------------- */

static void score_view(const ki_view *view, const ki_hnsw_net *net, const ki_hnsw_search *search, const uint32_t *ids,
                       size_t count, ki_hit *hits) {
    enum { QUAD = 4 };
    const int bits = view->dtype == KITH_B1;
    const float norm2 = bits ? 1 : ki_query_norm2(view, search->query);
    for (size_t i = 0; i < count && !bits; i++) ki_query_prefetch(view, ids[i]);
    for (size_t i = 0; i < count; i += QUAD) {
        uint32_t position[QUAD];
        float distance[QUAD];
        const size_t now = ki_min_size(count - i, QUAD);
        for (size_t j = 0; j < QUAD; j++) position[j] = ids[i + ki_min_size(j, now - 1)];
        if (!bits) ki_query_distances4(view, search->query, norm2, position, distance);
        for (size_t j = 0; j < now; j++) {
            if (bits)
                distance[j] = bits_distance(net, search->query, view->originals + (size_t)ids[i + j] * view->row_bytes);
            hits[i + j] = (ki_hit){distance[j], ids[i + j], view->labels[ids[i + j]]};
        }
    }
}

kith_status ki_hnsw_find_view(const ki_view *view, ki_hnsw_searcher *s, ki_hnsw_search *search, ki_hit *hits,
                              size_t *count, ki_counts *counts) {
    _Atomic(uint8_t *) memory[2];
    ki_hnsw_net net;
    ki_hnsw_query q;
    const size_t ef = search->ef < search->k ? search->k : search->ef;
    ki_hnsw_net_of_view(view, memory, &net);
    s->entry = (uint64_t)view->hnsw.top << 32 | view->hnsw.entry;
    *count = 0;
    if (!ki_hnsw_ready(s, &net, (uint32_t)view->rows, ef)) return KITH_E_NOMEM;
    const uint64_t visited = s->visited;
    ki_hnsw_query_of(&net, search->query, s, &q);
    const size_t found = gather(s, &net, &q, search);
    if (found == SIZE_MAX) return KITH_E_NOMEM;
    ki_hit *all = ki_area_grow(&s->heap_area, found, sizeof(*all));
    if (!all) return KITH_E_NOMEM;
    score_view(view, &net, search, s->ids, found, all);
    *count = keep(s, &net, search, view->labels, all, found, hits);
    search->visited = s->visited - visited;
    counts->visited += search->visited;
    counts->scanned_rows += search->visited;
    counts->scanned_bytes += search->visited * net.ids_at;
    counts->reranked += found;
    return KITH_OK;
}
