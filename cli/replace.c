/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether an output may take the place of what bears its name: one rule for every output of every command.
 *
 * R1. What is read is never replaced, by whatever name or link it is called.
 * R2. What is no file of the kind that the command writes is replaced with --force only: it is more likely a slip of
 *     the fingers. The kind is looked for in the file, not in its name. An empty file holds nothing to be lost. */
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "source.h"

static bool same_file(const char *path, const struct stat *output) {
    struct stat input;
    return strcmp(path, "-") != 0 && stat(path, &input) == 0 && input.st_dev == output->st_dev &&
           input.st_ino == output->st_ino;
}

/* R1: the name of the input that the output would replace, or NULL. `output` itself may be among the operands. */
static const char *replaced_input(const struct arguments *arguments, const char *output, const struct stat *about) {
    static const enum option_id inputs[] = {OPTION_IDS, OPTION_NAMES, OPTION_ALLOW, OPTION_QUERIES, OPTION_AGAINST};
    for (size_t i = 0; i < arguments->operand_count; i++)
        if (arguments->operands[i] != output && same_file(arguments->operands[i], about)) return arguments->operands[i];
    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++) {
        const char *path = option_text(arguments, inputs[i], NULL);
        if (path && same_file(path, about)) return path;
    }
    return NULL;
}

static bool is_index(const char *path) {
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    options.no_sigbus_handler = 1;
    kith_index *index = NULL;
    const kith_status status = kith_index_open(path, &options, &index, NULL);
    kith_index_close(index);
    return status == KITH_OK;
}

/* Is it a file of vectors of this format? One row at least must be readable. */
static bool is_vectors(const char *path, kith_format format) {
    kith_reader_options options = KITH_READER_OPTIONS_INIT;
    kith_reader *reader = NULL;
    kith_rows rows = {0};
    options.format = format;
    const bool read = kith_reader_open(path, &options, &reader, NULL) == KITH_OK &&
                      kith_reader_next(reader, 1, &rows, NULL) == KITH_OK;
    kith_reader_close(reader);
    return read && rows.count;
}

/* The first bytes, as text. */
static void read_head(const char *path, char head[256]) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t got = fd < 0 ? 0 : read(fd, head, 255);
    head[got > 0 ? got : 0] = '\0';
    if (fd >= 0) close(fd);
}

/* An array of this type: its header stands behind ten bytes, one of which is a NUL. */
static bool is_npy(const char head[256], const char *type) {
    return memcmp(head, "\x93NUMPY", 6) == 0 && strstr(head + 10, type) != NULL;
}

static bool is_kind(const char *path, enum output_kind kind, kith_format format) {
    char head[256] = {0};
    read_head(path, head);
    const char *text = head;
    while (isspace((unsigned char)*text)) text++;
    switch (kind) {
    case OUTPUT_INDEX:
        return is_index(path);
    case OUTPUT_VECTORS:
        return is_vectors(path, format);
    case OUTPUT_SIGNED_IDS:
        return is_npy(head, "'<i8'");
    case OUTPUT_IDS:
        return is_npy(head, "'<u8'");
    case OUTPUT_DISTANCES:
        return is_npy(head, "'<f4'");
    case OUTPUT_JSON:
        return *text == '{';
    case OUTPUT_SVG:
        return strncmp(text, "<svg", 4) == 0 || strstr(text, "<svg") != NULL;
    case OUTPUT_HTML:
        return strncasecmp(text, "<!doctype html", 14) == 0;
    }
    return false;
}

static const char *kind_words(enum output_kind kind) {
    static const char *const words[] = {
        [OUTPUT_INDEX] = "an index that this kith can read",
        [OUTPUT_VECTORS] = "a file of vectors of that format",
        [OUTPUT_SIGNED_IDS] = "an array of ids (<i8)",
        [OUTPUT_IDS] = "an array of ids (<u8)",
        [OUTPUT_DISTANCES] = "an array of distances (<f4)",
        [OUTPUT_JSON] = "JSON",
        [OUTPUT_SVG] = "an SVG picture",
        [OUTPUT_HTML] = "a web page",
    };
    return words[kind];
}

int output_replace(const struct arguments *arguments, const char *path, enum output_kind kind, kith_format format) {
    struct stat about;
    const int refused = output_check(path);
    if (refused || stat(path, &about) != 0) return refused;
    const char *input = replaced_input(arguments, path, &about);
    if (input)
        return fail(EXIT_USAGE, "%s is %s itself, which is read; it is not replaced, also not with --force", path,
                    strcmp(path, input) == 0 ? "an input" : input);
    if (about.st_size == 0 || option_given(arguments, OPTION_FORCE) || is_kind(path, kind, format)) return EXIT_OK;
    return fail(EXIT_USAGE, "%s exists and is not %s; --force replaces it", path, kind_words(kind));
}
