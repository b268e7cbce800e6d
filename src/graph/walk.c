/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks. Each goes on by steps: the vertex that was asked for longest ago is scored, its neighbours are estimated,
 * those in reach enter the pool, and the nearest of the pool is asked for. So `AHEAD` rows of a query are on their way
 * from memory at once, and queries of a call take turns.
 *
 * W1. A vertex is marked when it enters the pool, so that it enters once; one that is out of reach is not, and may come
 *     again by another edge, with a better estimate. While it is in the pool every further estimate of it goes into the
 *     mean: their errors are those of other edges' codes (text embeddings, one bit: .95 after 30 visits, not 36).
 * W2. A walk ends where nothing is in reach, or where the k nearest have not changed for a while: a few queries have very
 *     many in reach, and gain next to nothing of them (text embeddings, effort 150: p99 of visits 2.3 times less, and
 *     the same recall for the same mean of visits).
 * W3. `below` only falls: it is reach times the k-th least distance of those scored that are allowed. */
#include "graph/graph.h"

#include "base/area.h"
#include "base/checked.h"
#include "graph/patch.h"
#include "graph/query.h"
#include "view/query.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD = 2, STARTS = 2, MARKS_FIRST = 2048, POOL_FIRST = 512, POLL_STEPS = 64 };

static const uint32_t OUT = UINT32_MAX;

struct met {
    float distance;
    uint32_t vertex;
};

/* A vertex that was in reach. place: where in the pool, or OUT. */
struct mark {
    uint32_t vertex, place; /* vertex + 1; 0: nobody's */
};

/* What belongs to a distance in the pool: how many estimates it is the mean of. */
struct entry {
    uint32_t slot, seen;
};

struct walk {
    const float *query;
    ki_graph_query placed;
    float below;
    size_t open, open_room; /* the pool: places, not in order */
    float *open_distance;
    struct entry *pool;
    struct mark *marks; /* a hash table */
    size_t mark_room, mark_count;
    struct met *best; /* ascending: the nearest that were scored and are allowed */
    size_t best_count;
    struct met ahead[AHEAD]; /* asked for, the oldest first */
    size_t ahead_count;
    uint64_t visits;
    float scale;   /* the largest of those visited */
    uint64_t idle; /* visits since the k nearest changed */
    int gave_up, ended, has_rest;
    float rest_unit;
    uint8_t *rest;             /* a second table, made when it is needed */
    float *work;               /* to make it in */
    ki_graph_patches *patches; /* NULL: nothing is absent */
    const uint8_t *later;      /* codes of edges to ask for, of the last one ahead */
    ki_area placed_area, rest_area, wide, table, distances, pool_area, mark_area, best_area, hits;
};

struct ki_walker {
    struct walk walk[KI_WALK_MAX];
    ki_area work;
    ki_graph_patches *patches;
};

ki_walker *ki_walker_create(void) {
    return ki_alloc_array_zeroed(1, sizeof(ki_walker));
}

void ki_walker_destroy(ki_walker *walker) {
    if (!walker) return;
    for (int i = 0; i < KI_WALK_MAX; i++) {
        struct walk *w = &walker->walk[i];
        ki_area *areas[] = {&w->placed_area, &w->rest_area, &w->wide,      &w->table, &w->distances,
                            &w->pool_area,   &w->mark_area, &w->best_area, &w->hits};
        for (size_t a = 0; a < sizeof(areas) / sizeof(*areas); a++) free(areas[a]->data);
    }
    free(walker->work.data);
    ki_graph_patches_destroy(walker->patches);
    free(walker);
}

/* ---- Marks ------------------------------------------------------------------------------------------------------- */

/* Where a vertex is marked, or would be. There is room. */
static inline uint32_t find(const struct walk *w, uint32_t vertex) {
    size_t at = (size_t)(vertex * UINT32_C(2654435769)) >> 7 & (w->mark_room - 1);
    while (w->marks[at].vertex && w->marks[at].vertex != vertex + 1) at = (at + 1) & (w->mark_room - 1);
    return (uint32_t)at;
}

static int grow_marks(struct walk *w) {
    const size_t room = w->mark_room, bytes = room * sizeof(*w->marks);
    struct mark *old = ki_alloc_array(room, sizeof(*old));
    if (!old) return 0;
    memcpy(old, w->marks, bytes);
    struct mark *marks = ki_area_take(&w->mark_area, room * 4, sizeof(*marks));
    if (marks) {
        w->marks = marks;
        w->mark_room = room * 4;
        memset(marks, 0, bytes * 4);
        for (size_t i = 0; i < room; i++) {
            if (!old[i].vertex) continue;
            const uint32_t slot = find(w, old[i].vertex - 1);
            marks[slot] = old[i];
            if (old[i].place != OUT) w->pool[old[i].place].slot = slot;
        }
    }
    free(old);
    return marks != NULL;
}

static inline void mark(struct walk *w, uint32_t slot, uint32_t vertex) {
    w->marks[slot] = (struct mark){vertex + 1, OUT};
    w->mark_count++;
}

/* ---- The pool ---------------------------------------------------------------------------------------------------- */

static inline void put(struct walk *w, size_t place, float distance, struct entry entry) {
    w->open_distance[place] = distance;
    w->pool[place] = entry;
    w->marks[entry.slot].place = (uint32_t)place;
}

/* Leave out what is out of reach by now; make room if that does not. */
static int tidy_pool(struct walk *w) {
    size_t kept = 0;
    for (size_t i = 0; i < w->open; i++) {
        if (w->open_distance[i] < w->below)
            put(w, kept++, w->open_distance[i], w->pool[i]);
        else
            w->marks[w->pool[i].slot].place = OUT;
    }
    w->open = kept;
    if (kept <= w->open_room / 2) return 1;
    float *distances = ki_area_grow(&w->distances, w->open_room * 2 + 8, sizeof(float));
    if (!distances) return 0;
    w->open_distance = distances;
    struct entry *pool = ki_area_grow(&w->pool_area, w->open_room * 2, sizeof(*pool));
    if (!pool) return 0;
    w->pool = pool;
    w->open_room *= 2;
    return 1;
}

/* Room for the neighbours of one vertex. */
static int make_room(struct walk *w) {
    if (2 * (w->mark_count + KI_GRAPH_DEGREE_MAX) > w->mark_room && !grow_marks(w)) return 0;
    return w->open + KI_GRAPH_DEGREE_MAX <= w->open_room || tidy_pool(w);
}

static inline void open_vertex(struct walk *w, float distance, uint32_t slot) {
    put(w, w->open++, distance, (struct entry){slot, 1});
}

/* One more estimate of a vertex that is marked. */
static inline void improve(struct walk *w, float distance, uint32_t place) {
    if (place == OUT) return;
    const float seen = (float)w->pool[place].seen++, before = w->open_distance[place];
    w->open_distance[place] = before + (distance - before) / (seen + 1);
}

/* Take one out; returns its vertex. */
static inline uint32_t close_vertex(struct walk *w, size_t place) {
    struct mark *taken = &w->marks[w->pool[place].slot];
    w->open--;
    if (place < w->open) put(w, place, w->open_distance[w->open], w->pool[w->open]);
    taken->place = OUT;
    return taken->vertex - 1;
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

/* Ask memory for lines. */
static inline void fetch(const uint8_t *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64) {
        __builtin_prefetch(from + at, 0, 2);
        __asm__ volatile("" : : "r"(from)); /* or gcc sees a function without effects, and leaves all of it out */
    }
}

/* Ask for a row: at once for what comes before its codes of edges, and for these while those of the next vertex are
 * read, where one comes before it (kernel/edges.h, E5). */
static void fetch_row(struct walk *w, const ki_graph *graph, uint32_t vertex) {
    const uint8_t *row = ki_graph_row(graph, vertex);
    const size_t front = graph->bits ? ki_graph_codes_at(graph->degree, graph->bits, graph->width) : graph->row_bytes;
    const size_t codes = graph->row_bytes - front;
    fetch(row, front);
    if (w->later) fetch(w->later, codes);
    w->later = row + front;
    if (w->ahead_count) return;
    fetch(w->later, codes);
    w->later = NULL;
}

/* Take the nearest out of the pool and ask for their rows. */
static void look_ahead(struct walk *w, const ki_graph *graph) {
    while (w->ahead_count < AHEAD && w->open) {
        const size_t at = w->placed.kernels->least(w->open_distance, w->open);
        const float distance = w->open_distance[at];
        if (!(distance < w->below)) return;
        const struct met next = {distance, close_vertex(w, at)};
        fetch_row(w, graph, next.vertex);
        w->ahead[w->ahead_count++] = next;
    }
}

static inline int is_allowed(const ki_graph_search *s, uint32_t vertex) {
    return !s->allowed || (s->allowed[vertex / 64] >> vertex % 64 & 1);
}

static inline int can_pass(const ki_graph_search *s, uint32_t vertex) {
    return vertex < s->view->rows && (!s->absent || is_allowed(s, vertex));
}

/* Put a scored vertex among the best. */
static void keep(struct walk *w, const ki_graph_search *s, float distance, uint32_t vertex) {
    if (!is_allowed(s, vertex)) return;
    size_t at = w->best_count;
    if (at == s->rerank && !(distance < w->best[at - 1].distance)) return;
    if (at == s->rerank) at--;
    for (; at > 0 && distance < w->best[at - 1].distance; at--) w->best[at] = w->best[at - 1];
    w->best[at] = (struct met){distance, vertex};
    if (at < s->k) w->idle = 0;
    if (w->best_count < s->rerank) w->best_count++;
    if (w->best_count >= s->k)
        w->below = w->best[s->k - 1].distance * (1 + (float)s->effort / 1000) + 1e-6f * fabsf(w->placed.start);
}

/* Estimates are made with a query of few bits, whose error is in proportion to |q'|, and what they tell apart to the
 * distances around a vertex. Near the query, in clusters that lie far from the centre, more bits are needed: a second
 * table has what the first leaves out. */
static const float NEAR = 0.125f;

/* W1 */
static inline void meet(struct walk *w, uint32_t vertex, float distance) {
    const uint32_t slot = find(w, vertex);
    if (w->marks[slot].vertex) {
        improve(w, distance, w->marks[slot].place);
        return;
    }
    mark(w, slot, vertex);
    open_vertex(w, distance, slot);
}

static void score_edges(struct walk *w, const ki_graph_search *s, const uint8_t *row, float base) {
    const ki_graph *graph = &s->view->graph;
    const ki_edges_kernels *kernels = w->placed.kernels;
    const uint32_t degree = graph->degree;
    const uint32_t *ids = (const uint32_t *)(const void *)(row + KI_GRAPH_IDS_AT);
    float distance[KI_EDGES_MAX];
    const uint8_t *codes = row + ki_graph_codes_at(degree, graph->bits, graph->width);
    ki_edges edges = {.codes = codes,
                      .fetch = w->later ? w->later : codes,
                      .table = w->placed.table,
                      .add = (const float *)(const void *)(ids + degree),
                      .mul = (const float *)(const void *)(ids + 2 * degree),
                      .steps = graph->width / KI_GRAPH_STEP,
                      .blocks = degree / 16,
                      .planes = graph->bits,
                      .unit = w->placed.unit,
                      .base = base,
                      .below = w->below};
    w->later = NULL;
    uint64_t mask = kernels->estimate(&edges, distance);
    if (base < NEAR * w->placed.norm2) {
        const float *first = distance; /* of the same neighbours, in place */
        if (!w->has_rest) w->rest_unit = ki_graph_query_rest(graph, &w->placed, w->work, w->rest);
        w->has_rest = 1;
        edges.table = w->rest;
        edges.unit = w->rest_unit;
        edges.add = first;
        edges.fetch = codes;
        edges.base = 0;
        mask = kernels->estimate(&edges, distance);
    }
    for (; mask; mask &= mask - 1) {
        const unsigned n = (unsigned)__builtin_ctzll(mask);
        if (can_pass(s, ids[n])) meet(w, ids[n], distance[n]);
    }
}

static float distance_of(const struct walk *w, const ki_graph *graph, uint32_t vertex) {
    const uint8_t *row = ki_graph_row(graph, vertex);
    return ki_graph_query_distance(graph, &w->placed, row, row + ki_graph_self_at(graph->degree, graph->bits));
}

static float scale_of(const uint8_t *row) {
    float scale;
    memcpy(&scale, row, sizeof(scale));
    return scale;
}

/* Lean graphs: neighbours that were not seen before are scored by their own codes. */
static void score_neighbours(struct walk *w, const ki_graph_search *s, const uint8_t *row) {
    const ki_graph *graph = &s->view->graph;
    const uint32_t *ids = (const uint32_t *)(const void *)(row + KI_GRAPH_IDS_AT);
    uint32_t fresh[KI_GRAPH_DEGREE_MAX];
    size_t count = 0;
    for (uint32_t n = 0; n < graph->degree; n++) {
        if (!can_pass(s, ids[n])) continue;
        const uint32_t slot = find(w, ids[n]);
        if (w->marks[slot].vertex) continue;
        mark(w, slot, ids[n]);
        fetch(ki_graph_row(graph, ids[n]), graph->row_bytes);
        fresh[count++] = slot;
    }
    for (size_t i = 0; i < count; i++) {
        const float distance = distance_of(w, graph, w->marks[fresh[i]].vertex - 1);
        if (distance < w->below) open_vertex(w, distance, fresh[i]);
    }
}

/* One step; 0: out of memory. */
static int step(struct walk *w, const ki_graph_search *s) {
    const ki_graph *graph = &s->view->graph;
    const struct met at = w->ahead[0];
    w->ahead_count--;
    for (size_t i = 0; i < w->ahead_count; i++) w->ahead[i] = w->ahead[i + 1];
    if (at.distance < w->below) {
        const float distance = graph->bits ? distance_of(w, graph, at.vertex) : at.distance;
        if (!make_room(w)) return 0;
        w->visits++;
        w->idle++;
        w->scale = fmaxf(w->scale, scale_of(ki_graph_row(graph, at.vertex)));
        keep(w, s, distance, at.vertex);
        const uint8_t *row = w->patches ? ki_graph_patched(w->patches, s, at.vertex) : ki_graph_row(graph, at.vertex);
        if (!row) return 0;
        if (graph->bits)
            score_edges(w, s, row, distance);
        else
            score_neighbours(w, s, row);
    }
    look_ahead(w, graph);
    w->ended = w->ahead_count == 0 || (s->patience && w->idle > s->patience && w->best_count >= s->k);
    if (s->visits_max && w->visits >= s->visits_max && !w->ended) w->ended = w->gave_up = 1;
    return 1;
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

/* Begin at the entries nearest to the query, by half of their coordinates: a rotation leaves them all alike. */
static void enter(struct walk *w, const ki_graph_search *s) {
    const ki_graph *graph = &s->view->graph;
    struct met near[STARTS];
    size_t count = 0;
    const uint8_t *row = graph->entry_rows;
    for (uint32_t e = 0; e < graph->entries; e++, row += ki_graph_entry_bytes(graph->width)) {
        const uint32_t vertex = graph->entry[e];
        const float d = ki_graph_query_guess(graph, &w->placed, row, row + KI_GRAPH_ENTRY_SELF_AT);
        if (count == STARTS && !(d < near[count - 1].distance)) continue;
        size_t at = count < STARTS ? count++ : STARTS - 1;
        for (; at > 0 && d < near[at - 1].distance; at--) near[at] = near[at - 1];
        near[at] = (struct met){d, vertex};
    }
    for (size_t i = 0; i < count; i++)
        if (can_pass(s, near[i].vertex))
            meet(w, near[i].vertex, graph->bits ? near[i].distance : distance_of(w, graph, near[i].vertex));
}

static int begin(ki_walker *walker, struct walk *w, const ki_graph_search *s, const float *query) {
    const ki_graph *graph = &s->view->graph;
    const int absent = s->absent && s->allowed;
    float *placed = ki_area_take(&w->placed_area, graph->width, sizeof(float));
    w->work = ki_area_take(&walker->work, graph->width, sizeof(float));
    if (absent && !walker->patches) walker->patches = ki_graph_patches_create();
    w->patches = absent ? walker->patches : NULL;
    w->rest = ki_area_take(&w->rest_area, graph->width, 4);
    w->placed.wide = ki_area_take(&w->wide, graph->width, sizeof(int16_t));
    w->placed.table = ki_area_take(&w->table, graph->width, 4);
    if (!w->mark_room) w->mark_room = MARKS_FIRST;
    if (!w->open_room) w->open_room = POOL_FIRST;
    w->marks = ki_area_take(&w->mark_area, w->mark_room, sizeof(*w->marks));
    w->open_distance = ki_area_take(&w->distances, w->open_room + 8, sizeof(float));
    w->pool = ki_area_take(&w->pool_area, w->open_room, sizeof(*w->pool));
    w->best = ki_area_take(&w->best_area, s->rerank, sizeof(*w->best));
    if (!placed || !w->work || !w->rest || !w->placed.wide || !w->placed.table || !w->marks || !w->open_distance ||
        !w->pool || !w->best || (absent && !w->patches))
        return 0;
    w->query = query;
    w->open = w->mark_count = w->best_count = w->ahead_count = 0;
    w->visits = w->idle = 0;
    w->scale = 0;
    w->later = NULL;
    w->gave_up = w->has_rest = 0;
    w->below = INFINITY;
    memset(w->marks, 0, w->mark_room * sizeof(*w->marks));
    if (ki_graph_query_make(s->view, query, placed, &w->placed)) enter(w, s);
    look_ahead(w, graph);
    w->ended = w->ahead_count == 0;
    return 1;
}

/* How many of the best may be among the k nearest. A code is off by about scale * sqrt(width / 12) in a random direction,
 * and a D so by 2 sqrt(D) scale / sqrt(12): three times that, of two vertices. Where neighbours lie close together, far
 * from the centre, that is many; mostly it is hardly one more than k. */
static size_t count_likely(const struct walk *w, const ki_graph_search *s) {
    if (w->best_count <= s->k) return w->best_count;
    const float last = w->best[s->k - 1].distance, most = last + 2.45f * sqrtf(last) * w->scale;
    size_t count = s->k;
    while (count < w->best_count && w->best[count].distance <= most) count++;
    return count;
}

/* The k nearest of the best, by the defining kernel. */
static int finish(struct walk *w, const ki_graph_search *s, ki_walk_result *result) {
    const ki_view *view = s->view;
    const size_t likely = count_likely(w, s);
    ki_hit *hits = ki_area_take(&w->hits, likely + 1, sizeof(*hits));
    if (!hits) return 0;
    for (size_t i = 0; i < likely && view->originals; i++) ki_query_prefetch(view, w->best[i].vertex);
    const float norm2 = ki_query_norm2(view, w->query);
    size_t count = 0;
    for (size_t i = 0; i < likely; i++) {
        const uint32_t v = w->best[i].vertex;
        const float d = view->originals ? ki_query_distance(view, w->query, norm2, v)
                                        : ki_graph_query_result(view, &w->placed, w->best[i].distance);
        /* Of a damaged vector the distance may be no number, which has no place in an order. */
        if (!isnan(d)) hits[count++] = (ki_hit){d, v, view->labels[v]};
    }
    ki_hits_sort(hits, count);
    w->best_count = likely;
    *result = (ki_walk_result){hits, ki_min_size(count, s->k), w->gave_up};
    return 1;
}

kith_status ki_graph_walk(ki_walker *walker, const ki_graph_search *s, const float *queries, size_t stride,
                          size_t count, ki_walk_result *results, ki_counts *counts, unsigned worker) {
    for (size_t i = 0; i < count; i++)
        if (!begin(walker, &walker->walk[i], s, queries + i * stride)) return KITH_E_NOMEM;
    size_t walking = count;
    for (unsigned turn = 1; walking; turn++) {
        walking = 0;
        for (size_t i = 0; i < count; i++) {
            struct walk *w = &walker->walk[i];
            if (w->ended) continue;
            if (!step(w, s)) return KITH_E_NOMEM;
            walking += !w->ended;
        }
        const kith_status status = turn % POLL_STEPS ? KITH_OK : ki_limits_reached(&s->limits, worker);
        if (status != KITH_OK) return status;
    }
    for (size_t i = 0; i < count; i++) {
        if (!finish(&walker->walk[i], s, &results[i])) return KITH_E_NOMEM;
        counts->scanned_rows += walker->walk[i].visits;
        counts->visited += walker->walk[i].visits;
        counts->reranked += walker->walk[i].best_count;
    }
    return KITH_OK;
}
