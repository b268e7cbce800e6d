/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of gzipped IDX files against good, truncated, damaged and lying files. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "../../cli/demo/idx.h"

#define COUNT  50u
#define SIDE   4u
#define HEADER 16u
#define BYTES  (HEADER + COUNT * SIDE * SIDE)

struct files {
    char folder[64], path[96];
    uint8_t plain[BYTES];
    uint8_t packed[BYTES * 2];
    size_t packed_bytes;
};

static void put_u32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void write_file(const struct files *files, const void *data, size_t bytes) {
    FILE *file = fopen(files->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static size_t pack(const uint8_t *data, size_t bytes, uint8_t *to, size_t room) {
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)bytes;
    stream.next_out = to;
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t packed = room - stream.avail_out;
    deflateEnd(&stream);
    return packed;
}

static int set_up(void **state) {
    struct files *files = calloc(1, sizeof(*files));
    const char *base = getenv("TMPDIR");
    assert_non_null(files);
    snprintf(files->folder, sizeof(files->folder), "%.40s/kith-idx-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->path, sizeof(files->path), "%s/pictures.gz", files->folder);
    put_u32(files->plain, 0x00000803);
    put_u32(files->plain + 4, COUNT);
    put_u32(files->plain + 8, SIDE);
    put_u32(files->plain + 12, SIDE);
    for (size_t i = HEADER; i < BYTES; i++) files->plain[i] = (uint8_t)(i * 2654435761u >> 13);
    files->packed_bytes = pack(files->plain, BYTES, files->packed, sizeof(files->packed));
    *state = files;
    return 0;
}

static int tear_down(void **state) {
    struct files *files = *state;
    unlink(files->path);
    rmdir(files->folder);
    free(files);
    return 0;
}

/* The read must fail with `status`, name the file, and leave the result untouched. */
static void assert_refused(const struct files *files, unsigned dimensions, kith_status status, const char *word) {
    struct idx idx = {.count = 77};
    kith_error error = {0};
    assert_int_equal(idx_read(files->path, dimensions, &idx, &error), status);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.text, files->path));
    if (word && !strstr(error.text, word)) print_message("the error was: %s\n", error.text);
    if (word) assert_non_null(strstr(error.text, word));
    assert_null(idx.data);
    assert_int_equal(idx.count, 77);
}

static void assert_whole(const struct files *files) {
    struct idx idx = {0};
    kith_error error = {0};
    assert_int_equal(idx_read(files->path, 3, &idx, &error), KITH_OK);
    assert_int_equal(idx.count, COUNT);
    assert_int_equal(idx.rows, SIDE);
    assert_int_equal(idx.columns, SIDE);
    assert_memory_equal(idx.data, files->plain + HEADER, BYTES - HEADER);
    idx_free(&idx);
    assert_null(idx.data);
    idx_free(&idx);
}

static void test_reads_gzip_and_plain(void **state) {
    const struct files *files = *state;
    write_file(files, files->packed, files->packed_bytes);
    assert_whole(files);
    write_file(files, files->plain, BYTES);
    assert_whole(files);
}

static void test_reads_labels(void **state) {
    const struct files *files = *state;
    const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9};
    struct idx idx = {0};
    write_file(files, labels, sizeof(labels));
    assert_int_equal(idx_read(files->path, 1, &idx, NULL), KITH_OK);
    assert_int_equal(idx.count, 3);
    assert_int_equal(idx.rows, 1);
    assert_memory_equal(idx.data, labels + 8, 3);
    idx_free(&idx);
}

static void test_absent_and_special_files(void **state) {
    struct files *files = *state;
    assert_refused(files, 3, KITH_E_NOTFOUND, "cannot be opened");
    assert_int_equal(mkfifo(files->path, 0600), 0); /* must not wait for a writer */
    assert_refused(files, 3, KITH_E_IO, "not a regular file");
    unlink(files->path);
    assert_int_equal(mkdir(files->path, 0700), 0);
    assert_refused(files, 3, KITH_E_IO, "not a regular file");
    rmdir(files->path);
}

static void test_every_truncation_of_the_plain_file(void **state) {
    const struct files *files = *state;
    for (size_t bytes = 0; bytes < BYTES; bytes++) {
        write_file(files, files->plain, bytes);
        assert_refused(files, 3, KITH_E_FORMAT, "ends");
    }
}

static void test_every_truncation_of_the_gzip_file(void **state) {
    const struct files *files = *state;
    for (size_t bytes = 0; bytes < files->packed_bytes; bytes++) {
        write_file(files, files->packed, bytes);
        assert_refused(files, 3, KITH_E_FORMAT, NULL);
    }
}

/* A flipped bit in the compressed data or its checksum is noticed; one in the gzip header may leave the data as it
 * was. */
static void test_every_flipped_bit_of_the_gzip_file(void **state) {
    const struct files *files = *state;
    uint8_t damaged[sizeof(files->packed)];
    size_t unseen = 0;
    for (size_t bit = 0; bit < files->packed_bytes * 8; bit++) {
        memcpy(damaged, files->packed, files->packed_bytes);
        damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_file(files, damaged, files->packed_bytes);
        struct idx idx = {0};
        kith_error error = {0};
        kith_status status = idx_read(files->path, 3, &idx, &error);
        unseen += status == KITH_OK && bit / 8 >= 10;
        if (status == KITH_OK) assert_memory_equal(idx.data, files->plain + HEADER, BYTES - HEADER);
        if (status != KITH_OK) assert_non_null(strstr(error.text, files->path));
        idx_free(&idx);
    }
    assert_true(unseen <= 7); /* the bits that fill the last byte of the compressed data mean nothing */
}

static void test_longer_than_its_header_says(void **state) {
    const struct files *files = *state;
    uint8_t longer[BYTES + 1], packed[sizeof(files->packed)];
    memcpy(longer, files->plain, BYTES);
    longer[BYTES] = 1;
    write_file(files, longer, sizeof(longer));
    assert_refused(files, 3, KITH_E_FORMAT, "goes on after");
    size_t bytes = pack(longer, sizeof(longer), packed, sizeof(packed));
    write_file(files, packed, bytes);
    assert_refused(files, 3, KITH_E_FORMAT, "goes on after");
}

static void test_wrong_magic(void **state) {
    const struct files *files = *state;
    uint8_t wrong[BYTES];
    static const uint8_t magics[][4] = {{1, 0, 8, 3},  {0, 1, 8, 3}, {0, 0, 9, 3},
                                        {0, 0, 13, 3}, {0, 0, 8, 1}, {0, 0, 8, 2}};
    for (size_t i = 0; i < sizeof(magics) / sizeof(*magics); i++) {
        memcpy(wrong, files->plain, BYTES);
        memcpy(wrong, magics[i], 4);
        write_file(files, wrong, BYTES);
        assert_refused(files, 3, KITH_E_FORMAT, "begins with bytes");
    }
    write_file(files, files->plain, BYTES);
    assert_refused(files, 1, KITH_E_FORMAT, "labels");
    assert_refused(files, 2, KITH_E_ARG, NULL);
}

/* Huge, zero and overflowing counts. All are refused by the header alone. */
static void test_lying_counts(void **state) {
    const struct files *files = *state;
    static const uint32_t lies[][3] = {{0xffffffffu, 4, 4},         {COUNT, 0xffffffffu, 4},
                                       {COUNT, 4, 0xffffffffu},     {0xffffffffu, 0xffffffffu, 0xffffffffu},
                                       {0x10000, 0x10000, 0x10000}, {1000001, 1, 1},
                                       {1000000, 256, 256},         {100000, 104, 104}};
    uint8_t lying[BYTES];
    memcpy(lying, files->plain, BYTES);
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        for (size_t j = 0; j < 3; j++) put_u32(lying + 4 + 4 * j, lies[i][j]);
        write_file(files, lying, BYTES);
        assert_refused(files, 3, KITH_E_LIMIT, "beyond the limit");
    }
    for (size_t j = 0; j < 3; j++) {
        memcpy(lying, files->plain, HEADER);
        put_u32(lying + 4 + 4 * j, 0);
        write_file(files, lying, BYTES);
        assert_refused(files, 3, KITH_E_FORMAT, "holds nothing");
    }
}

/* A header that says a gigabyte over a file of a few bytes costs no gigabyte. */
static void test_count_does_not_size_memory(void **state) {
    const struct files *files = *state;
    uint8_t lying[BYTES];
    struct rusage before, after;
    memcpy(lying, files->plain, BYTES);
    put_u32(lying + 4, 1000000);
    put_u32(lying + 8, 32);
    put_u32(lying + 12, 32);
    write_file(files, lying, BYTES);
    getrusage(RUSAGE_SELF, &before);
    assert_refused(files, 3, KITH_E_FORMAT, "ends after");
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 64 * 1024); /* KiB; a sanitizer's own share is far below this */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_gzip_and_plain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reads_labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_absent_and_special_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_truncation_of_the_plain_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_truncation_of_the_gzip_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_flipped_bit_of_the_gzip_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_longer_than_its_header_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_magic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lying_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_count_does_not_size_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
