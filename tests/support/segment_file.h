/* SPDX-License-Identifier: Apache-2.0
 *
 * Small segment files for tests: made through the writer, changed byte by byte, sealed again with correct hashes as an
 * attacker would. Include after cmocka.h. */
#ifndef KI_TESTS_SEGMENT_FILE_H
#define KI_TESTS_SEGMENT_FILE_H

#include "base/file.h"
#include "base/rng.h"
#include "support/reseal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* A folder for one test program's files; left by test_folder_remove. */
static char test_folder[256];

static inline int test_folder_make(void **state) {
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(test_folder, sizeof(test_folder), "%s/kith-test-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(test_folder) ? 0 : -1;
}

static inline int test_folder_remove(void **state) {
    char command[300];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", test_folder);
    return system(command);
}

static inline const char *test_path(const char *name) {
    static char path[4][400];
    static unsigned turn;
    char *text = path[turn++ % 4];
    snprintf(text, sizeof(path[0]), "%s/%s", test_folder, name);
    return text;
}

typedef struct test_bytes {
    unsigned char *data;
    size_t bytes;
} test_bytes;

static inline test_bytes test_read(const char *path) {
    int fd;
    uint64_t bytes;
    assert_int_equal(ki_open_read(path, &fd, &bytes, NULL), KITH_OK);
    test_bytes file = {malloc(bytes + 1), bytes};
    assert_non_null(file.data);
    assert_int_equal(ki_read_at(fd, path, file.data, bytes, 0, NULL), KITH_OK);
    close(fd);
    return file;
}

static inline void test_write(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* Deterministic content without zero bytes, so that lost bytes show. */
static inline void test_fill(unsigned char *data, size_t bytes, uint64_t seed) {
    ki_rng rng = {seed};
    for (size_t i = 0; i < bytes; i++) data[i] = (unsigned char)(1 + ki_rng_below(&rng, 255));
}

static inline ki_segment_head test_head(void) {
    ki_segment_head head = {.rows = 77,
                            .dim = 12,
                            .dtype = KITH_F32,
                            .metric = KITH_COSINE,
                            .id_kind = KITH_ID_STRING,
                            .lists = 3,
                            .level1_dim = 4,
                            .flags = KI_SEGMENT_ORIGINALS | KI_SEGMENT_NAMES,
                            .feature_compat = 5,
                            .code_error = 0.0078125,
                            .level1_error = 0.25};
    for (int i = 0; i < 16; i++) head.parameter[i] = i * 1.5 - 3;
    return head;
}

/* Parts for tests, three in each section; from some on of no family that is known. */
static inline uint32_t test_part(size_t i) {
    return KI_PART(1 + i / 3, 1 + i % 3);
}

/* A file of `parts` parts; part i has bytes[i] bytes filled with seed i. */
static inline void test_make(const char *path, const uint64_t *bytes, size_t parts) {
    ki_part_plan *plan = malloc((parts + 1) * sizeof(*plan));
    ki_segment_writer *writer = NULL;
    kith_error error = {KITH_OK, ""};
    const ki_segment_head head = test_head();
    assert_non_null(plan);
    for (size_t i = 0; i < parts; i++) plan[i] = (ki_part_plan){test_part(i), bytes[i], bytes[i] / 4};
    assert_int_equal(ki_segment_create(path, plan, parts, &writer, &error), KITH_OK);
    for (size_t i = 0; i < parts; i++) {
        unsigned char *data = malloc(bytes[i] + 1);
        assert_non_null(data);
        test_fill(data, bytes[i], i);
        assert_int_equal(ki_segment_put(writer, plan[i].kind, 0, data, bytes[i], &error), KITH_OK);
        free(data);
    }
    assert_int_equal(ki_segment_finish(writer, &head, NULL, NULL, NULL, NULL, &error), KITH_OK);
    free(plan);
}

static inline ki_header *test_header_a(test_bytes file) {
    return (ki_header *)(void *)file.data;
}

/* To be freed by ki_layout_free(). */
static inline ki_layout test_layout(test_bytes file) {
    ki_layout layout;
    assert_int_equal(reseal_layout(file.data, file.bytes, &layout), KITH_OK);
    return layout;
}

/* The offset of a part, 0 if there is none; bytes may be NULL. */
static inline size_t test_find(test_bytes file, uint32_t id, uint64_t *bytes) {
    ki_layout layout = test_layout(file);
    const ki_part *part = ki_layout_find(&layout, id);
    const size_t offset = part ? (size_t)part->offset : 0;
    if (bytes) *bytes = part ? part->bytes : 0;
    ki_layout_free(&layout);
    return offset;
}

/* Make all hashes of a changed file right again, from its header copy A: what a hostile author would do. */
static inline void test_reseal(test_bytes file) {
    reseal(file.data, file.bytes);
}

#endif
