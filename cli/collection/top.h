/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith top` of a server: the figures of GET /v1/stats, and how they are shown. */
#ifndef KITH_CLI_COLLECTION_TOP_H
#define KITH_CLI_COLLECTION_TOP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct arguments;

int top_server(const struct arguments *arguments);

/* Everything on one screen, of so many lines; stats: an object, of which what is missing counts as zero. */
void top_screen(FILE *stream, const char *url, const json_t *stats, size_t lines);
/* The same without an end of lines: for pipes, and once. */
bool top_table(FILE *stream, const json_t *stats);

#endif
