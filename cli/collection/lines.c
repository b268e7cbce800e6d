/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "collection/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool lines_are(const struct arguments *arguments, const char *path) {
    const char *dot = strrchr(path, '.');
    if (option_given(arguments, OPTION_FORMAT)) return option_number(arguments, OPTION_FORMAT, 0) == KITH_JSONL;
    return strcmp(path, "-") == 0 || (dot && (strcasecmp(dot, ".jsonl") == 0 || strcasecmp(dot, ".ndjson") == 0));
}

int lines_open(const char *path, struct lines *lines) {
    *lines = (struct lines){.path = path};
    lines->stream = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (lines->stream) return EXIT_OK;
    return fail(errno == ENOENT ? EXIT_ABSENT : EXIT_STORAGE, "%s cannot be opened: %s", path, strerror(errno));
}

int lines_next(struct lines *lines, size_t *bytes) {
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

void lines_close(struct lines *lines) {
    if (lines->stream && lines->stream != stdin) fclose(lines->stream);
    free(lines->text);
}
