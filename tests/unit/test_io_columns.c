/* SPDX-License-Identifier: Apache-2.0
 *
 * How columns of csv and keys of jsonl are taken: what data frames and their like write by default is read as they mean
 * it, what may be meant in two ways is refused, and the reader says what it took for what. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/io_file.h"

#include <stdbool.h>

static void expect_columns(const kith_reader *reader, const char *words) {
    if (!strstr(io_info(reader).columns, words)) fail_msg("'%s' is not in: %s", words, io_info(reader).columns);
}

/* The file's rows are `rows` of two floats, without ids, and its columns are told so. */
static void expect(const char *name, const char *text, const kith_reader_options *options, const float *rows,
                   size_t count, const char *columns) {
    kith_reader *reader = io_open(io_put_text(name, text), options);
    if (io_info(reader).rows != count || io_info(reader).dim != 2)
        fail_msg("%s: %zu x %zu", text, (size_t)io_info(reader).rows, io_info(reader).dim);
    assert_memory_equal(io_next(reader, 9).data, rows, count * 2 * sizeof(float));
    expect_columns(reader, columns);
    kith_reader_close(reader);
}

/* pandas' DataFrame.to_csv(): with its index and without, and read and saved again. */
static void frames(void **state) {
    (void)state;
    static const float rows[] = {1.5f, 2, 4, 5};
    static const struct {
        const char *text, *columns;
        bool ids, guessed;
    } cases[] = {
        {"0,1\n1.5,2\n4,5\n", "header of numbers; vectors: column 1, '0' to column 2, '1'", false, true},
        {",0,1\n0,1.5,2\n1,4,5\n", "header of numbers; ids: column 1 (numbers); vectors: column 2, '0'", true, true},
        {",x,y\n0,1.5,2\n1,4,5\n", "header; ids: column 1 (numbers)", true, false},
        {"Unnamed: 0,x,y\n0,1.5,2\n1,4,5\n", "ids: column 1, 'Unnamed: 0'", true, false},
        {"index,0,1\n0,1.5,2\n1,4,5\n", "ids: column 1, 'index'", true, true},
        {",id,x,y\n5,0,1.5,2\n6,1,4,5\n", "ids: column 2, 'id' (numbers); left out: column 1; vectors: column 3", true,
         false},
        {"\"\",\"V1\",\"V2\"\n0,1.5,2\n1,4,5\n", "ids: column 1 (numbers)", true, false},
        {"Id,x,y\n0,1.5,2\n1,4,5\n", "ids: column 1, 'Id'", true, false},
        {"x,ID,y\n1.5,0,2\n4,1,5\n", "ids: column 2, 'ID'", true, false},
        {"0 1\n1.5 2\n4 5\n", "header of numbers", false, true},
        {" 1.5   2\n\t4 5 \n", "no header; vectors: column 1 to column 2", false, false},
        {"x y\n1.5 2\n4 5\n", "header; vectors: column 1, 'x'", false, false},
        {"\"id\",\"x\",\"y\"\n\"0\",\"1.5\",\"2\"\n\"1\",\"4\",\"5\"\n", "ids: column 1, 'id' (numbers)", true, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        expect("f.csv", cases[i].text, NULL, rows, 2, cases[i].columns);
        kith_reader *reader = io_open(io_path("f.csv"), NULL);
        assert_int_equal(io_info(reader).id_kind, cases[i].ids ? KITH_ID_U64 : KITH_ID_ROW);
        assert_int_equal(io_info(reader).guessed_header, cases[i].guessed);
        const kith_rows batch = io_next(reader, 2);
        if (cases[i].ids) assert_true(batch.ids[0] == 0 && batch.ids[1] == 1);
        kith_reader_close(reader);
    }
    kith_reader *reader = io_open(io_put_text("s.csv", ",0,1\na,1.5,2\nb,4,5\n"), NULL);
    assert_int_equal(io_info(reader).id_kind, KITH_ID_STRING);
    assert_memory_equal(io_next(reader, 2).id_bytes, "ab", 2);
    kith_reader_close(reader);
    /* The index is asked for by its number, or other ids come from beside. */
    const kith_reader_options first = {.struct_size = sizeof(first), .id_column = "1"};
    expect("f.csv", ",0,1\n0,1.5,2\n1,4,5\n", &first, rows, 2, "ids: column 1 (numbers)");
    const kith_reader_options beside = {.struct_size = sizeof(beside), .ids_path = io_put_text("ids.txt", "8\n9\n")};
    expect("f.csv", ",0,1\n0,1.5,2\n1,4,5\n", &beside, rows, 2, "left out: column 1; vectors");
}

/* What only looks like a header of numbers is a vector. */
static void counting_vectors(void **state) {
    (void)state;
    expect("c.csv", "0,1\n", NULL, (float[]){0, 1}, 1, "no header");
    expect("c.csv", "0,1\n2,3\n4,5\n", NULL, (float[]){0, 1, 2, 3, 4, 5}, 3, "no header");
    expect("c.csv", "1,2\n3,4\n", NULL, (float[]){1, 2, 3, 4}, 2, "no header");
    expect("c.csv", "0.0,1.0\n3,4.5\n", NULL, (float[]){0, 1, 3, 4.5f}, 2, "no header");
    kith_reader *reader = io_open(io_put_text("one.csv", "0\n1.5\n"), NULL);
    assert_int_equal(io_info(reader).rows, 2);
    kith_reader_close(reader);
    reader = io_open(io_put_text("three.csv", "0,1,2\n7,7,7\n"), NULL);
    assert_int_equal(io_info(reader).rows, 1);
    kith_reader_close(reader);
    const char *both = io_put_text("both.csv", "0,1\n1,0\n");
    io_refuse(both, KITH_E_FORMAT, "line 1: 0 and 1 may be a header or a vector");
    kith_reader_options options = {.struct_size = sizeof(options), .header = KITH_HEADER_NO};
    expect("both.csv", "0,1\n1,0\n", &options, (float[]){0, 1, 1, 0}, 2, "no header");
    expect("c.csv", "0,1\n1.5,0\n", &options, (float[]){0, 1, 1.5f, 0}, 2, "no header");
    io_refuse_with(io_put_text("w.csv", "x,y\n1,2\n"), &options, KITH_E_FORMAT, "line 1: field 1 is 'x'");
    options.header = KITH_HEADER_YES;
    expect("both.csv", "0,1\n1,0\n", &options, (float[]){1, 0}, 1, "header; vectors: column 1, '0'");
    expect("c.csv", "7,8\n1,0\n", &options, (float[]){1, 0}, 1, "header; vectors: column 1, '7'");
    options.header = (kith_header)3;
    kith_reader *none = NULL;
    assert_int_equal(kith_reader_open(both, &options, &none, NULL), KITH_E_ARG);
}

static void refusals(void **state) {
    (void)state;
    io_refuse(io_put_text("r.csv", "id,ID,x\n1,2,3\n"), KITH_E_FORMAT, "columns 1 and 2 are both called 'id'");
    io_refuse(io_put_text("r.csv", "Name,x,NAME\n1,2,3\n"), KITH_E_FORMAT, "columns 1 and 3 are both called 'name'");
    io_refuse(io_put_text("r.csv", ",1.5,2\n1,2,3\n"), KITH_E_FORMAT, "line 1: field 1 is ''");
    io_refuse(io_put_text("r.csv", "1|2\n3|4\n"), KITH_E_FORMAT,
              "line 2: field 1 is '3|4', a number was expected (the line before was taken for a header");
    io_refuse(io_put_text("r.csv", "a b\n3;4\n"), KITH_E_FORMAT, "taken for a header");
    /* What has no columns is not silently asked for one. */
    const kith_reader_options sku = {.struct_size = sizeof(sku), .id_column = "sku"};
    const char *npy = io_put_npy("x.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }", "ab", 2);
    io_refuse_with(npy, &sku, KITH_E_UNSUPPORTED, "has no column 'sku'");
    io_refuse_with(io_put_text("k.jsonl", "{\"a\": 1, \"vector\": [1]}\n"), &sku, KITH_E_NOTFOUND,
                   "line 1: there is no key \"sku\" among \"a\", \"vector\"");
}

static void lists(void **state) {
    (void)state;
    static const float rows[] = {0.5f, 2, 4, 5};
    static const struct {
        const char *text, *columns;
    } cases[] = {
        {"id,text,embedding\n7,\"a, b\",\"[0.5, 2]\"\n8,c,\"[4,5]\"\n",
         "header; ids: column 1, 'id' (numbers); vectors: lists in column 3, 'embedding'; left out: column 2, 'text'"},
        {"embedding\n[0.5 2]\n[4.  5. ]\n", "vectors: lists in column 1, 'embedding'"},
        {"id;v\n7;[0.5, 2]\n8;[ 4 , 5 ]\n", "lists in column 2, 'v'"},
        {",v,1\n7,\"[0.5, 2]\",5\n8,\"[4, 5]\",6\n", "ids: column 1 (numbers); vectors: lists in column 2, 'v'; left "
                                                     "out: column 3, '1'"},
        {"\"[0.5, 2]\"\n\"[4, 5]\"\n", "no header; vectors: lists in column 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        expect("l.csv", cases[i].text, NULL, rows, 2, cases[i].columns);
    const char *two = io_put_text("two.csv", "a,b\n\"[1,2]\",\"[0.5,2]\"\n\"[3,4]\",\"[4,5]\"\n");
    io_refuse(two, KITH_E_FORMAT, "2 columns of lists");
    kith_reader_options options = {.struct_size = sizeof(options), .vector_key = "b"};
    expect("two.csv", "a,b\n\"[1,2]\",\"[0.5,2]\"\n\"[3,4]\",\"[4,5]\"\n", &options, rows, 2, "lists in column 2, 'b'");
    options.vector_key = "2";
    expect("two.csv", "a,b\n\"[1,2]\",\"[0.5,2]\"\n\"[3,4]\",\"[4,5]\"\n", &options, rows, 2,
           "left out: column 1, 'a'");
    options.vector_key = "c";
    io_refuse_with(two, &options, KITH_E_NOTFOUND, "no column 'c'");
    options.vector_key = "v";
    io_refuse_with(io_put_text("n.csv", "v,w\n1,2\n"), &options, KITH_E_FORMAT, "a list of numbers in square brackets");
    static const struct {
        const char *row, *words;
    } bad[] = {
        {"[1, 2, 3]", "line 3: the list has 3 numbers, but the first one has 2"},
        {"[1]", "the list has 1 numbers"},
        {"[]", "the list has 0 numbers"},
        {"[1, x]", "line 3: column 2: a number was expected at 'x]'"},
        {"[1, 2", "a list of numbers in square brackets was expected"},
        {"[1, 2,]", "a number was expected at ']'"},
        {"[1 2;3]", "a comma or a space was expected at ';3]'"},
        {"[1 ... 3]", "shortened"},
        {"[1, 1e99]", "a number that a 32-bit float can hold"},
        {"[None, 1]", "a number was expected at 'None, 1]'"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[128];
        snprintf(text, sizeof(text), "id,v\n1,\"[1, 2]\"\n2,\"%s\"\n", bad[i].row);
        io_refuse(io_put_text("bad.csv", text), KITH_E_FORMAT, bad[i].words);
    }
}

static void keys(void **state) {
    (void)state;
    static const float rows[] = {0.5f, 2, 4, 5};
    static const struct {
        const char *text, *columns;
    } cases[] = {
        {"{\"embedding\": [0.5, 2], \"ID\": \"a\"}\n{\"ID\": \"b\", \"embedding\": [4, 5]}\n",
         "vectors: \"embedding\"; ids: \"ID\" (strings)"},
        {"{\"_id\": 4, \"values\": [0.5, 2], \"Name\": \"x\"}\n{\"values\": [4, 5], \"_id\": 5}\n",
         "vectors: \"values\"; ids: \"_id\" (numbers); names: \"Name\""},
        {"{\"emb\": [1], \"vector\": [0.5, 2], \"id\": 1, \"_id\": {}}\n{\"vector\": [4, 5], \"id\": 2}\n",
         "vectors: \"vector\"; ids: \"id\" (numbers)"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        expect("k.jsonl", cases[i].text, NULL, rows, 2, cases[i].columns);
    const char *text = "{\"a\": [0.5, 2], \"b\": [1], \"key\": \"x\", \"t\": \"y\"}\n"
                       "{\"a\": [4, 5], \"b\": [1], \"key\": \"z\"}\n";
    const kith_reader_options asked = {
        .struct_size = sizeof(asked), .vector_key = "a", .id_column = "key", .name_column = "t"};
    expect("a.jsonl", text, &asked, rows, 2, "vectors: \"a\"; ids: \"key\" (strings); names: \"t\"");
    io_refuse(io_path("a.jsonl"), KITH_E_FORMAT, "has no \"vector\" among its keys \"a\", \"b\", \"key\", \"t\"");
    io_refuse(io_put_text("t.jsonl", "{\"emb\": [1], \"values\": [2]}\n"), KITH_E_FORMAT,
              "each of \"values\" and \"emb\" may be the vector");
    io_refuse(io_put_text("t.jsonl", "{\"Id\": 1, \"ID\": 2, \"vector\": [2]}\n"), KITH_E_FORMAT,
              "several keys called \"id\"");
}

/* What a csv of ours says comes back the same: ids that look like numbers, and a first row that looks like a header. */
static void written(void **state) {
    (void)state;
    static const char *const names[] = {"w.csv", "w.tsv", "w.jsonl"};
    static const char bytes[] = "-7718446744073709551615x";
    static const uint32_t ends[4] = {2, 3, 23, 24};
    const float data[4] = {1, 2, 3, 4};
    kith_error error = {0};
    for (size_t count = 3; count <= 4; count++)
        for (int k = 0; k < 3; k++) {
            kith_writer *writer = NULL;
            assert_int_equal(kith_writer_open(io_path(names[k]), KITH_FORMAT_AUTO, KITH_F32, 1, count, KITH_ID_STRING,
                                              0, &writer, &error),
                             KITH_OK);
            const kith_rows rows = {.count = count, .data = data, .id_bytes = bytes, .id_ends = ends};
            assert_int_equal(kith_writer_write(writer, &rows, &error), KITH_OK);
            assert_int_equal(kith_writer_finish(writer, &error), KITH_OK);
            kith_reader *reader = io_open(io_path(names[k]), NULL);
            assert_int_equal(io_info(reader).id_kind, KITH_ID_STRING);
            const kith_rows back = io_next(reader, 9);
            assert_int_equal(back.count, count);
            assert_memory_equal(back.id_ends, ends, count * sizeof(*ends));
            assert_memory_equal(back.id_bytes, bytes, ends[count - 1]);
            kith_reader_close(reader);
        }
    static const float counting[6] = {0, 1, 2, 0.5f, 7, 8};
    kith_writer *writer = NULL;
    assert_int_equal(
        kith_writer_open(io_path("c.csv"), KITH_FORMAT_AUTO, KITH_F32, 3, 2, KITH_ID_ROW, 0, &writer, &error), KITH_OK);
    assert_int_equal(kith_writer_write(writer, &(kith_rows){.count = 2, .data = counting}, &error), KITH_OK);
    assert_int_equal(kith_writer_finish(writer, &error), KITH_OK);
    kith_reader *reader = io_open(io_path("c.csv"), NULL);
    assert_int_equal(io_info(reader).rows, 2);
    assert_memory_equal(io_next(reader, 9).data, counting, sizeof(counting));
    kith_reader_close(reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames),   cmocka_unit_test(counting_vectors),
        cmocka_unit_test(refusals), cmocka_unit_test(lists),
        cmocka_unit_test(keys),     cmocka_unit_test(written),
    };
    return cmocka_run_group_tests(tests, io_folder_make, io_folder_remove);
}
