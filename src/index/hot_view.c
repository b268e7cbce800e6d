/* SPDX-License-Identifier: Apache-2.0
 *
 * Which parts of an index are copied to memory of their own, and the view that reads them there.
 *
 * H1. Kernels read up to KI_TILE_OVERREAD bytes past codes (tile.h T2): as much lies behind each part of the copy.
 * H2. The view of the copy is made with the copy, before anybody has the index, and is constant from then on. Searches
 *     take one of the two views when they begin, and stay with it. */
#include "index/index.h"

#include "base/checked.h"

#include <stddef.h>
#include <string.h>

/* Where a view points to a part; how long that is; and whose it is. */
struct place {
    size_t pointer;
    uint64_t count, size;
    unsigned what;
};

enum { PLACES = 17 };

static size_t table_bytes(const ki_lsh *lsh) {
    return lsh->kind == KI_LSH_NONE ? 0 : lsh->table_bytes;
}

static void list_places(const ki_view *view, struct place place[PLACES]) {
    const uint64_t factors = KI_FACTORS * sizeof(float), rows = view->rows;
    const ki_level *level[] = {&view->full, &view->level1, &view->second_lists.level, &view->lists.coarse,
                               &view->lists.coarse_first};
    const size_t at[] = {offsetof(ki_view, full), offsetof(ki_view, level1), offsetof(ki_view, second_lists.level),
                         offsetof(ki_view, lists.coarse), offsetof(ki_view, lists.coarse_first)};
    const ki_hnsw_view *hnsw = &view->hnsw;
    const size_t hnsw_row = hnsw->m ? ki_hnsw_row_bytes(hnsw->m, ki_hnsw_code_bytes(view->dtype, view->dim)) : 0;
    size_t p = 0;
    place[p++] = (struct place){offsetof(ki_view, graph.rows), rows, view->graph.degree ? view->graph.row_bytes : 0,
                                KI_HOT_GRAPH};
    for (size_t l = 0; l < sizeof(level) / sizeof(*level); l++) {
        place[p++] = (struct place){at[l] + offsetof(ki_level, codes), level[l]->blocks,
                                    level[l]->quads * KI_QUAD_BYTES, KI_HOT_CODES};
        place[p++] = (struct place){at[l] + offsetof(ki_level, factors), level[l]->blocks, factors, KI_HOT_CODES};
    }
    const uint64_t second = view->second.spec.kind == KI_SECOND_NONE ? 0 : view->blocks;
    place[p++] = (struct place){offsetof(ki_view, second_codes), second, view->second.block_bytes, KI_HOT_CODES};
    place[p++] = (struct place){offsetof(ki_view, second_factors), second, factors, KI_HOT_CODES};
    place[p++] = (struct place){offsetof(ki_view, hnsw.rows), rows, hnsw_row, KI_HOT_CODES};
    place[p++] = (struct place){offsetof(ki_view, lsh.table), view->lsh.tables, table_bytes(&view->lsh), KI_HOT_CODES};
    place[p++] =
        (struct place){offsetof(ki_view, originals), view->originals ? rows : 0, view->row_bytes, KI_HOT_VECTORS};
    place[p++] = (struct place){offsetof(ki_view, labels), rows, sizeof(uint64_t), KI_HOT_VECTORS};
}

/* Bytes of a part that is asked for: those of the file have been found to be as many. */
static uint64_t bytes_of(const struct place *place, unsigned what) {
    uint64_t bytes;
    return place->what & what && ki_mul(place->count, place->size, &bytes) && bytes <= SIZE_MAX / 2 ? bytes : 0;
}

uint64_t ki_index_hot_size(const kith_index *index, unsigned what) {
    struct place place[PLACES];
    uint64_t sum = 0;
    list_places(&index->view, place);
    for (size_t p = 0; p < PLACES; p++)
        if (!ki_add(sum, bytes_of(&place[p], what), &sum)) return UINT64_MAX;
    return sum;
}

/* Pointers of a view differ in type, so they are read and written as bytes. */
static const uint8_t *read_pointer(const ki_view *view, size_t at) {
    const uint8_t *pointer;
    memcpy(&pointer, (const char *)view + at, sizeof(pointer));
    return pointer;
}

static void write_pointer(ki_view *view, size_t at, const uint8_t *pointer) {
    memcpy((char *)view + at, &pointer, sizeof(pointer));
}

void ki_index_copy_hot(kith_index *index, unsigned what) {
    enum { ALIGNED = 64 };
    struct place place[PLACES];
    ki_hot_part part[PLACES];
    size_t pointer[PLACES], parts = 0;
    uint64_t room = 0;
    list_places(&index->view, place);
    for (size_t p = 0; p < PLACES; p++) {
        const uint64_t bytes = bytes_of(&place[p], what);
        if (!bytes) continue;
        pointer[parts] = place[p].pointer;
        part[parts++] = (ki_hot_part){read_pointer(&index->view, place[p].pointer), (size_t)bytes, (size_t)room};
        if (!ki_add(room, ki_round_up(bytes, ALIGNED) + KI_TILE_OVERREAD, &room) || room > SIZE_MAX / 2) return;
    }
    if (!parts || index->hot) return;
    index->hot = ki_hot_copy_start(index->segment, part, parts, (size_t)room);
    if (!index->hot) return;
    index->hot_what = what;
    index->hot_view = index->view;
    for (size_t p = 0; p < parts; p++)
        write_pointer(&index->hot_view, pointer[p], ki_hot_copy_place(index->hot) + part[p].at);
}
