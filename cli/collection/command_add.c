/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith add`: items from lines of JSON, or from a file of vectors with payloads beside it. */
#define _GNU_SOURCE
#include "collection/items.h"
#include "progress.h"
#include "source.h"
#include "table.h"
#include "terminal.h"
#include "values.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BATCH = 1000 }; /* items of one write */

struct addition {
    const struct arguments *arguments;
    struct shop shop;
    struct item_batch batch;
    kith_write_mode mode;
    kith_write_report report;
    const char *path;
    uint64_t rows, batch_first; /* items so far; the first one of the batch */
    struct progress progress;
};

static bool is_lines(const struct arguments *arguments, const char *path) {
    const char *dot = strrchr(path, '.');
    if (option_given(arguments, OPTION_FORMAT)) return option_number(arguments, OPTION_FORMAT, 0) == KITH_JSONL;
    return strcmp(path, "-") == 0 || (dot && (strcasecmp(dot, ".jsonl") == 0 || strcasecmp(dot, ".ndjson") == 0));
}

static int write_batch(struct addition *addition) {
    if (!addition->batch.count) return EXIT_OK;
    const int failed =
        item_batch_write(&addition->batch, addition->mode, addition->path, addition->batch_first, &addition->report);
    addition->batch_first = addition->rows;
    if (!failed && interrupt_asked(NULL)) return interrupt_exit_code();
    return failed;
}

/* A stream of lines, of any length. */
struct lines {
    FILE *stream;
    const char *path;
    char *text;
    size_t room;
    uint64_t number;
};

static int lines_open(const char *path, struct lines *lines) {
    *lines = (struct lines){.path = path};
    lines->stream = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (lines->stream) return EXIT_OK;
    return fail(errno == ENOENT ? EXIT_ABSENT : EXIT_STORAGE, "%s cannot be opened: %s", path, strerror(errno));
}

/* The next line, without its end; *bytes is SIZE_MAX at the end. */
static int lines_next(struct lines *lines, size_t *bytes) {
    errno = 0;
    const ssize_t got = getline(&lines->text, &lines->room, lines->stream);
    *bytes = SIZE_MAX;
    if (got < 0 && (ferror(lines->stream) || errno == ENOMEM))
        return fail(EXIT_STORAGE, "%s cannot be read: %s", lines->path, strerror(errno));
    if (got < 0) return EXIT_OK;
    lines->number++;
    *bytes = (size_t)got;
    while (*bytes && (lines->text[*bytes - 1] == '\n' || lines->text[*bytes - 1] == '\r')) --*bytes;
    return EXIT_OK;
}

static void lines_close(struct lines *lines) {
    if (lines->stream && lines->stream != stdin) fclose(lines->stream);
    free(lines->text);
}

static int add_lines(struct addition *addition) {
    struct lines lines;
    size_t bytes = 0;
    int failed = lines_open(addition->path, &lines);
    while (!failed) {
        failed = lines_next(&lines, &bytes);
        if (failed || bytes == SIZE_MAX) break;
        if (bytes == strspn(lines.text, " \t")) continue;
        failed = item_line_add(&addition->batch, addition->path, lines.number, lines.text, bytes);
        addition->rows++;
        if (!failed && addition->batch.count == BATCH) failed = write_batch(addition);
        progress_step(&addition->progress, "adding", "items", addition->rows, 0);
    }
    lines_close(&lines);
    return failed ? failed : write_batch(addition);
}

/* ---- Files of vectors -------------------------------------------------------------------------------------------- */

static int add_row(struct addition *addition, const kith_rows *rows, size_t at, const struct item_column *column,
                   size_t place, kith_dtype dtype) {
    int failed;
    if (addition->shop.info.id_kind == KITH_ID_STRING) {
        const uint32_t begin = at ? rows->id_ends[at - 1] : 0;
        failed = item_batch_begin(&addition->batch, 0, rows->id_bytes + begin, rows->id_ends[at] - begin);
    } else {
        failed = item_batch_begin(&addition->batch, rows->ids ? rows->ids[at] : rows->first + at, NULL, 0);
    }
    if (failed) return failed;
    void *to = item_batch_vector(&addition->batch, place);
    const char *from = (const char *)rows->data + at * kith_row_bytes(dtype, column->spec.dim);
    if (column->spec.dtype == KITH_B1) {
        memcpy(to, from, column->row_bytes);
    } else {
        values_to_float(dtype, from, column->spec.dim, to);
    }
    return EXIT_OK;
}

/* The payload of a row: a line of --payloads. */
static int add_payload(struct addition *addition, struct lines *payloads) {
    size_t bytes = 0;
    if (!payloads->stream) return EXIT_OK;
    int failed = lines_next(payloads, &bytes);
    if (!failed && bytes == SIZE_MAX)
        failed = fail(EXIT_INPUT, "%s has %llu lines, but %s has more rows", payloads->path,
                      (unsigned long long)payloads->number, addition->path);
    if (!failed && bytes && !item_batch_payload(&addition->batch, payloads->text, bytes))
        failed = fail(EXIT_OTHER, "out of memory");
    return failed;
}

static int add_rows(struct addition *addition, kith_reader *reader, const kith_reader_info *about, size_t place,
                    struct lines *payloads) {
    kith_error error = {0};
    kith_rows rows = {.count = 1};
    int failed = EXIT_OK;
    while (!failed && rows.count) {
        const kith_status status = kith_reader_next(reader, BATCH, &rows, &error);
        if (status != KITH_OK) return fail_status(status, &error);
        for (size_t i = 0; i < rows.count && !failed; i++) {
            failed = add_row(addition, &rows, i, &addition->batch.column[place], place, about->dtype);
            if (!failed) failed = add_payload(addition, payloads);
            addition->rows++;
        }
        if (!failed) failed = write_batch(addition);
        progress_step(&addition->progress, "adding", "items", addition->rows, about->rows);
    }
    return failed;
}

static int check_ids(const struct addition *addition, const kith_reader_info *about) {
    const bool strings = addition->shop.info.id_kind == KITH_ID_STRING;
    if (strings == (about->id_kind == KITH_ID_STRING)) return EXIT_OK;
    return fail(EXIT_INPUT, "the ids of %s are %s, but those of %s are %s", addition->path,
                strings ? "numbers" : "strings", addition->shop.path, strings ? "strings" : "numbers");
}

static int add_vectors(struct addition *addition) {
    const struct arguments *arguments = addition->arguments;
    kith_vector_spec spec = {0};
    kith_reader *reader = NULL;
    kith_reader_info about = KITH_READER_INFO_INIT;
    struct lines payloads = {0};
    size_t place = 0;
    int failed = shop_vector(arguments, &addition->shop, &spec);
    while (!failed && strcmp(addition->batch.column[place].spec.name, spec.name) != 0) place++;
    if (!failed)
        failed =
            source_open(arguments, addition->path, spec.dtype == KITH_B1 ? KITH_B1 : KITH_DTYPE_NONE, &reader, &about);
    if (!failed) failed = check_ids(addition, &about);
    if (!failed && about.dim != spec.dim)
        failed = fail(EXIT_INPUT, "%s has vectors of %zu elements, but those of %s have %zu", addition->path, about.dim,
                      addition->shop.path, spec.dim);
    if (!failed && option_given(arguments, OPTION_PAYLOADS))
        failed = lines_open(option_text(arguments, OPTION_PAYLOADS, ""), &payloads);
    if (!failed) failed = add_rows(addition, reader, &about, place, &payloads);
    lines_close(&payloads);
    kith_reader_close(reader);
    return failed;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static void say(const struct addition *addition, uint64_t took_ns) {
    const kith_write_report *report = &addition->report;
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    const double seconds = (double)took_ns * 1e-9;
    if (option_given(addition->arguments, OPTION_JSON)) {
        struct json json = JSON_LINES(stdout);
        emit_object(&json, NULL);
        emit_uint(&json, "inserted", report->inserted);
        emit_uint(&json, "replaced", report->replaced);
        emit_uint(&json, "version", report->version);
        emit_uint(&json, "total_ns", took_ns);
        emit_object_end(&json);
    } else if (!option_given(addition->arguments, OPTION_QUIET)) {
        printf("%s: %s items added, %s replaced, in %s\n", addition->shop.path, human_count(a, report->inserted),
               human_count(b, report->replaced), human_duration(c, seconds));
    }
}

/* An item that is replaced as a whole would lose its vectors of all other generations. */
static int check_mode(const struct addition *addition) {
    if (!option_given(addition->arguments, OPTION_GENERATION) || addition->mode == KITH_UPDATE ||
        addition->mode == KITH_MERGE)
        return EXIT_OK;
    return fail_usage(
        COMMAND_ADD,
        "--generation adds vectors to items that are there: it goes with --mode update or merge, since %s "
        "makes whole items, which would have no vectors of other generations",
        addition->mode == KITH_INSERT ? "insert" : "upsert");
}

int command_add(const struct arguments *arguments) {
    struct addition addition = {.arguments = arguments, .path = arguments->operands[1]};
    addition.mode = (kith_write_mode)option_number(arguments, OPTION_MODE, KITH_UPSERT);
    const uint64_t start_ns = now_ns();
    int failed = check_mode(&addition);
    if (!failed) failed = shop_open(arguments, false, &addition.shop);
    if (!failed) failed = item_batch_create(&addition.shop, &addition.batch);
    progress_start(&addition.progress, option_given(arguments, OPTION_QUIET));
    if (!failed) failed = is_lines(arguments, addition.path) ? add_lines(&addition) : add_vectors(&addition);
    progress_end(&addition.progress);
    if (failed && addition.report.version && !option_given(arguments, OPTION_QUIET))
        note("%llu items before that are in %s",
             (unsigned long long)(addition.report.inserted + addition.report.replaced), addition.shop.path);
    if (!failed) say(&addition, now_ns() - start_ns);
    item_batch_destroy(&addition.batch);
    shop_close(&addition.shop);
    return failed;
}
