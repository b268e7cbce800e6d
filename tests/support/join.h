/* SPDX-License-Identifier: Apache-2.0
 *
 * What tests of joins share: running one in a folder of its own, reading what it left, and the right answers by the
 * contract's words. Include after cmocka.h, in one source of a program. */
#ifndef TESTS_SUPPORT_JOIN_H
#define TESTS_SUPPORT_JOIN_H

#include "support/data.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kith_error error;

struct bytes {
    unsigned char *data;
    size_t bytes;
};

/* The two files of a pair, or NDJSON in [0]. */
struct output {
    struct bytes file[2];
};

static inline void *take(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

/* data NULL: there is no such file. */
static inline struct bytes slurp(const char *path) {
    struct bytes file = {NULL, 0};
    struct stat about;
    FILE *from = fopen(path, "rb");
    if (!from) return file;
    assert_int_equal(fstat(fileno(from), &about), 0);
    file.bytes = (size_t)about.st_size;
    file.data = take(file.bytes + 1, 1); /* a NUL ends text */
    assert_int_equal(fread(file.data, 1, file.bytes, from), file.bytes);
    fclose(from);
    return file;
}

static inline void spill(const char *path, const void *data, size_t bytes) {
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    assert_int_equal(fwrite(data, 1, bytes, to), bytes);
    assert_int_equal(fclose(to), 0);
}

static inline const char *path_of(const char *out, const char *tail) {
    static char path[4][600];
    static unsigned turn;
    char *text = path[turn++ % 4];
    snprintf(text, sizeof(path[0]), "%s%s", out, tail);
    return text;
}

static inline struct output output_read(const char *out, kith_join_format format) {
    struct output output = {{{NULL, 0}, {NULL, 0}}};
    output.file[0] = slurp(path_of(out, format == KITH_JOIN_NPY ? ".ids.npy" : ""));
    if (format == KITH_JOIN_NPY) output.file[1] = slurp(path_of(out, ".distances.npy"));
    return output;
}

static inline void output_free(struct output *output) {
    free(output->file[0].data);
    free(output->file[1].data);
}

static inline int output_same(const struct output *a, const struct output *b) {
    for (int i = 0; i < 2; i++) {
        if ((a->file[i].data == NULL) != (b->file[i].data == NULL) || a->file[i].bytes != b->file[i].bytes) return 0;
        if (a->file[i].data && memcmp(a->file[i].data, b->file[i].data, a->file[i].bytes) != 0) return 0;
    }
    return 1;
}

/* Remove what a join of that name made or left. */
static inline void join_clean(const char *out) {
    static const char *const tails[] = {"", ".ids.npy", ".distances.npy", ".join", ".part", ".distances.part"};
    for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) unlink(path_of(out, tails[i]));
}

static inline int exists(const char *out, const char *tail) {
    return access(path_of(out, tail), F_OK) == 0;
}

/* Fails the test when a finished join left anything but its output. */
static inline void assert_tidy(const char *out) {
    if (exists(out, ".join") || exists(out, ".part") || exists(out, ".distances.part"))
        fail_msg("%s: a finished join left .join or .part files", out);
}

/* The array data of an .npy file, after a look at its header. */
static inline const void *array_of(const struct bytes *file, const char *type, size_t rows, size_t columns,
                                   size_t element) {
    char expected[128];
    assert_true(file->data && file->bytes >= 128);
    assert_memory_equal(file->data, "\x93NUMPY\x01\x00", 8);
    const size_t length = file->data[8] + 256u * file->data[9];
    assert_int_equal((10 + length) % 64, 0);
    const int used = snprintf(expected, sizeof(expected),
                              "{'descr': '%s', 'fortran_order': False, 'shape': (%zu, %zu), }", type, rows, columns);
    assert_memory_equal(file->data + 10, expected, (size_t)used);
    assert_int_equal(file->bytes, 10 + length + rows * columns * element);
    return file->data + 10 + length;
}

static inline kith_reader *reader_of(const void *rows, kith_dtype dtype, size_t count, size_t dim,
                                     const uint64_t *ids) {
    kith_reader *reader = NULL;
    if (kith_reader_from_memory(rows, dtype, count, dim, 0, ids, &reader, &error) != KITH_OK)
        fail_msg("%s", error.text);
    return reader;
}

/* The k nearest of a query without the row `self` (SIZE_MAX: none is left out), as a join's row. */
static inline void right_row(const data_set *set, const void *query, const char *allowed, size_t self, size_t k,
                             uint64_t *ids, float *distances) {
    data_hit *hits = take(set->rows, sizeof(*hits));
    const size_t found = data_reference(set, query, allowed, hits);
    size_t used = 0;
    for (size_t i = 0; i < found && used < k; i++) {
        if (hits[i].row == self) continue;
        ids[used] = hits[i].id;
        distances[used++] = hits[i].distance;
    }
    for (; used < k; used++) {
        const uint32_t infinity = 0x7f800000u;
        ids[used] = KITH_ID_NONE;
        memcpy(&distances[used], &infinity, sizeof(infinity));
    }
    free(hits);
}

#endif
