/* SPDX-License-Identifier: Apache-2.0
 *
 * Writers: what they write is read back the same, what they cannot hold is refused, and no file appears before
 * finish. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/io_file.h"

#include "base/rng.h"
#include "io/element.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>

enum { ROWS = 37, DIM = 24 };

static const uint32_t THREE_ENDS[3] = {1, 3, 3 + 20};
static const char THREE_BYTES[] = "a"
                                  "b\""
                                  "\xC3\xA9, ;\t \\ \x01 \xF0\x9F\x8D\x8E  zes";

static kith_writer *writer_open(const char *path, kith_dtype dtype, size_t dim, uint64_t rows, kith_id_kind kind,
                                int names) {
    kith_writer *writer = NULL;
    kith_error error = {0};
    if (kith_writer_open(path, KITH_FORMAT_AUTO, dtype, dim, rows, kind, names, &writer, &error) != KITH_OK)
        fail_msg("%s", error.text);
    return writer;
}

static void write_ok(kith_writer *writer, const kith_rows *rows) {
    kith_error error = {0};
    if (kith_writer_write(writer, rows, &error) != KITH_OK) fail_msg("%s", error.text);
}

static void finish_ok(kith_writer *writer) {
    kith_error error = {0};
    if (kith_writer_finish(writer, &error) != KITH_OK) fail_msg("%s", error.text);
}

/* Values that every dtype holds, or for b1 any bytes. */
static void fill(kith_dtype dtype, unsigned char *data) {
    ki_rng rng = {.state = 3};
    for (size_t i = 0; i < ROWS * DIM; i++) {
        const int value = (int)ki_rng_below(&rng, 100);
        const float f = (float)value;
        uint32_t bits;
        memcpy(&bits, &f, 4);
        const uint16_t upper = (uint16_t)(bits >> 16);
        /* As half: 0 or a number from 1 to 1.9. */
        const uint16_t half = (uint16_t)(value % 10 ? 0x3C00 + value : 0);
        if (dtype == KITH_F32) memcpy(data + i * 4, &f, 4);
        if (dtype == KITH_F16) memcpy(data + i * 2, &half, 2);
        if (dtype == KITH_BF16) memcpy(data + i * 2, &upper, 2);
        if (dtype == KITH_I8 || dtype == KITH_U8) data[i] = (unsigned char)value;
        if (dtype == KITH_B1 && i < ROWS * DIM / 8) data[i] = (unsigned char)(value * 3);
    }
}

/* What comes back is the same bytes, or where the format only has floats the same values. */
static void expect_same(const char *path, kith_dtype dtype, const unsigned char *data) {
    const kith_reader_options options = {.struct_size = sizeof(options),
                                         .dtype = dtype == KITH_B1 ? KITH_B1 : KITH_DTYPE_NONE};
    kith_reader *reader = io_open(path, &options);
    const kith_reader_info info = io_info(reader);
    assert_int_equal(info.rows, ROWS);
    assert_int_equal(info.dim, DIM);
    const kith_rows rows = io_next(reader, ROWS);
    assert_int_equal(rows.count, ROWS);
    if (info.dtype == dtype) {
        assert_memory_equal(rows.data, data, ROWS * kith_row_bytes(dtype, DIM));
    } else {
        assert_int_equal(info.dtype, KITH_F32);
        for (size_t i = 0; i < ROWS * DIM; i++)
            assert_true(((const float *)rows.data)[i] == ki_dtype_float(dtype, data, i));
    }
    kith_reader_close(reader);
}

static void round_trips(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unsigned dtypes;
    } cases[] = {
        {"r.npy", 1u << KITH_F32 | 1u << KITH_F16 | 1u << KITH_BF16 | 1u << KITH_I8 | 1u << KITH_U8 | 1u << KITH_B1},
        {"r.fvecs", 1u << KITH_F32},
        {"r.bvecs", 1u << KITH_U8 | 1u << KITH_B1},
        {"r.ivecs", 1u << KITH_F32 | 1u << KITH_I8 | 1u << KITH_U8},
        {"r.fbin", 1u << KITH_F32},
        {"r.u8bin", 1u << KITH_U8 | 1u << KITH_B1},
        {"r.i8bin", 1u << KITH_I8},
        {"r.ibin", 1u << KITH_F32 | 1u << KITH_I8 | 1u << KITH_U8},
        {"r.csv", 1u << KITH_F32 | 1u << KITH_F16 | 1u << KITH_BF16 | 1u << KITH_I8 | 1u << KITH_U8},
        {"r.tsv", 1u << KITH_F32 | 1u << KITH_F16 | 1u << KITH_BF16 | 1u << KITH_I8 | 1u << KITH_U8},
        {"r.jsonl", 1u << KITH_F32 | 1u << KITH_F16 | 1u << KITH_BF16 | 1u << KITH_I8 | 1u << KITH_U8},
    };
    static unsigned char data[ROWS * DIM * 4];
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++)
        for (int dtype = KITH_F32; dtype <= KITH_B1; dtype++) {
            const char *path = io_path(cases[c].name);
            kith_writer *writer = NULL;
            kith_error error = {0};
            if (!(cases[c].dtypes >> dtype & 1u)) {
                assert_int_equal(kith_writer_open(path, KITH_FORMAT_AUTO, (kith_dtype)dtype, DIM, ROWS, KITH_ID_ROW, 0,
                                                  &writer, &error),
                                 KITH_E_UNSUPPORTED);
                assert_non_null(strstr(error.text, cases[c].name));
                assert_null(writer);
                continue;
            }
            fill((kith_dtype)dtype, data);
            const size_t row_bytes = kith_row_bytes((kith_dtype)dtype, DIM);
            writer = writer_open(path, (kith_dtype)dtype, DIM, ROWS, KITH_ID_ROW, 0);
            for (size_t at = 0; at < ROWS; at += 10) {
                const kith_rows rows = {
                    .first = at, .count = at + 10 > ROWS ? ROWS - at : 10, .data = data + at * row_bytes};
                write_ok(writer, &rows);
            }
            finish_ok(writer);
            expect_same(path, (kith_dtype)dtype, data);
        }
}

/* Every float comes back from text with its bits. */
static void floats_in_text(void **state) {
    (void)state;
    static const char *const names[] = {"f.csv", "f.jsonl"};
    static float data[4000];
    ki_rng rng = {.state = 17};
    for (size_t i = 0; i < 4000; i++) {
        do {
            const uint32_t bits = (uint32_t)ki_rng_next(&rng);
            memcpy(&data[i], &bits, 4);
        } while (!isfinite(data[i]));
    }
    data[0] = -0.0f;
    data[1] = 0x1.fffffep127f;
    data[2] = 0x1p-149f;
    for (int k = 0; k < 2; k++) {
        kith_writer *writer = writer_open(io_path(names[k]), KITH_F32, 40, 100, KITH_ID_ROW, 0);
        write_ok(writer, &(kith_rows){.count = 100, .data = data});
        finish_ok(writer);
        kith_reader *reader = io_open(io_path(names[k]), NULL);
        assert_memory_equal(io_next(reader, 100).data, data, sizeof(data));
        kith_reader_close(reader);
    }
}

static void ids_and_names(void **state) {
    (void)state;
    static const char *const names[] = {"l.csv", "l.tsv", "l.jsonl"};
    const float data[3] = {1, 2, 3};
    const uint64_t ids[3] = {0, UINT64_MAX - 1, 7};
    assert_int_equal(strlen(THREE_BYTES), 23);
    for (int k = 0; k < 3; k++)
        for (int kind = KITH_ID_U64; kind <= KITH_ID_STRING; kind++) {
            const kith_rows rows = {.count = 3,
                                    .data = data,
                                    .ids = ids,
                                    .id_bytes = THREE_BYTES,
                                    .id_ends = THREE_ENDS,
                                    .name_bytes = THREE_BYTES,
                                    .name_ends = THREE_ENDS};
            kith_writer *writer = writer_open(io_path(names[k]), KITH_F32, 1, 3, (kith_id_kind)kind, 1);
            write_ok(writer, &rows);
            finish_ok(writer);
            kith_reader *reader = io_open(io_path(names[k]), NULL);
            assert_int_equal(io_info(reader).id_kind, kind);
            assert_true(io_info(reader).has_names);
            const kith_rows back = io_next(reader, 3);
            assert_memory_equal(back.data, data, sizeof(data));
            if (kind == KITH_ID_U64) {
                assert_memory_equal(back.ids, ids, sizeof(ids));
            } else {
                assert_memory_equal(back.id_ends, THREE_ENDS, sizeof(THREE_ENDS));
                assert_memory_equal(back.id_bytes, THREE_BYTES, 23);
            }
            assert_memory_equal(back.name_ends, THREE_ENDS, sizeof(THREE_ENDS));
            assert_memory_equal(back.name_bytes, THREE_BYTES, 23);
            kith_reader_close(reader);
        }
}

/* The JSON library reads our lines too. */
static void json_is_json(void **state) {
    (void)state;
    const float data[2] = {0.1f, -3e-10f};
    const uint32_t ends[1] = {23};
    kith_writer *writer = writer_open(io_path("j.jsonl"), KITH_F32, 2, 1, KITH_ID_STRING, 1);
    write_ok(writer, &(kith_rows){.count = 1,
                                  .data = data,
                                  .id_bytes = THREE_BYTES,
                                  .id_ends = ends,
                                  .name_bytes = THREE_BYTES,
                                  .name_ends = ends});
    finish_ok(writer);
    json_error_t problem;
    json_t *line = json_load_file(io_path("j.jsonl"), JSON_REJECT_DUPLICATES, &problem);
    if (!line) fail_msg("%s", problem.text);
    assert_string_equal(json_string_value(json_object_get(line, "id")), THREE_BYTES);
    assert_string_equal(json_string_value(json_object_get(line, "name")), THREE_BYTES);
    json_t *vector = json_object_get(line, "vector");
    assert_int_equal(json_array_size(vector), 2);
    assert_true((float)json_number_value(json_array_get(vector, 0)) == data[0]);
    assert_true((float)json_number_value(json_array_get(vector, 1)) == data[1]);
    json_decref(line);
}

/* numpy aligns the data of its files to 64 bytes; so do we. */
static void npy_header(void **state) {
    (void)state;
    unsigned char file[256];
    kith_writer *writer = writer_open(io_path("h.npy"), KITH_U8, 3, 1, KITH_ID_ROW, 0);
    write_ok(writer, &(kith_rows){.count = 1, .data = "xyz"});
    finish_ok(writer);
    assert_int_equal(io_get(io_path("h.npy"), file, sizeof(file)), 131);
    assert_memory_equal(file, "\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3), } ",
                        70);
    assert_int_equal(file[127], '\n');
    assert_memory_equal(file + 128, "xyz", 3);
}

static void refused_at_open(void **state) {
    (void)state;
    static const struct {
        const char *name;
        kith_format format;
        kith_dtype dtype;
        size_t dim;
        uint64_t rows;
        kith_id_kind kind;
        int names;
        kith_status status;
        const char *words;
    } cases[] = {
        {"x.npy", KITH_FORMAT_AUTO, KITH_F32, 2, 1, KITH_ID_STRING, 0, KITH_E_UNSUPPORTED, "string ids"},
        {"x.fbin", KITH_FORMAT_AUTO, KITH_F32, 2, 1, KITH_ID_ROW, 1, KITH_E_UNSUPPORTED, "names"},
        {"x.fvecs", KITH_FORMAT_AUTO, KITH_U8, 2, 1, KITH_ID_ROW, 0, KITH_E_UNSUPPORTED,
         ".fvecs files hold f32, not u8"},
        {"x.u8bin", KITH_FORMAT_AUTO, KITH_I8, 2, 1, KITH_ID_ROW, 0, KITH_E_UNSUPPORTED, "hold u8 or b1, not i8"},
        {"x.csv.gz", KITH_FORMAT_AUTO, KITH_F32, 2, 1, KITH_ID_ROW, 0, KITH_E_UNSUPPORTED, "are read, not written"},
        {"x.data", KITH_FORMAT_AUTO, KITH_F32, 2, 1, KITH_ID_ROW, 0, KITH_E_UNSUPPORTED, "suffix must name a format"},
        {"x.data", KITH_VECS, KITH_F32, 2, 1, KITH_ID_ROW, 0, KITH_E_UNSUPPORTED, "suffix must say"},
        {"x.csv", KITH_FORMAT_AUTO, KITH_B1, 8, 1, KITH_ID_ROW, 0, KITH_E_UNSUPPORTED, "packed bits"},
        {"x.npy", KITH_FORMAT_AUTO, KITH_F32, 0, 1, KITH_ID_ROW, 0, KITH_E_ARG, "no rows of 0 elements"},
        {"x.npy", KITH_FORMAT_AUTO, KITH_F32, 65537, 1, KITH_ID_ROW, 0, KITH_E_ARG, "no rows of 65537 elements"},
        {"x.npy", KITH_FORMAT_AUTO, KITH_F32, 1, UINT64_C(4294967281), KITH_ID_ROW, 0, KITH_E_LIMIT, "4294967281 rows"},
        {"absent/x.npy", KITH_FORMAT_AUTO, KITH_F32, 1, 1, KITH_ID_ROW, 0, KITH_E_NOTFOUND, "cannot create"},
    };
    const size_t files = io_count_files();
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        kith_writer *writer = NULL;
        kith_error error = {0};
        const kith_status status =
            kith_writer_open(io_path(cases[i].name), cases[i].format, cases[i].dtype, cases[i].dim, cases[i].rows,
                             cases[i].kind, cases[i].names, &writer, &error);
        if (status != cases[i].status || !strstr(error.text, cases[i].words))
            fail_msg("%d: %s", (int)status, error.text);
        assert_null(writer);
    }
    assert_int_equal(io_count_files(), files);
    kith_writer_abandon(NULL);
}

/* One row of one number and one label; the failure's words. */
static void refuse_row(const char *name, float value, const char *label, size_t bytes, kith_status expected,
                       const char *words) {
    const uint32_t end = (uint32_t)bytes;
    const kith_rows rows = {.count = 1, .data = &value, .id_bytes = label, .id_ends = &end};
    kith_error error = {0};
    kith_writer *writer = writer_open(io_path(name), KITH_F32, 1, 1, label ? KITH_ID_STRING : KITH_ID_ROW, 0);
    const kith_status status = kith_writer_write(writer, &rows, &error);
    if (status != expected || !strstr(error.text, words)) fail_msg("%d: %s", (int)status, error.text);
    assert_int_equal(kith_writer_write(writer, &rows, &error), KITH_E_ARG);
    assert_int_equal(kith_writer_finish(writer, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "earlier write failed"));
    assert_int_not_equal(access(io_path(name), F_OK), 0);
}

static void refused_at_write(void **state) {
    (void)state;
    static char large[5000];
    memset(large, 'a', sizeof(large));
    refuse_row("w.ivecs", 0.5f, NULL, 0, KITH_E_DATA, "row 0, column 0: 0.5 is no 32-bit whole number");
    refuse_row("w.ibin", 0x1p31f, NULL, 0, KITH_E_DATA, "2.14748365e+09");
    refuse_row("w.ibin", NAN, NULL, 0, KITH_E_DATA, "whole number");
    refuse_row("w.jsonl", INFINITY, NULL, 0, KITH_E_DATA, "JSON has no NaN or infinity");
    refuse_row("w.jsonl", 1, large, 4097, KITH_E_LIMIT, "the id has 4097 bytes");
    refuse_row("w.jsonl", 1, "\xFF", 1, KITH_E_DATA, "not valid UTF-8");
    refuse_row("w.jsonl", 1, "", 0, KITH_E_DATA, "the id is empty");
    refuse_row("w.csv", 1, "a\nb", 3, KITH_E_UNSUPPORTED, "line break; use .jsonl");
}

static void announced_rows(void **state) {
    (void)state;
    const float data[3] = {1, 2, 3};
    kith_error error = {0};
    kith_writer *writer = writer_open(io_path("n.fvecs"), KITH_F32, 1, 2, KITH_ID_ROW, 0);
    write_ok(writer, &(kith_rows){.count = 1, .data = data});
    assert_int_equal(kith_writer_finish(writer, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "1 rows were written, 2 were announced"));
    writer = writer_open(io_path("n.fvecs"), KITH_F32, 1, 2, KITH_ID_ROW, 0);
    assert_int_equal(kith_writer_write(writer, &(kith_rows){.count = 3, .data = data}, &error), KITH_E_ARG);
    kith_writer_abandon(writer);
    writer = writer_open(io_path("n.csv"), KITH_F32, 1, 2, KITH_ID_U64, 0);
    assert_int_equal(kith_writer_write(writer, &(kith_rows){.count = 1, .data = data}, &error), KITH_E_ARG);
    assert_non_null(strstr(error.text, "without the ids"));
    kith_writer_abandon(writer);
    writer = writer_open(io_path("n.csv"), KITH_F32, 1, 2, KITH_ID_ROW, 1);
    assert_int_equal(kith_writer_write(writer, &(kith_rows){.count = 1, .data = data}, &error), KITH_E_ARG);
    kith_writer_abandon(writer);
    assert_int_not_equal(access(io_path("n.fvecs"), F_OK), 0);
    assert_int_not_equal(access(io_path("n.csv"), F_OK), 0);
    /* No rows at all are a file too, where the format can say so. */
    writer = writer_open(io_path("none.npy"), KITH_F32, 5, 0, KITH_ID_ROW, 0);
    write_ok(writer, &(kith_rows){.count = 0});
    finish_ok(writer);
    kith_reader *reader = io_open(io_path("none.npy"), NULL);
    assert_int_equal(io_info(reader).rows, 0);
    assert_int_equal(io_info(reader).dim, 5);
    kith_reader_close(reader);
}

static void nothing_before_finish(void **state) {
    (void)state;
    const float data[1] = {1};
    unsigned char old[8];
    io_put_text("old.fbin", "old");
    const size_t files = io_count_files();
    kith_writer *writer = writer_open(io_path("old.fbin"), KITH_F32, 1, 1, KITH_ID_ROW, 0);
    write_ok(writer, &(kith_rows){.count = 1, .data = data});
    assert_int_equal(io_get(io_path("old.fbin"), old, sizeof(old)), 3);
    kith_writer_abandon(writer);
    assert_int_equal(io_get(io_path("old.fbin"), old, sizeof(old)), 3);
    assert_int_equal(io_count_files(), files);
}

/* Some emulators of other processors hang in the child of a fork; there the next test means nothing. */
static int fork_works(void) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(0);
    for (int i = 0; i < 1000; i++) {
        if (waitpid(child, NULL, WNOHANG) == child) return 1;
        usleep(10000);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}

/* A process that is killed while it writes leaves the old file as it was. */
static void killed(void **state) {
    (void)state;
    unsigned char old[8];
    static float data[1 << 16];
    if (!fork_works()) skip();
    io_put_text("kill.fbin", "old");
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kith_writer *writer = NULL;
        if (kith_writer_open(io_path("kill.fbin"), KITH_FORMAT_AUTO, KITH_F32, 1 << 10, 1 << 20, KITH_ID_ROW, 0,
                             &writer, NULL) != KITH_OK)
            _exit(1);
        for (int i = 0; i < 1 << 14; i++) {
            if (kith_writer_write(writer, &(kith_rows){.count = 64, .data = data}, NULL) != KITH_OK) _exit(1);
            if (i == 20 && write(ready[1], "x", 1) != 1) _exit(1);
            if (i >= 20) pause();
        }
        _exit(1);
    }
    close(ready[1]);
    char letter;
    assert_int_equal(read(ready[0], &letter, 1), 1);
    close(ready[0]);
    assert_int_equal(kill(child, SIGKILL), 0);
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how));
    assert_int_equal(io_get(io_path("kill.fbin"), old, sizeof(old)), 3);
    assert_memory_equal(old, "old", 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),      cmocka_unit_test(floats_in_text), cmocka_unit_test(ids_and_names),
        cmocka_unit_test(json_is_json),     cmocka_unit_test(npy_header),     cmocka_unit_test(refused_at_open),
        cmocka_unit_test(refused_at_write), cmocka_unit_test(announced_rows), cmocka_unit_test(nothing_before_finish),
        cmocka_unit_test(killed),
    };
    return cmocka_run_group_tests(tests, io_folder_make, io_folder_remove);
}
