/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_build: rows stream from a reader through coding into a segment. This file checks what was asked for, plans the
 * sections, and joins the stages of build.h. */
#include "build/build.h"
#include "tune/tune.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/grow.h"
#include "base/status.h"

#include <stdio.h>

/* ---- Options ----------------------------------------------------------------------------------------------------- */

static kith_status check_types(ki_build *b) {
    const kith_dtype from = b->source.dtype;
    kith_dtype to = b->options.dtype == KITH_DTYPE_NONE ? from : b->options.dtype;
    kith_metric metric = b->options.metric;
    if (metric == KITH_METRIC_NONE) metric = to == KITH_B1 ? KITH_HAMMING : KITH_L2SQ;
    const int bits = metric == KITH_HAMMING || metric == KITH_JACCARD;
    if (!kith_row_bytes(to, b->source.dim))
        return ki_fail(b->error, KITH_E_ARG, "%s: rows of %zu elements cannot be stored as %s", ki_build_path(b),
                       b->source.dim, kith_dtype_name(to));
    if ((unsigned)metric > KITH_JACCARD) return ki_fail(b->error, KITH_E_ARG, "metric %d is unknown", (int)metric);
    if (bits != (to == KITH_B1))
        return ki_fail(b->error, KITH_E_ARG, "metric %s needs %s vectors, %s holds %s: %s", kith_metric_name(metric),
                       bits ? "b1" : "number", ki_build_path(b), kith_dtype_name(to),
                       bits ? "read the rows as packed bits (dtype b1)" : "use hamming or jaccard");
    if (to != from && (from == KITH_B1 || to == KITH_I8 || to == KITH_U8 || to == KITH_B1 ||
                       (from == KITH_F16 && to == KITH_BF16) || (from == KITH_BF16 && to == KITH_F16)))
        return ki_fail(b->error, KITH_E_UNSUPPORTED,
                       "%s: %s rows cannot be stored as %s (f32, f16 and bf16 can be made)", ki_build_path(b),
                       kith_dtype_name(from), kith_dtype_name(to));
    if ((unsigned)b->options.originals > KITH_ORIGINALS_NONE)
        return ki_fail(b->error, KITH_E_ARG, "originals %d is unknown", (int)b->options.originals);
    if ((unsigned)b->options.first_level > KITH_FIRST_LEVEL_ON)
        return ki_fail(b->error, KITH_E_ARG, "first_level %d is unknown", (int)b->options.first_level);
    if (b->options.originals == KITH_ORIGINALS_NONE && to == KITH_B1)
        return ki_fail(b->error, KITH_E_UNSUPPORTED,
                       "bit vectors have no codes: they cannot be built without originals");
    b->recipe.dtype = to;
    b->recipe.metric = metric;
    return KITH_OK;
}

/* What the type of index says about lists and the second code. */
static kith_status check_index(ki_build *b) {
    const int one_list = b->options.index == KITH_INDEX_FLAT || b->options.index == KITH_INDEX_PQ;
    const int bits = b->recipe.dtype == KITH_B1;
    if ((unsigned)b->options.index > KITH_INDEX_PQ)
        return ki_fail(b->error, KITH_E_ARG, "index type %d is unknown", (int)b->options.index);
    if (one_list && b->options.lists > 1)
        return ki_fail(b->error, KITH_E_UNSUPPORTED, "%zu lists asked for, but an index of type %s has one",
                       b->options.lists, b->options.index == KITH_INDEX_PQ ? "pq" : "flat");
    if (bits && (b->options.index == KITH_INDEX_IVF || b->options.index == KITH_INDEX_PQ))
        return ki_fail(b->error, KITH_E_UNSUPPORTED, "bit vectors have no %s: use flat or lsh",
                       b->options.index == KITH_INDEX_PQ ? "product codes" : "lists");
    if (b->options.index == KITH_INDEX_PQ && !b->options.code) {
        ki_second_default(b->source.dim, b->code);
        b->options.code = b->code;
    }
    if (one_list) b->options.lists = 1;
    return KITH_OK;
}

/* How many lists to learn: 1 for none. */
static kith_status check_lists(ki_build *b, size_t *wanted) {
    const size_t asked = b->options.lists;
    const int bits = b->recipe.dtype == KITH_B1;
    ki_second_spec spec;
    *wanted = asked ? asked : bits || b->options.index == KITH_INDEX_HNSW ? 1 : ki_kmeans_lists(b->source.rows);
    if (asked > KITH_LISTS_MAX)
        return ki_fail(b->error, KITH_E_LIMIT, "%zu lists asked for, one index holds at most %u", asked,
                       KITH_LISTS_MAX);
    if (bits && asked > 1) return ki_fail(b->error, KITH_E_UNSUPPORTED, "bit vectors have one list, not %zu", asked);
    if (!b->options.code) return KITH_OK;
    if (*wanted == 1 && b->options.index != KITH_INDEX_PQ)
        return ki_fail(b->error, KITH_E_UNSUPPORTED,
                       "%s: a second code (%s) needs at least two lists, these %llu %s have one: %s", ki_build_path(b),
                       b->options.code, (unsigned long long)b->source.rows, bits ? "bit vectors" : "rows",
                       bits ? "leave it out" : "ask for lists, or for index type pq");
    return ki_second_parse(b->options.code, b->source.dim, &spec, b->error);
}

static kith_status check_sizes(ki_build *b) {
    if (b->source.rows == 0) return ki_fail(b->error, KITH_E_DATA, "%s: has no rows to index", ki_build_path(b));
    if (b->source.rows > KITH_ROWS_MAX)
        return ki_fail(b->error, KITH_E_LIMIT, "%s: has %llu rows, one index holds at most %llu", ki_build_path(b),
                       (unsigned long long)b->source.rows, (unsigned long long)KITH_ROWS_MAX);
    const uint64_t memory = b->options.memory_bytes ? b->options.memory_bytes : (uint64_t)1 << 30;
    if (memory < (uint64_t)16 << 20)
        return ki_fail(b->error, KITH_E_ARG, "%llu bytes of working memory asked for, at least 16 MiB are needed",
                       (unsigned long long)memory);
    b->options.memory_bytes = memory;
    return KITH_OK;
}

/* ---- Sections ---------------------------------------------------------------------------------------------------- */

/* Parts that are planned below, at most. */
enum { PARTS_MAX = 32 };

static void plan_lists(const ki_build *b, ki_part_plan *plan, size_t *n) {
    const ki_build_lists *lists = &b->lists;
    const uint64_t count = lists->count, blocks = (count + KI_BLOCK - 1) / KI_BLOCK;
    plan[(*n)++] = (ki_part_plan){KI_PART_LIST_BOUNDS, count * sizeof(float), count};
    plan[(*n)++] = (ki_part_plan){KI_PART_COARSE_CODES, blocks * ki_recipe_block_bytes(&b->recipe, 0), count};
    plan[(*n)++] = (ki_part_plan){KI_PART_COARSE_FACTORS, blocks * KI_FACTORS * sizeof(float), count};
    if (b->recipe.level1_columns) {
        plan[(*n)++] = (ki_part_plan){KI_PART_COARSE_FIRST_CODES, blocks * ki_recipe_block_bytes(&b->recipe, 1), count};
        plan[(*n)++] = (ki_part_plan){KI_PART_COARSE_FIRST_FACTORS, blocks * KI_FACTORS * sizeof(float), count};
    }
    if (lists->kmeans.supers)
        plan[(*n)++] = (ki_part_plan){KI_PART_SUPERS, ki_build_super_bytes(b), lists->kmeans.supers};
}

static void plan_codes(const ki_build *b, uint64_t blocks, ki_part_plan *plan, size_t *n) {
    const ki_recipe *r = &b->recipe;
    const uint64_t rows = b->source.rows, factors = blocks * KI_FACTORS * sizeof(float);
    if (r->level1_columns) {
        plan[(*n)++] =
            (ki_part_plan){KI_PART_LEVEL1_BASIS, r->dim * (r->level1_columns + 1) * sizeof(float), r->level1_columns};
        plan[(*n)++] = (ki_part_plan){KI_PART_LEVEL1_CODES, blocks * ki_recipe_block_bytes(r, 1), rows};
        plan[(*n)++] = (ki_part_plan){KI_PART_LEVEL1_FACTORS, factors, rows};
    }
    plan[(*n)++] = (ki_part_plan){KI_PART_CODES, blocks * ki_recipe_block_bytes(r, 0), rows};
    plan[(*n)++] = (ki_part_plan){KI_PART_FACTORS, factors, rows};
    if (!r->second) return;
    plan[(*n)++] = (ki_part_plan){KI_PART_SECOND_MODEL, b->lists.model_bytes, b->lists.model_bytes};
    plan[(*n)++] = (ki_part_plan){KI_PART_SECOND_CODES, blocks * r->second->block_bytes, rows};
    plan[(*n)++] = (ki_part_plan){KI_PART_SECOND_FACTORS, factors, rows};
}

static void plan_second_lists(const ki_build *b, ki_part_plan *plan, size_t *n) {
    const ki_build_lists *lists = &b->lists;
    const uint64_t blocks = lists->second_list_blocks, rows = lists->second_list_rows;
    if (!rows) return;
    plan[(*n)++] = (ki_part_plan){KI_PART_SECOND_LIST_COUNTS, lists->count * sizeof(uint32_t), lists->count};
    plan[(*n)++] = (ki_part_plan){KI_PART_SECOND_LIST_ENTRIES, rows * sizeof(ki_second_entry), rows};
    plan[(*n)++] = (ki_part_plan){KI_PART_SECOND_LIST_CODES,
                                  blocks * ki_recipe_block_bytes(&b->recipe, b->recipe.level1_columns != 0), rows};
    plan[(*n)++] = (ki_part_plan){KI_PART_SECOND_LIST_FACTORS, blocks * KI_FACTORS * sizeof(float), rows};
}

static kith_status create_segment(ki_build *b) {
    const ki_recipe *r = &b->recipe;
    const uint64_t rows = b->source.rows, lists = b->lists.count ? b->lists.count : 1;
    const uint64_t blocks = b->lists.count ? b->lists.blocks : (rows + KI_BLOCK - 1) / KI_BLOCK;
    ki_part_plan plan[PARTS_MAX];
    size_t n = 0;
    plan[n++] = (ki_part_plan){KI_PART_LISTS, 16 * lists, lists};
    if (r->dtype != KITH_B1) {
        const uint64_t centres = lists > 1 ? lists + 1 : 1;
        plan[n++] = (ki_part_plan){KI_PART_CENTROIDS, centres * r->dim * sizeof(float), centres};
        if (lists > 1) plan_lists(b, plan, &n);
        plan_codes(b, blocks, plan, &n);
        plan_second_lists(b, plan, &n);
    }
    plan[n++] = (ki_part_plan){KI_PART_IDS, rows * sizeof(uint64_t), rows};
    plan[n++] = (ki_part_plan){KI_PART_ID_ORDER, rows * sizeof(uint32_t), rows};
    if (b->options.originals == KITH_ORIGINALS_KEEP)
        plan[n++] = (ki_part_plan){KI_PART_ORIGINALS, rows * r->row_bytes, rows};
    if (r->metric == KITH_COSINE && b->options.originals == KITH_ORIGINALS_KEEP)
        plan[n++] = (ki_part_plan){KI_PART_NORMS2, rows * sizeof(float), rows};
    ki_build_plan_graph(b, plan, &n);
    ki_build_plan_lsh(b, plan, &n);
    return ki_segment_create(b->path, plan, n, &b->writer, b->error);
}

static kith_status put_level1(ki_build *b) {
    const ki_recipe *r = &b->recipe;
    const uint64_t row = r->dim * sizeof(float);
    if (!r->level1_columns) return KITH_OK;
    const kith_status status = ki_segment_put(b->writer, KI_PART_LEVEL1_BASIS, 0, r->level1_centre, row, b->error);
    if (status != KITH_OK) return status;
    return ki_segment_put(b->writer, KI_PART_LEVEL1_BASIS, row, r->basis, row * r->level1_columns, b->error);
}

static kith_status put_recipe(ki_build *b) {
    const ki_recipe *r = &b->recipe;
    const uint64_t list[2] = {0, b->source.rows};
    kith_status status = ki_segment_put(b->writer, KI_PART_LISTS, 0, list, sizeof(list), b->error);
    if (status != KITH_OK || r->dtype == KITH_B1) return status;
    status = ki_segment_put(b->writer, KI_PART_CENTROIDS, 0, r->centre, r->dim * sizeof(float), b->error);
    if (status == KITH_OK && r->second)
        status = ki_segment_put(b->writer, KI_PART_SECOND_MODEL, 0, b->lists.model, b->lists.model_bytes, b->error);
    return status == KITH_OK ? put_level1(b) : status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

ki_segment_head ki_build_head(const ki_build *b) {
    const ki_recipe *r = &b->recipe;
    const double rows = (double)b->source.rows;
    ki_segment_head head = b->head;
    head.rows = b->source.rows;
    head.dim = (uint32_t)r->dim;
    head.dtype = (uint32_t)r->dtype;
    head.metric = (uint32_t)r->metric;
    head.id_kind = (uint32_t)b->source.id_kind;
    head.lists = b->lists.count ? (uint32_t)b->lists.count : 1;
    head.level1_dim = (uint32_t)r->level1_columns;
    head.code_error = b->error_sum[0] / rows;
    head.level1_error = b->error_sum[1] / rows;
    if (b->options.originals == KITH_ORIGINALS_KEEP) head.flags |= KI_SEGMENT_ORIGINALS;
    if (b->source.has_names) head.flags |= KI_SEGMENT_NAMES;
    if (r->whole) head.flags |= KI_SEGMENT_INTEGER_CODES;
    if (b->lists.count) head.feature_incompat |= KI_SEGMENT_LISTS;
    if (r->second && !b->lists.count) head.feature_incompat |= KI_SEGMENT_FLAT_CODE;
    head.parameter[0] = r->omega;
    head.parameter[3] = b->error_sum[2] / rows;
    return head;
}

/* Measure the plans of the index that is about to be finished. */
static kith_status calibrate(ki_build *b, const ki_segment_head *head) {
    kith_tune_options options = KITH_TUNE_OPTIONS_INIT;
    if (b->options.no_calibration) return KITH_OK;
    options.pool = b->pool;
    options.seed = b->options.seed;
    options.progress = b->options.progress;
    options.progress_context = b->options.progress_context;
    options.no_sigbus_handler = b->options.no_sigbus_handler;
    return ki_tune_build(b->writer, head, &options, ki_now_ns() - b->start_ns, b->options.memory_bytes, b->error);
}

static kith_status finish(ki_build *b) {
    const ki_recipe *r = &b->recipe;
    char meta[512];
    const int bytes = snprintf(
        meta, sizeof(meta), "{\"writer\":\"kith %s\",\"dtype\":\"%s\",\"metric\":\"%s\",\"seed\":%llu}", kith_version(),
        kith_dtype_name(r->dtype), kith_metric_name(r->metric), (unsigned long long)b->options.seed);
    kith_status status = ki_id_table_write(&b->labels, b->writer, ki_build_path(b), b->error);
    if (status == KITH_OK)
        status = ki_segment_append(b->writer, &(ki_part_data){{KI_PART_META, (uint64_t)bytes, (uint64_t)bytes}, meta},
                                   1, b->error);
    ki_segment_head head = ki_build_head(b);
    kith_open_options open = KITH_OPEN_OPTIONS_INIT;
    open.no_sigbus_handler = b->options.no_sigbus_handler;
    if (status == KITH_OK) status = ki_tune_survivors(b->writer, &head, &open, &head.parameter[4], b->error);
    if (status == KITH_OK) status = ki_build_hnsw(b, &head);
    if (status == KITH_OK) status = calibrate(b, &head);
    if (status != KITH_OK) return status;
    const uint64_t start = ki_now_ns();
    ki_segment_writer *writer = b->writer;
    b->writer = NULL; /* finish frees it in any case */
    status = ki_segment_finish(writer, &head, b->pool, b->options.progress, b->options.progress_context,
                               &b->report.file_bytes, b->error);
    b->report.verify_ns = ki_now_ns() - start;
    return status;
}

static kith_status build_lists(ki_build *b) {
    kith_status status = ki_build_divide(b);
    if (status == KITH_OK) status = create_segment(b);
    if (status == KITH_OK) status = ki_build_put_lists(b, &b->head);
    if (status == KITH_OK) status = put_level1(b);
    if (status == KITH_OK) status = ki_build_draft(b);
    if (status == KITH_OK) status = ki_build_code_lists(b);
    if (status == KITH_OK) status = ki_build_code_second_lists(b);
    return status;
}

static kith_status build_one_list(ki_build *b) {
    kith_status status = create_segment(b);
    if (status == KITH_OK) status = put_recipe(b);
    if (status == KITH_OK) status = ki_build_one_list(b);
    return status;
}

static kith_status attempt(ki_build *b, size_t wanted, ki_whole may_be) {
    b->head = (ki_segment_head){0};
    for (int l = 0; l < 3; l++) b->error_sum[l] = 0;
    atomic_store(&b->stop, 0);
    kith_status status = ki_build_recipe(b, may_be);
    if (status == KITH_OK && wanted > 1) status = ki_build_train_lists(b, wanted);
    if (status == KITH_OK && b->options.index == KITH_INDEX_PQ) status = ki_build_train_flat_code(b);
    if (status == KITH_OK) status = ki_id_table_start(&b->labels, &b->source, b->error);
    if (status == KITH_OK) status = b->lists.count ? build_lists(b) : build_one_list(b);
    if (status == KITH_OK) status = ki_build_make_graph(b);
    if (status == KITH_OK) status = ki_build_lsh(b);
    if (status == KITH_OK) status = finish(b);
    b->report.lists = b->lists.count ? b->lists.count : 1;
    ki_segment_abandon(b->writer);
    b->writer = NULL;
    ki_id_table_free(&b->labels);
    ki_build_lists_free(b);
    return status;
}

static void fill_report(ki_build *b, kith_build_report *report) {
    b->report.struct_size = sizeof(b->report);
    b->report.rows = b->source.rows;
    b->report.dim = b->source.dim;
    b->report.input_bytes = b->source.file_bytes;
    b->report.first_level_dim = b->recipe.level1_columns;
    b->report.integer_codes = b->recipe.whole != KI_WHOLE_NOT;
    b->report.read_ns = atomic_load(&b->read_ns);
    b->report.code_ns = atomic_load(&b->code_ns);
    b->report.write_ns = atomic_load(&b->write_ns);
    b->report.total_ns = ki_now_ns() - b->start_ns;
    ki_grown_write(KI_GROWN_BUILD_REPORT, &b->report, report);
}

kith_status kith_build(kith_reader *reader, const char *path, const kith_build_options *options,
                       kith_build_report *report, kith_error *error) {
    if (!reader || !path || !*path) return ki_fail(error, KITH_E_ARG, "kith_build: reader or path is missing");
    kith_error failure = {0}; /* kept from the caller until it is known that nothing makes it good (E1) */
    ki_build b = {.reader = reader, .error = &failure, .path = path, .source = KITH_READER_INFO_INIT};
    size_t wanted = 1;
    kith_pool *own = NULL;
    b.start_ns = ki_now_ns();
    b.options = (kith_build_options)KITH_BUILD_OPTIONS_INIT;
    kith_reader_get_info(reader, &b.source);
    kith_status status = ki_grown_read(KI_GROWN_BUILD_OPTIONS, options, &b.options, &failure);
    if (status == KITH_OK) status = ki_grown_check(KI_GROWN_BUILD_REPORT, report, &failure);
    if (status == KITH_OK) status = check_types(&b);
    if (status == KITH_OK) status = check_sizes(&b);
    if (status == KITH_OK) status = check_index(&b);
    if (status == KITH_OK) status = ki_build_check_lsh(&b);
    if (status == KITH_OK) status = ki_build_check_hnsw(&b);
    if (status == KITH_OK) status = check_lists(&b, &wanted);
    if (status == KITH_OK) status = ki_build_check_graph(&b);
    if (status == KITH_OK && !b.options.pool) status = kith_pool_create(b.options.threads, &own, &failure);
    if (status != KITH_OK) {
        if (error) *error = failure;
        return status;
    }
    b.pool = b.options.pool ? b.options.pool : own;
    pthread_mutex_init(&b.reading, NULL);
    pthread_mutex_init(&b.failing, NULL);
    pthread_mutex_init(&b.lists.placing, NULL);
    pthread_cond_init(&b.lists.turned, NULL);
    b.lists.spool = (ki_outfile)KI_OUTFILE_NONE;
    status = attempt(&b, wanted, KI_WHOLE_CLOSE);
    while (b.fault == KI_ROW_NOT_WHOLE || b.fault == KI_ROW_OUTSIDE) { /* E1 */
        const int wider = b.fault == KI_ROW_OUTSIDE && b.recipe.whole == KI_WHOLE_CLOSE;
        const ki_whole may_be = wider ? KI_WHOLE_WIDE : KI_WHOLE_NOT;
        const kith_metric metric = b.recipe.metric;
        const kith_dtype dtype = b.recipe.dtype;
        ki_recipe_free(&b.recipe);
        b.recipe.metric = metric;
        b.recipe.dtype = dtype;
        b.fault = KI_ROW_FINE;
        status = attempt(&b, wanted, may_be);
    }
    if (status == KITH_OK) fill_report(&b, report);
    if (status != KITH_OK && error) *error = failure;
    ki_recipe_free(&b.recipe);
    pthread_mutex_destroy(&b.reading);
    pthread_mutex_destroy(&b.failing);
    pthread_mutex_destroy(&b.lists.placing);
    pthread_cond_destroy(&b.lists.turned);
    kith_pool_destroy(own);
    return status;
}
