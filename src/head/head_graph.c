/* SPDX-License-Identifier: Apache-2.0
 *
 * Links between the vectors of one name of a head: an HNSW (hnsw/hnsw.h) whose numbers are places.
 *
 * Appending does not link: that takes some thirty times as long, and a head may be sealed before anybody searches it.
 * Who has time does it behind the writer (ki_head_link), once searches have scanned for a quarter of the time that
 * linking takes: so links cost little where few search, and nothing where all is loaded first. What is not linked yet is
 * scanned.
 *
 * A run of linking takes in what came since the last one, but for a sample; asks for the sample what walks find
 * (head_measure.c); takes in that too; and lets searches know. Vectors that died before are not taken in, those that
 * died later are taken out, so that searches of an older state miss them and scan. */
#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"
#include "head/head_state.h"

#include <string.h>

enum {
    /* A scan of so many rows costs 120 us, twice what a walk takes (head_walk.c): 5,700 of 384 dimensions, 33,000 of 32. */
    WORTH_COST = 2400000,
    ROW_COST = 40, /* of a row, and as much again for 40 dimensions: 20,000 x 32 in 71 us, x 96 in 117, x 384 in 420 */
    LINK_COST = 3000000, /* of linking one: 130 to 180 us at M 16 and ef 100 */
    LINK_SHARE = 4,
    TAIL_LEAST = 512, /* so many are scanned in 10 us */
    M = 16,
    EF = 100,
    SAMPLE = 128,      /* queries of a measurement: recall .95 is then known to about .01 */
    SAMPLE_LEAST = 64, /* with fewer nothing is measured, and nothing is walked */
    MEASURED_AGAIN = 2 /* when there are so many times as many */
};

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static const void *vector_at(void *context, uint32_t place) {
    const ki_head_block *block = context;
    return block->originals + (size_t)place * block->row_bytes;
}

void ki_head_graph_destroy(ki_head_graph *graph) {
    if (!graph) return;
    ki_hnsw_destroy(graph->hnsw);
    ki_hnsw_searcher_destroy(graph->searcher);
    ki_desk_destroy(graph->desk);
    free(graph->in);
    free(graph);
}

/* The graph of a block, made at need; NULL: no memory. */
static ki_head_graph *graph_of(ki_head_block *block, size_t capacity) {
    ki_head_graph *graph = atomic_load_explicit(&block->graph, memory_order_relaxed);
    if (graph) return graph;
    const int coded = atomic_load_explicit(&block->coded, memory_order_acquire) != 0;
    const ki_hnsw_options options = {.metric = block->metric,
                                     .dtype = block->dtype,
                                     .dim = block->dim,
                                     .m = M,
                                     .ef = EF,
                                     .capacity = (uint32_t)capacity,
                                     .centre = coded ? block->recipe.centre : NULL,
                                     .vector = vector_at,
                                     .context = block};
    graph = ki_alloc_array_zeroed(1, sizeof(*graph));
    if (!graph) return NULL;
    graph->in = ki_alloc_array_zeroed(capacity / 64 + 1, sizeof(*graph->in));
    graph->searcher = ki_hnsw_searcher_create();
    graph->desk = ki_desk_create();
    if (graph->in && graph->searcher && graph->desk && ki_hnsw_create(&options, &graph->hnsw, NULL) == KITH_OK) {
        atomic_store_explicit(&block->graph, graph, memory_order_release);
        return graph;
    }
    ki_head_graph_destroy(graph);
    return NULL;
}

uint64_t ki_head_links_bytes(const ki_head *head) {
    uint64_t bytes = 0;
    for (size_t s = 0; s < head->specs; s++) {
        const ki_head_graph *graph = atomic_load_explicit(&head->blocks[s].graph, memory_order_acquire);
        if (graph) bytes += ki_hnsw_memory_bytes(graph->hnsw) + head->capacity / 8;
    }
    return bytes;
}

/* ---- Whether it is worth while ----------------------------------------------------------------------------------- */

uint64_t ki_head_row_cost(const ki_head_block *block) {
    return ROW_COST + (block->dtype == KITH_B1 ? block->row_bytes : block->dim);
}

uint64_t ki_head_scan_ns(const ki_head *head, size_t count) {
    uint64_t most = 0;
    for (size_t s = 0; s < head->specs; s++) {
        const ki_head_block *block = &head->blocks[s];
        const uint64_t cost = block->memory ? ki_head_block_places(block, count) * ki_head_row_cost(block) : 0;
        if (cost > most) most = cost;
    }
    return most / 20;
}

int ki_head_worth_links(const ki_head_block *block, size_t rows, size_t linked) {
    return rows >= linked + TAIL_LEAST && rows * ki_head_row_cost(block) >= WORTH_COST;
}

ki_head_want ki_head_wants_links(const ki_head *head, size_t spec, size_t count) {
    if (spec >= head->specs || !head->blocks[spec].memory) return KI_HEAD_LINK_NOT;
    const ki_head_block *block = &head->blocks[spec];
    const ki_head_graph *graph = atomic_load_explicit(&block->graph, memory_order_acquire);
    const size_t linked = graph ? atomic_load_explicit(&graph->linked, memory_order_acquire) : 0;
    if (!ki_head_worth_links(block, ki_head_block_places(block, count), linked)) return KI_HEAD_LINK_NOT;
    const uint64_t scanned = atomic_load_explicit(&block->asked, memory_order_relaxed) * ki_head_row_cost(block);
    return scanned >= LINK_COST / LINK_SHARE ? KI_HEAD_LINK_NOW : KI_HEAD_LINK_LATER;
}

/* ---- Linking ----------------------------------------------------------------------------------------------------- */

struct linking {
    ki_head_block *block;
    ki_head_graph *graph;
    const ki_bits *live;
    const atomic_int *stop;
    size_t end; /* places are below */
    uint32_t sample[SAMPLE];
    size_t sampled;
};

static int is_in(const ki_head_graph *graph, size_t place) {
    return (int)(graph->in[place / 64] >> (place % 64) & 1);
}

static int lives(const struct linking *l, size_t place) {
    return ki_bits_get(l->live, l->block->serial[place]);
}

static int is_new(const struct linking *l, size_t place) {
    return lives(l, place) && !is_in(l->graph, place);
}

static kith_status take_in(const struct linking *l, uint32_t place) {
    if (atomic_load_explicit(l->stop, memory_order_relaxed)) return KITH_E_CANCELLED;
    if (is_in(l->graph, place)) return KITH_OK;
    const kith_status status = ki_hnsw_insert(l->graph->hnsw, l->graph->searcher, place, NULL);
    if (status == KITH_OK) l->graph->in[place / 64] |= UINT64_C(1) << (place % 64);
    return status;
}

static kith_status take_out_dead(const struct linking *l) {
    ki_head_graph *graph = l->graph;
    for (size_t p = 0; p < l->end; p++) {
        if (!is_in(graph, p) || lives(l, p)) continue;
        if (atomic_load_explicit(l->stop, memory_order_relaxed)) return KITH_E_CANCELLED;
        const kith_status status = ki_hnsw_remove(graph->hnsw, graph->searcher, (uint32_t)p, NULL);
        if (status != KITH_OK) return status;
        graph->in[p / 64] &= ~(UINT64_C(1) << (p % 64));
    }
    return KITH_OK;
}

/* Some of what is new, one of every so many: rows come in an order that may mean something. */
static void choose_sample(struct linking *l) {
    ki_rng rng = {l->end};
    const size_t first = l->graph->tried, part = (l->end - first) / SAMPLE;
    for (size_t i = 0; i < SAMPLE && part; i++) {
        const size_t place = first + i * part + ki_rng_below(&rng, part);
        if (is_new(l, place)) l->sample[l->sampled++] = (uint32_t)place;
    }
}

static kith_status take_in_new(const struct linking *l) {
    kith_status status = KITH_OK;
    size_t kept_out = 0; /* of the sample, which ascends */
    for (size_t p = l->graph->tried; p < l->end && status == KITH_OK; p++) {
        if (kept_out < l->sampled && p == l->sample[kept_out])
            kept_out++;
        else if (is_new(l, p))
            status = take_in(l, (uint32_t)p);
    }
    return status;
}

static kith_status measure(const struct linking *l) {
    ki_head_graph *graph = l->graph;
    if (l->sampled < SAMPLE_LEAST || (graph->measured && l->end < MEASURED_AGAIN * graph->measured)) return KITH_OK;
    const kith_status status = ki_head_measure(l->block, graph, l->end, l->sample, l->sampled, l->stop);
    if (status == KITH_OK) graph->measured = l->end;
    return status;
}

static kith_status link(struct linking *l) {
    kith_status status = take_out_dead(l);
    choose_sample(l);
    if (status == KITH_OK) status = take_in_new(l);
    if (status == KITH_OK) status = measure(l);
    for (size_t i = 0; i < l->sampled && status == KITH_OK; i++) status = take_in(l, l->sample[i]);
    if (status != KITH_OK) return status;
    l->graph->tried = l->end;
    if (l->graph->measured) atomic_store_explicit(&l->graph->linked, l->end, memory_order_release);
    return KITH_OK;
}

kith_status ki_head_link(ki_head *head, size_t spec, size_t count, const ki_bits *live, const atomic_int *stop,
                         kith_error *error) {
    ki_head_block *block = &head->blocks[spec];
    struct linking l = {.block = block, .live = live, .stop = stop};
    l.end = ki_head_block_places(block, count) / KI_BLOCK * KI_BLOCK;
    atomic_store_explicit(&block->asked, 0, memory_order_relaxed);
    l.graph = graph_of(block, head->capacity);
    const kith_status status = l.graph ? link(&l) : KITH_E_NOMEM;
    if (status == KITH_E_CANCELLED) return ki_fail(error, status, "linking the rows of a head was stopped");
    if (status != KITH_OK) return ki_fail(error, status, "out of memory for links between %zu rows of a head", l.end);
    return KITH_OK;
}
