/* SPDX-License-Identifier: Apache-2.0
 *
 * Studies of filters (search/study.h) that searches have paid for, and that the background thread makes, so that no
 * search takes as long as one. They wait as sieves in a short list; what finds no room is asked for again by the next
 * search. A study is a search of one of the queries that were kept, which may make it. */
#include "match/matching.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>

void ki_match_note_due(ki_match_cache *cache, ki_sieve *sieve, size_t spec, ki_filter_notes *notes) {
    int wanted = KI_STUDY_WANTED;
    if (!atomic_compare_exchange_strong(&notes->due, &wanted, KI_STUDY_WAITS)) return;
    if (!ki_match_cache_put_due(cache, sieve, spec)) atomic_store(&notes->due, KI_STUDY_NONE);
}

/* The segment of a sieve in a state; NULL: it was merged away. */
static const ki_snapshot_sealed *segment_of(const ki_snapshot *snapshot, const ki_sieve *sieve) {
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        const ki_sealed *sealed = snapshot->sealed[i].sealed;
        if (sealed->number + 1 == sieve->name.number && ki_table_hash(sealed->table) == sieve->name.hash)
            return &snapshot->sealed[i];
    }
    return NULL;
}

/* One of the queries that were kept, to be freed; NULL: there is none, or somebody is at them. */
static float *take_query(ki_filter_notes *notes, size_t dim) {
    float *row = NULL;
    if (atomic_flag_test_and_set(&notes->busy)) return NULL;
    if (notes->asked && notes->asked_count) row = ki_alloc_array(dim, sizeof(*row));
    if (row) memcpy(row, notes->asked, dim * sizeof(*row));
    atomic_flag_clear(&notes->busy);
    return row;
}

static kith_status search(ki_sealed *sealed, size_t spec, const kith_filter *filter, const float *row,
                          const ki_limits *limits, kith_error *error) {
    const ki_filter_notes *notes = filter->notes;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    kith_scratch *scratch = NULL;
    uint64_t *ids = ki_alloc_array(notes->due_k, sizeof(*ids));
    float *distances = ki_alloc_array(notes->due_k, sizeof(*distances));
    kith_status status = ids && distances ? ki_sealed_take(sealed, spec, NULL, &scratch, error)
                                          : ki_fail(error, KITH_E_NOMEM, "out of memory for studying a filter");
    options.filter = filter;
    options.target_recall = notes->due_target;
    options.cancelled = limits->cancelled;
    options.cancelled_context = limits->cancelled_context;
    queries.data = row;
    queries.dtype = KITH_F32;
    queries.count = 1;
    queries.dim = sealed->index[spec]->view.dim;
    if (status == KITH_OK)
        status = kith_search(sealed->index[spec], &queries, notes->due_k, &options, scratch, ids, distances, error);
    if (scratch) ki_sealed_give(sealed, spec, NULL, scratch);
    free(ids);
    free(distances);
    return status;
}

static kith_status study(kith_collection *collection, const ki_snapshot_sealed *in, ki_sieve *sieve, size_t spec,
                         ki_filter_notes *notes, const ki_limits *limits, kith_error *error) {
    const kith_index *index = in->sealed->index[spec];
    ki_living *living = index ? ki_match_cache_living(collection->matches, sieve, in->alive) : NULL;
    const ki_sieve_positions *found =
        living ? ki_living_positions(living, sieve, in->sealed, spec, in->positions[spec]) : NULL;
    float *row = found && found->bits ? take_query(notes, index->view.dim) : NULL;
    kith_status status = KITH_OK;
    if (row) {
        const kith_filter filter = {.index = index,
                                    .count = found->count,
                                    .words = found->bits->words,
                                    .allowed = found->bits->word,
                                    .few = found->few,
                                    .counts = found->counts,
                                    .notes = notes};
        status = search(in->sealed, spec, &filter, row, limits, error);
    }
    free(row);
    ki_living_release(living);
    return status;
}

kith_status ki_match_study(kith_collection *collection, const ki_limits *limits, kith_error *error) {
    size_t spec;
    ki_sieve *sieve = ki_match_cache_take_due(collection->matches, &spec);
    if (!sieve) return KITH_OK;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    const ki_snapshot_sealed *in = segment_of(snapshot, sieve);
    ki_filter_notes *notes = ki_match_cache_notes(collection->matches, sieve, spec);
    kith_status status = KITH_OK;
    if (in && notes) status = study(collection, in, sieve, spec, notes, limits, error);
    if (notes) atomic_store(&notes->due, KI_STUDY_NONE);
    ki_filter_notes_release(notes);
    ki_snapshot_release(snapshot);
    ki_sieve_release(sieve);
    return status;
}
