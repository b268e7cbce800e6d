/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "source.h"

#include "foreign.h"

#include <stdlib.h>
#include <string.h>

const char *source_path(const char *path) {
    return path && strcmp(path, "-") == 0 ? "/dev/stdin" : path;
}

kith_reader_options source_options(const struct arguments *arguments) {
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    options.format = (kith_format)option_number(arguments, OPTION_FORMAT, KITH_FORMAT_AUTO);
    options.id_column = option_text(arguments, OPTION_ID_COLUMN, NULL);
    options.name_column = option_text(arguments, OPTION_NAME_COLUMN, NULL);
    options.vector_key = option_text(arguments, OPTION_VECTOR_KEY, NULL);
    options.header = (kith_header)option_number(arguments, OPTION_HEADER, KITH_HEADER_AUTO);
    options.names_path = source_path(option_text(arguments, OPTION_NAMES, NULL));
    options.ids_path = source_path(option_text(arguments, OPTION_IDS, NULL));
    options.first_row = option_number(arguments, OPTION_FIRST_ROW, 0);
    options.max_rows = option_number(arguments, OPTION_ROWS, 0);
    options.round = option_given(arguments, OPTION_ROUND);
    options.skip_bad = option_given(arguments, OPTION_SKIP_BAD);
    return options;
}

/* Standard input ends once: two files cannot come from it. */
static int check_stdin(const struct arguments *arguments) {
    static const enum option_id files[] = {OPTION_IDS, OPTION_NAMES, OPTION_ALLOW, OPTION_DENY, OPTION_QUERIES};
    size_t count = 0;
    const size_t outputs = arguments->command == COMMAND_CONVERT; /* OUT */
    for (size_t i = 0; i + outputs < arguments->operand_count; i++) count += strcmp(arguments->operands[i], "-") == 0;
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        count += strcmp(option_text(arguments, files[i], ""), "-") == 0;
    if (count < 2) return EXIT_OK;
    return fail_usage(arguments->command, "standard input (-) can be read once, but is named %zu times", count);
}

static int say_skipped(const char *path, const kith_reader *reader, const kith_reader_info *info) {
    enum { SHOWN = 10 };
    note("%llu of the rows of %s are left out:", (unsigned long long)info->skipped, path);
    for (uint64_t i = 0; i < info->skipped && i < SHOWN; i++) {
        uint64_t row;
        const char *why;
        kith_error error = {0};
        const kith_status status = kith_reader_skipped(reader, i, &row, &why, &error);
        if (status != KITH_OK) return fail_status(status, &error);
        note("  row %llu: %s", (unsigned long long)row, why);
    }
    if (info->skipped > SHOWN) note("  and %llu more", (unsigned long long)(info->skipped - SHOWN));
    return EXIT_OK;
}

/* A reader of the file, or of what Python makes of it. */
static int open_reader(const char *path, const kith_reader_options *given, kith_reader **reader) {
    kith_reader_options options = *given;
    kith_error error = {0};
    struct foreign foreign = {0};
    const char *const columns[] = {options.id_column, options.name_column};
    const char *format = options.format == KITH_FORMAT_AUTO ? foreign_format(path) : NULL;
    int failed = format ? foreign_begin(&foreign, path, format, columns, options.dtype == KITH_B1) : EXIT_OK;
    if (format) {
        if (!options.ids_path) options.ids_path = foreign.ids;
        if (!options.names_path) options.names_path = foreign.names;
        options.id_column = options.name_column = NULL; /* Python has looked at them */
    }
    if (!failed) {
        const kith_status status = kith_reader_open(format ? foreign.vectors : path, &options, reader, &error);
        if (status != KITH_OK) failed = fail_status(status, &error);
    }
    foreign_end(&foreign); /* the reader has opened what it needs */
    return failed;
}

int source_open_with(const struct arguments *arguments, const char *path, const kith_reader_options *options,
                     kith_reader **reader, kith_reader_info *info) {
    int failed = check_stdin(arguments);
    if (!failed) failed = open_reader(source_path(path), options, reader);
    if (failed) return failed;
    kith_reader_get_info(*reader, info);
    if (option_given(arguments, OPTION_QUIET)) return EXIT_OK;
    if (info->guessed_header)
        note("%s: its first line, 0, 1, 2, ..., is taken for a header (--header no: for a vector)", path);
    if (info->skipped) failed = say_skipped(path, *reader, info);
    return failed;
}

int source_open(const struct arguments *arguments, const char *path, kith_dtype dtype, kith_reader **reader,
                kith_reader_info *info) {
    kith_reader_options options = source_options(arguments);
    options.dtype = dtype;
    return source_open_with(arguments, path, &options, reader, info);
}

static int index_open_with(const char *path, const kith_open_options *options, kith_index **index,
                           kith_index_info *info) {
    kith_error error = {0};
    const kith_status status = kith_index_open(path, options, index, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    kith_index_get_info(*index, info);
    return EXIT_OK;
}

int index_open(const char *path, kith_index **index, kith_index_info *info) {
    return index_open_with(path, NULL, index, info);
}

int index_open_resident(const struct arguments *arguments, const char *path, kith_index **index,
                        kith_index_info *info) {
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    options.resident = (kith_resident)option_number(arguments, OPTION_COPY, KITH_RESIDENT_NONE);
    options.device = (kith_device_use)option_number(arguments, OPTION_DEVICE, KITH_DEVICE_CPU);
    options.device_bytes = option_number(arguments, OPTION_DEVICE_BYTES, 0);
    return index_open_with(path, &options, index, info);
}

int queries_open(const struct arguments *arguments, const char *path, const char *index_path,
                 const kith_index_info *index, kith_reader **reader, kith_reader_info *info) {
    const kith_dtype dtype = index->dtype == KITH_B1 ? KITH_B1 : KITH_DTYPE_NONE;
    const int failed = source_open(arguments, path, dtype, reader, info);
    if (failed) return failed;
    if (info->dim == index->dim) return EXIT_OK;
    kith_reader_close(*reader);
    *reader = NULL;
    return fail(EXIT_INPUT, "%s has queries of %zu elements, but the vectors of %s have %zu", path, info->dim,
                index_path, index->dim);
}

int id_parse(const kith_index *index, const kith_index_info *info, const char *index_path, const char *text,
             uint64_t *id) {
    if (info->id_kind == KITH_ID_STRING) {
        const kith_status status = kith_index_lookup(index, text, strlen(text), id);
        if (status == KITH_E_NOTFOUND) return fail(EXIT_ABSENT, "%s holds no id \"%s\"", index_path, text);
        return status == KITH_OK ? EXIT_OK : fail_status(status, NULL);
    }
    if (!parse_number(text, strlen(text), id) || *id == KITH_ID_NONE)
        return fail(EXIT_USAGE, "--id is \"%s\", but the ids of %s are whole numbers", text, index_path);
    return EXIT_OK;
}

struct id_list {
    uint64_t *ids;
    size_t count, room, unknown;
};

static bool id_list_add(struct id_list *list, uint64_t id) {
    if (list->count == list->room) {
        const size_t room = list->room ? list->room * 2 : 1024;
        uint64_t *ids = room > SIZE_MAX / sizeof(*ids) ? NULL : realloc(list->ids, room * sizeof(*ids));
        if (!ids) return false;
        list->ids = ids;
        list->room = room;
    }
    list->ids[list->count++] = id;
    return true;
}

/* Ids of a batch, strings by their row numbers; those that the index has not are counted. */
static int add_ids(const kith_index *index, const kith_rows *rows, struct id_list *list) {
    for (size_t i = 0; i < rows->count; i++) {
        uint64_t id = rows->ids ? rows->ids[i] : 0;
        if (!rows->ids) {
            const uint32_t begin = i ? rows->id_ends[i - 1] : 0;
            const kith_status status = kith_index_lookup(index, rows->id_bytes + begin, rows->id_ends[i] - begin, &id);
            if (status == KITH_E_NOTFOUND) list->unknown++;
            if (status == KITH_E_NOTFOUND) continue;
            if (status != KITH_OK) return fail_status(status, NULL);
        }
        if (!id_list_add(list, id)) return fail(EXIT_OTHER, "out of memory");
    }
    return EXIT_OK;
}

static int read_ids(const char *path, const kith_index *index, const kith_index_info *info, struct id_list *list) {
    enum { BATCH = 4096 };
    kith_error error = {0};
    kith_id_reader *reader = NULL;
    kith_rows rows = {.count = 1};
    int failed = EXIT_OK;
    kith_status status = kith_id_reader_open(source_path(path), info->id_kind, &reader, &error);
    while (status == KITH_OK && !failed && rows.count) {
        status = kith_id_reader_next(reader, BATCH, &rows, &error);
        if (status == KITH_OK) failed = add_ids(index, &rows, list);
        if (interrupt_asked(NULL)) status = KITH_E_CANCELLED;
    }
    kith_id_reader_close(reader);
    return status == KITH_OK ? failed : fail_status(status, &error);
}

static int list_open(const char *path, const kith_index *index, const kith_index_info *info, bool quiet,
                     kith_filter **filter) {
    struct id_list list = {0};
    kith_error error = {0};
    size_t unknown = 0;
    int result = read_ids(path, index, info, &list);
    if (result == EXIT_OK) {
        const uint64_t none = 0;
        const kith_status status =
            kith_filter_create(index, list.ids ? list.ids : &none, list.count, &unknown, filter, &error);
        if (status != KITH_OK) result = fail_status(status, &error);
    }
    unknown += list.unknown;
    if (result == EXIT_OK && unknown > 0 && !quiet)
        note("%zu of the %zu ids in %s are not in the index", unknown, list.count + list.unknown, path);
    free(list.ids);
    return result;
}

int filter_open(const struct arguments *arguments, const kith_index *index, const kith_index_info *info,
                kith_filter **filter) {
    const bool quiet = option_given(arguments, OPTION_QUIET);
    const char *deny_path = option_text(arguments, OPTION_DENY, NULL);
    kith_filter *allow = NULL, *deny = NULL;
    int result = EXIT_OK;
    if (option_given(arguments, OPTION_ALLOW))
        result = list_open(option_text(arguments, OPTION_ALLOW, ""), index, info, quiet, &allow);
    if (result == EXIT_OK && !deny_path) {
        *filter = allow;
        return EXIT_OK;
    }
    if (result == EXIT_OK) result = list_open(deny_path, index, info, quiet, &deny);
    if (result == EXIT_OK) {
        kith_error error = {0};
        const kith_status status = kith_filter_create_except(allow, deny, filter, &error);
        if (status != KITH_OK) result = fail_status(status, &error);
    }
    kith_filter_destroy(allow);
    kith_filter_destroy(deny);
    return result;
}
