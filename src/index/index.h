/* SPDX-License-Identifier: Apache-2.0
 *
 * An open index: a segment and its view. What src/search and its callers stand on. Constant once open: any thread. */
#ifndef KI_INDEX_INDEX_H
#define KI_INDEX_INDEX_H

#include "index/calibration.h"
#include "index/filter_notes.h"
#include "index/hot_copy.h"
#include "view/view.h"
#include "store/segment.h"

struct kith_index {
    ki_segment *segment;
    ki_view view;
    kith_id_kind id_kind;
    int has_names;
    const uint32_t *id_order;
    const uint64_t *string_ends, *name_ends;
    const char *string_bytes, *name_bytes;
    uint64_t string_size, name_size;
    const uint32_t *string_order;
    uint32_t *list_first, *list_of_block, *super_ends; /* what view.lists points to: owned */
    uint32_t *second_list_first;                       /* and view.second_lists */
    ki_calibration calibration;                        /* count 0: none, or none that can be used */
    ki_hot_copy *hot;                                  /* where it was asked for; NULL: the map alone */
    unsigned hot_what;                                 /* KI_HOT_ bits of what it holds */
    ki_view hot_view;                                  /* the view, but for what the copy holds */
};

struct kith_filter {
    const kith_index *index;
    uint64_t count;
    uint64_t words;
    uint64_t *allowed; /* bit per position; one word more than the rows need */
    /* NULL, or the `count` positions themselves, distinct and in any order: for plan gather, which then reads no bits.
     * Where allowed is NULL they are so few that nothing as long as the index may be touched: only plans that score all
     * of them can run. Lent by who made the filter; kith_filter_create() makes none. */
    const uint32_t *few;
    uint32_t absent;          /* not 0: what is left out is to be thought absent (graph/graph.h) */
    ki_filter_counts *counts; /* how its vectors lie; NULL: every search counts. Owned */
    ki_filter_notes *notes;   /* what searches have found out about it; NULL: nothing is kept. Owned */
    int later;                /* searches do not study it, and say in the notes that it is worth that */
};

/* The index of an open segment, which it owns from then on; closed on failure. */
kith_status ki_index_of_segment(ki_segment *segment, kith_index **index, kith_error *error);

/* Take these bytes for what was measured, before anybody else has the index. Unless GOOD it stays as it was; DAMAGED is
 * also what says nothing to an index like this. */
ki_calibration_state ki_index_take_calibration(kith_index *index, const void *data, uint64_t bytes);

/* Position of an id; false when the index does not hold it or its order section is damaged. */
int ki_index_find(const kith_index *index, uint64_t id, uint32_t *position);
/* The same, and the id's place among all ids in ascending order. */
int ki_index_find_place(const kith_index *index, uint64_t id, uint32_t *position, uint64_t *place);

/* ---- hot_view.c -------------------------------------------------------------------------------------------------- */

/* What may be copied: rows of the graph; codes with their factors, rows of an HNSW, hash tables; vectors and ids. */
enum { KI_HOT_GRAPH = 1, KI_HOT_CODES = 2, KI_HOT_VECTORS = 4 };

/* Begin to copy, before anybody else has the index; once. */
void ki_index_copy_hot(kith_index *index, unsigned what);
/* How many bytes of the file that is; 0: there is none of it. */
uint64_t ki_index_hot_size(const kith_index *index, unsigned what);

/* What a search is to read: of the copy from the moment on that it is there. */
static inline const ki_view *ki_index_hot_view(const kith_index *index) {
    return ki_hot_copy_done(index->hot) ? &index->hot_view : &index->view;
}

/* ---- device.c ---------------------------------------------------------------------------------------------------- */

/* Bring what devices search to them, before anybody else has the index. Where they are not demanded, OK without any. */
kith_status ki_index_to_device(kith_index *index, const kith_open_options *options, kith_error *error);

/* ---- graph.c ----------------------------------------------------------------------------------------------------- */

/* While opening. */
kith_status ki_index_view_graph(kith_index *index, kith_error *error);
/* Every row, and that walks can come to each. */
kith_status ki_index_check_graph(const kith_index *index, kith_pool *pool, kith_progress_fn progress,
                                 void *progress_context, kith_error *error);

/* ---- hnsw.c ------------------------------------------------------------------------------------------------------ */

/* After codes and rows. */
kith_status ki_index_view_hnsw(kith_index *index, kith_error *error);
kith_status ki_index_check_hnsw(const kith_index *index, kith_error *error);

/* ---- lists.c: while opening -------------------------------------------------------------------------------------- */

/* The section of exactly count x size bytes. */
kith_status ki_part_of(const ki_segment *segment, uint32_t kind, uint64_t count, uint64_t size, const void **data,
                       kith_error *error);
kith_status ki_index_view_lists(kith_index *index, kith_error *error);
/* After lists, codes and originals. */
kith_status ki_index_view_second_lists(kith_index *index, kith_error *error);

/* ---- lsh.c ------------------------------------------------------------------------------------------------------- */

/* After originals. */
kith_status ki_index_view_lsh(kith_index *index, kith_error *error);
/* What checksums cannot see. */
kith_status ki_index_check_lsh(const kith_index *index, kith_error *error);

#endif
