/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of a text file, one at a time, by pread.
 *
 * L1. A line ends at LF, CR LF or the end of the file; a last line without LF counts. A UTF-8 byte order mark at the
 *     start of the file is left out.
 * L2. Memory is bounded by the longest line, and a line by KI_LINE_MAX.
 * L3. The text of a line may be changed in place and has a NUL behind it. It lives until the next call.
 * L4. The file is read up to the size that it had when it was opened; a shorter one is an error.
 *
 * One owner at a time. */
#ifndef KI_IO_LINES_H
#define KI_IO_LINES_H

#include "kith.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KI_LINE_MAX ((size_t)16 << 20)

typedef struct ki_lines {
    const char *path; /* borrowed, as is fd */
    int fd;
    uint64_t file_bytes, offset; /* offset: where the buffer's end lies in the file */
    char *buffer;
    size_t capacity, begin, filled;
    uint64_t number; /* of the line last returned, from 1 */
} ki_lines;

#define KI_LINES_NONE                                                                                                  \
    { .fd = -1 }

void ki_lines_open(ki_lines *lines, const char *path, int fd, uint64_t file_bytes);
void ki_lines_close(ki_lines *lines); /* frees the buffer; fine on KI_LINES_NONE */
void ki_lines_rewind(ki_lines *lines);
/* The next line without its end; *text NULL at the end of the file. */
kith_status ki_lines_next(ki_lines *lines, char **text, size_t *bytes, kith_error *error);
/* The next line that is not blank (only spaces, tabs or nothing). */
kith_status ki_lines_next_filled(ki_lines *lines, char **text, size_t *bytes, kith_error *error);

/* Some of a text for a message: cut at 40 bytes, on a character's border; control characters shown as '?'. */
const char *ki_excerpt(const char *text, size_t bytes, char excerpt[48]);

#endif
