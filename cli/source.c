/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "source.h"

#include "foreign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int source_open(const struct arguments *arguments, const char *path, kith_dtype dtype, kith_reader **reader,
                kith_reader_info *info) {
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    options.format = (kith_format)option_number(arguments, OPTION_FORMAT, KITH_FORMAT_AUTO);
    options.dtype = dtype;
    options.id_column = option_text(arguments, OPTION_ID_COLUMN, NULL);
    options.name_column = option_text(arguments, OPTION_NAME_COLUMN, NULL);
    options.names_path = option_text(arguments, OPTION_NAMES, NULL);
    options.ids_path = option_text(arguments, OPTION_IDS, NULL);
    options.first_row = option_number(arguments, OPTION_FIRST_ROW, 0);
    options.max_rows = option_number(arguments, OPTION_ROWS, 0);
    const int failed = open_reader(path, &options, reader);
    if (failed) return failed;
    kith_reader_get_info(*reader, info);
    return EXIT_OK;
}

int index_open(const char *path, kith_index **index, kith_index_info *info) {
    kith_error error = {0};
    const kith_status status = kith_index_open(path, NULL, index, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    kith_index_get_info(*index, info);
    return EXIT_OK;
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

static int read_id(const char *path, const kith_index *index, const kith_index_info *info, uint64_t line_number,
                   const char *line, size_t bytes, struct id_list *list) {
    uint64_t id = 0;
    if (info->id_kind == KITH_ID_STRING) {
        const kith_status status = kith_index_lookup(index, line, bytes, &id);
        if (status == KITH_E_NOTFOUND) {
            list->unknown++;
            return EXIT_OK;
        }
        if (status != KITH_OK) return fail_status(status, NULL);
    } else if (!parse_number(line, bytes, &id)) {
        return fail(EXIT_INPUT, "%s, line %llu: \"%.*s\" is no id, a whole number was expected", path,
                    (unsigned long long)line_number, bytes > 80 ? 80 : (int)bytes, line);
    }
    return id_list_add(list, id) ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

static int read_ids(const char *path, FILE *file, const kith_index *index, const kith_index_info *info,
                    struct id_list *list) {
    char *line = NULL;
    size_t room = 0;
    int result = EXIT_OK;
    ssize_t length;
    for (uint64_t number = 1; result == EXIT_OK && (length = getline(&line, &room, file)) >= 0; number++) {
        size_t bytes = (size_t)length;
        while (bytes > 0 && (line[bytes - 1] == '\n' || line[bytes - 1] == '\r')) bytes--;
        if (bytes > 0) result = read_id(path, index, info, number, line, bytes, list);
        if (interrupt_asked(NULL)) result = fail_status(KITH_E_CANCELLED, NULL);
    }
    if (result == EXIT_OK && ferror(file)) result = fail(EXIT_STORAGE, "%s cannot be read: %s", path, strerror(errno));
    free(line);
    return result;
}

static int list_open(const char *path, const kith_index *index, const kith_index_info *info, bool quiet,
                     kith_filter **filter) {
    struct id_list list = {0};
    kith_error error = {0};
    size_t unknown = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(errno == ENOENT ? EXIT_ABSENT : EXIT_STORAGE, "%s cannot be opened: %s", path, strerror(errno));
    int result = read_ids(path, file, index, info, &list);
    fclose(file);
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
