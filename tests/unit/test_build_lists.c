/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_build with lists: every vector lies where its id says, codes decode to it within their bounds, lists are
 * balanced, the bytes do not depend on threads or on where rows wait between dividing and coding; and what is
 * refused.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"
#include "support/faulty_malloc.h"

#include "base/file.h"
#include "index/index.h"
#include "kernel/distance.h"

#include <dirent.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static kith_error error;

static void *take(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

static kith_build_options with_lists(size_t lists) {
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = lists;
    options.threads = 2;
    options.no_calibration = 1; /* its times are never the same */
    return options;
}

/* Where rows are so many that there would be a graph, too. */
static kith_build_options with_lists_alone(size_t lists) {
    kith_build_options options = with_lists(lists);
    options.index = KITH_INDEX_IVF;
    return options;
}

/* As data_build(), but the caller looks at the status. */
static kith_status build(const data_set *set, const char *path, kith_build_options options, kith_build_report *report) {
    kith_reader *reader = NULL;
    error = (kith_error){KITH_OK, ""};
    options.metric = set->metric;
    kith_status status =
        kith_reader_from_memory(set->bytes, set->dtype, set->rows, set->dim, 0, set->ids, &reader, &error);
    if (status == KITH_OK) status = kith_build(reader, path, &options, report, &error);
    kith_reader_close(reader);
    return status;
}

static kith_index *build_and_open(const data_set *set, const char *path, kith_build_options options) {
    if (build(set, path, options, NULL) != KITH_OK) fail_msg("%s", error.text);
    if (kith_index_verify(path, NULL, NULL, NULL, &error) != KITH_OK) fail_msg("%s", error.text);
    return data_open(path);
}

struct bytes {
    unsigned char *data;
    uint64_t bytes;
};

static struct bytes read_whole(const char *path) {
    int fd;
    struct bytes file;
    assert_int_equal(ki_open_read(path, &fd, &file.bytes, &error), KITH_OK);
    file.data = take(file.bytes, 1);
    assert_int_equal(ki_read_at(fd, path, file.data, file.bytes, 0, &error), KITH_OK);
    close(fd);
    return file;
}

static void assert_same_bytes(struct bytes a, struct bytes b, const char *what) {
    assert_int_equal(a.bytes, b.bytes);
    for (uint64_t i = 0; i < a.bytes; i++)
        if (a.data[i] != b.data[i]) fail_msg("%s: byte %llu differs", what, (unsigned long long)i);
}

static size_t count_files(void) {
    DIR *folder = opendir(data_path("."));
    size_t count = 0;
    assert_non_null(folder);
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

/* ---- What codes say ---------------------------------------------------------------------------------------------- */

static double length_of(const double *x, size_t dim) {
    double sum = 0;
    for (size_t j = 0; j < dim; j++) sum += x[j] * x[j];
    return sqrt(sum);
}

struct place {
    size_t list, block, v;
};

static struct place place_of(const ki_lists *lists, uint32_t position) {
    struct place at = {0, 0, 0};
    while (lists->first_row[at.list + 1] <= position) at.list++;
    const uint32_t in_list = position - lists->first_row[at.list];
    at.block = lists->first_block[at.list] + in_list / KI_BLOCK;
    at.v = in_list % KI_BLOCK;
    return at;
}

/* x - centre of a stored row, as the format defines it. */
static void residual_of(const ki_view *view, uint32_t position, const float *centre, double *r) {
    float x[256];
    assert_true(view->dim <= 256);
    data_floats(view->dtype, view->originals + (size_t)position * view->row_bytes, view->dim, x);
    const float inverse = ki_inverse_norm(ki_distance()->norm2[KITH_F32](x, view->dim));
    const double factor = view->metric == KITH_COSINE ? inverse : 1;
    for (size_t j = 0; j < view->dim; j++) r[j] = x[j] * factor - centre[j];
}

static double wanted_bias(const ki_view *view, const double *r, const float *centroid, double *size) {
    double sum = 0, spread2 = 0;
    const double length = length_of(r, view->dim);
    for (size_t j = 0; j < view->dim; j++) {
        const double d = (double)centroid[j] - view->centre[j];
        sum += d * r[j];
        spread2 += d * d;
    }
    *size = sqrt(spread2) * length + length * length / 2;
    return view->metric == KITH_L2SQ ? -(sum + length * length / 2) : 0;
}

static void check_code(const ki_view *view, uint32_t position) {
    const struct place at = place_of(&view->lists, position);
    const size_t dim = view->dim;
    const float *centroid = view->lists.centroids + at.list * dim;
    const float *factors = view->full.factors + at.block * KI_FACTORS;
    const uint8_t *codes = view->full.codes + at.block * view->full.quads * KI_QUAD_BYTES;
    const float a = factors[KI_FACTOR_SCALE + at.v], bias = factors[KI_FACTOR_BIAS + at.v];
    double r[256], missed[256], away[256], size;
    residual_of(view, position, view->whole ? view->centre : centroid, r);
    residual_of(view, position, centroid, away);
    for (size_t j = 0; j < dim; j++)
        missed[j] = r[j] - (double)a * (codes[j / 4 * KI_QUAD_BYTES + 4 * at.v + j % 4] - 128);
    const double wanted = wanted_bias(view, r, view->whole ? view->centre : centroid, &size);
    if (length_of(missed, dim) > factors[KI_FACTOR_ERROR + at.v])
        fail_msg("position %u: error %g, bound %g", position, length_of(missed, dim), factors[KI_FACTOR_ERROR + at.v]);
    if (length_of(r, dim) > factors[KI_FACTOR_NORM + at.v]) fail_msg("position %u: norm", position);
    if (length_of(away, dim) > view->lists.radius[at.list]) fail_msg("position %u: radius", position);
    if (fabs(bias - wanted) > 1e-6 * size + FLT_MIN) fail_msg("position %u: bias %g, not %g", position, bias, wanted);
}

/* Blocks end with vectors that never win. */
static void check_absent(const ki_view *view) {
    for (size_t block = 0; block < view->blocks; block++) {
        unsigned count;
        ki_view_block_row(view, block, &count);
        const float *factors = view->full.factors + block * KI_FACTORS;
        for (size_t v = count; v < KI_BLOCK; v++) {
            assert_true(factors[KI_FACTOR_SCALE + v] == 0 && factors[KI_FACTOR_BIAS + v] == -FLT_MAX);
            if (view->second_factors)
                assert_true(view->second_factors[block * KI_FACTORS + KI_FACTOR_BIAS + v] == -FLT_MAX);
        }
    }
}

static void check_index(const data_set *set, const kith_index *index) {
    const ki_view *view = &index->view;
    float vector[256], expected[256];
    assert_true(view->lists.count > 1);
    assert_int_equal(view->lists.first_row[view->lists.count], set->rows);
    for (size_t i = 0; i < set->rows; i++) {
        uint32_t position;
        assert_true(ki_index_find(index, data_id(set, i), &position));
        assert_int_equal(view->labels[position], data_id(set, i));
        assert_int_equal(kith_index_vector(index, data_id(set, i), vector, &error), KITH_OK);
        data_floats(set->dtype, data_row(set, i), set->dim, expected);
        assert_memory_equal(vector, expected, set->dim * sizeof(float));
    }
    for (uint32_t position = 0; position < set->rows; position++) check_code(view, position);
    check_absent(view);
    const float *last = view->lists.centroids + view->lists.count * set->dim;
    assert_ptr_equal(view->centre, last);
}

static void test_codes_stand_for_their_vectors(void **state) {
    static const struct {
        data_kind kind;
        kith_dtype dtype;
        kith_metric metric;
        size_t rows, dim, lists;
        kith_first_level first_level;
    } cases[] = {{DATA_CLUSTERED, KITH_F32, KITH_L2SQ, 5000, 70, 64, KITH_FIRST_LEVEL_NONE},
                 {DATA_NORMAL, KITH_F32, KITH_IP, 3000, 96, 17, KITH_FIRST_LEVEL_ON},
                 {DATA_NORMAL, KITH_F32, KITH_COSINE, 2000, 33, 40, KITH_FIRST_LEVEL_NONE},
                 {DATA_OUTLIER, KITH_F16, KITH_COSINE, 1500, 64, 9, KITH_FIRST_LEVEL_ON},
                 {DATA_CLUSTERED, KITH_BF16, KITH_L2SQ, 1500, 20, 30, KITH_FIRST_LEVEL_NONE},
                 {DATA_WHOLE, KITH_U8, KITH_L2SQ, 2000, 40, 25, KITH_FIRST_LEVEL_NONE},
                 {DATA_WHOLE, KITH_I8, KITH_IP, 2000, 129, 25, KITH_FIRST_LEVEL_ON},
                 {DATA_WHOLE, KITH_F32, KITH_L2SQ, 2000, 12, 25, KITH_FIRST_LEVEL_NONE},
                 {DATA_FAR, KITH_F32, KITH_L2SQ, 1000, 24, 12, KITH_FIRST_LEVEL_NONE},
                 {DATA_HUGE, KITH_F32, KITH_L2SQ, 700, 16, 12, KITH_FIRST_LEVEL_NONE},
                 {DATA_SCALES, KITH_F32, KITH_IP, 700, 16, 12, KITH_FIRST_LEVEL_NONE},
                 {DATA_TINY, KITH_F32, KITH_L2SQ, 700, 16, 12, KITH_FIRST_LEVEL_NONE},
                 {DATA_DUPLICATES, KITH_F32, KITH_L2SQ, 900, 10, 12, KITH_FIRST_LEVEL_NONE},
                 {DATA_SPARSE, KITH_F32, KITH_L2SQ, 900, 30, 50, KITH_FIRST_LEVEL_NONE},
                 {DATA_NORMAL, KITH_F32, KITH_L2SQ, 9000, 4, 2, KITH_FIRST_LEVEL_NONE}}; /* lists longer than a run */
    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        data_set set =
            data_make(cases[c].kind, cases[c].dtype, cases[c].metric, cases[c].rows, cases[c].dim, c + 1, (int)c % 2);
        kith_build_options options = with_lists(cases[c].lists);
        options.first_level = cases[c].first_level;
        kith_index *index = build_and_open(&set, data_path("codes.kith"), options);
        kith_index_info info = KITH_INDEX_INFO_INIT;
        kith_index_get_info(index, &info);
        assert_true(info.lists >= 2 && info.lists <= cases[c].lists);
        assert_int_equal(info.feature_incompat, KI_SEGMENT_LISTS);
        assert_int_equal(info.first_level_dim != 0, cases[c].first_level == KITH_FIRST_LEVEL_ON);
        assert_int_equal(info.integer_codes, cases[c].kind == DATA_WHOLE);
        check_index(&set, index);
        kith_index_close(index);
        data_free(&set);
    }
}

static void test_coarse_codes_stand_for_centroids(void **state) {
    (void)state;
    for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
        data_set set = data_make(DATA_CLUSTERED, KITH_F32, (kith_metric)metric, 3000, 37, 4, 0);
        kith_index *index = build_and_open(&set, data_path("coarse.kith"), with_lists(50));
        const ki_lists *lists = &index->view.lists;
        for (size_t l = 0; l < lists->count; l++) {
            const float *factors = lists->coarse.factors + l / KI_BLOCK * KI_FACTORS + l % KI_BLOCK;
            const uint8_t *codes = lists->coarse.codes + l / KI_BLOCK * lists->coarse.quads * KI_QUAD_BYTES;
            double r[37], missed[37], centroid[37];
            for (size_t j = 0; j < 37; j++) {
                centroid[j] = lists->centroids[l * 37 + j];
                r[j] = centroid[j] - index->view.centre[j];
                const int code = codes[j / 4 * KI_QUAD_BYTES + 4 * (l % KI_BLOCK) + j % 4] - 128;
                missed[j] = r[j] - (double)factors[KI_FACTOR_SCALE] * code;
            }
            const double length = length_of(r, 37), bias = metric == KITH_L2SQ ? -length * length / 2 : 0;
            assert_true(length_of(missed, 37) <= factors[KI_FACTOR_ERROR]);
            assert_true(length <= factors[KI_FACTOR_NORM] && length <= lists->spread);
            assert_true(length_of(centroid, 37) <= lists->norm);
            assert_true(fabs(factors[KI_FACTOR_BIAS] - bias) <= 1e-5 * length * length);
        }
        kith_index_close(index);
        data_free(&set);
    }
}

static void test_second_codes(void **state) {
    static const struct {
        const char *code;
        kith_metric metric;
        kith_dtype dtype;
        double most; /* mean error that a code of so many bits may have */
    } cases[] = {{"pq:16x8", KITH_L2SQ, KITH_F32, 0.9},
                 {"pq:32x4", KITH_IP, KITH_F16, 0.9},
                 {"rabitq:4", KITH_COSINE, KITH_F32, 0.2},
                 {"rabitq:1", KITH_L2SQ, KITH_U8, 0.9}};
    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        const data_kind kind = cases[c].dtype == KITH_U8 ? DATA_WHOLE : DATA_NORMAL;
        data_set set = data_make(kind, cases[c].dtype, cases[c].metric, 2000, 64, 9, 1);
        kith_build_options options = with_lists(20);
        options.code = cases[c].code;
        kith_index *index = build_and_open(&set, data_path("second.kith"), options);
        kith_index_info info = KITH_INDEX_INFO_INIT;
        kith_index_get_info(index, &info);
        assert_string_equal(info.second_code, cases[c].code);
        assert_true(info.second_code_error > 0 && info.second_code_error < cases[c].most);
        assert_true(info.second_code_bytes > 0);
        const ki_view *view = &index->view;
        for (uint32_t position = 0; position < set.rows; position++) {
            const struct place at = place_of(&view->lists, position);
            const float *factors = view->second_factors + at.block * KI_FACTORS + at.v;
            const float *centroid = view->lists.centroids + at.list * set.dim;
            double r[64], size;
            residual_of(view, position, centroid, r);
            const double wanted = wanted_bias(view, r, centroid, &size);
            assert_true(factors[KI_FACTOR_NORM] >= length_of(r, 64));
            assert_true(factors[KI_FACTOR_ERROR] >= 0 && isfinite(factors[KI_FACTOR_ERROR]));
            assert_true(fabs(factors[KI_FACTOR_BIAS] - wanted) <= 1e-6 * size);
        }
        check_absent(view);
        kith_index_close(index);
        data_free(&set);
    }
}

/* ---- How many lists ---------------------------------------------------------------------------------------------- */

static void check_balance(const kith_index *index) {
    const ki_lists *lists = &index->view.lists;
    uint32_t longest = 0;
    for (size_t l = 0; l < lists->count; l++) {
        const uint32_t rows = lists->first_row[l + 1] - lists->first_row[l];
        if (rows > longest) longest = rows;
    }
    assert_int_equal(longest, lists->longest);
    if (longest > 4 * index->view.rows / lists->count)
        fail_msg("%u rows in one of %zu lists of %llu", longest, lists->count, (unsigned long long)index->view.rows);
}

static void test_lists_are_balanced(void **state) {
    static const data_kind kinds[] = {DATA_NORMAL, DATA_CLUSTERED, DATA_DUPLICATES, DATA_OUTLIER, DATA_NEAR_TIES};
    static const size_t counts[] = {2, 7, 64, 500};
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
        for (size_t c = 0; c < 4; c++) {
            data_set set = data_make(kinds[k], KITH_F32, KITH_L2SQ, 2000, 8, 5, 0);
            kith_build_report report = KITH_BUILD_REPORT_INIT;
            if (build(&set, data_path("count.kith"), with_lists(counts[c]), &report) != KITH_OK)
                fail_msg("%s", error.text);
            assert_true(report.lists >= 1 && report.lists <= counts[c]);
            if (kinds[k] == DATA_NORMAL && counts[c] < 500) assert_int_equal(report.lists, counts[c]);
            kith_index *index = data_open(data_path("count.kith"));
            assert_int_equal(index->view.lists.count, report.lists);
            if (report.lists > 1) check_balance(index);
            kith_index_close(index);
            data_free(&set);
        }
}

/* Nine rows in ten are one and the same, the others are far apart: the full list's rows go elsewhere. */
static void test_one_heavy_vector(void **state) {
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 4000, 12, 5, 1);
    for (size_t i = 400; i < set.rows; i++) memcpy(set.bytes + i * set.row_bytes, set.bytes, set.row_bytes);
    kith_index *index = build_and_open(&set, data_path("heavy.kith"), with_lists(40));
    assert_true(index->view.lists.count > 10);
    check_balance(index);
    check_index(&set, index);
    kith_index_close(index);
    data_free(&set);
}

static void test_few_and_equal_rows(void **state) {
    (void)state;
    data_set set = data_make(DATA_EQUAL, KITH_F32, KITH_IP, 600, 12, 5, 0);
    kith_build_report report = KITH_BUILD_REPORT_INIT;
    assert_int_equal(build(&set, data_path("equal.kith"), with_lists(30), &report), KITH_OK);
    assert_int_equal(report.lists, 1);
    /* One list is one list, whoever asked for how many. */
    assert_int_equal(build(&set, data_path("one.kith"), with_lists(1), NULL), KITH_OK);
    struct bytes equal = read_whole(data_path("equal.kith")), one = read_whole(data_path("one.kith"));
    assert_same_bytes(equal, one, "equal rows");
    free(equal.data);
    free(one.data);
    data_free(&set);
    for (size_t rows = 1; rows <= 9; rows++) { /* fewer rows than lists */
        set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, rows, 3, rows, 0);
        assert_int_equal(build(&set, data_path("few.kith"), with_lists(1000), &report), KITH_OK);
        assert_true(report.lists <= rows);
        assert_int_equal(kith_index_verify(data_path("few.kith"), NULL, NULL, NULL, &error), KITH_OK);
        kith_index *index = data_open(data_path("few.kith"));
        if (report.lists > 1) check_index(&set, index);
        kith_index_close(index);
        data_free(&set);
    }
    set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 100, 3, 1, 0); /* small inputs have one list unless asked */
    assert_int_equal(build(&set, data_path("few.kith"), with_lists(0), &report), KITH_OK);
    assert_int_equal(report.lists, 1);
    data_free(&set);
}

/* A sample of rows does not see the one that is not whole: the build starts over, lists and all. */
static void test_nearly_whole(void **state) {
    enum { ROWS = 60000, DIM = 6 };
    (void)state;
    data_set set = data_make(DATA_WHOLE, KITH_F32, KITH_L2SQ, ROWS, DIM, 5, 0);
    kith_build_report report = KITH_BUILD_REPORT_INIT;
    assert_int_equal(build(&set, data_path("whole.kith"), with_lists_alone(60), &report), KITH_OK);
    assert_true(report.integer_codes && report.lists == 60);
    ((float *)(void *)set.bytes)[50001 * DIM + 2] = 0.5f;
    assert_int_equal(build(&set, data_path("whole.kith"), with_lists_alone(60), &report), KITH_OK);
    assert_true(!report.integer_codes && report.lists == 60);
    assert_int_equal(kith_index_verify(data_path("whole.kith"), NULL, NULL, NULL, &error), KITH_OK);
    data_free(&set);
}

/* ---- Where rows wait --------------------------------------------------------------------------------------------- */

static void write_file(const data_set *set, const char *path) {
    kith_writer *writer = NULL;
    assert_int_equal(
        kith_writer_open(path, KITH_FORMAT_AUTO, set->dtype, set->dim, set->rows, KITH_ID_ROW, 0, &writer, &error),
        KITH_OK);
    const kith_rows rows = {.count = set->rows, .data = set->bytes};
    assert_int_equal(kith_writer_write(writer, &rows, &error), KITH_OK);
    assert_int_equal(kith_writer_finish(writer, &error), KITH_OK);
}

static kith_status build_file(const char *from, const char *to, const kith_build_options *options) {
    kith_reader *reader = NULL;
    error = (kith_error){KITH_OK, ""};
    kith_status status = kith_reader_open(from, NULL, &reader, &error);
    if (status == KITH_OK) status = kith_build(reader, to, options, NULL, &error);
    kith_reader_close(reader);
    return status;
}

/* Rows that stay in the caller's memory, in ours, and in drafts of the file make the same bytes: lists are shorter than
 * a run of the least memory here. */
static void test_memory_does_not_show(void **state) {
    enum { ROWS = 9500, DIM = 256 };
    static const struct {
        const char *from;
        uint64_t memory;
        unsigned threads;
    } ways[] = {
        {NULL, 16, 1}, {"waits.npy", 16, 1}, {"waits.npy", 16, 3}, {"waits.npy", 64, 2}, {"waits.fvecs", 16, 2}};
    (void)state;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_COSINE, ROWS, DIM, 5, 0);
    write_file(&set, data_path("waits.npy"));
    write_file(&set, data_path("waits.fvecs"));
    for (int originals = 0; originals < 2; originals++) {
        struct bytes first = {NULL, 0};
        for (size_t w = 0; w < sizeof(ways) / sizeof(*ways); w++) {
            kith_build_options options = with_lists(64);
            options.metric = KITH_COSINE;
            options.memory_bytes = ways[w].memory << 20;
            options.threads = ways[w].threads;
            options.first_level = KITH_FIRST_LEVEL_NONE;
            options.originals = (kith_originals)originals;
            const size_t files = count_files() + (access(data_path("waits.kith"), F_OK) != 0);
            const kith_status status = ways[w].from
                                           ? build_file(data_path(ways[w].from), data_path("waits.kith"), &options)
                                           : build(&set, data_path("waits.kith"), options, NULL);
            if (status != KITH_OK) fail_msg("%s", error.text);
            assert_int_equal(count_files(), files);
            struct bytes made = read_whole(data_path("waits.kith"));
            if (first.data) {
                assert_same_bytes(first, made, ways[w].from);
                free(made.data);
            } else {
                first = made;
            }
        }
        free(first.data);
    }
    data_free(&set);
}

/* Text is parsed again for its draft; strings and names find their rows. */
static void test_text_and_strings(void **state) {
    enum { ROWS = 1200, DIM = 1800 };
    (void)state;
    FILE *file = fopen(data_path("strings.jsonl"), "wb");
    assert_non_null(file);
    for (int i = 0; i < ROWS; i++) {
        fprintf(file, "{\"id\": \"id-%d\", \"name\": \"%.*s\", \"vector\": [", i * 7919 % 1201, i % 4, "abc");
        for (int j = 0; j < DIM; j++) fprintf(file, "%s%d.5", j ? "," : "", (i * 31 + j * (i % 5)) % 17);
        fputs("]}\n", file);
    }
    assert_int_equal(fclose(file), 0);
    kith_build_options options = with_lists(8);
    options.memory_bytes = 16u << 20; /* half of which the rows do not fit in */
    if (build_file(data_path("strings.jsonl"), data_path("strings.kith"), &options) != KITH_OK)
        fail_msg("%s", error.text);
    assert_int_equal(kith_index_verify(data_path("strings.kith"), NULL, NULL, NULL, &error), KITH_OK);
    kith_index *index = data_open(data_path("strings.kith"));
    assert_true(index->view.lists.count > 1);
    float *vector = take(DIM, sizeof(float));
    for (int i = 0; i < ROWS; i++) {
        char id[32];
        const int length = snprintf(id, sizeof(id), "id-%d", i * 7919 % 1201);
        const char *name;
        size_t bytes;
        uint64_t number;
        assert_int_equal(kith_index_lookup(index, id, (size_t)length, &number), KITH_OK);
        assert_int_equal(number, i);
        assert_int_equal(kith_index_name(index, number, &name, &bytes), KITH_OK);
        assert_int_equal(bytes, i % 4);
        assert_memory_equal(name, "abc", bytes);
        assert_int_equal(kith_index_vector(index, number, vector, &error), KITH_OK);
        for (int j = 0; j < DIM; j++) assert_true(vector[j] == (float)((i * 31 + j * (i % 5)) % 17) + 0.5f);
    }
    free(vector);
    kith_index_close(index);
}

static void test_threads_do_not_show(void **state) {
    static const char *const codes[] = {NULL, "pq:10x4", "rabitq:2"};
    (void)state;
    for (int metric = KITH_L2SQ; metric <= KITH_COSINE; metric++) {
        data_set set = data_make(DATA_SCALES, KITH_F32, (kith_metric)metric, 15000, 70, 3, 1);
        struct bytes file[4];
        for (unsigned i = 0; i < 4; i++) {
            kith_build_options options = with_lists(70);
            options.threads = 1 + i;
            options.code = codes[metric - KITH_L2SQ];
            options.first_level = KITH_FIRST_LEVEL_ON;
            if (build(&set, data_path("same.kith"), options, NULL) != KITH_OK) fail_msg("%s", error.text);
            file[i] = read_whole(data_path("same.kith"));
            assert_same_bytes(file[0], file[i], kith_metric_name((kith_metric)metric));
        }
        for (unsigned i = 0; i < 4; i++) free(file[i].data);
        data_free(&set);
    }
}

static void test_memory_is_bounded(void **state) {
    enum { ROWS = 20000, DIM = 300 };
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, ROWS, DIM, 1, 0);
    write_file(&set, data_path("memory.npy"));
    data_free(&set);
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        kith_build_options options = with_lists_alone(100);
        options.threads = threads;
        options.memory_bytes = 16u << 20;
        faulty_malloc_start(-1, 0);
        const kith_status status = build_file(data_path("memory.npy"), data_path("memory.kith"), &options);
        faulty_malloc_stop();
        if (status != KITH_OK) fail_msg("%s", error.text);
        /* The reader's own buffer is not the builder's. */
        const long peak = atomic_load(&faulty_peak) - (16l << 20), ids = ROWS * 24l;
        if (peak > (20 << 20) + ids) fail_msg("%u threads: %ld bytes at once", threads, peak);
    }
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void refused(const data_set *set, kith_build_options options, kith_status expected, const char *word) {
    const size_t files = count_files();
    const kith_status status = build(set, data_path("refused.kith"), options, NULL);
    if (status != expected || error.status != expected || !strstr(error.text, word))
        fail_msg("status %d, expected %d with '%s': %s", (int)status, (int)expected, word, error.text);
    assert_int_equal(access(data_path("refused.kith"), F_OK), -1);
    assert_int_equal(count_files(), files);
}

static void test_bad_requests(void **state) {
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 200, 8, 1, 0);
    refused(&set, with_lists(KITH_LISTS_MAX + 1), KITH_E_LIMIT, "65537 lists");
    kith_build_options options = with_lists(1);
    options.code = "pq:4x8";
    refused(&set, options, KITH_E_UNSUPPORTED, "two lists");
    options.lists = 0;
    refused(&set, options, KITH_E_UNSUPPORTED, "two lists");
    options.lists = 5;
    options.code = "pq:3x8";
    refused(&set, options, KITH_E_ARG, "3");
    options.code = "zip";
    refused(&set, options, KITH_E_ARG, "zip");
    options.code = "";
    refused(&set, options, KITH_E_ARG, "");
    data_free(&set);
    set = data_make(DATA_EQUAL, KITH_F32, KITH_L2SQ, 200, 8, 1, 0);
    options.code = "rabitq:2";
    refused(&set, options, KITH_E_UNSUPPORTED, "one list");
    data_free(&set);
    set = data_make(DATA_NORMAL, KITH_B1, KITH_HAMMING, 200, 16, 1, 0);
    refused(&set, with_lists(2), KITH_E_UNSUPPORTED, "one list");
    options.lists = 0;
    refused(&set, options, KITH_E_UNSUPPORTED, "bit vectors");
    assert_int_equal(build(&set, data_path("bits.kith"), with_lists(1), NULL), KITH_OK);
    data_free(&set);
    set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, 200, 8, 1, 0);
    assert_int_equal(build(&set, data_path("no/such/folder.kith"), with_lists(4), NULL), KITH_E_NOTFOUND);
    assert_int_equal(build(&set, data_path("."), with_lists(4), NULL), KITH_E_ARG);
    data_free(&set);
}

/* Several workers meet several bad rows: the first one is named, whatever the way rows take. */
static void test_first_bad_row_is_named(void **state) {
    enum { ROWS = 30000, DIM = 70 };
    (void)state;
    data_set set = data_make(DATA_NORMAL, KITH_F32, KITH_L2SQ, ROWS, DIM, 1, 0);
    float *rows = (float *)(void *)set.bytes;
    rows[4000 * DIM + 3] = NAN;
    for (size_t i = 4096; i < ROWS; i += 100) rows[i * DIM] = INFINITY;
    for (unsigned threads = 1; threads <= 4; threads++) {
        kith_build_options options = with_lists_alone(50);
        options.threads = threads;
        refused(&set, options, KITH_E_DATA, "row 4000 holds a NaN");
    }
    write_file(&set, data_path("bad.fvecs"));
    kith_build_options options = with_lists_alone(50);
    options.memory_bytes = 16u << 20;
    options.threads = 3;
    assert_int_equal(build_file(data_path("bad.fvecs"), data_path("refused.kith"), &options), KITH_E_DATA);
    assert_non_null(strstr(error.text, "row 4000 holds a NaN"));
    data_free(&set);
    const uint64_t last = ROWS - 1;
    set = data_make(DATA_NORMAL, KITH_F32, KITH_COSINE, ROWS, 4, 1, 1);
    memset(set.bytes + last * set.row_bytes, 0, set.row_bytes);
    refused(&set, with_lists(50), KITH_E_DATA, "row 29999 is a zero vector");
    memcpy(set.bytes + last * set.row_bytes, set.bytes, set.row_bytes);
    set.ids[last] = set.ids[7];
    refused(&set, with_lists(50), KITH_E_DATA, "rows 7 and 29999 have the same id");
    data_free(&set);
}

struct canceller {
    int calls, after;
    char stages[200];
};

static int cancel(void *context, const kith_progress *progress) {
    struct canceller *c = context;
    if (progress->struct_size != sizeof(*progress) || !progress->stage || !progress->unit) abort();
    if (progress->done > progress->total) abort();
    if (!strstr(c->stages, progress->stage)) {
        strcat(c->stages, progress->stage);
        strcat(c->stages, " ");
    }
    return c->calls++ == c->after;
}

/* At every call of the progress function, and in every stage. */
static void test_cancelling(void **state) {
    enum { ROWS = 9500, DIM = 256 };
    (void)state;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, ROWS, DIM, 5, 0);
    write_file(&set, data_path("cancel.npy"));
    struct canceller c = {0, -1, ""};
    kith_build_options options = with_lists(16);
    options.memory_bytes = 16u << 20;
    options.progress = cancel;
    options.progress_context = &c;
    assert_int_equal(build_file(data_path("cancel.npy"), data_path("cancelled.kith"), &options), KITH_OK);
    static const char *const stages[] = {"reading ", "clustering ", "sorting ", "coding ", "verifying "};
    for (size_t i = 0; i < 5; i++)
        if (!strstr(c.stages, stages[i])) fail_msg("stages %s", c.stages);
    assert_int_equal(unlink(data_path("cancelled.kith")), 0);
    const int calls = c.calls, step = calls / 40 + 1;
    const size_t files = count_files();
    for (int after = 0; after < calls - 2; after += step) {
        c = (struct canceller){0, after, ""};
        const kith_status status = build_file(data_path("cancel.npy"), data_path("cancelled.kith"), &options);
        /* The number of calls depends on who works how fast: a late one may never come. */
        if (status == KITH_OK && c.calls <= after) {
            assert_int_equal(unlink(data_path("cancelled.kith")), 0);
            continue;
        }
        if (status != KITH_E_CANCELLED || !strstr(error.text, "cancelled"))
            fail_msg("call %d of %d (%s): status %d: %s", after, calls, c.stages, (int)status, error.text);
        assert_int_equal(access(data_path("cancelled.kith"), F_OK), -1);
        assert_int_equal(count_files(), files);
    }
    data_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes_stand_for_their_vectors),
        cmocka_unit_test(test_coarse_codes_stand_for_centroids),
        cmocka_unit_test(test_second_codes),
        cmocka_unit_test(test_lists_are_balanced),
        cmocka_unit_test(test_one_heavy_vector),
        cmocka_unit_test(test_few_and_equal_rows),
        cmocka_unit_test(test_nearly_whole),
        cmocka_unit_test(test_memory_does_not_show),
        cmocka_unit_test(test_text_and_strings),
        cmocka_unit_test(test_threads_do_not_show),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_first_bad_row_is_named),
        cmocka_unit_test(test_cancelling),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
