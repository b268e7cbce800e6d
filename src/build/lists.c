/* SPDX-License-Identifier: Apache-2.0
 *
 * Dividing rows among lists.
 *
 * Workers take runs of rows, check them and find the nearest lists of each; then, in the order of rows, each row goes
 * to the nearest of them that has room. So lists depend neither on threads nor on their timing. Afterwards every row
 * has a draft position: lists one after the other, inside a list by row.
 *
 * Rows that fit in half of the working memory are kept there. Others are read a second time, and written to their draft
 * position: strips of them, sorted, so that the writes are long. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "build/build.h"
#include "kmeans/second_list.h"
#include "io/reader.h"
#include "kernel/distance.h"
#include "quant/int8.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST = 4 /* of the mean */, STAGE_BYTES = 1 << 20 };

/* ---- Placing ----------------------------------------------------------------------------------------------------- */

static uint32_t emptiest(const ki_build_lists *lists) {
    uint32_t best = 0;
    for (uint32_t l = 1; l < lists->count; l++)
        if (lists->rows_of[l] < lists->rows_of[best]) best = l;
    return best;
}

/* Rows whose lists are full fill the emptiest list up to the mean, and then the next: while rows are left to place,
 * some list is below the mean. */
static uint32_t overflow_list(ki_build_lists *lists, uint64_t mean) {
    if (lists->rows_of[lists->overflow] > mean) lists->overflow = emptiest(lists);
    return lists->overflow;
}

/* What a worker has found out about some rows. */
struct found {
    const float *values; /* the rows as lists see them */
    uint32_t (*choices)[KI_CHOICES];
    uint32_t (*second_lists)[KI_SECOND_CHOICES]; /* NULL without second lists */
};

/* Second lists are as long as lists at most; a row that finds none with room has none. */
static void place_second_list(ki_build_lists *lists, uint64_t row, uint32_t list, uint64_t most,
                              const uint32_t second_lists[KI_SECOND_CHOICES]) {
    lists->list_of[row] = list;
    lists->second_list_of[row] = UINT32_MAX;
    for (int s = 0; s < KI_SECOND_CHOICES && second_lists[s] != UINT32_MAX; s++) {
        if (second_lists[s] == list || lists->second_list_counts[second_lists[s]] >= most) continue;
        lists->second_list_of[row] = second_lists[s];
        lists->second_list_counts[second_lists[s]]++;
        lists->second_list_rows++;
        return;
    }
}

/* A list for a row whose own are full. A far one would make its bounds useless: code and radius would be of the
 * distance between lists. So where neighbours lie at distances of many orders of magnitude, and k-means cannot divide
 * the short ones (all are nearest to a centroid in their midst), the row stays, and the list is longer than others.
 * Equal rows of ordinary data are taken elsewhere. */
static uint32_t list_beside(ki_build *b, const float *row, uint32_t nearest, uint64_t mean) {
    static const float far_off = 16, astray = 100;
    ki_build_lists *lists = &b->lists;
    const size_t dim = b->recipe.dim;
    const uint32_t other = overflow_list(lists, mean);
    ki_pair_fn *const l2sq = ki_distance()->l2sq[KITH_F32];
    const float own = l2sq(row, lists->kmeans.centroids + nearest * dim, dim);
    const float apart = l2sq(row, lists->kmeans.centroids + other * dim, dim);
    return apart > far_off * own && apart > astray * lists->residual2 ? nearest : other;
}

static void place_rows(ki_build *b, uint64_t first, size_t count, const struct found *found) {
    ki_build_lists *lists = &b->lists;
    uint32_t(*const choices)[KI_CHOICES] = found->choices;
    const uint64_t mean = b->source.rows / lists->count, most = LONGEST * b->source.rows / lists->count;
    for (size_t i = 0; i < count; i++) {
        uint32_t list = UINT32_MAX;
        for (int c = 0; c < KI_CHOICES && list == UINT32_MAX && choices[i][c] != UINT32_MAX; c++)
            if (lists->rows_of[choices[i][c]] < most) list = choices[i][c];
        if (list == UINT32_MAX) list = list_beside(b, found->values + i * b->recipe.dim, choices[i][0], mean);
        lists->rows_of[list]++;
        b->labels.position_of[first + i] = list; /* until all rows have one */
        if (found->second_lists) place_second_list(lists, first + i, list, most, found->second_lists[i]);
    }
}

/* In the order of rows. False: the build stops. */
static int place_in_turn(ki_build *b, uint64_t first, size_t count, const struct found *found) {
    ki_build_lists *lists = &b->lists;
    pthread_mutex_lock(&lists->placing);
    while (lists->turn != first && !atomic_load(&b->stop)) pthread_cond_wait(&lists->turned, &lists->placing);
    const int mine = lists->turn == first;
    if (mine) {
        place_rows(b, first, count, found);
        lists->turn = first + count;
        pthread_cond_broadcast(&lists->turned);
    }
    pthread_mutex_unlock(&lists->placing);
    return mine;
}

/* Let those go who wait for a turn that will not come. */
static void wake(ki_build *b) {
    pthread_mutex_lock(&b->lists.placing);
    pthread_cond_broadcast(&b->lists.turned);
    pthread_mutex_unlock(&b->lists.placing);
}

/* ---- Assigning --------------------------------------------------------------------------------------------------- */

/* One worker's memory. */
struct divider {
    uint8_t *rows; /* where rows are not kept */
    float *floats; /* also a row's, for reading */
    float *work;   /* of ki_second_list_rank() */
    struct found found;
    ki_assign_scratch *scratch;
};

static int divider_create(const ki_build *b, struct divider *d) {
    const ki_recipe *r = &b->recipe;
    d->rows = b->lists.all ? NULL : ki_alloc_array(b->run_rows, r->row_bytes);
    d->floats = ki_alloc_array((uint64_t)b->run_rows * r->dim, sizeof(float));
    d->found.choices = ki_alloc_array(b->run_rows, sizeof(*d->found.choices));
    d->scratch = ki_assign_scratch_create(&b->lists.kmeans);
    if (b->lists.second_list_of) {
        d->work = ki_alloc_array(r->dim, 2 * sizeof(float));
        d->found.second_lists = ki_alloc_array(b->run_rows, sizeof(*d->found.second_lists));
        if (!d->work || !d->found.second_lists) return 0;
    }
    return (d->rows || b->lists.all) && d->floats && d->found.choices && d->scratch;
}

static void divider_free(struct divider *d) {
    free(d->rows);
    free(d->floats);
    free(d->work);
    free(d->found.choices);
    free(d->found.second_lists);
    if (d->scratch) ki_assign_scratch_destroy(d->scratch);
}

/* Check rows of the stored type. *values becomes them as the lists see them, in `floats` unless they are so already. */
static ki_row_fault check_rows(const ki_recipe *r, const uint8_t *rows, size_t count, float *floats,
                               const float **values, size_t *bad) {
    const int as_stored = r->dtype == KITH_F32 && r->metric != KITH_COSINE && !r->whole;
    if (!as_stored) ki_distance()->to_f32[r->dtype](rows, count * r->dim, floats);
    *values = as_stored ? (const float *)(const void *)rows : floats;
    for (size_t i = 0; i < count; i++) {
        double norm2;
        float *row = floats + i * r->dim;
        ki_row_fault fault = ki_row_check(r->metric, r->dtype, rows + i * r->row_bytes, r->dim, &norm2);
        if (fault == KI_ROW_FINE && r->whole) fault = ki_recipe_holds(r, row);
        if (fault != KI_ROW_FINE) {
            *bad = i;
            return fault;
        }
        if (r->metric != KITH_COSINE) continue;
        const float factor = ki_inverse_norm(norm2);
        for (size_t j = 0; j < r->dim; j++) row[j] *= factor;
    }
    return KI_ROW_FINE;
}

/* After a failure *row is where it happened; *count 0: the input has ended. */
static kith_status divide_run(ki_build *b, struct divider *d, size_t *count, uint64_t *row, ki_row_fault *fault,
                              kith_error *error) {
    const ki_recipe *r = &b->recipe;
    uint64_t first;
    size_t bad = 0;
    kith_status status = ki_build_take(b, d->rows, b->run_rows, 1, d->floats, &first, count, error);
    *row = first + *count;
    if (status != KITH_OK || *count == 0) return status;
    const uint64_t start = ki_now_ns();
    const uint8_t *rows = b->lists.all ? b->lists.all + first * r->row_bytes : d->rows;
    const float *values;
    *fault = check_rows(r, rows, *count, d->floats, &values, &bad);
    *row = first + bad;
    if (*fault != KI_ROW_FINE) return ki_build_explain(b, *fault, *row, error);
    ki_kmeans_assign(&b->lists.kmeans, d->scratch, values, *count, d->found.choices);
    for (size_t i = 0; i < *count && d->found.second_lists; i++)
        ki_second_list_rank(&b->lists.kmeans, values + i * r->dim, d->found.choices[i], d->work,
                            d->found.second_lists[i]);
    atomic_fetch_add(&b->code_ns, ki_now_ns() - start);
    d->found.values = values;
    if (place_in_turn(b, first, *count, &d->found)) atomic_fetch_add(&b->rows_done, *count);
    return KITH_OK;
}

static void divide(void *context, size_t piece, unsigned number) {
    ki_build *b = context;
    struct divider divider = {0};
    kith_error error = {0};
    kith_status status = KITH_OK;
    ki_row_fault fault = KI_ROW_FINE;
    uint64_t row = 0;
    size_t count = 1;
    (void)piece;
    if (!divider_create(b, &divider))
        status = ki_fail(&error, KITH_E_NOMEM, "out of memory for runs of %zu rows", b->run_rows);
    while (status == KITH_OK && count && !atomic_load(&b->stop)) {
        status = divide_run(b, &divider, &count, &row, &fault, &error);
        if (number == 0 && count) ki_build_tell(b, "sorting", atomic_load(&b->rows_done), b->source.rows);
    }
    if (status != KITH_OK) ki_build_fail(b, status, row, fault, &error);
    wake(b);
    divider_free(&divider);
}

/* Where rows stay until they are coded. */
static kith_status keep_rows(ki_build *b) {
    const uint64_t bytes = b->source.rows * b->recipe.row_bytes;
    const kith_reader *reader = b->reader;
    const int borrowed = reader->memory && reader->memory_stride == b->recipe.row_bytes &&
                         b->recipe.dtype == b->source.dtype && (uintptr_t)reader->memory % sizeof(float) == 0;
    if (borrowed) {
        b->lists.all = reader->memory;
    } else if (bytes <= b->options.memory_bytes / 2) {
        b->lists.kept = ki_alloc_array(bytes, 1);
        if (!b->lists.kept)
            return ki_fail(b->error, KITH_E_NOMEM, "out of memory for %llu bytes of vectors",
                           (unsigned long long)bytes);
        b->lists.all = b->lists.kept;
    }
    return KITH_OK;
}

/* Lists by row become draft positions. */
static kith_status draft_positions(ki_build *b) {
    ki_build_lists *lists = &b->lists;
    uint32_t *next = ki_alloc_array(lists->count, sizeof(uint32_t)), position = 0;
    if (!next) return ki_fail(b->error, KITH_E_NOMEM, "out of memory for %zu lists", lists->count);
    lists->blocks = lists->second_list_blocks = 0;
    for (size_t l = 0; l < lists->count; l++) {
        next[l] = position;
        position += lists->rows_of[l];
        lists->blocks += (lists->rows_of[l] + KI_BLOCK - 1) / KI_BLOCK;
        if (lists->second_list_counts)
            lists->second_list_blocks += (lists->second_list_counts[l] + KI_BLOCK - 1) / KI_BLOCK;
    }
    for (uint64_t row = 0; row < b->source.rows; row++) {
        const uint32_t at = next[b->labels.position_of[row]]++;
        b->labels.position_of[row] = at;
        b->labels.row_at[at] = (uint32_t)row;
    }
    free(next);
    return KITH_OK;
}

/* Second lists are for approximate searches, which are precise with originals only. */
static int wants_second_lists(const ki_build *b) {
    return !b->options.no_spill && b->options.originals == KITH_ORIGINALS_KEEP;
}

static kith_status start_second_lists(ki_build *b) {
    ki_build_lists *lists = &b->lists;
    lists->second_list_rows = 0;
    if (!wants_second_lists(b)) return KITH_OK;
    lists->list_of = ki_alloc_array(b->source.rows, sizeof(uint32_t));
    lists->second_list_of = ki_alloc_array(b->source.rows, sizeof(uint32_t));
    lists->second_list_counts = ki_alloc_array_zeroed(lists->count, sizeof(uint32_t));
    if (lists->list_of && lists->second_list_of && lists->second_list_counts) return KITH_OK;
    return ki_fail(b->error, KITH_E_NOMEM, "out of memory for the second lists of %llu vectors",
                   (unsigned long long)b->source.rows);
}

kith_status ki_build_divide(ki_build *b) {
    ki_build_lists *lists = &b->lists;
    const ki_recipe *r = &b->recipe;
    ki_outfile probe = KI_OUTFILE_NONE;
    /* The segment is made when the sizes of lists are known: a folder that cannot be written is told now. */
    kith_status status = ki_outfile_create(b->path, &probe, b->error);
    if (status != KITH_OK) return status;
    lists->spool = probe;
    lists->rows_of = ki_alloc_array_zeroed(lists->count, sizeof(uint32_t));
    lists->radius = ki_alloc_array_zeroed(lists->count, sizeof(float));
    if (!lists->rows_of || !lists->radius)
        return ki_fail(b->error, KITH_E_NOMEM, "out of memory for %zu lists", lists->count);
    lists->turn = 0;
    lists->overflow = 0;
    status = start_second_lists(b);
    if (status == KITH_OK) status = keep_rows(b);
    if (status != KITH_OK) return status;
    if (lists->all || b->options.originals == KITH_ORIGINALS_KEEP) ki_outfile_discard(&lists->spool);
    ki_build_plan_runs(b, r->row_bytes + r->dim * sizeof(float) + sizeof(uint32_t) * (KI_CHOICES + KI_SECOND_CHOICES));
    status = ki_build_run_workers(b, divide, 1);
    return status == KITH_OK ? draft_positions(b) : status;
}

/* ---- Drafts ------------------------------------------------------------------------------------------------------ */

static kith_status put_draft(ki_build *b, uint64_t position, const uint8_t *rows, size_t count, kith_error *error) {
    const uint64_t row_bytes = b->recipe.row_bytes, at = position * row_bytes, bytes = count * row_bytes;
    if (b->options.originals == KITH_ORIGINALS_KEEP)
        return ki_segment_draft(b->writer, KI_PART_ORIGINALS, at, rows, bytes, error);
    return ki_outfile_write_at(&b->lists.spool, rows, bytes, at, error);
}

kith_status ki_build_get_draft(ki_build *b, uint64_t position, uint8_t *rows, size_t count, kith_error *error) {
    const uint64_t row_bytes = b->recipe.row_bytes, at = position * row_bytes, bytes = count * row_bytes;
    if (b->options.originals == KITH_ORIGINALS_KEEP)
        return ki_segment_get(b->writer, KI_PART_ORIGINALS, at, rows, bytes, error);
    return ki_outfile_read_at(&b->lists.spool, rows, bytes, at, error);
}

static int compare_words(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Write a strip's rows in the order of their positions, neighbours together. */
static kith_status scatter(ki_build *b, const uint8_t *rows, uint64_t first, size_t count, uint64_t *keys,
                           uint8_t *stage, kith_error *error) {
    const size_t row_bytes = b->recipe.row_bytes, most = STAGE_BYTES / row_bytes ? STAGE_BYTES / row_bytes : 1;
    for (size_t i = 0; i < count; i++) keys[i] = (uint64_t)b->labels.position_of[first + i] << 32 | i;
    qsort(keys, count, sizeof(*keys), compare_words);
    kith_status status = KITH_OK;
    for (size_t i = 0, staged = 0; i < count && status == KITH_OK; i++) {
        memcpy(stage + staged++ * row_bytes, rows + (keys[i] & UINT32_MAX) * row_bytes, row_bytes);
        if (i + 1 < count && staged < most && keys[i + 1] >> 32 == (keys[i] >> 32) + 1) continue;
        status = put_draft(b, (keys[i] >> 32) + 1 - staged, stage, staged, error);
        staged = 0;
    }
    return status;
}

static void draft(void *context, size_t piece, unsigned number) {
    ki_build *b = context;
    kith_error error = {0};
    kith_status status = KITH_OK;
    uint64_t first = 0;
    size_t count = 1;
    (void)piece;
    const size_t row_bytes = b->recipe.row_bytes;
    uint8_t *rows = ki_alloc_array(b->run_rows, row_bytes);
    uint8_t *stage = ki_alloc_array(row_bytes > STAGE_BYTES ? row_bytes : STAGE_BYTES, 1);
    uint64_t *keys = ki_alloc_array(b->run_rows, sizeof(*keys));
    float *floats = ki_alloc_array(b->source.dim, sizeof(float));
    if (!rows || !stage || !keys || !floats)
        status = ki_fail(&error, KITH_E_NOMEM, "out of memory for strips of %zu rows", b->run_rows);
    while (status == KITH_OK && count && !atomic_load(&b->stop)) {
        status = ki_build_take(b, rows, b->run_rows, 0, floats, &first, &count, &error);
        const uint64_t start = ki_now_ns();
        if (status == KITH_OK) status = scatter(b, rows, first, count, keys, stage, &error);
        atomic_fetch_add(&b->write_ns, ki_now_ns() - start);
        atomic_fetch_add(&b->rows_done, count);
        if (number == 0) ki_build_tell(b, "sorting", atomic_load(&b->rows_done), b->source.rows);
    }
    if (status != KITH_OK) ki_build_fail(b, status, first + count, KI_ROW_FINE, &error);
    free(rows);
    free(stage);
    free(keys);
    free(floats);
}

kith_status ki_build_draft(ki_build *b) {
    if (b->lists.all) return KITH_OK;
    ki_build_plan_runs(b, b->recipe.row_bytes + sizeof(uint64_t));
    /* As long as memory allows: the longer a strip, the longer the runs of neighbours in it. */
    const uint64_t fit = b->options.memory_bytes / 2 / b->workers / (b->recipe.row_bytes + sizeof(uint64_t));
    b->run_rows = (size_t)ki_min_u64(fit < KI_BUILD_RUN_LEAST ? KI_BUILD_RUN_LEAST : fit, UINT32_MAX);
    return ki_build_run_workers(b, draft, 1);
}

void ki_build_lists_free(ki_build *b) {
    ki_build_lists *lists = &b->lists;
    ki_kmeans_free(&lists->kmeans); /* also one list, where rows were all alike */
    ki_outfile_discard(&lists->spool);
    free(lists->model);
    free(lists->rows_of);
    free(lists->radius);
    free(lists->kept);
    free(lists->list_of);
    free(lists->second_list_of);
    free(lists->second_list_counts);
    free(lists->by_second_list);
    lists->list_of = lists->second_list_of = lists->second_list_counts = lists->by_second_list = NULL;
    lists->second_list_rows = 0;
    lists->count = 0;
    lists->kept = NULL;
    lists->all = NULL;
    lists->model = lists->rows_of = NULL;
    lists->radius = NULL;
}
