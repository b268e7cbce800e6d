/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzz targets of file formats share: an input becomes a file in memory under a name of the wanted suffix, is
 * opened and read whole, and what a reader promises is checked by aborting. */
#ifndef KI_FUZZ_READER_H
#define KI_FUZZ_READER_H

#include "kith.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static char fuzz_folder[256];

static void fuzz_remove_folder(void) {
    char command[300];
    snprintf(command, sizeof(command), "rm -rf '%s'", fuzz_folder);
    if (system(command) != 0) fprintf(stderr, "%s is left\n", fuzz_folder);
}

/* The file in memory that holds the input. */
static int fuzz_file(void) {
    static int file = -1;
    if (file >= 0) return file;
    const char *base = getenv("TMPDIR");
    file = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(file >= 0);
    snprintf(fuzz_folder, sizeof(fuzz_folder), "%s/kith-fuzz-XXXXXX", base && *base ? base : "/tmp");
    FUZZ_CHECK(mkdtemp(fuzz_folder));
    atexit(fuzz_remove_folder);
    return file;
}

static void fuzz_put(const uint8_t *data, size_t bytes) {
    const int file = fuzz_file();
    FUZZ_CHECK(ftruncate(file, 0) == 0);
    FUZZ_CHECK(pwrite(file, data, bytes, 0) == (ssize_t)bytes);
}

/* A name of this suffix for the input. */
static const char *fuzz_path(const char *suffix) {
    static char path[300];
    char target[64];
    snprintf(target, sizeof(target), "/proc/self/fd/%d", fuzz_file());
    snprintf(path, sizeof(path), "%s/input%s", fuzz_folder, suffix);
    if (access(path, F_OK) != 0) FUZZ_CHECK(symlink(target, path) == 0);
    return path;
}

static void fuzz_check_rows(const kith_reader_info *info, const kith_rows *rows) {
    static volatile unsigned char sink;
    const size_t bytes = rows->count * kith_row_bytes(info->dtype, info->dim);
    for (size_t i = 0; i < bytes; i++) sink = ((const unsigned char *)rows->data)[i];
    (void)sink;
    for (size_t i = 0; i < rows->count; i++) {
        if (info->id_kind == KITH_ID_STRING) {
            FUZZ_CHECK(rows->id_ends[i] > (i ? rows->id_ends[i - 1] : 0));
            FUZZ_CHECK(!memchr(rows->id_bytes, 0, rows->id_ends[i]));
        }
        if (info->has_names) FUZZ_CHECK(rows->name_ends[i] >= (i ? rows->name_ends[i - 1] : 0));
    }
    FUZZ_CHECK((info->id_kind == KITH_ID_U64) == (rows->ids != NULL));
}

/* Read to the end or the first failure; the rows read. */
static uint64_t fuzz_read_rest(kith_reader *reader, const kith_reader_info *info, kith_status *status) {
    uint64_t seen = 0;
    for (;;) {
        kith_rows rows = {0};
        kith_error error = {0};
        *status = kith_reader_next(reader, 3, &rows, &error);
        FUZZ_CHECK(*status == error.status && (*status == KITH_OK || error.text[0]));
        if (*status != KITH_OK || rows.count == 0) return seen;
        fuzz_check_rows(info, &rows);
        seen += rows.count;
    }
}

static void fuzz_read(const char *suffix, const kith_reader_options *options) {
    kith_reader *reader = NULL;
    kith_reader_info info = KITH_READER_INFO_INIT;
    kith_error error = {0};
    kith_status status = kith_reader_open(fuzz_path(suffix), options, &reader, &error), again;
    FUZZ_CHECK(status == error.status && (status == KITH_OK) == (reader != NULL));
    if (status != KITH_OK) {
        FUZZ_CHECK(error.text[0]);
        return;
    }
    kith_reader_get_info(reader, &info);
    FUZZ_CHECK(kith_row_bytes(info.dtype, info.dim) > 0 && info.rows <= info.file_bytes);
    const uint64_t seen = fuzz_read_rest(reader, &info, &status);
    FUZZ_CHECK(status != KITH_OK || seen == info.rows);
    FUZZ_CHECK(kith_reader_seek(reader, info.rows / 2, NULL) == KITH_OK);
    const uint64_t rest = fuzz_read_rest(reader, &info, &again);
    FUZZ_CHECK(status != KITH_OK || (again == KITH_OK && rest == info.rows - info.rows / 2));
    kith_reader_close(reader);
}

#endif
