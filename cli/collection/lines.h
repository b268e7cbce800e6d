/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of a text file or of standard input, of any length. */
#ifndef KITH_CLI_COLLECTION_LINES_H
#define KITH_CLI_COLLECTION_LINES_H

#include <stdio.h>

#include "command.h"

struct lines {
    FILE *stream;
    const char *path;
    char *text;
    size_t room;
    uint64_t number; /* of the line that was read last, from 1 */
};

/* Whether a file has an item a line: by --format, or its name. */
bool lines_are(const struct arguments *arguments, const char *path);
int lines_open(const char *path, struct lines *lines); /* "-": standard input */
/* The next line, without its end; *bytes is SIZE_MAX at the end. */
int lines_next(struct lines *lines, size_t *bytes);
void lines_close(struct lines *lines); /* fine on a zeroed one */

#endif
