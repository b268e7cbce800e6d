/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries to measure with: rows of a reader, or stored ones. Of stored rows that are equal one is taken: what half of
 * an index is a copy of is one thing that may be asked for, not half of all. */
#include "tune/inner.h"

#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"
#include "kernel/distance.h"
#include "quant/row_check.h"

#include <string.h>
#include <xxhash.h>

/* Row `number` of `count` that lie evenly among `rows`, each somewhere in its stretch. */
static uint64_t pick(ki_rng *rng, uint64_t number, uint64_t count, uint64_t rows) {
    const uint64_t first = (uint64_t)((unsigned __int128)rows * number / count);
    const uint64_t end = (uint64_t)((unsigned __int128)rows * (number + 1) / count);
    return first + ki_rng_below(rng, end - first);
}

/* Random order, so that any first part is a sample too. */
static void shuffle(ki_tuning *t, ki_rng *rng) {
    for (size_t i = t->count; i > 1; i--) {
        const size_t j = (size_t)ki_rng_below(rng, i);
        unsigned char *a = t->queries + (i - 1) * t->query_bytes, *b = t->queries + j * t->query_bytes;
        for (size_t d = 0; d < t->query_bytes && a != b; d++) {
            const unsigned char kept = a[d];
            a[d] = b[d];
            b[d] = kept;
        }
        if (!t->self) continue;
        const uint32_t kept = t->self[i - 1];
        t->self[i - 1] = t->self[j];
        t->self[j] = kept;
    }
}

/* Put a row in the place of a query: as floats, but for bits. */
static void *put(const ki_tuning *t, size_t query, kith_dtype dtype, const void *row) {
    void *to = t->queries + query * t->query_bytes;
    if (dtype == KITH_B1)
        memcpy(to, row, t->query_bytes);
    else
        ki_distance()->to_f32[dtype](row, t->index->view.dim, to);
    return to;
}

/* ---- Stored rows ------------------------------------------------------------------------------------------------- */

/* Hashes of the rows taken: an open table of 2^bits words, at most half full; 0 is free. */
struct taken {
    uint64_t *hash;
    size_t mask;
};

/* Note a row; 0: an equal one was taken before (or one of equal hash, which is as good). */
static int take_new(struct taken *taken, const void *row, size_t bytes) {
    const uint64_t hash = XXH3_64bits(row, bytes) | 1;
    size_t at = (size_t)(hash >> 8) & taken->mask;
    for (; taken->hash[at]; at = (at + 1) & taken->mask)
        if (taken->hash[at] == hash) return 0;
    taken->hash[at] = hash;
    return 1;
}

/* Distinct rows from all over the index; where many are copies, further ones from anywhere, until a few thousand draws
 * have been made. t->count becomes the number of those found. */
static void draw_stored(ki_tuning *t, struct taken *taken) {
    enum { TRIES = 8 };
    const ki_view *view = &t->index->view;
    ki_rng rng = {t->seed};
    const size_t wanted = t->count;
    size_t found = 0;
    for (size_t i = 0; i < TRIES * wanted && found < wanted; i++) {
        const uint64_t position = i < wanted ? pick(&rng, i, wanted, view->rows) : ki_rng_below(&rng, view->rows);
        const void *row = view->originals + position * view->row_bytes;
        if (take_new(taken, row, view->row_bytes)) {
            put(t, found, view->dtype, row);
            t->self[found++] = (uint32_t)position;
        }
        if (i + 1 == wanted) t->copied = 1 - (double)found / (double)wanted;
    }
    t->count = found;
    shuffle(t, &rng);
}

static kith_status take_stored(ki_tuning *t, kith_error *error) {
    struct taken taken = {.mask = 1};
    while (taken.mask < 2 * t->count) taken.mask = 2 * taken.mask + 1;
    taken.hash = ki_alloc_array_zeroed(taken.mask + 1, sizeof(*taken.hash));
    if (!taken.hash) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu queries", t->count);
    draw_stored(t, &taken);
    free(taken.hash);
    return KITH_OK;
}

/* ---- Rows of a reader -------------------------------------------------------------------------------------------- */

static kith_status take_row(ki_tuning *t, const char *path, kith_dtype dtype, const void *row, uint64_t number,
                            size_t query, kith_error *error) {
    const ki_view *view = &t->index->view;
    double norm2;
    const void *to = put(t, query, dtype, row);
    if (dtype == KITH_B1 || ki_row_check(view->metric, KITH_F32, to, view->dim, &norm2) == KI_ROW_FINE) return KITH_OK;
    return ki_fail(error, KITH_E_DATA, "%s: row %llu is no query: it holds a NaN or an infinity, or its length is %s",
                   path, (unsigned long long)number, view->metric == KITH_COSINE ? "0 or beyond 2^62" : "beyond 2^62");
}

static kith_status take_held_out(ki_tuning *t, kith_reader *reader, const kith_reader_info *info, kith_error *error) {
    const char *path = kith_reader_path(reader);
    const size_t row_bytes = kith_row_bytes(info->dtype, info->dim);
    ki_rng rng = {t->seed};
    size_t taken = 0;
    uint64_t wanted = pick(&rng, 0, t->count, info->rows);
    kith_status status = kith_reader_seek(reader, 0, error);
    while (status == KITH_OK && taken < t->count) {
        kith_rows rows;
        status = kith_reader_next(reader, 4096, &rows, error);
        if (status != KITH_OK) break;
        if (rows.count == 0)
            return ki_fail(error, KITH_E_FORMAT, "%s: ends before row %llu", path, (unsigned long long)wanted);
        while (status == KITH_OK && taken < t->count && wanted < rows.first + rows.count) {
            const char *row = (const char *)rows.data + (size_t)(wanted - rows.first) * row_bytes;
            status = take_row(t, path, info->dtype, row, wanted, taken, error);
            if (++taken < t->count) wanted = pick(&rng, taken, t->count, info->rows);
        }
    }
    if (status == KITH_OK) shuffle(t, &rng);
    return status;
}

static kith_status check_reader(const ki_tuning *t, const kith_reader *reader, const kith_reader_info *info,
                                kith_error *error) {
    const ki_view *view = &t->index->view;
    const char *path = kith_reader_path(reader);
    if (info->dim != view->dim)
        return ki_fail(error, KITH_E_ARG, "%s: queries have %zu dimensions, the index has %zu", path, info->dim,
                       view->dim);
    if ((info->dtype == KITH_B1) != (view->dtype == KITH_B1))
        return ki_fail(error, KITH_E_ARG, "%s: holds %s, the index %s", path,
                       info->dtype == KITH_B1 ? "bits" : "numbers", view->dtype == KITH_B1 ? "bits" : "numbers");
    if (info->rows < KI_TUNE_QUERIES_LEAST)
        return ki_fail(error, KITH_E_DATA, "%s: has %llu queries, at least %d are needed to measure recall", path,
                       (unsigned long long)info->rows, KI_TUNE_QUERIES_LEAST);
    return KITH_OK;
}

/* ---- Both -------------------------------------------------------------------------------------------------------- */

/* How many queries, and which k. */
static void plan_queries(ki_tuning *t, uint64_t available, size_t wanted, int stored) {
    enum { QUERY_BYTES = 256 << 20 };
    static const size_t ks[KI_TUNE_KS] = {1, 10, 100};
    const ki_view *view = &t->index->view;
    t->count = (size_t)ki_min_u64(wanted ? wanted : KI_TUNE_QUERIES, available);
    t->query_bytes = view->dtype == KITH_B1 ? view->row_bytes : view->dim * sizeof(float);
    t->count = ki_min_size(t->count, QUERY_BYTES / t->query_bytes);
    for (int i = 0; i < KI_TUNE_KS; i++)
        if (i == 0 || ks[i] <= view->rows / 10) t->k[t->ks++] = ks[i];
    const size_t most = t->k[t->ks - 1];
    t->room = stored ? (size_t)ki_min_u64(1 + most + KI_TUNE_SPARE, view->rows) : most;
}

/* Stored rows are held out by a filter. */
static int allocate_holding(ki_tuning *t) {
    const ki_view *view = &t->index->view;
    const uint64_t words = view->rows / 64 + 2;
    t->self = ki_alloc_array(t->count, sizeof(*t->self));
    t->folds = ki_alloc_array(t->count, sizeof(*t->folds));
    t->unheld = (kith_filter){.index = t->index, .count = view->rows, .words = words};
    t->unheld.allowed = ki_alloc_array_zeroed(words, sizeof(uint64_t));
    if (!t->self || !t->folds || !t->unheld.allowed) return 0;
    for (uint64_t i = 0; i < view->rows; i++) t->unheld.allowed[i / 64] |= UINT64_C(1) << (i % 64);
    return 1;
}

static kith_status allocate(ki_tuning *t, int stored, kith_error *error) {
    const ki_view *view = &t->index->view;
    const size_t most = t->k[t->ks - 1];
    t->queries = ki_alloc_array(t->count, t->query_bytes);
    t->truth = ki_alloc_array(t->count, most * sizeof(float));
    t->rank = ki_alloc_array(t->count, most * sizeof(uint32_t));
    t->ids = ki_alloc_array(t->count, t->room * sizeof(uint64_t));
    t->distances = ki_alloc_array(t->count, t->room * sizeof(float));
    int ready = t->queries && t->truth && t->rank && t->ids && t->distances && (!stored || allocate_holding(t));
    if (ready && view->second_lists.level.blocks) {
        t->nearer_rank = ki_alloc_array(t->count, most * sizeof(uint32_t));
        t->second_list_of = ki_alloc_array(view->rows, sizeof(uint32_t));
        ready = t->nearer_rank && t->second_list_of;
    }
    return ready ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for %zu queries", t->count);
}

kith_status ki_tune_take(ki_tuning *t, kith_reader *reader, size_t wanted, kith_error *error) {
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_status status = KITH_OK;
    uint64_t available = t->index->view.rows;
    if (reader) {
        kith_reader_get_info(reader, &info);
        status = check_reader(t, reader, &info, error);
        available = info.rows;
    }
    if (status != KITH_OK) return status;
    plan_queries(t, available, wanted, reader == NULL);
    status = allocate(t, reader == NULL, error);
    if (status != KITH_OK) return status;
    t->out.held_out = reader != NULL;
    return reader ? take_held_out(t, reader, &info, error) : take_stored(t, error);
}

void ki_tune_move(ki_tuning *t, size_t to, size_t from) {
    if (to == from) return;
    memcpy(t->queries + to * t->query_bytes, t->queries + from * t->query_bytes, t->query_bytes);
    memcpy(t->ids + to * t->room, t->ids + from * t->room, t->room * sizeof(uint64_t));
    memcpy(t->distances + to * t->room, t->distances + from * t->room, t->room * sizeof(float));
    t->self[to] = t->self[from];
}
