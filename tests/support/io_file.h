/* SPDX-License-Identifier: Apache-2.0
 *
 * Small input files for tests of src/io: written into a folder of the test program's own, opened, read whole, and the
 * sentences of failures looked at. Include after cmocka.h. */
#ifndef KI_TESTS_IO_FILE_H
#define KI_TESTS_IO_FILE_H

#include "kith.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char io_folder[256];

static inline int io_folder_make(void **state) {
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(io_folder, sizeof(io_folder), "%s/kith-io-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(io_folder) ? 0 : -1;
}

static inline int io_folder_remove(void **state) {
    char command[300];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", io_folder);
    return system(command);
}

/* The last eight results stay valid. */
static inline const char *io_path(const char *name) {
    static char path[8][512];
    static unsigned turn;
    char *text = path[turn++ % 8];
    snprintf(text, sizeof(path[0]), "%s/%s", io_folder, name);
    return text;
}

static inline const char *io_put(const char *name, const void *data, size_t bytes) {
    const char *path = io_path(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline const char *io_put_text(const char *name, const char *text) {
    return io_put(name, text, strlen(text));
}

static inline size_t io_get(const char *path, unsigned char *data, size_t room) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t bytes = fread(data, 1, room, file);
    fclose(file);
    return bytes;
}

/* Files in the folder, hidden ones too. */
static inline size_t io_count_files(void) {
    size_t count = 0;
    DIR *folder = opendir(io_folder);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return count;
}

/* An .npy of version 1 with this dictionary. */
static inline const char *io_put_npy(const char *name, const char *dictionary, const void *data, size_t bytes) {
    static unsigned char file[1 << 16];
    const size_t length = strlen(dictionary) + 1;
    assert_true(10 + length + bytes <= sizeof(file));
    memcpy(file, "\x93NUMPY\x01\x00", 8);
    file[8] = (unsigned char)length;
    file[9] = (unsigned char)(length >> 8);
    memcpy(file + 10, dictionary, length - 1);
    file[10 + length - 1] = '\n';
    if (bytes) memcpy(file + 10 + length, data, bytes);
    return io_put(name, file, 10 + length + bytes);
}

static inline kith_reader *io_open(const char *path, const kith_reader_options *options) {
    kith_reader *reader = NULL;
    kith_error error = {0};
    const kith_status status = kith_reader_open(path, options, &reader, &error);
    if (status != KITH_OK) fail_msg("%s", error.text);
    return reader;
}

static inline kith_reader_info io_info(const kith_reader *reader) {
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_reader_get_info(reader, &info);
    return info;
}

static inline kith_rows io_next(kith_reader *reader, size_t max_rows) {
    kith_rows rows = {0};
    kith_error error = {0};
    if (kith_reader_next(reader, max_rows, &rows, &error) != KITH_OK) fail_msg("%s", error.text);
    return rows;
}

/* Open and read everything in steps; the first failure, with its sentence. */
static inline kith_status io_read_all(const char *path, const kith_reader_options *options, size_t step,
                                      kith_error *error) {
    kith_reader *reader = NULL;
    kith_status status = kith_reader_open(path, options, &reader, error);
    if (status != KITH_OK) {
        assert_null(reader);
        return status;
    }
    const kith_reader_info info = io_info(reader);
    uint64_t seen = 0;
    for (;;) {
        kith_rows rows = {0};
        status = kith_reader_next(reader, step, &rows, error);
        if (status != KITH_OK || rows.count == 0) break;
        assert_int_equal(rows.first, seen);
        seen += rows.count;
    }
    if (status == KITH_OK) assert_int_equal(seen, info.rows);
    kith_reader_close(reader);
    return status;
}

/* Reading must fail with this status and a sentence that holds `words`. */
static inline void io_refuse_with(const char *path, const kith_reader_options *options, kith_status expected,
                                  const char *words) {
    kith_error error = {0};
    const kith_status status = io_read_all(path, options, 3, &error);
    if (status != expected || error.status != expected || !strstr(error.text, words))
        fail_msg("expected status %d with '%s', got %d: %s", (int)expected, words, (int)status, error.text);
    assert_non_null(strstr(error.text, path));
}

static inline void io_refuse(const char *path, kith_status expected, const char *words) {
    io_refuse_with(path, NULL, expected, words);
}

/* Every proper prefix of the file must give an error or, if `shorter_is_fine`, at least no crash. */
static inline void io_cut_everywhere(const char *path, const char *name, int shorter_is_fine) {
    static unsigned char data[1 << 16];
    const size_t bytes = io_get(path, data, sizeof(data));
    for (size_t cut = 0; cut < bytes; cut++) {
        kith_error error = {0};
        const char *shorter = io_put(name, data, cut);
        const kith_status status = io_read_all(shorter, NULL, 2, &error);
        if (status == KITH_OK && !shorter_is_fine) fail_msg("%s cut to %zu bytes was read", name, cut);
        if (status != KITH_OK) assert_non_null(strstr(error.text, name));
    }
}

#endif
