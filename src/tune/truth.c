/* SPDX-License-Identifier: Apache-2.0
 *
 * True neighbours. A reader's rows are searched for exactly, and that is that. A stored row is searched for with some
 * neighbours to spare; those that are its near-duplicates are held out with it, and what is left of its neighbours is
 * what a new query in its place would have. Where too few are left it is searched for once more. */
#include "tune/inner.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "kernel/distance.h"
#include "search/search.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    CHUNK = 64,
    LEFT_LEAST = 20, /* stored queries that tell something about recall (T6) */
    FOLDS_OF_ROWS =
        20, /* a fold holds out a twentieth of the rows at most: neighbours of its queries would be missing */
    FOUND_MAX = 101 + KI_TUNE_SPARE
};

/* ---- Exact answers ----------------------------------------------------------------------------------------------- */

/* Search until two fifths of the budget are spent. */
static kith_status search_all(ki_tuning *t, kith_error *error) {
    const size_t all = t->count;
    const double budget_ns = (double)t->budget_ns * 0.4 * t->threads;
    const uint64_t start = ki_process_ns();
    size_t done = 0;
    while (done < all && (done < KI_TUNE_QUERIES_LEAST || (double)(ki_process_ns() - start) < budget_ns)) {
        const size_t step = ki_min_size(CHUNK, all - done);
        kith_status status = ki_tune_search(t, t->wide, done, step, t->room, NULL, error);
        if (status == KITH_OK) status = ki_tune_tell(t, "exact answers", "queries", done + step, all, error);
        if (status != KITH_OK) return status;
        done += step;
    }
    t->count = done;
    t->exact_ns = (double)(ki_process_ns() - start) / (double)done;
    return KITH_OK;
}

/* ---- Near-duplicates --------------------------------------------------------------------------------------------- */

struct near_row {
    float distance2;
    uint32_t position;
};

static int compare_near(const void *a, const void *b) {
    const struct near_row *x = a, *y = b;
    const int by = (x->distance2 > y->distance2) - (x->distance2 < y->distance2);
    return by ? by : (x->position > y->position) - (x->position < y->position);
}

/* Squared distance, or what is in proportion to it, of a query and a row that it found: with bits their distance is.
 * Products order rows otherwise, so there it is computed. */
static float distance2_of(const ki_tuning *t, size_t query, uint32_t position, float distance) {
    static const float cosine_rounding = 4e-7f;
    const ki_view *view = &t->index->view;
    if (view->metric == KITH_L2SQ || view->dtype == KITH_B1) return distance;
    if (view->metric == KITH_COSINE) return distance < cosine_rounding ? 0 : distance;
    return ki_distance()->l2sq[view->dtype](ki_tune_floats(t, query), view->originals + position * view->row_bytes,
                                            view->dim);
}

/* The rows that a query found, by distance from it, itself left out. */
static size_t look_around(const ki_tuning *t, size_t query, struct near_row *near) {
    const uint64_t *ids = t->ids + query * t->room;
    const float *distances = t->distances + query * t->room;
    size_t count = 0;
    for (size_t i = 0; i < t->room; i++) {
        uint32_t position;
        if (ids[i] == KITH_ID_NONE || !ki_index_find(t->index, ids[i], &position) || position == t->self[query])
            continue;
        near[count++] = (struct near_row){distance2_of(t, query, position, distances[i]), position};
    }
    qsort(near, count, sizeof(*near), compare_near);
    return count;
}

static kith_status hold(ki_tuning *t, uint32_t position, kith_error *error) {
    void *held = t->held;
    const int room = ki_array_reserve(&held, &t->held_capacity, t->held_count + 1, sizeof(*t->held));
    t->held = held;
    if (!room) return ki_fail(error, KITH_E_NOMEM, "out of memory for tuning");
    t->held[t->held_count++] = position;
    return KITH_OK;
}

/* What is counted of stored queries on the way. */
struct tally {
    size_t seen, sure, kept;
    double inverse_dimension; /* a sum */
};

/* A stored query and its near-duplicates: held out, and the query kept; or dropped, where no end of them is known. */
static kith_status judge(ki_tuning *t, size_t query, struct tally *tally, kith_error *error) {
    struct near_row near[FOUND_MAX];
    float near2[FOUND_MAX];
    const size_t count = look_around(t, query, near);
    for (size_t i = 0; i < count; i++) near2[i] = near[i].distance2;
    const size_t copies = ki_tune_near(near2, count);
    tally->seen++;
    tally->sure += (size_t)ki_tune_surely_near(near2, count);
    tally->inverse_dimension += ki_tune_inverse_dimension(near2, count);
    if (copies == count) return KITH_OK;
    kith_status status = hold(t, t->self[query], error);
    for (size_t i = 0; i < copies && status == KITH_OK; i++) status = hold(t, near[i].position, error);
    ki_tune_move(t, tally->kept, query);
    ki_tune_fold *fold = t->folds + tally->kept++; /* for now a fold each */
    *fold = (ki_tune_fold){tally->kept, t->held_count};
    return status;
}

/* Neighbouring folds become one while they hold out few rows. */
static void join_folds(ki_tuning *t, size_t queries) {
    const size_t most = (size_t)(t->index->view.rows / FOLDS_OF_ROWS);
    size_t first = 0; /* of held, in the fold that grows */
    t->fold_count = 0;
    for (size_t i = 0; i < queries; i++) {
        const ki_tune_fold next = t->folds[i];
        if (t->fold_count && next.held_end - first <= most) {
            t->folds[t->fold_count - 1] = next;
            continue;
        }
        first = t->fold_count ? t->folds[t->fold_count - 1].held_end : 0;
        t->folds[t->fold_count++] = next;
    }
}

/* Decide what is held out. 0 folds: too little is left to measure recall with. */
static kith_status judge_all(ki_tuning *t, kith_error *error) {
    struct tally tally = {0};
    kith_status status = KITH_OK;
    const size_t all = t->count;
    for (size_t i = 0; i < all && status == KITH_OK; i++) status = judge(t, i, &tally, error);
    if (status != KITH_OK) return status;
    const double n = (double)tally.seen;
    const double sure = (double)tally.sure / n - ki_tune_near_by_chance(tally.inverse_dimension / n);
    t->out.near_duplicates = t->copied + (1 - t->copied) * (sure > 0 ? sure : 0);
    if (tally.kept < ki_min_size(LEFT_LEAST, all)) return KITH_OK;
    t->count = tally.kept;
    join_folds(t, tally.kept);
    return KITH_OK;
}

/* ---- What queries look like -------------------------------------------------------------------------------------- */

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* One query of two hundred is less near to the lists than unusual_below. With one list none is. */
static kith_status describe(ki_tuning *t, kith_error *error) {
    enum { ONE_OF = 200 };
    t->out.unusual_below = -FLT_MAX;
    if (t->index->view.lists.count == 1) return KITH_OK;
    float *statistic = ki_alloc_array(t->count, sizeof(*statistic));
    if (!statistic) return ki_fail(error, KITH_E_NOMEM, "out of memory for tuning");
    const kith_status status = ki_search_statistics(t->index, ki_tune_floats(t, 0), t->count, statistic, error);
    if (status == KITH_OK) {
        qsort(statistic, t->count, sizeof(*statistic), compare_floats);
        t->out.unusual_below = statistic[t->count / ONE_OF];
        t->out.median = statistic[t->count / 2];
    }
    free(statistic);
    return status;
}

/* ---- True neighbours --------------------------------------------------------------------------------------------- */

static int is_held(const ki_tuning *t, uint32_t position) {
    return !(t->unheld.allowed[position / 64] >> (position % 64) & 1);
}

/* Close up what was found, without rows that are held out; how many are left. */
static size_t close_up(const ki_tuning *t, size_t query) {
    uint64_t *ids = t->ids + query * t->room;
    float *distances = t->distances + query * t->room;
    size_t kept = 0;
    for (size_t i = 0; i < t->room; i++) {
        uint32_t position;
        if (ids[i] == KITH_ID_NONE || !ki_index_find(t->index, ids[i], &position) || is_held(t, position)) continue;
        ids[kept] = ids[i];
        distances[kept++] = distances[i];
    }
    return kept;
}

/* The fold is held out. */
static kith_status take_neighbours(ki_tuning *t, size_t first, size_t end, kith_error *error) {
    const size_t most = t->k[t->ks - 1];
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    options.filter = &t->unheld;
    for (size_t i = first; i < end; i++) {
        if (close_up(t, i) >= most) continue;
        const kith_status status = ki_tune_search(t, t->wide, i, 1, t->room, &options, error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

static kith_status hold_out(ki_tuning *t, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t f = 0, first = 0; f < t->fold_count && status == KITH_OK; first = t->folds[f++].end) {
        ki_tune_hold(t, f);
        status = take_neighbours(t, first, t->folds[f].end, error);
        ki_tune_let(t, f);
    }
    return status;
}

static void plan_batches(ki_tuning *t) {
    static const size_t batches[KI_TUNE_BATCHES - 1] = {1, 16, 256};
    for (int i = 0; i < KI_TUNE_BATCHES - 1; i++)
        if (i == 0 || batches[i] < t->count) t->batch[t->batches++] = batches[i];
    if (t->count > t->batch[t->batches - 1]) t->batch[t->batches++] = t->count;
}

kith_status ki_tune_truth(ki_tuning *t, kith_error *error) {
    const size_t most = t->k[t->ks - 1];
    kith_status status = search_all(t, error);
    if (status == KITH_OK) status = describe(t, error);
    if (status == KITH_OK && t->self) status = judge_all(t, error);
    if (status != KITH_OK) return status;
    plan_batches(t);
    t->blind = t->self && t->fold_count == 0;
    if (t->blind) return KITH_OK;
    if (t->self) status = hold_out(t, error);
    for (size_t i = 0; i < t->count; i++) memcpy(t->truth + i * most, t->distances + i * t->room, most * sizeof(float));
    return status == KITH_OK ? ki_tune_rank(t, 0, t->count, error) : status;
}
