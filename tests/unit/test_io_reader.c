/* SPDX-License-Identifier: Apache-2.0
 *
 * What all readers share: options, detection of formats, the window of rows, seeking, ids and names beside the vectors,
 * readers from memory; and the words for types. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/io_file.h"

static const char F4_5X2[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2), }";
static const float TEN[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

static const char *five_rows(void) {
    return io_put_npy("five.npy", F4_5X2, TEN, sizeof(TEN));
}

static void words(void **state) {
    (void)state;
    static const struct {
        kith_dtype dtype;
        const char *name, *other;
    } dtypes[] = {{KITH_F32, "f32", "float32"}, {KITH_F16, "f16", "half"}, {KITH_BF16, "bf16", "bfloat16"},
                  {KITH_I8, "i8", "int8"},      {KITH_U8, "u8", "uint8"},  {KITH_B1, "b1", "bits"}};
    static const struct {
        kith_metric metric;
        const char *name, *other;
    } metrics[] = {{KITH_L2SQ, "l2", "euclidean"},
                   {KITH_IP, "ip", "dot"},
                   {KITH_COSINE, "cosine", "angular"},
                   {KITH_HAMMING, "hamming", "hamming"},
                   {KITH_JACCARD, "jaccard", "tanimoto"}};
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(*dtypes); i++) {
        assert_string_equal(kith_dtype_name(dtypes[i].dtype), dtypes[i].name);
        assert_int_equal(kith_dtype_parse(dtypes[i].name), dtypes[i].dtype);
        assert_int_equal(kith_dtype_parse(dtypes[i].other), dtypes[i].dtype);
    }
    for (size_t i = 0; i < sizeof(metrics) / sizeof(*metrics); i++) {
        assert_string_equal(kith_metric_name(metrics[i].metric), metrics[i].name);
        assert_int_equal(kith_metric_parse(metrics[i].name), metrics[i].metric);
        assert_int_equal(kith_metric_parse(metrics[i].other), metrics[i].metric);
    }
    assert_string_equal(kith_dtype_name(KITH_DTYPE_NONE), "?");
    assert_string_equal(kith_dtype_name((kith_dtype)99), "?");
    assert_string_equal(kith_metric_name(KITH_METRIC_NONE), "?");
    assert_int_equal(kith_dtype_parse("f64"), KITH_DTYPE_NONE);
    assert_int_equal(kith_dtype_parse(""), KITH_DTYPE_NONE);
    assert_int_equal(kith_dtype_parse(NULL), KITH_DTYPE_NONE);
    assert_int_equal(kith_metric_parse("l3"), KITH_METRIC_NONE);
    assert_int_equal(kith_metric_parse(NULL), KITH_METRIC_NONE);
}

static void row_bytes(void **state) {
    (void)state;
    assert_int_equal(kith_row_bytes(KITH_F32, 3), 12);
    assert_int_equal(kith_row_bytes(KITH_F16, 3), 6);
    assert_int_equal(kith_row_bytes(KITH_BF16, 3), 6);
    assert_int_equal(kith_row_bytes(KITH_I8, 3), 3);
    assert_int_equal(kith_row_bytes(KITH_U8, 65536), 65536);
    assert_int_equal(kith_row_bytes(KITH_B1, 24), 3);
    assert_int_equal(kith_row_bytes(KITH_B1, 25), 0);
    assert_int_equal(kith_row_bytes(KITH_F32, 0), 0);
    assert_int_equal(kith_row_bytes(KITH_F32, 65537), 0);
    assert_int_equal(kith_row_bytes(KITH_DTYPE_NONE, 8), 0);
    assert_int_equal(kith_row_bytes((kith_dtype)77, 8), 0);
}

static void window(void **state) {
    (void)state;
    static const struct {
        uint64_t first, max, rows;
    } cases[] = {{0, 0, 5}, {2, 0, 3}, {2, 2, 2}, {0, 1, 1}, {4, 99, 1}, {5, 0, 0}, {5, UINT64_MAX, 0}};
    static const char *const texts[] = {
        "five.csv", "0,1\n2,3\n4,5\n6,7\n8,9\n", "five.jsonl",
        ("{\"vector\":[0,1]}\n{\"vector\":[2,3]}\n{\"vector\":[4,5]}\n{\"vector\":[6,7]}\n"
         "{\"vector\":[8,9]}\n")};
    for (int format = 0; format < 3; format++) {
        const char *path = format ? io_put_text(texts[2 * format - 2], texts[2 * format - 1]) : five_rows();
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
            const kith_reader_options options = {
                .struct_size = sizeof(options), .first_row = cases[i].first, .max_rows = cases[i].max};
            kith_reader *reader = io_open(path, &options);
            assert_int_equal(io_info(reader).rows, cases[i].rows);
            kith_rows rows = io_next(reader, 9);
            assert_int_equal(rows.count, cases[i].rows);
            assert_int_equal(rows.first, 0);
            if (rows.count) assert_memory_equal(rows.data, TEN + 2 * cases[i].first, rows.count * 8);
            assert_int_equal(io_next(reader, 9).count, 0);
            assert_int_equal(kith_reader_seek(reader, cases[i].rows, NULL), KITH_OK);
            assert_int_equal(kith_reader_seek(reader, cases[i].rows + 1, NULL), KITH_E_ARG);
            assert_int_equal(kith_reader_seek(reader, cases[i].rows / 2, NULL), KITH_OK);
            rows = io_next(reader, 1);
            assert_int_equal(rows.first, cases[i].rows / 2);
            if (rows.count) assert_memory_equal(rows.data, TEN + 2 * (cases[i].first + rows.first), 8);
            kith_reader_close(reader);
        }
        const kith_reader_options beyond = {.struct_size = sizeof(beyond), .first_row = 6};
        io_refuse_with(path, &beyond, KITH_E_ARG, "has 5 rows, the first asked for is row 6");
    }
}

static void formats_by_content(void **state) {
    (void)state;
    static unsigned char npy[4096];
    const size_t bytes = io_get(five_rows(), npy, sizeof(npy));
    kith_reader *reader = io_open(io_put("plain", npy, bytes), NULL);
    assert_int_equal(io_info(reader).format, KITH_NPY);
    assert_int_equal(io_info(reader).file_bytes, bytes);
    kith_reader_close(reader);
    reader = io_open(io_put_text("json.data", " \n{\"vector\":[1]}\n"), NULL);
    assert_int_equal(io_info(reader).format, KITH_JSONL);
    kith_reader_close(reader);
    reader = io_open(io_put_text("numbers.txt", "1 , 2\n"), NULL);
    assert_int_equal(io_info(reader).format, KITH_CSV);
    kith_reader_close(reader);
    io_refuse(io_put("what.bin", "\x01\x02\x03\x00", 4), KITH_E_UNSUPPORTED, "cannot tell its format");
    io_refuse(io_put("empty", "", 0), KITH_E_UNSUPPORTED, "cannot tell its format");
    io_refuse(io_put("table", "PAR1\x15\x04\x15", 7), KITH_E_UNSUPPORTED, "table: is a Parquet file");
    io_refuse(io_put("table", "ARROW1\0\0", 8), KITH_E_UNSUPPORTED, "is an Arrow file");
    io_refuse(io_put("table.h5", "\x89HDF\r\n\x1a\n", 8), KITH_E_UNSUPPORTED, "python3 -m kith convert");
    const kith_reader_options csv = {.struct_size = sizeof(csv), .format = KITH_CSV};
    reader = io_open(io_put_text("wrong.npy", "1,2\n"), &csv);
    assert_int_equal(io_info(reader).dim, 2);
    kith_reader_close(reader);
}

static void arguments(void **state) {
    (void)state;
    kith_reader *reader = NULL;
    kith_rows rows;
    const kith_reader_options no_size = {.format = KITH_NPY};
    const kith_reader_options bad_dtype = {.struct_size = sizeof(bad_dtype), .dtype = KITH_F16};
    const kith_reader_options bad_format = {.struct_size = sizeof(bad_format), .format = (kith_format)9};
    assert_int_equal(kith_reader_open(NULL, NULL, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_open(five_rows(), NULL, NULL, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_open(five_rows(), &no_size, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_open(five_rows(), &bad_dtype, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_open(five_rows(), &bad_format, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_open(io_path("absent.npy"), NULL, &reader, NULL), KITH_E_NOTFOUND);
    assert_int_equal(kith_reader_open(io_folder, NULL, &reader, NULL), KITH_E_UNSUPPORTED);
    assert_null(reader);
    kith_reader_close(NULL);
    reader = io_open(five_rows(), NULL);
    assert_int_equal(kith_reader_next(reader, 0, &rows, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_next(reader, 1, NULL, NULL), KITH_E_ARG);
    assert_non_null(strstr(kith_reader_path(reader), "five.npy"));
    /* Smaller than the struct of the first release. */
    kith_reader_info small = {.struct_size = offsetof(kith_reader_info, rows), .dim = 66, .rows = 77};
    assert_int_equal(kith_reader_get_info(reader, &small), KITH_E_ARG);
    assert_int_equal(small.dim, 66);
    assert_int_equal(small.rows, 77);
    kith_reader_close(reader);
}

static kith_reader_options beside(const char *ids, const char *names) {
    return (kith_reader_options){.struct_size = sizeof(kith_reader_options), .ids_path = ids, .names_path = names};
}

static void ids_and_names_beside(void **state) {
    (void)state;
    const char *ids = io_put_text("ids.txt", "10\n11\n12\n13\n14"),
               *names = io_put_text("names.txt", "a\n\n c\nd\r\ne\n");
    kith_reader_options options = beside(ids, names);
    options.first_row = 1;
    options.max_rows = 3;
    kith_reader *reader = io_open(five_rows(), &options);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_U64);
    assert_true(io_info(reader).has_names);
    for (int turn = 0; turn < 2; turn++) {
        kith_rows rows = io_next(reader, 2);
        assert_int_equal(rows.ids[0], 11);
        assert_int_equal(rows.ids[1], 12);
        assert_int_equal(rows.name_ends[0], 0);
        assert_int_equal(rows.name_ends[1], 2);
        assert_memory_equal(rows.name_bytes, " c", 2);
        rows = io_next(reader, 2);
        assert_int_equal(rows.count, 1);
        assert_int_equal(rows.ids[0], 13);
        assert_memory_equal(rows.name_bytes, "d", 1);
        assert_int_equal(rows.name_ends[0], 1);
        assert_int_equal(kith_reader_seek(reader, 0, NULL), KITH_OK);
    }
    kith_reader_close(reader);
    /* They take the place of a file's own, even of ids that would be refused. */
    options = beside(ids, names);
    reader = io_open(io_put_text("own.csv", "id,name,x\n-1,v,1\n,w,2\n2,x,3\n2,y,4\nz,z,5\n"), &options);
    kith_rows rows = io_next(reader, 5);
    assert_int_equal(rows.ids[4], 14);
    assert_memory_equal(rows.name_bytes, "a cde", 5);
    assert_int_equal(io_info(reader).dim, 1);
    kith_reader_close(reader);
    options = beside(io_put_text("words.txt", "10\n11\nx\n13\n14"), NULL);
    reader = io_open(five_rows(), &options);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_STRING);
    rows = io_next(reader, 5);
    assert_memory_equal(rows.id_bytes, "1011x1314", 9);
    kith_reader_close(reader);
}

static void ids_from_npy(void **state) {
    (void)state;
    uint64_t ids[5] = {5, 4, 3, 2, UINT64_MAX - 1};
    static const char *const good[] = {"{'descr': '<u8', 'fortran_order': False, 'shape': (5,), }",
                                       "{'descr': '<u8', 'fortran_order': False, 'shape': (5, 1), }"};
    for (int i = 0; i < 2; i++) {
        kith_reader_options options = beside(io_put_npy("ids.npy", good[i], ids, sizeof(ids)), NULL);
        kith_reader *reader = io_open(five_rows(), &options);
        assert_int_equal(kith_reader_seek(reader, 1, NULL), KITH_OK);
        assert_memory_equal(io_next(reader, 9).ids, ids + 1, 32);
        kith_reader_close(reader);
    }
    static const char *const bad[] = {
        "{'descr': '<i8', 'fortran_order': False, 'shape': (5,), }",   "row 4: id -2 is negative",
        "{'descr': '<u4', 'fortran_order': False, 'shape': (10,), }",  "type u4",
        "{'descr': '<u8', 'fortran_order': False, 'shape': (1, 5), }", "2 dimensions"};
    for (int i = 0; i < 3; i++) {
        kith_error error = {0};
        kith_reader_options options = beside(io_put_npy("ids.npy", bad[2 * i], ids, sizeof(ids)), NULL);
        assert_int_not_equal(io_read_all(five_rows(), &options, 9, &error), KITH_OK);
        if (!strstr(error.text, bad[2 * i + 1])) fail_msg("%s", error.text);
    }
}

static void sides_refused(void **state) {
    (void)state;
    static const struct {
        int ids;
        const char *text;
        kith_status status;
        const char *words;
    } cases[] = {
        {1, "1\n2\n3\n4\n", KITH_E_FORMAT, "has 4 ids, but"},
        {1, "1\n2\n3\n4\n5\n6", KITH_E_FORMAT, "has 6 ids, but"},
        {0, "a\nb\nc\nd\n", KITH_E_FORMAT, "has 4 names, but"},
        {0, "", KITH_E_FORMAT, "has 0 names, but"},
        {1, "1\n2\n\n4\n5\n", KITH_E_FORMAT, "line 3: the id is empty"},
        {1, "1\n-2\n3\n4\n5\n", KITH_E_DATA, "line 2: id -2 is negative"},
        {0, "a\nb\nc\xFF\nd\ne\n", KITH_E_FORMAT, "line 3: the name is not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        kith_error error = {0};
        const char *path = io_put_text("side.txt", cases[i].text);
        const kith_reader_options options = cases[i].ids ? beside(path, NULL) : beside(NULL, path);
        assert_int_equal(io_read_all(five_rows(), &options, 2, &error), cases[i].status);
        if (!strstr(error.text, cases[i].words) || !strstr(error.text, "side.txt")) fail_msg("%s", error.text);
    }
    const kith_reader_options absent = beside(io_path("absent.txt"), NULL);
    kith_error error = {0};
    assert_int_equal(io_read_all(five_rows(), &absent, 2, &error), KITH_E_NOTFOUND);
}

static void from_memory(void **state) {
    (void)state;
    const uint64_t ids[5] = {9, 8, 7, 6, 5};
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_from_memory(TEN, KITH_F32, 5, 2, 0, ids, &reader, NULL), KITH_OK);
    assert_string_equal(kith_reader_path(reader), "(memory)");
    assert_int_equal(io_info(reader).rows, 5);
    kith_rows rows = io_next(reader, 3);
    assert_ptr_equal(rows.data, TEN); /* lent, not copied */
    assert_ptr_equal(rows.ids, ids);
    rows = io_next(reader, 3);
    assert_int_equal(rows.first, 3);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.ids[0], 6);
    assert_int_equal(io_next(reader, 1).count, 0);
    assert_int_equal(kith_reader_seek(reader, 1, NULL), KITH_OK);
    assert_ptr_equal(io_next(reader, 1).data, TEN + 2);
    kith_reader_close(reader);
    /* A stride, and rows that are not aligned. */
    assert_int_equal(kith_reader_from_memory(TEN, KITH_F32, 3, 2, 16, NULL, &reader, NULL), KITH_OK);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_ROW);
    rows = io_next(reader, 9);
    assert_memory_equal(rows.data, ((float[]){0, 1, 4, 5, 8, 9}), 24);
    kith_reader_close(reader);
    unsigned char shifted[41];
    memcpy(shifted + 1, TEN, 40);
    assert_int_equal(kith_reader_from_memory(shifted + 1, KITH_F32, 5, 2, 0, NULL, &reader, NULL), KITH_OK);
    rows = io_next(reader, 9);
    assert_int_equal((uintptr_t)rows.data % 64, 0);
    assert_memory_equal(rows.data, TEN, 40);
    kith_reader_close(reader);
    assert_int_equal(kith_reader_from_memory(NULL, KITH_F32, 0, 2, 0, NULL, &reader, NULL), KITH_OK);
    assert_int_equal(io_next(reader, 1).count, 0);
    kith_reader_close(reader);
}

static void from_memory_refused(void **state) {
    (void)state;
    kith_reader *reader = NULL;
    assert_int_equal(kith_reader_from_memory(NULL, KITH_F32, 1, 2, 0, NULL, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_from_memory(TEN, KITH_F32, 1, 2, 0, NULL, NULL, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_from_memory(TEN, KITH_F32, 1, 0, 0, NULL, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_from_memory(TEN, KITH_B1, 1, 9, 0, NULL, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_from_memory(TEN, KITH_DTYPE_NONE, 1, 8, 0, NULL, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_from_memory(TEN, KITH_F32, 1, 2, 7, NULL, &reader, NULL), KITH_E_ARG);
    assert_int_equal(kith_reader_from_memory(TEN, KITH_F32, UINT64_MAX, 2, 0, NULL, &reader, NULL), KITH_E_LIMIT);
    assert_int_equal(kith_reader_from_memory(TEN, KITH_F32, KITH_ROWS_MAX, 2, SIZE_MAX / 2, NULL, &reader, NULL),
                     KITH_E_ARG);
    assert_null(reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),        cmocka_unit_test(row_bytes),
        cmocka_unit_test(window),       cmocka_unit_test(formats_by_content),
        cmocka_unit_test(arguments),    cmocka_unit_test(ids_and_names_beside),
        cmocka_unit_test(ids_from_npy), cmocka_unit_test(sides_refused),
        cmocka_unit_test(from_memory),  cmocka_unit_test(from_memory_refused),
    };
    return cmocka_run_group_tests(tests, io_folder_make, io_folder_remove);
}
