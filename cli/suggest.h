/* SPDX-License-Identifier: Apache-2.0
 *
 * "Did you mean ...": the known word nearest to a mistyped one, by edits (insert, delete, replace, swap of neighbours:
 * optimal string alignment distance). */
#ifndef KITH_CLI_SUGGEST_H
#define KITH_CLI_SUGGEST_H

#include <stddef.h>

/* Edits from a to b. Words longer than 63 bytes count as far apart. */
unsigned edit_distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes);

struct suggestion {
    const char *typed;
    size_t typed_bytes;
    const char *best; /* NULL while nothing is near enough */
    unsigned distance;
};

void suggest_start(struct suggestion *suggestion, const char *typed, size_t typed_bytes);
void suggest_offer(struct suggestion *suggestion, const char *word);

#endif
