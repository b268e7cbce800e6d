/* SPDX-License-Identifier: Apache-2.0
 *
 * A generation beside the current one: which items lack its vectors, what approximate searches of it find, and how much
 * its neighbours differ. One state is held and looked at; searches and writes go on.
 *
 * What is sought are stored vectors, without the item itself, whose being found says nothing. */
#include "base/checked.h"
#include "base/grow.h"
#include "base/rng.h"
#include "base/status.h"
#include "collection/generation.h"
#include "collection/leg.h"
#include "log/follow.h"

#include <stdlib.h>
#include <string.h>

enum { ROUND = 64, ROWS_A_LOOK = 65536 };

/* A name whose vectors are not the current generation's. */
struct pair {
    size_t now, before; /* slots */
    const char *name;
};

struct checking {
    kith_collection *collection;
    const kith_generation_check_options *options;
    const ki_snapshot *snapshot;
    const ki_generations *generations;
    struct pair pair[KITH_VECTORS_MAX];
    size_t pairs;
    kith_generation_report *report;
    uint64_t done; /* rows counted; later vectors sought */
    double recall, overlap;
    size_t recalls, overlaps;
    kith_error *error;
};

static kith_status tell(const struct checking *c, const char *stage, const char *unit, uint64_t total) {
    const kith_progress progress = {
        .struct_size = sizeof(progress), .stage = stage, .unit = unit, .done = c->done, .total = total};
    if (!c->options->progress || !c->options->progress(c->options->progress_context, &progress)) return KITH_OK;
    return ki_fail(c->error, KITH_E_CANCELLED, "checking a generation was cancelled");
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

/* Where the rows of one place are. */
struct place {
    const ki_sealed *sealed; /* NULL: a head */
    const ki_head *head;
    const ki_bits *alive;
};

static struct place place_at(const ki_snapshot *snapshot, size_t number) {
    if (number < snapshot->sealed_count)
        return (struct place){snapshot->sealed[number].sealed, NULL, snapshot->sealed[number].alive};
    const ki_snapshot_head *at = &snapshot->head[number - snapshot->sealed_count];
    return (struct place){NULL, at->head, at->live};
}

static int has(const struct place *place, size_t slot, uint32_t row) {
    uint32_t position;
    if (place->head) return ki_head_vector(place->head, slot, row) != NULL;
    return ki_sealed_row_position(place->sealed, slot, row, &position);
}

/* Whether no row of a place can lack the vector: a look at each one is not needed. */
static int none_lacks(const struct place *place, const struct pair *pair) {
    if (place->head) return 0;
    const kith_index *now = place->sealed->index[pair->now];
    return !place->sealed->index[pair->before] || (now && now->view.rows == ki_table_rows(place->sealed->table));
}

static void tell_lacking(const struct checking *c, const struct place *place, uint32_t row, const char *name) {
    const kith_generation_check_options *options = c->options;
    if (!options->lacking) return;
    if (place->head) {
        const ki_head_view view = ki_head_row_at(place->head, row);
        options->lacking(options->lacking_context, view.key, view.text, view.text_bytes, name);
        return;
    }
    size_t bytes = 0;
    const char *text = ki_table_text(place->sealed->table, row, &bytes);
    options->lacking(options->lacking_context, ki_table_keys(place->sealed->table)[row], text, bytes, name);
}

static void count_row(struct checking *c, const struct place *place, const struct pair *const *pair, size_t pairs,
                      uint32_t row) {
    int lacks = 0;
    for (size_t p = 0; p < pairs; p++) {
        if (!has(place, pair[p]->before, row) || has(place, pair[p]->now, row)) continue;
        tell_lacking(c, place, row, pair[p]->name);
        lacks = 1;
    }
    c->report->lacking += (uint64_t)lacks;
}

static kith_status count_place(struct checking *c, size_t number) {
    const struct place place = place_at(c->snapshot, number);
    const struct pair *pair[KITH_VECTORS_MAX];
    size_t pairs = 0;
    kith_status status = tell(c, "counting", "rows", c->snapshot->items);
    for (size_t p = 0; p < c->pairs; p++)
        if (!none_lacks(&place, &c->pair[p])) pair[pairs++] = &c->pair[p];
    uint64_t look = ROWS_A_LOOK;
    for (uint64_t w = 0; pairs && w * 64 < place.alive->rows && status == KITH_OK; w++) {
        for (uint64_t word = place.alive->word[w]; word; word &= word - 1) {
            const uint32_t row = (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(word));
            if (row < place.alive->rows) count_row(c, &place, pair, pairs, row);
        }
        if (w * 64 < look) continue;
        look += ROWS_A_LOOK;
        status = tell(c, "counting", "rows", c->snapshot->items);
    }
    c->done += place.alive->set;
    return status;
}

static kith_status count(struct checking *c) {
    kith_status status = KITH_OK;
    for (size_t i = 0; i < c->snapshot->sealed_count + c->snapshot->head_count && status == KITH_OK; i++)
        status = count_place(c, i);
    c->report->items = c->snapshot->items;
    c->report->with_vectors = c->snapshot->items - c->report->lacking;
    return status;
}

/* ---- The sample -------------------------------------------------------------------------------------------------- */

/* Choosing some of all, each as likely [Knuth, algorithm S]. */
struct chooser {
    ki_rng rng;
    uint64_t left, wanted;
    uint64_t *key;
    size_t count;
};

static void offer(struct chooser *chooser, uint64_t key) {
    if (!chooser->left || !chooser->wanted) return;
    if (ki_rng_below(&chooser->rng, chooser->left--) >= chooser->wanted) return;
    chooser->wanted--;
    chooser->key[chooser->count++] = key;
}

/* How many live rows have a vector in the slot, or with a chooser: each of them is offered. */
static uint64_t each_row(const ki_snapshot *snapshot, size_t slot, struct chooser *chooser) {
    uint64_t rows = 0;
    for (size_t i = 0; i < snapshot->sealed_count; i++) {
        const ki_bits *live = snapshot->sealed[i].positions[slot];
        if (!live) continue;
        rows += live->set;
        const uint64_t *labels = snapshot->sealed[i].sealed->index[slot]->view.labels;
        for (uint64_t p = 0; chooser && p < live->rows; p++)
            if (ki_bits_get(live, p)) offer(chooser, labels[p]);
    }
    for (size_t h = 0; h < snapshot->head_count; h++) {
        const ki_snapshot_head *in = &snapshot->head[h];
        for (uint32_t s = 0; s < in->count; s++) {
            if (!ki_bits_get(in->live, s) || !ki_head_vector(in->head, slot, s)) continue;
            rows++;
            if (chooser) offer(chooser, ki_head_key(in->head, s));
        }
    }
    return rows;
}

/* ---- Searching --------------------------------------------------------------------------------------------------- */

/* What one round is made with. */
struct round {
    struct checking *c;
    const struct pair *pair;
    size_t depth; /* hits of a query: k and the item itself */
    ki_search_work *work;
    unsigned char *rows;
    uint64_t key[ROUND];
    size_t count;
    ki_leg_hit *exact, *other; /* ROUND * depth each */
    size_t exact_count[ROUND], other_count[ROUND];
};

/* The vectors of the keys in a slot; keys of those that lack one go. */
static kith_status read_rows(struct round *r, const uint64_t *keys, size_t count, size_t slot, size_t row_bytes) {
    const struct checking *c = r->c;
    r->count = 0;
    for (size_t i = 0; i < count; i++) {
        ki_place place;
        kith_error own = {0};
        if (!ki_snapshot_find(c->snapshot, keys[i], &place)) continue;
        const kith_status status = ki_snapshot_vector(c->snapshot, &place, slot, r->rows + r->count * row_bytes, &own);
        if (status == KITH_E_NOTFOUND) continue;
        if (status != KITH_OK) return ki_fail(c->error, status, "%s", own.text);
        r->key[r->count++] = keys[i];
    }
    return KITH_OK;
}

static size_t row_bytes_of(const ki_vector *vector) {
    return vector->dtype == KITH_B1 ? vector->row_bytes : vector->dim * sizeof(float);
}

/* Search the rows that were read in one slot. */
static kith_status search(struct round *r, size_t slot, double target_recall, ki_leg_hit *hits, size_t *hit_count) {
    const struct checking *c = r->c;
    const ki_vector *vector = &c->generations->vector[slot];
    const ki_ask_terms terms = {.target_recall = target_recall,
                                .pool = r->count < KI_POOL_QUERIES ? NULL : c->collection->pool};
    const ki_leg_search leg = {
        .collection = c->collection, .snapshot = c->snapshot, .spec = slot, .k = r->depth, .terms = &terms};
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = r->rows;
    queries.dtype = vector->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries.count = r->count;
    queries.dim = vector->dim;
    const kith_status status = ki_leg_load(&leg, &queries, 0, r->count, r->work, c->error);
    return status == KITH_OK ? ki_leg_run(&leg, r->count, r->work, hits, hit_count, c->error) : status;
}

static int compare(const void *a, const void *b) {
    const uint64_t x = ((const ki_leg_hit *)a)->key, y = ((const ki_leg_hit *)b)->key;
    return (x > y) - (x < y);
}

/* The first k hits without the item itself, by key. */
static size_t without(ki_leg_hit *hits, size_t count, uint64_t key, size_t k) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (hits[i].key != key) hits[kept++] = hits[i];
    kept = ki_min_size(kept, k);
    qsort(hits, kept, sizeof(*hits), compare);
    return kept;
}

/* Add the shares of the exact hits that are among the other ones. */
static void compare_hits(struct round *r, double *sum, size_t *number) {
    const size_t k = r->depth - 1;
    for (size_t q = 0; q < r->count; q++) {
        ki_leg_hit *exact = r->exact + q * r->depth, *other = r->other + q * r->depth;
        const size_t wanted = without(exact, r->exact_count[q], r->key[q], k);
        const size_t found = without(other, r->other_count[q], r->key[q], k);
        size_t common = 0;
        for (size_t i = 0, j = 0; i < wanted && j < found;) {
            common += exact[i].key == other[j].key;
            const int first = exact[i].key <= other[j].key;
            j += exact[i].key >= other[j].key;
            i += (size_t)first;
        }
        r->exact_count[q] = wanted;
        if (!wanted) continue;
        *sum += (double)common / (double)wanted;
        ++*number;
    }
}

/* Of what was sought, keep the exact hits of those rows that were read last. */
static void keep_exact(struct round *r, const uint64_t *sought, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < r->count; i++) {
        if (sought[i] != r->key[kept]) continue;
        memmove(r->exact + kept * r->depth, r->exact + i * r->depth, r->exact_count[i] * sizeof(*r->exact));
        r->exact_count[kept++] = r->exact_count[i];
    }
}

/* One round: exactly, at the target, and exactly among the current vectors of those that have one. */
static kith_status run_round(struct round *r, const uint64_t *keys, size_t count) {
    struct checking *c = r->c;
    const struct pair *pair = r->pair;
    uint64_t sought[ROUND];
    kith_status status = read_rows(r, keys, count, pair->now, row_bytes_of(&c->generations->vector[pair->now]));
    if (status == KITH_OK) status = search(r, pair->now, 0, r->exact, r->exact_count);
    if (status == KITH_OK) status = search(r, pair->now, c->options->target_recall, r->other, r->other_count);
    if (status != KITH_OK) return status;
    compare_hits(r, &c->recall, &c->recalls);
    c->report->sampled += r->count;
    memcpy(sought, r->key, r->count * sizeof(*sought));
    count = r->count;
    status = read_rows(r, sought, count, pair->before, row_bytes_of(&c->generations->vector[pair->before]));
    keep_exact(r, sought, count);
    if (status == KITH_OK && r->count) status = search(r, pair->before, 0, r->other, r->other_count);
    if (status == KITH_OK && r->count) compare_hits(r, &c->overlap, &c->overlaps);
    return status;
}

static kith_status run_rounds(struct round *r, const struct chooser *chosen) {
    struct checking *c = r->c;
    kith_status status = KITH_OK;
    for (size_t at = 0; at < chosen->count && status == KITH_OK; at += ROUND) {
        const size_t count = ki_min_size(ROUND, chosen->count - at);
        status = tell(c, "searching", "queries", (uint64_t)c->options->sample * c->pairs);
        if (status == KITH_OK) status = run_round(r, chosen->key + at, count);
        c->done += count;
    }
    return status;
}

static kith_status sample_pair(struct checking *c, const struct pair *pair, ki_search_work *work) {
    struct round r = {.c = c, .pair = pair, .depth = c->options->k + 1, .work = work};
    const uint64_t rows = each_row(c->snapshot, pair->now, NULL);
    struct chooser chooser = {{c->options->seed}, rows, ki_min_u64(c->options->sample, rows), NULL, 0};
    const ki_vector *now = &c->generations->vector[pair->now], *before = &c->generations->vector[pair->before];
    const size_t row = row_bytes_of(now) > row_bytes_of(before) ? row_bytes_of(now) : row_bytes_of(before);
    kith_status status = KITH_OK;
    chooser.key = ki_alloc_array(chooser.wanted, sizeof(*chooser.key));
    r.rows = ki_alloc_array(ROUND, row);
    r.exact = ki_alloc_array((uint64_t)ROUND * r.depth, sizeof(*r.exact));
    r.other = ki_alloc_array((uint64_t)ROUND * r.depth, sizeof(*r.other));
    if (!chooser.key || !r.rows || !r.exact || !r.other)
        status = ki_fail(c->error, KITH_E_NOMEM, "out of memory for checking a generation");
    if (status == KITH_OK) {
        (void)each_row(c->snapshot, pair->now, &chooser);
        status = run_rounds(&r, &chooser);
    }
    free(chooser.key);
    free(r.rows);
    free(r.exact);
    free(r.other);
    return status;
}

static kith_status sample(struct checking *c) {
    ki_search_work *work = ki_search_work_create();
    kith_status status = work ? KITH_OK : ki_fail(c->error, KITH_E_NOMEM, "out of memory for checking a generation");
    c->done = 0;
    for (size_t p = 0; p < c->pairs && status == KITH_OK; p++) status = sample_pair(c, &c->pair[p], work);
    ki_search_work_destroy(work);
    return status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static void find_pairs(struct checking *c, const ki_generation *generation) {
    const ki_generation *current = ki_generations_current(c->generations);
    for (size_t n = 0; n < c->generations->made->vector_count; n++)
        if (generation->slot[n] != current->slot[n])
            c->pair[c->pairs++] =
                (struct pair){generation->slot[n], current->slot[n], c->generations->made->vector[n].name};
}

kith_status ki_generation_check_read(const kith_generation_check_options *given, kith_generation_check_options *options,
                                     kith_error *error) {
    const kith_status status = ki_grown_read(KI_GROWN_GENERATION_CHECK_OPTIONS, given, options, error);
    if (status != KITH_OK) return status;
    if (options->k == 0 || options->k >= KITH_K_MAX)
        return ki_fail(error, KITH_E_ARG, "checking a generation: k is %zu, 1 to %u are possible", options->k,
                       KITH_K_MAX - 1);
    if (!(options->target_recall >= 0 && options->target_recall <= 1))
        return ki_fail(error, KITH_E_ARG, "checking a generation: target_recall is %g, 0 to 1 are possible",
                       options->target_recall);
    return KITH_OK;
}

kith_status ki_generation_check(kith_collection *collection, uint32_t number,
                                const kith_generation_check_options *options, kith_generation_report *report,
                                kith_error *error) {
    struct checking c = {.collection = collection, .options = options, .report = report, .error = error};
    const ki_generation *generation = NULL;
    kith_status status = ki_collection_refresh(collection, error);
    if (status == KITH_OK) status = ki_collection_expire(collection, error);
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    c.snapshot = snapshot;
    c.generations = snapshot->generations;
    status = ki_generations_get(c.generations, number, &generation, error);
    if (status == KITH_OK) {
        find_pairs(&c, generation);
        report->number = generation->number;
        report->current = c.generations->current;
        report->version = snapshot->version;
        status = count(&c);
    }
    if (status == KITH_OK && options->sample) status = sample(&c);
    report->recall = c.recalls ? c.recall / (double)c.recalls : 1;
    report->overlap = c.overlaps ? c.overlap / (double)c.overlaps : 1;
    ki_snapshot_release(snapshot);
    return status;
}

kith_status kith_collection_generation_check(kith_collection *collection, uint32_t number,
                                             const kith_generation_check_options *given, kith_generation_report *report,
                                             kith_error *error) {
    kith_generation_check_options options = KITH_GENERATION_CHECK_OPTIONS_INIT;
    kith_generation_report found = KITH_GENERATION_REPORT_INIT;
    if (!collection || !report)
        return ki_fail(error, KITH_E_ARG, "kith_collection_generation_check: an argument is NULL");
    kith_status status = ki_grown_check(KI_GROWN_GENERATION_REPORT, report, error);
    if (status == KITH_OK) status = ki_generation_check_read(given, &options, error);
    if (status == KITH_OK) status = ki_generation_check(collection, number, &options, &found, error);
    if (status == KITH_OK) ki_grown_write(KI_GROWN_GENERATION_REPORT, &found, report);
    return status;
}
