/* SPDX-License-Identifier: Apache-2.0
 *
 * Training: Lloyd's rounds. See kmeans.h. */
#include "kmeans/inner.h"

#include "base/checked.h"
#include "base/counting_sort.h"
#include "base/rng.h"
#include "kernel/cluster.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    LISTS_FROM = 16384,    /* rows, below which one list is best */
    ROWS_A_LIST = 32,      /* the least that lists hold on average */
    SAMPLE_A_LIST = 64,    /* sample rows a list */
    SAMPLE_MANY = 1 << 18, /* above so many rows of sample, half of that a list does */
    ROUNDS = 10,
    EARLY_ROUNDS = 4, /* of these: on a part of the sample */
    EARLY_PART = 4,
    EARLY_A_LIST = 8,         /* rows a list that such a part has at least */
    MOVED_PART = 200,         /* fewer moves than one row in so many end the training */
    PIECE_LISTS = 16,         /* lists of one piece of work */
    NEAR_LISTS = 4 * KI_NEAR, /* from so many lists on, rounds look near the last one's lists */
    CODE_ROWS = 1024          /* rows of one */
};

size_t ki_kmeans_lists(uint64_t rows) {
    if (rows < LISTS_FROM) return 1;
    const double wanted = 4 * sqrt((double)rows);
    const uint64_t lists = wanted < KITH_LISTS_MAX ? (uint64_t)llround(wanted) : KITH_LISTS_MAX;
    return (size_t)ki_min_u64(lists, rows / ROWS_A_LIST);
}

size_t ki_kmeans_sample(size_t lists) {
    const size_t full = lists * SAMPLE_A_LIST;
    if (full <= SAMPLE_MANY) return full;
    return full / 2 < SAMPLE_MANY ? SAMPLE_MANY : full / 2;
}

void ki_kmeans_free(ki_kmeans *kmeans) {
    if (!kmeans) return;
    free(kmeans->memory);
    *kmeans = (ki_kmeans){0};
}

struct trainer {
    const float *sample, *centre;
    size_t count, dim, lists;
    uint64_t seed;
    kith_pool *pool;
    kith_progress_fn progress;
    void *progress_context;
    atomic_int cancelled;
    size_t round;
    size_t searched;             /* of these rows 0..searched look near their lists, the others everywhere */
    size_t active;               /* rows of this round: coded rows 0..active */
    int last;                    /* this round may be the last */
    uint32_t *place;             /* count: where coded row i lies in the sample, in random order */
    ki_coded coded;              /* count */
    size_t known;                /* rows that have a list */
    uint32_t *list;              /* count */
    uint32_t *choice;            /* count: the next list */
    uint32_t *order, *first;     /* members of lists */
    ki_coded means;              /* lists: means of the members, from before splits */
    ki_coded centroid_codes;     /* lists */
    uint32_t *near;              /* workers x PIECE_LISTS x KI_NEAR */
    uint32_t *rows, *rank;       /* lists */
    float *centroids;            /* lists x dim */
    float *residual;             /* workers x dim */
    ki_assign_scratch **scratch; /* workers */
    ki_near_scratch **near_scratch;
    ki_kmeans model;
};

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void free_scratch(struct trainer *t) {
    for (unsigned w = 0; t->scratch && w < ki_pool_threads(t->pool); w++) {
        ki_assign_scratch_destroy(t->scratch[w]);
        t->scratch[w] = NULL;
    }
}

static int make_scratch(struct trainer *t) {
    for (unsigned w = 0; w < ki_pool_threads(t->pool); w++) {
        t->scratch[w] = ki_assign_scratch_make(&t->model, KI_NEAR, 0);
        if (!t->scratch[w]) return 0;
    }
    return 1;
}

static void trainer_free(struct trainer *t) {
    free_scratch(t);
    free(t->scratch);
    for (unsigned w = 0; t->near_scratch && w < ki_pool_threads(t->pool); w++)
        ki_near_scratch_destroy(t->near_scratch[w]);
    free(t->near_scratch);
    ki_kmeans_free(&t->model);
    ki_coded_free(&t->coded);
    ki_coded_free(&t->means);
    ki_coded_free(&t->centroid_codes);
    free(t->near);
    free(t->place);
    free(t->list);
    free(t->choice);
    free(t->order);
    free(t->first);
    free(t->rows);
    free(t->rank);
    free(t->centroids);
    free(t->residual);
}

static int trainer_memory(struct trainer *t) {
    const unsigned workers = ki_pool_threads(t->pool);
    t->place = ki_alloc_array(t->count, sizeof(*t->place));
    t->list = ki_alloc_array_zeroed(t->count, sizeof(*t->list));
    t->choice = ki_alloc_array(t->count, sizeof(*t->choice));
    t->order = ki_alloc_array(t->count, sizeof(*t->order));
    t->first = ki_alloc_array(t->lists + 2, sizeof(*t->first));
    t->rows = ki_alloc_array(t->lists, sizeof(*t->rows));
    t->rank = ki_alloc_array(t->lists, sizeof(*t->rank));
    t->centroids = ki_alloc_array(t->lists, (uint64_t)t->dim * sizeof(float));
    t->residual = ki_alloc_array(workers, (uint64_t)t->dim * sizeof(float));
    t->scratch = ki_alloc_array_zeroed(workers, sizeof(ki_assign_scratch *));
    t->near = ki_alloc_array(workers, PIECE_LISTS * KI_NEAR * sizeof(*t->near));
    t->near_scratch = ki_alloc_array_zeroed(workers, sizeof(*t->near_scratch));
    for (unsigned w = 0; t->near_scratch && w < workers; w++)
        if (!(t->near_scratch[w] = ki_near_scratch_create(t->dim))) return 0;
    return t->place && t->list && t->choice && t->order && t->first && t->rows && t->rank && t->centroids &&
           t->residual && t->scratch && t->near && t->near_scratch && ki_coded_create(t->count, t->dim, &t->coded) &&
           ki_coded_create(t->lists, t->dim, &t->means) && ki_coded_create(t->lists, t->dim, &t->centroid_codes);
}

/* ---- Pieces of work ---------------------------------------------------------------------------------------------- */

static size_t pieces_of(size_t count, size_t step) {
    return (count + step - 1) / step;
}

static void code_piece(void *context, size_t piece, unsigned worker) {
    struct trainer *t = context;
    const size_t first = piece * CODE_ROWS, end = ki_min_size(t->count, first + CODE_ROWS);
    for (size_t i = first; i < end; i++)
        ki_coded_set(&t->coded, i, t->sample + t->place[i] * t->dim, t->centre, t->dim, t->residual + worker * t->dim);
}

/* The caller is worker 0: progress is called from its thread only. */
static void tell(struct trainer *t, size_t done) {
    const kith_progress progress = {.struct_size = sizeof(progress),
                                    .stage = "clustering",
                                    .unit = "vectors",
                                    .done = (uint64_t)t->round * t->count + done,
                                    .total = (uint64_t)ROUNDS * t->count};
    if (t->progress && t->progress(t->progress_context, &progress)) atomic_store(&t->cancelled, 1);
}

static void assign_piece(void *context, size_t piece, unsigned worker) {
    struct trainer *t = context;
    const size_t step = ki_assign_rows(t->scratch[worker]), first = piece * step;
    const size_t from = t->searched + first, count = ki_min_size(t->active - from, step);
    if (atomic_load_explicit(&t->cancelled, memory_order_relaxed)) return;
    if (worker == 0) tell(t, from);
    ki_assign_coded(t->scratch[worker], &t->coded, from, count, 1, t->lists >= NEAR_LISTS, t->choice + from);
}

/* The rows that have a list already, sorted by the lists as they were numbered in the last round. */
static void near_piece(void *context, size_t piece, unsigned worker) {
    struct trainer *t = context;
    const size_t first = piece * PIECE_LISTS, count = ki_min_size(t->lists - first, PIECE_LISTS);
    const ki_near near = {&t->coded, &t->centroid_codes, &t->model.coarse};
    uint32_t *lists = t->near + worker * PIECE_LISTS * KI_NEAR;
    if (atomic_load_explicit(&t->cancelled, memory_order_relaxed)) return;
    if (worker == 0) tell(t, t->first[first]);
    ki_assign_coded(t->scratch[worker], &t->means, first, count, KI_NEAR, 0, lists);
    for (size_t l = 0; l < count; l++) {
        const uint32_t from = t->first[first + l], end = t->first[first + l + 1];
        ki_near_assign(&near, t->near_scratch[worker], lists + l * KI_NEAR, t->order + from, end - from, t->choice);
    }
}

static void code_centroids_piece(void *context, size_t piece, unsigned worker) {
    struct trainer *t = context;
    const size_t first = piece * PIECE_LISTS, end = ki_min_size(t->lists, first + PIECE_LISTS);
    for (size_t l = first; l < end; l++)
        ki_coded_set(&t->centroid_codes, l, t->model.centroids + l * t->dim, t->centre, t->dim,
                     t->residual + worker * t->dim);
}

static ki_members members_of(const struct trainer *t) {
    return (ki_members){
        .sample = t->sample, .dim = t->dim, .lists = t->lists, .place = t->place, .order = t->order, .first = t->first};
}

static void mean_of(const ki_members *members, size_t list, float *centroid) {
    const size_t first = members->first[list], end = members->first[list + 1];
    if (first == end) return;
    memset(centroid, 0, members->dim * sizeof(*centroid));
    for (size_t at = first; at < end; at++) {
        const float *row = ki_member(members, at);
        for (size_t j = 0; j < members->dim; j++) centroid[j] += row[j];
    }
    for (size_t j = 0; j < members->dim; j++) centroid[j] /= (float)(end - first);
}

/* The same from codes, whose errors cancel out: a quarter of the memory to read. */
static void mean_of_codes(const struct trainer *t, size_t list, float *centroid) {
    const size_t first = t->first[list], end = t->first[list + 1];
    if (first == end) return;
    memset(centroid, 0, t->dim * sizeof(*centroid));
    for (size_t at = first; at < end; at++) {
        const size_t row = t->order[at];
        ki_cluster()->add(t->coded.codes + row * t->coded.bytes, t->coded.scale[row], t->dim, centroid);
    }
    for (size_t j = 0; j < t->dim; j++) centroid[j] = t->centre[j] + centroid[j] / (float)(end - first);
}

/* One worker sums a list from end to end, in the order of its rows: threads do not show in the result. */
static void update_piece(void *context, size_t piece, unsigned worker) {
    struct trainer *t = context;
    const ki_members members = members_of(t);
    const size_t first = piece * PIECE_LISTS, end = ki_min_size(t->lists, first + PIECE_LISTS);
    for (size_t list = first; list < end; list++) {
        float *centroid = t->centroids + list * t->dim;
        if (t->last)
            mean_of(&members, list, centroid);
        else
            mean_of_codes(t, list, centroid);
        ki_coded_set(&t->means, list, centroid, t->centre, t->dim, t->residual + worker * t->dim);
    }
}

/* ---- Rounds ------------------------------------------------------------------------------------------------------ */

/* The sample in random order; the first rows are the first centroids. */
static void seed_centroids(struct trainer *t) {
    ki_rng rng = {t->seed};
    for (size_t i = 0; i < t->count; i++) t->place[i] = (uint32_t)i;
    for (size_t i = 0; i + 1 < t->count; i++) {
        const size_t other = i + ki_rng_below(&rng, t->count - i);
        const uint32_t row = t->place[i];
        t->place[i] = t->place[other];
        t->place[other] = row;
    }
    for (size_t l = 0; l < t->lists; l++)
        memcpy(t->centroids + l * t->dim, t->sample + t->place[l] * t->dim, t->dim * sizeof(float));
}

/* The centroids in the order of their supers, coded, and one scratch a worker. */
static kith_status make_model(struct trainer *t) {
    ki_kmeans_free(&t->model);
    const kith_status status =
        ki_kmeans_make(t->centroids, t->lists, t->dim, t->centre, t->seed + t->round + 1, t->pool, t->rank, &t->model);
    if (status) return status;
    memcpy(t->centroids, t->model.centroids, t->lists * t->dim * sizeof(float));
    for (size_t i = 0; i < t->count; i++) t->list[i] = t->rank[t->list[i]];
    return make_scratch(t) ? KITH_OK : KITH_E_NOMEM;
}

/* Sort the rows 0..count by their lists. */
static void group_rows(struct trainer *t, size_t count) {
    ki_sort_begin(t->first, t->lists);
    for (size_t i = 0; i < count; i++) ki_sort_count(t->first, t->list[i]);
    ki_sort_starts(t->first, t->lists);
    for (size_t i = 0; i < count; i++) t->order[ki_sort_place(t->first, t->list[i])] = (uint32_t)i;
    for (size_t l = 0; l < t->lists; l++) t->rows[l] = t->first[l + 1] - t->first[l];
}

/* Take the choices over; returns how many rows moved. */
static size_t take_choices(struct trainer *t) {
    size_t moved = 0;
    for (size_t i = 0; i < t->active; i++) {
        moved += t->list[i] != t->choice[i];
        t->list[i] = t->choice[i];
    }
    t->known = t->active;
    group_rows(t, t->active);
    return moved;
}

static kith_status assign(struct trainer *t) {
    t->searched = t->lists < NEAR_LISTS ? 0 : t->known;
    if (t->searched) {
        ki_pool_run(t->pool, pieces_of(t->lists, PIECE_LISTS), code_centroids_piece, t);
        ki_pool_run(t->pool, pieces_of(t->lists, PIECE_LISTS), near_piece, t);
    }
    ki_pool_run(t->pool, pieces_of(t->active - t->searched, ki_assign_rows(t->scratch[0])), assign_piece, t);
    return atomic_load(&t->cancelled) ? KITH_E_CANCELLED : KITH_OK;
}

/* One round; *done becomes true when no more are worth their time. */
static kith_status run_round(struct trainer *t, int *done) {
    const size_t part = t->count / EARLY_PART;
    const int early = t->round < EARLY_ROUNDS && part >= EARLY_A_LIST * t->lists;
    kith_status status = make_model(t);
    t->active = early ? part : t->count;
    if (!status) status = assign(t);
    free_scratch(t);
    if (status) return status;
    const size_t moved = take_choices(t);
    t->last = t->round + 1 == ROUNDS || (!early && moved < t->count / MOVED_PART + 1);
    ki_pool_run(t->pool, pieces_of(t->lists, PIECE_LISTS), update_piece, t);
    const ki_members members = members_of(t);
    size_t splits;
    status = ki_kmeans_balance(&members, t->last, t->centroids, t->rows, &splits);
    *done = t->last && (splits == 0 || t->round + 1 == ROUNDS);
    return status;
}

/* Lists without rows go: there were not enough different rows. */
static void drop_empty(struct trainer *t) {
    size_t kept = 0;
    for (size_t l = 0; l < t->lists; l++) {
        if (t->rows[l] == 0) continue;
        memmove(t->centroids + kept++ * t->dim, t->centroids + l * t->dim, t->dim * sizeof(float));
    }
    t->lists = kept;
}

static kith_status train(struct trainer *t, ki_kmeans *out) {
    if (!trainer_memory(t)) return KITH_E_NOMEM;
    seed_centroids(t);
    ki_pool_run(t->pool, pieces_of(t->count, CODE_ROWS), code_piece, t);
    for (int done = 0; !done; t->round++) {
        const kith_status status = run_round(t, &done);
        if (status) return status;
    }
    drop_empty(t);
    return ki_kmeans_make(t->centroids, t->lists, t->dim, t->centre, t->seed + t->round + 1, t->pool, NULL, out);
}

kith_status ki_kmeans_train(const float *sample, size_t count, size_t dim, const float *centre, size_t lists,
                            uint64_t seed, kith_pool *pool, kith_progress_fn progress, void *progress_context,
                            ki_kmeans *out) {
    if (count == 0) return ki_kmeans_make(centre, 1, dim, centre, seed, pool, NULL, out);
    struct trainer t = {.sample = sample,
                        .centre = centre,
                        .count = count,
                        .dim = dim,
                        .lists = ki_min_size(lists ? lists : 1, count),
                        .seed = seed,
                        .pool = pool,
                        .progress = progress,
                        .progress_context = progress_context};
    const kith_status status = train(&t, out);
    trainer_free(&t);
    return status;
}
