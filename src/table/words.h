/* SPDX-License-Identifier: Apache-2.0
 *
 * Distinct strings on their way into a column: numbered as they come, and sorted at the end. One owner. Room only. */
#ifndef KI_TABLE_WORDS_H
#define KI_TABLE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ki_words {
    uint32_t count;
    char *bytes; /* the strings back to back, as they came */
    size_t used, bytes_room;
    uint64_t *ends;
    size_t ends_room;
    uint64_t *slot; /* open addressing: hash << 32 | number + 1; 0: empty */
    uint64_t slots; /* a power of 2, or 0 */
} ki_words;         /* zero-initialise */

/* The number of a string, a new one if it was not there. false: no memory, or 2^32 - 2 are there. */
bool ki_words_number(ki_words *words, const char *text, size_t bytes, uint32_t *number);
static inline const char *ki_words_at(const ki_words *words, uint32_t number, size_t *bytes) {
    const uint64_t start = number ? words->ends[number - 1] : 0;
    *bytes = (size_t)(words->ends[number] - start);
    return words->bytes + start;
}
/* The numbers by ascending string, bytewise; to be freed. NULL: no memory. */
uint32_t *ki_words_sorted(const ki_words *words);
void ki_words_free(ki_words *words);

/* The same for strings that lie elsewhere: `ends` has `count` ends in `bytes`. */
uint32_t *ki_sorted_strings(const char *bytes, const uint64_t *ends, uint64_t count);
/* Rows by (key, row), stable by radix: `row` holds them by ascending row, key[row] is theirs. false: no memory. */
bool ki_sort_rows(uint32_t *row, uint64_t count, const uint64_t *key);

#endif
