/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows that are left out because they are bad, and values that are rounded because they were asked to be. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/io_file.h"

#include <math.h>

static const kith_reader_options skip = {.struct_size = sizeof(skip), .skip_bad = 1};

static void expect_skipped(const kith_reader *reader, uint64_t place, uint64_t row, const char *words) {
    uint64_t found = 0;
    const char *why = NULL;
    assert_int_equal(kith_reader_skipped(reader, place, &found, &why, NULL), KITH_OK);
    assert_int_equal(found, row);
    if (!strstr(why, words)) fail_msg("'%s' is not in: %s", words, why);
}

static const char mixed[] = "id,x,y\n"
                            "1,1,2\n"   /* row 0, line 2 */
                            "2,1\n"     /* too few */
                            "3,nan,1\n" /* no number */
                            "4,4,5\n"
                            "5,4,5,6\n" /* too many */
                            ",7,7\n"    /* no id */
                            "-7,7,7\n"  /* a bad one */
                            "8,1e99,1\n"
                            "9,\"1\n" /* quotes that are not closed */
                            "10,0,0\n"
                            "11,inf,0\n"
                            "12,3e38,3e38\n" /* too long */
                            "13,8,9\n";

static void text(void **state) {
    (void)state;
    kith_reader *reader = io_open(io_put_text("m.csv", mixed), &skip);
    kith_reader_info info = io_info(reader);
    assert_int_equal(info.rows, 4);
    assert_int_equal(info.skipped, 9);
    assert_int_equal(info.id_kind, KITH_ID_U64);
    static const uint64_t ids[] = {1, 4, 10, 13};
    static const float values[] = {1, 2, 4, 5, 0, 0, 8, 9};
    for (int turn = 0; turn < 2; turn++) {
        uint64_t seen = 0;
        for (kith_rows rows = io_next(reader, 9); rows.count; rows = io_next(reader, 9)) {
            assert_int_equal(rows.first, seen);
            for (size_t i = 0; i < rows.count; i++, seen++) {
                assert_int_equal(rows.ids[i], ids[seen]);
                assert_memory_equal((const float *)rows.data + 2 * i, values + 2 * seen, 8);
            }
        }
        assert_int_equal(seen, 4);
        assert_int_equal(kith_reader_seek(reader, 0, NULL), KITH_OK);
    }
    assert_int_equal(kith_reader_seek(reader, 2, NULL), KITH_OK);
    assert_int_equal(io_next(reader, 9).ids[0], 10);
    expect_skipped(reader, 0, 1, "m.csv: line 3: has 2 fields, 3 were expected");
    expect_skipped(reader, 1, 2, "m.csv: line 4: element 0 is NaN");
    expect_skipped(reader, 2, 4, "line 6: has more than the 3 fields");
    expect_skipped(reader, 3, 5, "line 7: the id is empty");
    expect_skipped(reader, 4, 6, "line 8: id -7 is negative");
    expect_skipped(reader, 5, 7, "line 9: field 2 is 1e99");
    expect_skipped(reader, 6, 8, "line 10: the quotes of field 2");
    expect_skipped(reader, 7, 10, "line 12: element 0 is infinite");
    expect_skipped(reader, 8, 11, "line 13: the vector is too long");
    uint64_t row;
    const char *why;
    assert_int_equal(kith_reader_skipped(reader, 9, &row, &why, NULL), KITH_E_ARG);
    kith_reader_close(reader);
    kith_reader_options zero = skip;
    zero.skip_zero = 1;
    reader = io_open(io_path("m.csv"), &zero);
    assert_int_equal(io_info(reader).skipped, 10);
    expect_skipped(reader, 7, 9, "line 11: the vector is zero, which has no cosine");
    kith_reader_close(reader);
    io_refuse(io_path("m.csv"), KITH_E_FORMAT, "line 7: the id is empty");
}

/* Ids are the row numbers of the file, as they are without leaving out; what stands beside stays beside its row. */
static void rows_keep_their_numbers(void **state) {
    (void)state;
    const char *path = io_put_text("r.jsonl", "{\"vector\":[1]}\n{\"vector\":[NaN]}\n{\"vector\":[2,3]}\n{}\n"
                                              "{\"vector\":[5]}\n{\"vector\":[6]}\n");
    kith_reader *reader = io_open(path, &skip);
    assert_int_equal(io_info(reader).rows, 3);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_U64);
    kith_rows rows = io_next(reader, 9);
    assert_int_equal(rows.count, 1);
    assert_int_equal(rows.ids[0], 0);
    rows = io_next(reader, 9);
    assert_int_equal(rows.count, 2);
    assert_true(rows.ids[0] == 4 && rows.ids[1] == 5);
    assert_memory_equal(rows.data, ((float[]){5, 6}), 8);
    kith_reader_close(reader);
    kith_reader_options options = skip;
    options.first_row = 1;
    options.max_rows = 4;
    options.names_path = io_put_text("names.txt", "a\nb\nc\nd\ne\nf\n");
    reader = io_open(path, &options);
    assert_int_equal(io_info(reader).rows, 1);
    rows = io_next(reader, 9);
    assert_int_equal(rows.ids[0], 3); /* row 4 of the file, 3 of the window */
    assert_memory_equal(rows.name_bytes, "e", 1);
    expect_skipped(reader, 0, 1, "line 2: element 0 is NaN");
    kith_reader_close(reader);
    reader = io_open(io_put_text("good.jsonl", "{\"vector\":[1]}\n"), &skip);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_ROW);
    assert_int_equal(io_info(reader).skipped, 0);
    kith_reader_close(reader);
}

static void arrays(void **state) {
    (void)state;
    float rows[40];
    for (int i = 0; i < 40; i++) rows[i] = (float)i;
    rows[6] = NAN;
    rows[7] = NAN;
    rows[39] = INFINITY;
    const char *path =
        io_put_npy("a.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (20, 2), }", rows, sizeof(rows));
    kith_reader *reader = io_open(path, &skip);
    assert_int_equal(io_info(reader).rows, 18);
    expect_skipped(reader, 0, 3, "a.npy: row 3: element 0 is NaN");
    expect_skipped(reader, 1, 19, "row 19: element 1 is infinite");
    assert_int_equal(io_next(reader, 99).count, 3);
    const kith_rows rest = io_next(reader, 99);
    assert_int_equal(rest.count, 15);
    assert_int_equal(rest.ids[0], 4);
    kith_reader_close(reader);
    const double wide[] = {1, 2, 0.1, 3, 4, 5};
    path = io_put_npy("w.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }", wide, sizeof(wide));
    reader = io_open(path, &skip);
    assert_int_equal(io_info(reader).rows, 2);
    expect_skipped(reader, 0, 1, "row 1, column 0: 0.1");
    kith_reader_close(reader);
    float many[2 * 30];
    for (int i = 0; i < 60; i++) many[i] = NAN;
    many[0] = many[1] = 1;
    path = io_put_npy("m.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (30, 2), }", many, sizeof(many));
    reader = io_open(path, &skip);
    assert_int_equal(io_info(reader).skipped, 29);
    expect_skipped(reader, 9, 10, "row 10");
    expect_skipped(reader, 10, 11, "");
    kith_reader_close(reader);
}

static void rounding(void **state) {
    (void)state;
    const kith_reader_options round = {.struct_size = sizeof(round), .round = 1};
    const double wide[] = {0.1, -1e-300, 0x1.fffffefffffffp127, 1 + 0x1p-24, 1 + 3 * 0x1p-24, NAN};
    const float narrow[] = {0.1f, -0.0f, 0x1.fffffep127f, 1, 1 + 0x1p-22f};
    const char *head = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }";
    io_refuse(io_put_npy("w.npy", head, wide, sizeof(wide)), KITH_E_DATA,
              "is not exact as a 32-bit float; to have it rounded, set the reader's option round (in the command: "
              "--round)");
    kith_reader *reader = io_open(io_path("w.npy"), &round);
    const kith_rows rows = io_next(reader, 9);
    assert_memory_equal(rows.data, narrow, sizeof(narrow));
    assert_true(isnan(((const float *)rows.data)[5]));
    kith_reader_close(reader);
    const double large[] = {1, 2, 3, 0x1.ffffffp127, 5, 6};
    io_refuse_with(io_put_npy("w.npy", head, large, sizeof(large)), &round, KITH_E_DATA,
                   "row 1, column 1: 3.4028235677973366e+38 is beyond 32-bit floats");
    const int64_t whole[] = {16777217, -16777219};
    reader =
        io_open(io_put_npy("i.npy", "{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }", whole, 16), &round);
    assert_memory_equal(io_next(reader, 1).data, ((float[]){16777216, -16777220}), 8);
    kith_reader_close(reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text),
        cmocka_unit_test(rows_keep_their_numbers),
        cmocka_unit_test(arrays),
        cmocka_unit_test(rounding),
    };
    return cmocka_run_group_tests(tests, io_folder_make, io_folder_remove);
}
