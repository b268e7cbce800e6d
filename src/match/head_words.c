/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of each segment of vectors (tenant) in a head: a hash table of the segment field's words, made by searches
 * and lengthened by the rows that came since, so that a question about one tenant looks at no other one's rows. Known
 * by the head and its first row, as sieves are (matching.h M1, M4). */
#include "match/matching.h"

#include "base/checked.h"

#include <string.h>
#include <xxhash.h>

enum { BUCKETS_FIRST = 1024 };

struct ki_head_words {
    pthread_mutex_t mutex; /* guards all below */
    const ki_head *head;   /* never followed */
    uint64_t first_key, first_version;
    size_t count;   /* rows known */
    size_t buckets; /* a power of two */
    uint32_t *bucket;
    ki_area next, hash; /* uint32_t a row; bucket and next: serial + 1, 0 ends */
};

ki_head_words *ki_head_words_create(void) {
    ki_head_words *words = ki_alloc_array_zeroed(1, sizeof(*words));
    if (words) pthread_mutex_init(&words->mutex, NULL);
    return words;
}

void ki_head_words_destroy(ki_head_words *words) {
    if (!words) return;
    free(words->bucket);
    free(words->next.data);
    free(words->hash.data);
    pthread_mutex_destroy(&words->mutex);
    free(words);
}

/* The word of a row; NULL: it has none. */
static const char *word_of(const ki_head *head, size_t field, uint32_t serial, uint32_t *bytes) {
    ki_values values;
    if (!ki_head_values(head, serial, &values) || field >= values.count || !values.value[field].count) return NULL;
    const uint32_t at = values.value[field].as.at;
    *bytes = values.string_bytes[at];
    return values.string[at];
}

static void link_row(ki_head_words *words, uint32_t serial) {
    uint32_t *next = words->next.data;
    const uint32_t *hash = words->hash.data;
    uint32_t *bucket = &words->bucket[hash[serial] & (words->buckets - 1)];
    next[serial] = *bucket;
    *bucket = serial + 1;
}

/* Room for so many rows, as many buckets at least. */
static int reserve(ki_head_words *words, size_t rows) {
    if (!ki_area_grow(&words->next, rows, sizeof(uint32_t)) || !ki_area_grow(&words->hash, rows, sizeof(uint32_t)))
        return 0;
    if (words->buckets >= rows && words->bucket) return 1;
    size_t buckets = BUCKETS_FIRST;
    while (buckets < rows) buckets *= 2;
    uint32_t *grown = ki_alloc_array_zeroed(buckets, sizeof(*grown));
    if (!grown) return 0;
    free(words->bucket);
    words->bucket = grown;
    words->buckets = buckets;
    for (size_t i = 0; i < words->count; i++) link_row(words, (uint32_t)i);
    return 1;
}

/* Know the rows up to `count`. Those without a word lie among those of hash 0: words are compared, too. */
static int learn(ki_head_words *words, const ki_head *head, size_t count, size_t field) {
    const ki_head_view first = ki_head_row_at(head, 0);
    if (words->head != head || words->first_key != first.key || words->first_version != first.version) {
        words->head = head;
        words->first_key = first.key;
        words->first_version = first.version;
        words->count = 0;
        if (words->bucket) memset(words->bucket, 0, words->buckets * sizeof(*words->bucket));
    }
    if (words->count >= count) return 1;
    if (!reserve(words, count)) return 0;
    for (; words->count < count; words->count++) {
        uint32_t bytes = 0;
        const char *word = word_of(head, field, (uint32_t)words->count, &bytes);
        ((uint32_t *)words->hash.data)[words->count] = word ? (uint32_t)XXH3_64bits(word, bytes) : 0;
        link_row(words, (uint32_t)words->count);
    }
    return 1;
}

size_t ki_head_words_find(ki_head_words *words, const ki_head *head, size_t count, size_t field, const char *word,
                          size_t bytes, ki_area *rows) {
    const uint32_t hash = (uint32_t)XXH3_64bits(word, bytes);
    size_t used = 0;
    pthread_mutex_lock(&words->mutex);
    int fine = learn(words, head, count, field);
    const uint32_t *next = words->next.data, *hashes = words->hash.data;
    for (uint32_t at = fine ? words->bucket[hash & (words->buckets - 1)] : 0; at && fine; at = next[at - 1]) {
        uint32_t word_bytes;
        if (hashes[at - 1] != hash || at > count) continue;
        const char *other = word_of(head, field, at - 1, &word_bytes);
        if (!other || word_bytes != bytes || memcmp(other, word, bytes) != 0) continue;
        uint32_t *list = ki_area_grow(rows, (uint64_t)used + 1, sizeof(*list));
        fine = list != NULL;
        if (list) list[used++] = at - 1;
    }
    pthread_mutex_unlock(&words->mutex);
    return fine ? used : SIZE_MAX;
}
