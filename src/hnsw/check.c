/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking a graph: every list, every chain, what is reached, and in memory the counts of edges that come in. */
#define _GNU_SOURCE /* pthread_rwlock_t */
#include "base/checked.h"
#include "hnsw/state.h"

#include <math.h>
#include <string.h>

struct check {
    const ki_hnsw_net *net;
    const ki_hnsw *h; /* NULL: of a segment */
    uint32_t limit;
    uint64_t entry;
    ki_hnsw_state *state;
    uint64_t number;
    uint32_t *in, *queue; /* edges of layer 0 that come in; vertices */
    uint8_t *mark;
    uint32_t ids[2 * KI_HNSW_M_MAX];
};

static uint32_t word_at(const uint8_t *row, size_t at) {
    uint32_t value;
    memcpy(&value, row + at, sizeof(value));
    return value;
}

static uint32_t state_of(const struct check *c, uint32_t number) {
    if (!atomic_load(&c->net->rows.chunk[(uint64_t)number >> c->net->rows.shift])) return KI_HNSW_FREE;
    return word_at(ki_hnsw_row(c->net, number), KI_HNSW_STATE_AT);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static size_t claimed(const struct check *c, uint32_t number, uint32_t layer) {
    const uint8_t *row = ki_hnsw_row(c->net, number);
    if (layer == 0) return word_at(row, KI_HNSW_COUNT_AT);
    return word_at(ki_hnsw_at(&c->net->blocks, (uint64_t)word_at(row, KI_HNSW_UPPER_AT) + layer - 1), 0);
}

static const char *check_list(struct check *c, uint32_t number, uint32_t layer) {
    const size_t count = claimed(c, number, layer);
    if (count > (layer ? 1 : 2) * (size_t)c->net->m) return "has more neighbours than a list holds";
    if (ki_hnsw_neighbours(c->net, number, layer, c->limit, c->ids) != count)
        return "has a neighbour beyond the last vector";
    for (size_t i = 0; i < count; i++) {
        const uint32_t to = c->ids[i];
        if (to == number) return "is its own neighbour";
        for (size_t j = 0; j < i; j++)
            if (c->ids[j] == to) return "has a neighbour twice";
        if (layer == 0) c->in[to]++;
        if (state_of(c, to) != KI_HNSW_VERTEX || word_at(ki_hnsw_row(c->net, to), KI_HNSW_LEVEL_AT) < layer) {
            if (!c->h) return "has a neighbour that is no vertex of that layer";
            c->state->stale++;
        }
    }
    if (layer == 0) c->state->edges += count;
    return NULL;
}

static const char *check_vertex(struct check *c, uint32_t number) {
    const uint8_t *row = ki_hnsw_row(c->net, number);
    const uint32_t level = word_at(row, KI_HNSW_LEVEL_AT), upper = word_at(row, KI_HNSW_UPPER_AT);
    const char *wrong = NULL;
    float facts[2];
    memcpy(facts, row, sizeof(facts));
    if (!isfinite(facts[0]) || !isfinite(facts[1]) || facts[0] < 0 || facts[1] < 0)
        return "has a scale or a norm that no vector has";
    if (level > KI_HNSW_LEVEL_MAX || level > c->entry >> 32) return "is in a layer above the entry";
    if ((uint64_t)upper + level > c->net->blocks_limit) return "has upper layers beyond the last block";
    for (uint32_t layer = 0; layer <= level && !wrong; layer++) wrong = check_list(c, number, layer);
    c->state->vertices++;
    return wrong;
}

static const char *check_rows(struct check *c) {
    const char *wrong = NULL;
    for (uint32_t i = 0; i < c->limit && !wrong; i++) {
        const uint32_t state = state_of(c, i);
        c->number = i;
        if (state == KI_HNSW_VERTEX)
            wrong = check_vertex(c, i);
        else if (state == KI_HNSW_TWIN)
            c->state->twins++;
        else if (!c->h || state > KI_HNSW_GONE)
            wrong = "is neither a vertex nor a twin";
    }
    return wrong;
}

/* ---- Chains ------------------------------------------------------------------------------------------------------ */

/* Every twin hangs on one vertex. */
static const char *check_chains(struct check *c) {
    uint64_t twins = 0;
    for (uint32_t i = 0; i < c->limit; i++) {
        if (state_of(c, i) != KI_HNSW_VERTEX) continue;
        uint32_t before = i, at = word_at(ki_hnsw_row(c->net, i), KI_HNSW_NEXT_AT);
        for (; at != KI_HNSW_NONE; before = at, at = word_at(ki_hnsw_row(c->net, at), KI_HNSW_NEXT_AT)) {
            c->number = i;
            if (at >= c->limit || state_of(c, at) != KI_HNSW_TWIN) return "has a twin that is none";
            if (c->mark[at]) return "has a twin that hangs on another one too";
            if (c->h && ki_hnsw_beside(c->h, at)->before != before) return "has a chain that does not lead back";
            if (memcmp(ki_hnsw_code(ki_hnsw_row(c->net, at)), ki_hnsw_code(ki_hnsw_row(c->net, i)),
                       c->net->code_bytes) != 0)
                return "has a twin with another code";
            c->mark[at] = 1;
            twins++;
        }
    }
    return twins == c->state->twins ? NULL : "is the last of vectors of which a twin hangs nowhere";
}

/* ---- Edges that come in, and what is reached --------------------------------------------------------------------- */

static const char *check_in(struct check *c) {
    for (uint32_t i = 0; c->h && i < c->limit; i++) {
        c->number = i;
        if (atomic_load(&c->net->rows.chunk[(uint64_t)i >> c->net->rows.shift]) &&
            atomic_load(&ki_hnsw_beside(c->h, i)->in) != c->in[i])
            return "has another number of edges coming in than was counted";
    }
    return NULL;
}

static void count_unreached(struct check *c) {
    size_t first = 0, end = 0;
    if (c->entry == UINT64_MAX) return;
    c->mark[(uint32_t)c->entry] = 1;
    c->queue[end++] = (uint32_t)c->entry;
    while (first < end) {
        const size_t count = ki_hnsw_neighbours(c->net, c->queue[first++], 0, c->limit, c->ids);
        for (size_t i = 0; i < count; i++) {
            if (c->mark[c->ids[i]] || state_of(c, c->ids[i]) != KI_HNSW_VERTEX) continue;
            c->mark[c->ids[i]] = 1;
            c->queue[end++] = c->ids[i];
        }
    }
    c->state->unreached = c->state->vertices - end;
    for (uint32_t i = c->limit; i-- > 0;)
        if (state_of(c, i) == KI_HNSW_VERTEX && !c->mark[i]) c->number = i;
}

static const char *check_all(struct check *c) {
    const uint32_t number = (uint32_t)c->entry;
    if (c->entry != UINT64_MAX) {
        c->number = number;
        if (number >= c->limit || state_of(c, number) != KI_HNSW_VERTEX) return "is the entry and no vertex";
        if (word_at(ki_hnsw_row(c->net, number), KI_HNSW_LEVEL_AT) != c->entry >> 32)
            return "is the entry, and not in as many layers as there are";
    }
    const char *wrong = check_rows(c);
    if (!wrong) wrong = check_chains(c);
    if (!wrong) wrong = check_in(c);
    if (wrong) return wrong;
    if (c->entry == UINT64_MAX && c->state->vertices) return "is the last of vectors without an entry";
    count_unreached(c);
    return !c->h && c->state->unreached ? "is not reached from the entry" : NULL;
}

static const char *check(struct check *c, ki_hnsw_state *state, uint64_t *number, kith_status *status) {
    const char *wrong = NULL;
    *state = (ki_hnsw_state){0};
    c->state = state;
    c->in = ki_alloc_array_zeroed(c->limit, sizeof(*c->in));
    c->queue = ki_alloc_array(c->limit, sizeof(*c->queue));
    c->mark = ki_alloc_array_zeroed(c->limit, 1);
    *status = c->in && c->queue && c->mark ? KITH_OK : KITH_E_NOMEM;
    if (*status == KITH_OK) wrong = check_all(c);
    *number = c->number;
    free(c->in);
    free(c->queue);
    free(c->mark);
    return wrong;
}

const char *ki_hnsw_check(const ki_hnsw *h, ki_hnsw_state *state, uint64_t *number, kith_status *status) {
    struct check c = {.net = &h->net, .h = h, .limit = atomic_load(&h->limit), .entry = atomic_load(&h->entry)};
    const char *wrong = check(&c, state, number, status);
    if (*status != KITH_OK || wrong) return wrong;
    return state->vertices + state->twins == ki_hnsw_count(h) ? NULL : "is the last of another number than was counted";
}

const char *ki_hnsw_check_view(const ki_view *view, ki_hnsw_state *state, uint64_t *number, kith_status *status) {
    _Atomic(uint8_t *) memory[2];
    ki_hnsw_net net;
    ki_hnsw_net_of_view(view, memory, &net);
    struct check c = {
        .net = &net, .limit = (uint32_t)view->rows, .entry = (uint64_t)view->hnsw.top << 32 | view->hnsw.entry};
    return check(&c, state, number, status);
}
