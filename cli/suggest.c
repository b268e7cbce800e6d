/* SPDX-License-Identifier: Apache-2.0 */
#include "suggest.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 63
#define FAR      1000u

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

unsigned edit_distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    unsigned rows[3][WORD_MAX + 1]; /* of the distance matrix: the last two and the one being filled */
    if (a_bytes > WORD_MAX || b_bytes > WORD_MAX) return FAR;
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_bytes; j++) last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            const int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *const spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_bytes];
}

void suggest_start(struct suggestion *suggestion, const char *typed, size_t typed_bytes) {
    suggestion->typed = typed;
    suggestion->typed_bytes = typed_bytes;
    suggestion->best = NULL;
    /* One edit in a short word, more in longer ones; beyond that a guess confuses more than it helps. */
    suggestion->distance = (typed_bytes <= 3 ? 1 : typed_bytes <= 7 ? 2 : 3) + 1;
}

void suggest_offer(struct suggestion *suggestion, const char *word) {
    const size_t bytes = strlen(word);
    unsigned distance = edit_distance(suggestion->typed, suggestion->typed_bytes, word, bytes);
    /* A beginning of a word ("orig" for "originals") means that word, however long the rest. */
    if (suggestion->typed_bytes >= 2 && suggestion->typed_bytes < bytes &&
        strncmp(word, suggestion->typed, suggestion->typed_bytes) == 0)
        distance = least(distance, 1);
    if (distance >= suggestion->typed_bytes || distance >= suggestion->distance) return;
    suggestion->best = word;
    suggestion->distance = distance;
}
