/* SPDX-License-Identifier: Apache-2.0
 *
 * Candidates are the neighbours of the absent one, and of other absent ones that it leads to: copies of a vector are
 * absent together. The nearest stays that passes the rule of the build against what the vertex keeps: one edge leaves
 * room for one. It must be as near as those that were not taken from anywhere (prune.c adds a few of these): the build
 * would not have met it otherwise. Distances are those of codes; with ip the heights on the sphere are left out. */
#include "graph/patch.h"

#include "base/area.h"
#include "base/checked.h"
#include "graph/edge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GAPS = 8, CANDIDATES = 128, SLOTS_FIRST = 1 << 12, SLOTS_MAX = 1 << 21 };

struct vertex {
    uint32_t id;
    ki_graph_end end;
    float apart; /* from the vertex whose row it is */
};

/* What stands in place of an edge: a vertex, or the row's own. key: of a set of absent vertices, a vertex, a place in
 * its row; never 0. */
struct slot {
    uint64_t key;
    uint32_t vertex;
};

struct ki_graph_patches {
    ki_area row;
    struct slot *slots; /* a hash table */
    size_t room, count;
};

struct patch {
    const ki_graph_search *search;
    const ki_graph *graph;
    uint32_t own;
    ki_graph_end from;
    struct vertex kept[KI_GRAPH_DEGREE_MAX], candidate[CANDIDATES];
    size_t kept_count, count, gaps;
    float farthest; /* that a candidate may be */
    uint32_t gap[GAPS];
    ki_graph_edge edge;
};

static const uint32_t *ids_of(const ki_graph *graph, uint32_t v) {
    return (const uint32_t *)(const void *)(ki_graph_row(graph, v) + KI_GRAPH_IDS_AT);
}

static int is_there(const ki_graph_search *s, uint32_t v) {
    return s->allowed[v / 64] >> v % 64 & 1;
}

/* Ask memory for what will be loaded of the neighbours of v. */
static void fetch(const struct patch *p, uint32_t v) {
    const size_t self = ki_graph_self_at(p->graph->degree, p->graph->bits);
    const uint32_t *ids = ids_of(p->graph, v);
    for (uint32_t n = 0; n < p->graph->degree; n++) {
        if (ids[n] >= p->search->view->rows) continue;
        const uint8_t *row = ki_graph_row(p->graph, ids[n]);
        __builtin_prefetch(row);
        for (size_t at = 0; at < p->graph->width; at += 64) __builtin_prefetch(row + self + at);
    }
}

static ki_graph_end load(const ki_graph *graph, uint32_t v) {
    const uint8_t *row = ki_graph_row(graph, v);
    const int8_t *code = (const int8_t *)row + ki_graph_self_at(graph->degree, graph->bits);
    ki_graph_head head;
    memcpy(&head, row, sizeof(head));
    const double square = (double)head.scale * head.scale * ki_residual()->dot(code, code, graph->width);
    return (ki_graph_end){code, head.scale, head.norm, square};
}

static float apart(const ki_graph *graph, const ki_graph_end *x, const ki_graph_end *y) {
    const double product = (double)x->scale * y->scale * ki_residual()->dot(x->code, y->code, graph->width);
    return (float)(x->square + y->square - 2 * product);
}

static struct vertex load_from(const struct patch *p, uint32_t v) {
    struct vertex made = {v, load(p->graph, v), 0};
    made.apart = apart(p->graph, &p->from, &made.end);
    return made;
}

static int has(const struct vertex *vertices, size_t count, uint32_t id) {
    for (size_t i = 0; i < count; i++)
        if (vertices[i].id == id) return 1;
    return 0;
}

static void collect(struct patch *p, uint32_t gap) {
    p->count = p->gaps = 0;
    p->gap[p->gaps++] = gap;
    for (size_t g = 0; g < p->gaps; g++) {
        const uint32_t *ids = ids_of(p->graph, p->gap[g]);
        fetch(p, p->gap[g]);
        for (uint32_t n = 0; n < p->graph->degree; n++) {
            const uint32_t v = ids[n];
            if (v >= p->search->view->rows || v == p->own) continue;
            if (!is_there(p->search, v)) {
                if (p->gaps < GAPS && !ki_graph_has(p->gap, p->gaps, v)) p->gap[p->gaps++] = v;
            } else if (p->count < CANDIDATES && !has(p->candidate, p->count, v)) {
                p->candidate[p->count++] = load_from(p, v);
            }
        }
    }
}

/* Whether something that is kept is nearer to the candidate than the vertex is; or is it. */
static int is_covered(const struct patch *p, const struct vertex *candidate) {
    if (candidate->apart > p->farthest || has(p->kept, p->kept_count, candidate->id)) return 1;
    for (size_t n = 0; n < p->kept_count; n++)
        if (p->kept[n].apart <= candidate->apart &&
            ki_graph_strikes(apart(p->graph, &p->kept[n].end, &candidate->end), candidate->apart))
            return 1;
    return 0;
}

/* The nearest candidate that is not covered, or NULL. */
static const struct vertex *choose(struct patch *p) {
    while (p->count) {
        size_t nearest = 0;
        for (size_t i = 1; i < p->count; i++)
            if (p->candidate[i].apart < p->candidate[nearest].apart) nearest = i;
        const struct vertex chosen = p->candidate[nearest];
        p->candidate[nearest] = p->candidate[--p->count];
        p->candidate[p->count] = chosen;
        if (!is_covered(p, &chosen)) return &p->candidate[p->count];
    }
    return NULL;
}

/* The neighbours that are there, and how far those are that the build met near the vertex. */
static void keep(struct patch *p) {
    const uint32_t *ids = ids_of(p->graph, p->own);
    float last[KI_GRAPH_FAR + 1]; /* the largest, descending */
    size_t count = 0;
    fetch(p, p->own);
    for (uint32_t n = 0; n < p->graph->degree; n++) {
        if (ids[n] >= p->search->view->rows || ids[n] == p->own || !is_there(p->search, ids[n])) continue;
        const struct vertex made = p->kept[p->kept_count++] = load_from(p, ids[n]);
        if (count == KI_GRAPH_FAR + 1 && made.apart <= last[KI_GRAPH_FAR]) continue;
        size_t at = count <= KI_GRAPH_FAR ? count++ : KI_GRAPH_FAR;
        for (; at && last[at - 1] < made.apart; at--) last[at] = last[at - 1];
        last[at] = made.apart;
    }
    p->farthest = count == KI_GRAPH_FAR + 1 ? last[KI_GRAPH_FAR] : INFINITY;
}

/* Put what stands in place of edge n, or the row's own vertex for nothing. */
static void fill(struct patch *p, uint32_t n, uint32_t with, uint8_t *row) {
    const ki_graph *graph = p->graph;
    uint32_t *ids = (uint32_t *)(void *)(row + KI_GRAPH_IDS_AT);
    float *add = (float *)(void *)(ids + graph->degree);
    ids[n] = with;
    if (!graph->bits) return;
    if (with == p->own) {
        add[n] = INFINITY;
        return;
    }
    const ki_graph_end end = load(graph, with);
    ki_graph_put_edge(&p->from, &end, n, graph->degree, graph->bits, graph->width, &p->edge, row);
}

/* What stands in place of the edge to `gap`. */
static uint32_t find(struct patch *p, uint32_t gap) {
    collect(p, gap);
    if (p->count && !p->kept_count) keep(p);
    const struct vertex *chosen = choose(p);
    if (!chosen) return p->own;
    p->kept[p->kept_count++] = *chosen;
    return chosen->id;
}

/* ---- What is remembered ------------------------------------------------------------------------------------------ */

ki_graph_patches *ki_graph_patches_create(void) {
    ki_graph_patches *patches = ki_alloc_array_zeroed(1, sizeof(*patches));
    if (!patches) return NULL;
    patches->room = SLOTS_FIRST;
    patches->slots = ki_alloc_array_zeroed(patches->room, sizeof(*patches->slots));
    if (patches->slots) return patches;
    free(patches);
    return NULL;
}

void ki_graph_patches_destroy(ki_graph_patches *patches) {
    if (!patches) return;
    free(patches->row.data);
    free(patches->slots);
    free(patches);
}

static uint64_t key_of(const ki_graph_search *search, uint32_t vertex, uint32_t n) {
    return (uint64_t)search->absent << 38 | (uint64_t)vertex << 6 | n;
}

static struct slot *slot_of(const ki_graph_patches *patches, uint64_t key) {
    size_t at = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (patches->room - 1);
    while (patches->slots[at].key && patches->slots[at].key != key) at = (at + 1) & (patches->room - 1);
    return &patches->slots[at];
}

/* Room for those of one row; where there are very many, all are forgotten. */
static int make_room(ki_graph_patches *patches) {
    const struct slot *old = patches->slots;
    const size_t room = patches->room;
    if (2 * (patches->count + KI_GRAPH_DEGREE_MAX) <= room) return 1;
    if (room == SLOTS_MAX) {
        memset(patches->slots, 0, room * sizeof(*old));
        patches->count = 0;
        return 1;
    }
    struct slot *slots = ki_alloc_array_zeroed(4 * room, sizeof(*slots));
    if (!slots) return 0;
    patches->slots = slots;
    patches->room = 4 * room;
    for (size_t i = 0; i < room; i++)
        if (old[i].key) *slot_of(patches, old[i].key) = old[i];
    free((void *)(uintptr_t)old);
    return 1;
}

const uint8_t *ki_graph_patched(ki_graph_patches *patches, const ki_graph_search *search, uint32_t vertex) {
    const ki_graph *graph = &search->view->graph;
    const uint32_t *ids = ids_of(graph, vertex);
    uint32_t absent[KI_GRAPH_DEGREE_MAX], count = 0;
    struct patch p;
    for (uint32_t n = 0; n < graph->degree; n++)
        if (ids[n] < search->view->rows && ids[n] != vertex && !is_there(search, ids[n])) absent[count++] = n;
    if (!count) return ki_graph_row(graph, vertex);
    uint8_t *row = ki_area_take(&patches->row, graph->row_bytes, 1);
    if (!row || !make_room(patches)) return NULL;
    p.search = search;
    p.graph = graph;
    p.own = vertex;
    p.from = load(graph, vertex);
    p.kept_count = 0;
    memcpy(row, ki_graph_row(graph, vertex), graph->row_bytes);
    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot = slot_of(patches, key_of(search, vertex, absent[i]));
        if (!slot->key) {
            *slot = (struct slot){key_of(search, vertex, absent[i]), find(&p, ids[absent[i]])};
            patches->count++;
        }
        fill(&p, absent[i], slot->vertex, row);
    }
    return row;
}
