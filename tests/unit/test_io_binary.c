/* SPDX-License-Identifier: Apache-2.0
 *
 * .npy, .vecs and .bin files: what is read, what is refused and with which words, and hostile headers. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/io_file.h"

#include <math.h>

static const char F4_2X3[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
static const float SIX[6] = {1, -2, 3.5f, 0, 1e30f, -0.25f};

static void expect_floats(const char *path, const float *expected, size_t rows, size_t dim) {
    kith_reader *reader = io_open(path, NULL);
    const kith_reader_info info = io_info(reader);
    assert_int_equal(info.dtype, KITH_F32);
    assert_int_equal(info.rows, rows);
    assert_int_equal(info.dim, dim);
    assert_int_equal(info.id_kind, KITH_ID_ROW);
    const kith_rows batch = io_next(reader, rows + 5);
    assert_int_equal(batch.count, rows);
    assert_int_equal((uintptr_t)batch.data % 64, 0);
    assert_memory_equal(batch.data, expected, rows * dim * sizeof(float));
    assert_null(batch.ids);
    assert_int_equal(io_next(reader, 1).count, 0);
    kith_reader_close(reader);
}

static void npy_headers(void **state) {
    (void)state;
    static const char *const dictionaries[] = {
        F4_2X3,
        "{\"shape\":(2,3),\"descr\":\"<f4\",\"fortran_order\":False}",
        " { 'fortran_order' : False , 'shape' : ( 2L , 3L , ) , 'descr' : '=f4' }   ",
        "{'descr': 'f4', 'fortran_order': False, 'shape': (2, 3), }",
    };
    for (size_t i = 0; i < sizeof(dictionaries) / sizeof(*dictionaries); i++)
        expect_floats(io_put_npy("a.npy", dictionaries[i], SIX, sizeof(SIX)), SIX, 2, 3);
}

static void npy_versions(void **state) {
    (void)state;
    unsigned char file[256];
    for (unsigned char version = 2; version <= 3; version++) {
        memcpy(file, "\x93NUMPY", 6);
        file[6] = version;
        file[7] = 0;
        const uint32_t length = sizeof(F4_2X3) - 1;
        memcpy(file + 8, &length, 4);
        memcpy(file + 12, F4_2X3, length);
        memcpy(file + 12 + length, SIX, sizeof(SIX));
        expect_floats(io_put("v.npy", file, 12 + length + sizeof(SIX)), SIX, 2, 3);
    }
    file[6] = 4;
    io_refuse(io_put("v4.npy", file, 200), KITH_E_UNSUPPORTED, "version 4.0");
}

static void npy_types_as_they_lie(void **state) {
    (void)state;
    static const struct {
        const char *descr;
        kith_dtype dtype;
        size_t bytes;
    } types[] = {{"<f2", KITH_F16, 2}, {"|i1", KITH_I8, 1}, {"|u1", KITH_U8, 1}, {"<f4", KITH_F32, 4}};
    unsigned char data[24];
    for (size_t i = 0; i < sizeof(data); i++) data[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        char dictionary[128];
        snprintf(dictionary, sizeof(dictionary), "{'descr': '%s', 'fortran_order': False, 'shape': (2, 3), }",
                 types[i].descr);
        kith_reader *reader = io_open(io_put_npy("t.npy", dictionary, data, 6 * types[i].bytes), NULL);
        assert_int_equal(io_info(reader).dtype, types[i].dtype);
        assert_memory_equal(io_next(reader, 2).data, data, 6 * types[i].bytes);
        kith_reader_close(reader);
    }
}

static void npy_narrowed(void **state) {
    (void)state;
    const float f8_floats[6] = {1.5f, -0.0f, 3.0e38f, 0x1p-149f, INFINITY, 16777216};
    double exact[6];
    for (int i = 0; i < 6; i++) exact[i] = (double)f8_floats[i];
    expect_floats(
        io_put_npy("f8.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)}", exact, sizeof(exact)),
        f8_floats, 2, 3);
    const int16_t i2[6] = {-32768, 32767, 0, 1, -1, 255};
    const float i2_floats[6] = {-32768, 32767, 0, 1, -1, 255};
    expect_floats(io_put_npy("i2.npy", "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3)}", i2, sizeof(i2)),
                  i2_floats, 2, 3);
    const int32_t i4[6] = {INT32_MIN, 16777216, -16777216, 16777218, 0, 7};
    const float i4_floats[6] = {-0x1p31f, 16777216, -16777216, 16777218, 0, 7};
    expect_floats(io_put_npy("i4.npy", "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)}", i4, sizeof(i4)),
                  i4_floats, 2, 3);
    const int64_t i8[6] = {INT64_MIN, INT64_C(1) << 62, -5, 0, 1, 2};
    const float i8_floats[6] = {-0x1p63f, 0x1p62f, -5, 0, 1, 2};
    expect_floats(io_put_npy("i8.npy", "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3)}", i8, sizeof(i8)),
                  i8_floats, 2, 3);
    const uint16_t u2[6] = {0, 65535, 1, 2, 3, 4};
    const float u2_floats[6] = {0, 65535, 1, 2, 3, 4};
    expect_floats(io_put_npy("u2.npy", "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3)}", u2, sizeof(u2)),
                  u2_floats, 2, 3);
    const uint32_t u4[6] = {0xFFFFFF00u, 0, 1, 2, 3, 4};
    const float u4_floats[6] = {4294967040.0f, 0, 1, 2, 3, 4};
    expect_floats(io_put_npy("u4.npy", "{'descr': '<u4', 'fortran_order': False, 'shape': (2, 3)}", u4, sizeof(u4)),
                  u4_floats, 2, 3);
    const uint64_t u8[6] = {UINT64_C(1) << 63, 0, 1, 2, 3, 4};
    const float u8_floats[6] = {0x1p63f, 0, 1, 2, 3, 4};
    expect_floats(io_put_npy("u8.npy", "{'descr': '<u8', 'fortran_order': False, 'shape': (2, 3)}", u8, sizeof(u8)),
                  u8_floats, 2, 3);
}

static void npy_inexact_is_refused(void **state) {
    (void)state;
    const double f8[2] = {1, 0.1}, large[2] = {1e300, 1};
    const int32_t i4[2] = {0, 16777217};
    const int64_t i8[2] = {INT64_MAX, 0};
    const uint64_t u8[2] = {0, UINT64_MAX};
    const uint32_t u4[2] = {0, UINT32_MAX};
    io_refuse(io_put_npy("f8.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2)}", f8, sizeof(f8)),
              KITH_E_DATA, "row 0, column 1: 0.1000000000000000");
    io_refuse(io_put_npy("f8.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1)}", large, sizeof(large)),
              KITH_E_DATA, "row 0, column 0: 1.0000000000000001e+300");
    io_refuse(io_put_npy("i4.npy", "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 1)}", i4, sizeof(i4)),
              KITH_E_DATA, "row 1, column 0: 16777217 is not exact");
    io_refuse(io_put_npy("i8.npy", "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 1)}", i8, sizeof(i8)),
              KITH_E_DATA, "row 0, column 0: 9223372036854775807");
    io_refuse(io_put_npy("u8.npy", "{'descr': '<u8', 'fortran_order': False, 'shape': (2, 1)}", u8, sizeof(u8)),
              KITH_E_DATA, "18446744073709551615");
    io_refuse(io_put_npy("u4.npy", "{'descr': '<u4', 'fortran_order': False, 'shape': (2, 1)}", u4, sizeof(u4)),
              KITH_E_DATA, "4294967295");
}

static void npy_refusals(void **state) {
    (void)state;
    static const struct {
        const char *dictionary;
        kith_status status;
        const char *words;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", KITH_E_UNSUPPORTED, "Fortran order"},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", KITH_E_UNSUPPORTED, "big-endian"},
        {"{'descr': '|V2', 'fortran_order': False, 'shape': (2, 3), }", KITH_E_UNSUPPORTED, "bfloat16"},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (2, 3), }", KITH_E_UNSUPPORTED, "packbits"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", KITH_E_UNSUPPORTED, "'|O'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (2, 3), }", KITH_E_UNSUPPORTED, "'<c8'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (2, 3), }", KITH_E_UNSUPPORTED, "''"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }", KITH_E_UNSUPPORTED, "records"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", KITH_E_FORMAT, "the shape (6,)"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }", KITH_E_UNSUPPORTED, "the shape (1, 2, 3)"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", KITH_E_UNSUPPORTED, "the shape ()"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6), }", KITH_E_FORMAT, "two dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }", KITH_E_FORMAT, "a count was expected"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3x), }", KITH_E_FORMAT, "',' or ')'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } junk", KITH_E_FORMAT, "nothing after"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)", KITH_E_FORMAT, "',' or '}'"},
        {"{'descr': '<f4', 'fortran_order': False, }", KITH_E_FORMAT, "each of descr"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", KITH_E_FORMAT, "once"},
        {"{'descr': '<f4', 'x': 1, 'fortran_order': False, 'shape': (2, 3)}", KITH_E_FORMAT, "no other key"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3)}", KITH_E_FORMAT, "True or False"},
        {"{'descr': '<f4\\x00', 'fortran_order': False, 'shape': (2, 3)}", KITH_E_FORMAT, "short string"},
        {"[]", KITH_E_FORMAT, "'{' was expected"},
        {"", KITH_E_FORMAT, "'{' was expected"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }", KITH_E_FORMAT, "24 bytes of data"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }", KITH_E_FORMAT, "24 bytes of data"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", KITH_E_FORMAT, "24 bytes of data"},
        /* Products that wrap to 24 bytes or to little. */
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387910, 1), }", KITH_E_FORMAT, "data behind"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 18446744073709551615), }",
         KITH_E_FORMAT, "data behind"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616, 1), }", KITH_E_FORMAT, "2^64"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4294967296), }", KITH_E_FORMAT, "data behind"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        io_refuse(io_put_npy("bad.npy", cases[i].dictionary, SIX, sizeof(SIX)), cases[i].status, cases[i].words);
}

static void npy_limits(void **state) {
    (void)state;
    io_refuse(io_put_npy("z.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 65537), }", NULL, 0),
              KITH_E_LIMIT, "65537 elements, 65536 are the most");
    io_refuse(io_put_npy("z.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 0), }", NULL, 0),
              KITH_E_FORMAT, "no elements");
    io_refuse(io_put_npy("z.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 0), }", NULL, 0),
              KITH_E_FORMAT, "no elements");
    kith_reader *reader =
        io_open(io_put_npy("z.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 65536), }", NULL, 0), NULL);
    assert_int_equal(io_info(reader).rows, 0);
    assert_int_equal(io_next(reader, 1).count, 0);
    kith_reader_close(reader);
    unsigned char huge[16] = "\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF";
    io_refuse(io_put("huge.npy", huge, sizeof(huge)), KITH_E_FORMAT, "a header of 4294967307 bytes was expected");
    unsigned char *long_header = calloc(1, 70012);
    memcpy(long_header, "\x93NUMPY\x02\x00\x70\x11\x01\x00", 12);
    io_refuse(io_put("long.npy", long_header, 70012), KITH_E_LIMIT, "header has 70000 bytes");
    free(long_header);
}

static void packed_bits(void **state) {
    (void)state;
    const kith_reader_options bits = {.struct_size = sizeof(bits), .dtype = KITH_B1};
    const unsigned char data[6] = {1, 2, 4, 8, 16, 32};
    const char *path = io_put_npy("b.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }", data, 6);
    kith_reader *reader = io_open(path, &bits);
    assert_int_equal(io_info(reader).dtype, KITH_B1);
    assert_int_equal(io_info(reader).dim, 24);
    assert_memory_equal(io_next(reader, 2).data, data, 6);
    kith_reader_close(reader);
    io_refuse_with(io_put_npy("b.npy", F4_2X3, SIX, sizeof(SIX)), &bits, KITH_E_UNSUPPORTED, "packed bits");
    io_refuse_with(io_put_npy("b.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 8193), }", NULL, 0),
                   &bits, KITH_E_LIMIT, "8193 bytes of bits, 8192");
}

static void vecs_read(void **state) {
    (void)state;
    const struct {
        int32_t dim;
        float x[3];
    } f[2] = {{3, {1, 2, 3}}, {3, {4, 5, 6}}};
    const float floats[6] = {1, 2, 3, 4, 5, 6};
    expect_floats(io_put("a.fvecs", f, sizeof(f)), floats, 2, 3);
    expect_floats(io_put("A.FVECS", f, sizeof(f)), floats, 2, 3);
    const int32_t i[8] = {3, 1, 2, 3, 3, 4, 5, 6};
    expect_floats(io_put("a.ivecs", i, sizeof(i)), floats, 2, 3);
    const unsigned char b[14] = {3, 0, 0, 0, 1, 2, 3, 3, 0, 0, 0, 4, 5, 6}, expected[6] = {1, 2, 3, 4, 5, 6};
    kith_reader *reader = io_open(io_put("a.bvecs", b, sizeof(b)), NULL);
    assert_int_equal(io_info(reader).dtype, KITH_U8);
    assert_memory_equal(io_next(reader, 9).data, expected, 6);
    kith_reader_close(reader);
}

static void vecs_refusals(void **state) {
    (void)state;
    const int32_t uneven[8] = {3, 1, 2, 3, 2, 4, 5, 6}, negative[2] = {-1, 0}, zero[2] = {0, 0};
    const int32_t large[2] = {65537, 0}, inexact[2] = {1, 16777217};
    io_refuse(io_put("u.ivecs", uneven, sizeof(uneven)), KITH_E_FORMAT,
              "row 1 (byte 16) has 2 elements, but row 0 has 3");
    io_refuse(io_put("n.fvecs", negative, sizeof(negative)), KITH_E_FORMAT, "row 0 (byte 0) has -1 elements");
    io_refuse(io_put("z.fvecs", zero, sizeof(zero)), KITH_E_FORMAT, "has 0 elements");
    io_refuse(io_put("l.fvecs", large, sizeof(large)), KITH_E_LIMIT, "65537 elements");
    io_refuse(io_put("i.ivecs", inexact, sizeof(inexact)), KITH_E_DATA, "row 0, column 0: 16777217");
    io_refuse(io_put("m.fvecs", uneven, 15), KITH_E_FORMAT, "no multiple of 16");
    io_refuse(io_put("e.fvecs", uneven, 0), KITH_E_FORMAT, "has 0 bytes");
    const kith_reader_options vecs = {.struct_size = sizeof(vecs), .format = KITH_VECS};
    io_refuse_with(io_put("vecs.dat", uneven, 8), &vecs, KITH_E_UNSUPPORTED, "suffix");
}

static void bin_read(void **state) {
    (void)state;
    const float floats[6] = {1, 2, 3, 4, 5, 6};
    unsigned char file[64] = {2, 0, 0, 0, 3, 0, 0, 0};
    memcpy(file + 8, floats, sizeof(floats));
    expect_floats(io_put("a.fbin", file, 32), floats, 2, 3);
    const int32_t i[8] = {2, 3, 1, 2, 3, 4, 5, 6};
    expect_floats(io_put("a.ibin", i, sizeof(i)), floats, 2, 3);
    static const struct {
        const char *name;
        kith_dtype dtype;
    } bytes[] = {{"a.u8bin", KITH_U8}, {"a.i8bin", KITH_I8}};
    for (int k = 0; k < 2; k++) {
        kith_reader *reader = io_open(io_put(bytes[k].name, file, 14), NULL);
        assert_int_equal(io_info(reader).dtype, bytes[k].dtype);
        assert_memory_equal(io_next(reader, 9).data, file + 8, 6);
        kith_reader_close(reader);
    }
}

static void bin_refusals(void **state) {
    (void)state;
    const uint32_t wraps[4] = {0x80000000u, 0x80000000u, 0, 0}, large[3] = {1, 65537, 0}, zero[2] = {7, 0};
    const uint32_t many[3] = {UINT32_MAX, 1, 0}, short_one[3] = {2, 1, 0};
    io_refuse(io_put("w.fbin", wraps, sizeof(wraps)), KITH_E_LIMIT, "2147483648 elements");
    io_refuse(io_put("l.fbin", large, sizeof(large)), KITH_E_LIMIT, "65537 elements");
    io_refuse(io_put("z.fbin", zero, sizeof(zero)), KITH_E_FORMAT, "no elements");
    io_refuse(io_put("m.fbin", many, sizeof(many)), KITH_E_LIMIT, "4294967295 rows");
    io_refuse(io_put("s.fbin", short_one, sizeof(short_one)), KITH_E_FORMAT,
              "has 12 bytes, but a header of 8 bytes and 2 rows of 4 bytes");
    io_refuse(io_put("e.fbin", zero, 0), KITH_E_FORMAT, "has 0 bytes");
}

static void dim_limit(void **state) {
    (void)state;
    const size_t bytes = 8 + 65536;
    unsigned char *file = calloc(1, bytes + 1);
    const uint32_t good[2] = {1, 65536}, bad[2] = {1, 65537};
    memcpy(file, good, 8);
    kith_reader *reader = io_open(io_put("d.u8bin", file, bytes), NULL);
    assert_int_equal(io_info(reader).dim, 65536);
    assert_int_equal(io_next(reader, 1).count, 1);
    kith_reader_close(reader);
    memcpy(file, bad, 8);
    io_refuse(io_put("d.u8bin", file, bytes + 1), KITH_E_LIMIT, "65537");
    free(file);
}

static void cut_anywhere(void **state) {
    (void)state;
    const int32_t i[8] = {3, 1, 2, 3, 3, 4, 5, 6}, bin[8] = {2, 3, 1, 2, 3, 4, 5, 6};
    io_cut_everywhere(io_put_npy("whole.npy", F4_2X3, SIX, sizeof(SIX)), "cut.npy", 0);
    io_cut_everywhere(io_put("whole.fbin", bin, sizeof(bin)), "cut.fbin", 0);
    /* Whole rows of a .vecs file are a .vecs file. */
    io_cut_everywhere(io_put("whole.ivecs", i, sizeof(i)), "cut.ivecs", 1);
    io_cut_everywhere(io_put("one.ivecs", i, sizeof(i) / 2), "cut.ivecs", 0);
}

/* A file that shrinks between open and read gives an error, not a signal. */
static void cut_while_open(void **state) {
    (void)state;
    const char *path = io_put_npy("shrinks.npy", F4_2X3, SIX, sizeof(SIX));
    kith_reader *reader = io_open(path, NULL);
    assert_int_equal(truncate(path, 80), 0);
    kith_rows rows = {.count = 77};
    kith_error error = {0};
    assert_int_equal(kith_reader_next(reader, 2, &rows, &error), KITH_E_FORMAT);
    assert_non_null(strstr(error.text, "ends at byte 80"));
    assert_int_equal(rows.count, 77);
    kith_reader_close(reader);
}

/* Rows that pass through staging come out the same in any batch, also beyond one staging buffer. */
static void large_staged_file(void **state) {
    (void)state;
    enum { ROWS = 3000, DIM = 50 };
    int32_t *file = malloc(sizeof(int32_t) * ROWS * (DIM + 1));
    for (int r = 0; r < ROWS; r++) {
        file[r * (DIM + 1)] = DIM;
        for (int c = 0; c < DIM; c++) file[r * (DIM + 1) + 1 + c] = r * 50 + c;
    }
    kith_reader *reader = io_open(io_put("large.ivecs", file, sizeof(int32_t) * ROWS * (DIM + 1)), NULL);
    for (uint64_t at = 0; at < ROWS;) {
        const kith_rows rows = io_next(reader, 1777);
        assert_true(rows.count > 0);
        assert_int_equal(rows.first, at);
        const float *x = rows.data;
        for (size_t i = 0; i < rows.count * DIM; i++) assert_true(x[i] == (float)(at * DIM + i));
        at += rows.count;
    }
    kith_reader_close(reader);
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(npy_headers),
        cmocka_unit_test(npy_versions),
        cmocka_unit_test(npy_types_as_they_lie),
        cmocka_unit_test(npy_narrowed),
        cmocka_unit_test(npy_inexact_is_refused),
        cmocka_unit_test(npy_refusals),
        cmocka_unit_test(npy_limits),
        cmocka_unit_test(packed_bits),
        cmocka_unit_test(vecs_read),
        cmocka_unit_test(vecs_refusals),
        cmocka_unit_test(bin_read),
        cmocka_unit_test(bin_refusals),
        cmocka_unit_test(dim_limit),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(cut_while_open),
        cmocka_unit_test(large_staged_file),
    };
    return cmocka_run_group_tests(tests, io_folder_make, io_folder_remove);
}
