/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening an index: its lists. Tables are copied, each number read once: what was checked must not change when the file
 * is cut under the map. Entries of second lists are bounded where they are read. */
#include "base/checked.h"
#include "base/status.h"
#include "index/index.h"

#include <string.h>

enum { SUPER_ALIGN = 64 };

kith_status ki_part_of(const ki_segment *segment, uint32_t kind, uint64_t count, uint64_t size, const void **data,
                       kith_error *error) {
    const ki_part_view part = ki_segment_part(segment, kind);
    uint64_t bytes;
    if (!ki_mul(count, size, &bytes) || part.bytes != bytes || (!part.data && bytes))
        return ki_fail(error, KITH_E_CORRUPT, "%s: %s has %llu bytes where %llu x %llu are needed",
                       ki_segment_path(segment), ki_part_place(kind), (unsigned long long)part.bytes,
                       (unsigned long long)count, (unsigned long long)size);
    *data = part.data;
    return KITH_OK;
}

static kith_status bad_list(const kith_index *index, uint64_t list, const char *what, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "%s: %s, list %llu: %s", ki_segment_path(index->segment),
                   ki_part_place(KI_PART_LISTS), (unsigned long long)list, what);
}

/* The table's lists lie one after the other and hold all rows: with that all sums fit. */
static kith_status read_table(kith_index *index, const uint64_t *table, kith_error *error) {
    ki_lists *lists = &index->view.lists;
    uint32_t *first_row = index->list_first, *first_block = first_row + lists->count + 1;
    first_row[0] = first_block[0] = 0;
    lists->longest = 0;
    for (size_t l = 0; l < lists->count; l++) {
        const uint64_t position = first_row[l], rows = table[2 * l + 1];
        if (table[2 * l] != position) return bad_list(index, l, "does not begin where the one before ends", error);
        if (rows > index->view.rows - position) return bad_list(index, l, "reaches beyond the last vector", error);
        first_row[l + 1] = (uint32_t)(position + rows);
        first_block[l + 1] = first_block[l] + (uint32_t)((rows + KI_BLOCK - 1) / KI_BLOCK);
        if (rows > lists->longest) lists->longest = (uint32_t)rows;
    }
    if (first_row[lists->count] != index->view.rows)
        return bad_list(index, lists->count - 1, "ends before the last vector", error);
    lists->first_row = first_row;
    lists->first_block = first_block;
    return KITH_OK;
}

static kith_status make_lists(kith_index *index, const uint64_t *table, kith_error *error) {
    ki_lists *lists = &index->view.lists;
    index->list_first = ki_alloc_array(2 * (lists->count + 1), sizeof(uint32_t));
    if (!index->list_first) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu lists", lists->count);
    kith_status status = read_table(index, table, error);
    if (status != KITH_OK) return status;
    const uint32_t blocks = lists->first_block[lists->count];
    const void *codes; /* before memory is asked for: a header may claim any number of rows */
    status =
        ki_part_of(index->segment, KI_PART_CODES, blocks, (index->view.dim + 3) / 4 * KI_QUAD_BYTES, &codes, error);
    if (status != KITH_OK) return status;
    uint32_t *of_block = index->list_of_block = ki_alloc_array(blocks, sizeof(uint32_t));
    if (!of_block) return ki_fail(error, KITH_E_NOMEM, "out of memory for %u blocks", blocks);
    for (size_t l = 0; l < lists->count; l++)
        for (uint32_t b = lists->first_block[l]; b < lists->first_block[l + 1]; b++) of_block[b] = (uint32_t)l;
    lists->of_block = of_block;
    index->view.blocks = blocks;
    return KITH_OK;
}

/* The centroids in the first level: only choosing lists is slower without. */
static kith_status view_coarse_first(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_lists *lists = &index->view.lists;
    const uint64_t blocks = (lists->count + KI_BLOCK - 1) / KI_BLOCK;
    const uint64_t quads = ki_segment_get_head(s)->level1_dim / 4;
    const void *codes, *factors;
    if (!quads || !ki_segment_part(s, KI_PART_COARSE_FIRST_CODES).data) return KITH_OK;
    kith_status status = ki_part_of(s, KI_PART_COARSE_FIRST_CODES, blocks, quads * KI_QUAD_BYTES, &codes, error);
    if (status == KITH_OK)
        status = ki_part_of(s, KI_PART_COARSE_FIRST_FACTORS, blocks, KI_FACTORS * sizeof(float), &factors, error);
    if (status == KITH_OK) lists->coarse_first = (ki_level){codes, factors, quads, blocks};
    return status;
}

/* Ends ascend to the last list; they are copied likewise. */
static kith_status view_supers(kith_index *index, kith_error *error) {
    ki_lists *lists = &index->view.lists;
    const ki_part_view part = ki_segment_part(index->segment, KI_PART_SUPERS);
    if (!part.data) return KITH_OK;
    const uint32_t *table = part.data;
    const uint64_t count = part.bytes >= SUPER_ALIGN ? table[0] : 0;
    const uint64_t head = ki_round_up((count + 1) * sizeof(uint32_t), SUPER_ALIGN);
    int good = count >= 1 && count <= lists->count && part.bytes == head + count * index->view.dim * sizeof(float);
    uint32_t *ends = index->super_ends = good ? ki_alloc_array(count, sizeof(uint32_t)) : NULL;
    if (good && !ends) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu lists", lists->count);
    if (good) memcpy(ends, table + 1, count * sizeof(uint32_t));
    for (uint64_t s = 1; good && s < count; s++) good = ends[s - 1] <= ends[s];
    if (!good || ends[count - 1] != lists->count)
        return ki_fail(error, KITH_E_CORRUPT, "%s: %s is no division of %zu lists", ki_segment_path(index->segment),
                       ki_part_place(KI_PART_SUPERS), lists->count);
    lists->supers = (size_t)count;
    lists->super_end = ends;
    lists->super_centroids = (const float *)(const void *)((const char *)part.data + head);
    return KITH_OK;
}

kith_status ki_index_view_lists(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    const ki_segment_head *head = ki_segment_get_head(s);
    ki_view *view = &index->view;
    ki_lists *lists = &view->lists;
    const void *data[4] = {0};
    const uint64_t count = head->lists, quads = (view->dim + 3) / 4, blocks = (count + KI_BLOCK - 1) / KI_BLOCK;
    lists->count = (size_t)count;
    if (count == 1) return KITH_OK;
    kith_status status = ki_part_of(s, KI_PART_LISTS, count, 2 * sizeof(uint64_t), &data[0], error);
    if (status == KITH_OK) status = ki_part_of(s, KI_PART_LIST_BOUNDS, count, sizeof(float), &data[1], error);
    if (status == KITH_OK) status = ki_part_of(s, KI_PART_COARSE_CODES, blocks, quads * KI_QUAD_BYTES, &data[2], error);
    if (status == KITH_OK)
        status = ki_part_of(s, KI_PART_COARSE_FACTORS, blocks, KI_FACTORS * sizeof(float), &data[3], error);
    if (status == KITH_OK) status = make_lists(index, data[0], error);
    if (status != KITH_OK) return status;
    lists->radius = data[1];
    lists->coarse = (ki_level){data[2], data[3], quads, blocks};
    lists->spread = (float)head->parameter[1];
    lists->norm = (float)head->parameter[2];
    view->residual = !view->whole;
    status = view_coarse_first(index, error);
    return status == KITH_OK ? view_supers(index, error) : status;
}

/* How many entries each second list has; they and their blocks lie one after the other. */
static kith_status read_second_list_counts(kith_index *index, const uint32_t *counts, uint64_t entries,
                                           kith_error *error) {
    const size_t lists = index->view.lists.count;
    uint32_t *first = index->second_list_first = ki_alloc_array(2 * (lists + 1), sizeof(uint32_t));
    if (!first) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu lists", lists);
    uint32_t *first_block = first + lists + 1;
    first[0] = first_block[0] = 0;
    for (size_t l = 0; l < lists; l++) {
        const uint32_t count = counts[l];
        if (count > entries - first[l])
            return ki_fail(error, KITH_E_CORRUPT, "%s: %s, list %zu: reaches beyond the last entry",
                           ki_segment_path(index->segment), ki_part_place(KI_PART_SECOND_LIST_COUNTS), l);
        first[l + 1] = first[l] + count;
        first_block[l + 1] = first_block[l] + (count + KI_BLOCK - 1) / KI_BLOCK;
    }
    if (first[lists] != entries)
        return ki_fail(error, KITH_E_CORRUPT, "%s: %s: leaves entries over", ki_segment_path(index->segment),
                       ki_part_place(KI_PART_SECOND_LIST_COUNTS));
    return KITH_OK;
}

kith_status ki_index_view_second_lists(kith_index *index, kith_error *error) {
    const ki_segment *s = index->segment;
    ki_view *view = &index->view;
    const ki_part_view entries = ki_segment_part(s, KI_PART_SECOND_LIST_ENTRIES);
    const void *counts, *codes, *factors;
    if (!entries.data || view->lists.count == 1 || !view->originals) return KITH_OK;
    const uint64_t count = entries.bytes / sizeof(ki_second_entry);
    if (count > view->rows || entries.bytes % sizeof(ki_second_entry))
        return ki_fail(error, KITH_E_CORRUPT, "%s: %s has %llu bytes for %llu vectors", ki_segment_path(s),
                       ki_part_place(KI_PART_SECOND_LIST_ENTRIES), (unsigned long long)entries.bytes,
                       (unsigned long long)view->rows);
    kith_status status = ki_part_of(s, KI_PART_SECOND_LIST_COUNTS, view->lists.count, sizeof(uint32_t), &counts, error);
    if (status == KITH_OK) status = read_second_list_counts(index, counts, count, error);
    if (status != KITH_OK) return status;
    const uint32_t *first = index->second_list_first, *first_block = first + view->lists.count + 1;
    const uint64_t quads = view->level1.blocks ? view->level1.quads : view->full.quads;
    const uint32_t blocks = first_block[view->lists.count];
    status = ki_part_of(s, KI_PART_SECOND_LIST_CODES, blocks, quads * KI_QUAD_BYTES, &codes, error);
    if (status == KITH_OK)
        status = ki_part_of(s, KI_PART_SECOND_LIST_FACTORS, blocks, KI_FACTORS * sizeof(float), &factors, error);
    if (status == KITH_OK)
        view->second_lists = (ki_second_lists){{codes, factors, quads, blocks}, first, first_block, entries.data};
    return status;
}
