/* SPDX-License-Identifier: Apache-2.0
 *
 * Sieves and living sieves, and the cache that keeps them: a hash table by name, and a list by use, whose oldest go
 * when the budget is spent. */
#include "match/matching.h"

#include "base/checked.h"

#include <string.h>

enum {
    BUDGET = 32 << 20,
    SIEVES_MAX = 4096,
    BUCKETS = 1024,
    PARSED_MAX = 32,
    HEADS_MAX = 4,
    PARSED_TEXT_MAX = 64 << 10,
    DUE_MAX = 8,
    NOTED_MAX = 64, /* notes; each may take a third of a MiB */
    /* So few rows are best scored one by one, whatever the plans cost: as a list they cost nothing beside that. */
    FEW = 4096
};

struct ki_match_cache {
    pthread_mutex_t mutex; /* guards all below, and the sieves' `living` */
    ki_sieve *newest, *oldest, *bucket[BUCKETS];
    uint64_t bytes;
    size_t count, noted;           /* noted: how many notes the sieves have */
    ki_parsed *parsed[PARSED_MAX]; /* newest first */
    ki_head_words *words[HEADS_MAX];
    const ki_head *head[HEADS_MAX]; /* whose words they are; never followed */
    size_t next_head;               /* the table that a new head takes */
    ki_sieve *due[DUE_MAX];         /* whose studies wait, first come first; held */
    size_t due_spec[DUE_MAX];
    atomic_size_t due_count; /* every search with a filter looks at it, without the mutex */
};

/* ---- Sieves ------------------------------------------------------------------------------------------------------ */

static uint64_t bytes_of(const ki_bits *bits) {
    return bits ? sizeof(*bits) + bits->words * sizeof(uint64_t) : 0;
}

ki_sieve *ki_sieve_create(const ki_sieve_name *name, size_t specs, ki_bits *rows) {
    ki_sieve *sieve = rows ? ki_alloc_array_zeroed(1, sizeof(*sieve)) : NULL;
    char *question = ki_alloc_array(name->question_bytes + 1, 1);
    _Atomic(ki_bits *) *positions = ki_alloc_array_zeroed(specs, sizeof(*positions));
    ki_filter_notes **notes = ki_alloc_array_zeroed(specs, sizeof(*notes));
    if (!sieve || !question || !positions || !notes) {
        free(sieve);
        free(question);
        free(positions);
        free(notes);
        ki_bits_release(rows);
        return NULL;
    }
    if (name->question_bytes) memcpy(question, name->question, name->question_bytes);
    *sieve = (ki_sieve){.name = *name, .rows = rows, .specs = specs, .positions = positions, .notes = notes};
    sieve->name.question = question;
    atomic_init(&sieve->references, 1);
    /* With positions and a living sieve of the same length, which most come to have. */
    sieve->bytes = sizeof(*sieve) + name->question_bytes + (2 + 2 * (uint64_t)specs) * bytes_of(rows);
    return sieve;
}

ki_sieve *ki_sieve_hold(ki_sieve *sieve) {
    atomic_fetch_add_explicit(&sieve->references, 1, memory_order_relaxed);
    return sieve;
}

void ki_sieve_release(ki_sieve *sieve) {
    if (!sieve || atomic_fetch_sub_explicit(&sieve->references, 1, memory_order_acq_rel) != 1) return;
    for (size_t s = 0; s < sieve->specs; s++) {
        ki_bits_release(atomic_load(&sieve->positions[s]));
        ki_filter_notes_release(sieve->notes[s]);
    }
    ki_living_release(sieve->living);
    free(sieve->notes);
    ki_bits_release(sieve->rows);
    free((char *)(uintptr_t)sieve->name.question);
    free((void *)sieve->positions);
    free(sieve);
}

static int same_name(const ki_sieve_name *a, const ki_sieve_name *b) {
    return a->question_hash == b->question_hash && a->number == b->number && a->hash == b->hash && a->head == b->head &&
           a->first_key == b->first_key && a->first_version == b->first_version && a->publication == b->publication &&
           a->question_bytes == b->question_bytes && memcmp(a->question, b->question, a->question_bytes) == 0;
}

/* ---- Positions --------------------------------------------------------------------------------------------------- */

/* The positions of rows, whether they live or not. */
static ki_bits *map_rows(const ki_sealed *sealed, size_t spec, const ki_bits *rows) {
    if (rows->set > rows->rows / 2) return ki_sealed_positions(sealed, spec, rows);
    ki_bits *bits = ki_bits_create(sealed->index[spec]->view.rows, 0);
    for (uint64_t w = 0; bits && w < rows->words; w++)
        for (uint64_t word = rows->word[w]; word; word &= word - 1) {
            uint32_t position;
            if (ki_sealed_row_position(sealed, spec, w * 64 + (unsigned)__builtin_ctzll(word), &position))
                ki_bits_put(bits, position);
        }
    return bits;
}

/* The sieve's positions, made at need. */
static ki_bits *sieve_positions(ki_sieve *sieve, const ki_sealed *sealed, size_t spec) {
    ki_bits *known = atomic_load_explicit(&sieve->positions[spec], memory_order_acquire);
    if (known) return known;
    ki_bits *made = map_rows(sealed, spec, sieve->rows);
    if (!made || atomic_compare_exchange_strong(&sieve->positions[spec], &known, made)) return made;
    ki_bits_release(made);
    return known;
}

static void end_positions(ki_sieve_positions *positions) {
    if (!positions) return;
    ki_bits_release(positions->bits);
    ki_filter_counts_destroy(positions->counts);
    free(positions->few);
    free(positions);
}

static ki_sieve_positions *make_positions(ki_sieve *sieve, const ki_sealed *sealed, size_t spec, const ki_bits *live) {
    ki_bits *all = sieve_positions(sieve, sealed, spec);
    ki_sieve_positions *made = ki_alloc_array_zeroed(1, sizeof(*made));
    ki_bits *bits = !all ? NULL : live->set == live->rows ? ki_bits_hold(all) : ki_bits_both(all, live);
    ki_filter_counts *counts = ki_filter_counts_create();
    if (!bits || !made || !counts) goto failed;
    made->count = bits->set;
    made->counts = counts;
    made->bits = bits;
    if (bits->set > FEW && bits->set > bits->rows / 64) return made;
    made->few = ki_alloc_array(bits->set, sizeof(*made->few));
    if (!made->few) goto failed;
    size_t used = 0;
    for (uint64_t w = 0; w < bits->words; w++)
        for (uint64_t word = bits->word[w]; word; word &= word - 1)
            made->few[used++] = (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(word));
    if (bits->set > FEW) return made; /* the planner may know better */
    ki_bits_release(bits);
    made->bits = NULL;
    return made;
failed:
    ki_bits_release(bits);
    ki_filter_counts_destroy(counts);
    free(made);
    return NULL;
}

const ki_sieve_positions *ki_living_positions(ki_living *living, ki_sieve *sieve, const ki_sealed *sealed, size_t spec,
                                              const ki_bits *positions) {
    ki_sieve_positions *known = atomic_load_explicit(&living->positions[spec], memory_order_acquire);
    if (known) return known;
    ki_sieve_positions *made = make_positions(sieve, sealed, spec, positions);
    if (!made || atomic_compare_exchange_strong(&living->positions[spec], &known, made)) return made;
    end_positions(made);
    return known;
}

/* ---- Living sieves ----------------------------------------------------------------------------------------------- */

ki_living *ki_living_hold(ki_living *living) {
    atomic_fetch_add_explicit(&living->references, 1, memory_order_relaxed);
    return living;
}

void ki_living_release(ki_living *living) {
    if (!living || atomic_fetch_sub_explicit(&living->references, 1, memory_order_acq_rel) != 1) return;
    for (size_t s = 0; s < living->specs; s++) end_positions(atomic_load(&living->positions[s]));
    ki_bits_release(living->alive);
    ki_bits_release(living->rows);
    free(living);
}

static ki_living *make_living(const ki_sieve *sieve, ki_bits *alive) {
    ki_living *living =
        ki_alloc_array_zeroed(1, sizeof(*living) + sieve->specs * sizeof(_Atomic(ki_sieve_positions *)));
    if (!living) return NULL;
    atomic_init(&living->references, 1);
    living->specs = sieve->specs;
    living->alive = ki_bits_hold(alive);
    living->rows = alive->set == alive->rows && alive->rows == sieve->rows->rows ? ki_bits_hold(sieve->rows)
                                                                                 : ki_bits_both(sieve->rows, alive);
    if (living->rows) return living;
    ki_living_release(living);
    return NULL;
}

ki_living *ki_match_cache_living(ki_match_cache *cache, ki_sieve *sieve, ki_bits *alive) {
    ki_living *living = NULL;
    if (cache) {
        pthread_mutex_lock(&cache->mutex);
        if (sieve->living && sieve->living->alive == alive) living = ki_living_hold(sieve->living);
        pthread_mutex_unlock(&cache->mutex);
    }
    if (living) return living;
    living = make_living(sieve, alive);
    if (!living || !cache) return living;
    pthread_mutex_lock(&cache->mutex);
    ki_living *before = sieve->living;
    sieve->living = ki_living_hold(living);
    pthread_mutex_unlock(&cache->mutex);
    ki_living_release(before);
    return living;
}

/* ---- The cache --------------------------------------------------------------------------------------------------- */

ki_match_cache *ki_match_cache_create(void) {
    ki_match_cache *cache = ki_alloc_array_zeroed(1, sizeof(*cache));
    if (!cache) return NULL;
    pthread_mutex_init(&cache->mutex, NULL);
    for (size_t i = 0; i < HEADS_MAX; i++)
        if (!(cache->words[i] = ki_head_words_create())) {
            ki_match_cache_destroy(cache);
            return NULL;
        }
    return cache;
}

void ki_match_cache_destroy(ki_match_cache *cache) {
    if (!cache) return;
    for (ki_sieve *sieve = cache->newest, *next; sieve; sieve = next) {
        next = sieve->older;
        ki_sieve_release(sieve);
    }
    for (size_t i = 0; i < cache->due_count; i++) ki_sieve_release(cache->due[i]);
    for (size_t i = 0; i < PARSED_MAX; i++) ki_parsed_release(cache->parsed[i]);
    for (size_t i = 0; i < HEADS_MAX; i++) ki_head_words_destroy(cache->words[i]);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

uint64_t ki_match_cache_bytes(ki_match_cache *cache) {
    if (!cache) return 0;
    pthread_mutex_lock(&cache->mutex);
    uint64_t bytes = cache->bytes;
    for (const ki_sieve *sieve = cache->noted ? cache->newest : NULL; sieve; sieve = sieve->older)
        for (size_t s = 0; s < sieve->specs; s++)
            if (sieve->notes[s]) bytes += atomic_load_explicit(&sieve->notes[s]->bytes, memory_order_relaxed);
    pthread_mutex_unlock(&cache->mutex);
    return bytes;
}

static ki_sieve **bucket_of(ki_match_cache *cache, const ki_sieve_name *name) {
    const uint64_t place = name->number + name->first_key * 31 + name->first_version;
    return &cache->bucket[(name->question_hash ^ place * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (BUCKETS - 1)];
}

static size_t notes_of(const ki_sieve *sieve) {
    size_t count = 0;
    for (size_t s = 0; s < sieve->specs; s++) count += sieve->notes[s] != NULL;
    return count;
}

static void unlink_sieve(ki_match_cache *cache, ki_sieve *sieve) {
    ki_sieve **at = bucket_of(cache, &sieve->name);
    while (*at != sieve) at = &(*at)->next;
    *at = sieve->next;
    *(sieve->newer ? &sieve->newer->older : &cache->newest) = sieve->older;
    *(sieve->older ? &sieve->older->newer : &cache->oldest) = sieve->newer;
    sieve->newer = sieve->older = sieve->next = NULL;
    cache->bytes -= sieve->bytes;
    cache->count--;
    cache->noted -= notes_of(sieve);
}

static void link_sieve(ki_match_cache *cache, ki_sieve *sieve) {
    ki_sieve **bucket = bucket_of(cache, &sieve->name);
    sieve->next = *bucket;
    *bucket = sieve;
    sieve->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = sieve;
    cache->newest = sieve;
    cache->bytes += sieve->bytes;
    cache->count++;
    cache->noted += notes_of(sieve);
}

static ki_sieve *find(ki_match_cache *cache, const ki_sieve_name *name) {
    ki_sieve *sieve = *bucket_of(cache, name);
    while (sieve && !same_name(&sieve->name, name)) sieve = sieve->next;
    return sieve;
}

ki_sieve *ki_match_cache_find(ki_match_cache *cache, const ki_sieve_name *name) {
    if (!cache) return NULL;
    pthread_mutex_lock(&cache->mutex);
    ki_sieve *sieve = find(cache, name);
    if (sieve) {
        ki_sieve_hold(sieve);
        if (sieve != cache->newest) {
            unlink_sieve(cache, sieve);
            link_sieve(cache, sieve);
        }
    }
    pthread_mutex_unlock(&cache->mutex);
    return sieve;
}

/* Let go of what the list ends with; the first of those that go, linked by `older`. */
static ki_sieve *trim(ki_match_cache *cache) {
    ki_sieve *gone = NULL;
    while (cache->oldest && (cache->bytes > BUDGET || cache->count > SIEVES_MAX)) {
        ki_sieve *sieve = cache->oldest;
        unlink_sieve(cache, sieve);
        sieve->older = gone;
        gone = sieve;
    }
    return gone;
}

void ki_match_cache_keep(ki_match_cache *cache, ki_sieve *sieve) {
    if (!cache || sieve->bytes > BUDGET) return;
    pthread_mutex_lock(&cache->mutex);
    ki_sieve *before = find(cache, &sieve->name);
    if (before) unlink_sieve(cache, before);
    link_sieve(cache, ki_sieve_hold(sieve));
    ki_sieve *gone = trim(cache);
    pthread_mutex_unlock(&cache->mutex);
    ki_sieve_release(before);
    for (ki_sieve *next; gone; gone = next) {
        next = gone->older;
        ki_sieve_release(gone);
    }
}

/* ---- Notes ------------------------------------------------------------------------------------------------------- */

/* Those of the sieve that was used longest ago, taken out of it. */
static ki_filter_notes *take_oldest(ki_match_cache *cache) {
    ki_sieve *sieve = cache->oldest;
    while (sieve && !notes_of(sieve)) sieve = sieve->newer;
    for (size_t s = 0; sieve && s < sieve->specs; s++) {
        ki_filter_notes *notes = sieve->notes[s];
        if (!notes) continue;
        sieve->notes[s] = NULL;
        cache->noted--;
        return notes;
    }
    return NULL;
}

ki_filter_notes *ki_match_cache_notes(ki_match_cache *cache, ki_sieve *sieve, size_t spec) {
    ki_filter_notes *notes = NULL, *gone = NULL;
    if (!cache || spec >= sieve->specs) return NULL;
    pthread_mutex_lock(&cache->mutex);
    if (find(cache, &sieve->name) == sieve) {
        if (!sieve->notes[spec]) {
            if (cache->noted >= NOTED_MAX) gone = take_oldest(cache);
            sieve->notes[spec] = ki_filter_notes_create();
            cache->noted += sieve->notes[spec] != NULL;
        }
        notes = sieve->notes[spec] ? ki_filter_notes_hold(sieve->notes[spec]) : NULL;
    }
    pthread_mutex_unlock(&cache->mutex);
    ki_filter_notes_release(gone);
    return notes;
}

int ki_match_cache_put_due(ki_match_cache *cache, ki_sieve *sieve, size_t spec) {
    pthread_mutex_lock(&cache->mutex);
    const int fits = cache->due_count < DUE_MAX;
    if (fits) {
        cache->due[cache->due_count] = ki_sieve_hold(sieve);
        cache->due_spec[cache->due_count++] = spec;
    }
    pthread_mutex_unlock(&cache->mutex);
    return fits;
}

ki_sieve *ki_match_cache_take_due(ki_match_cache *cache, size_t *spec) {
    pthread_mutex_lock(&cache->mutex);
    ki_sieve *sieve = cache->due_count ? cache->due[0] : NULL;
    if (sieve) {
        *spec = cache->due_spec[0];
        cache->due_count--;
        memmove(cache->due, cache->due + 1, cache->due_count * sizeof(*cache->due));
        memmove(cache->due_spec, cache->due_spec + 1, cache->due_count * sizeof(*cache->due_spec));
    }
    pthread_mutex_unlock(&cache->mutex);
    return sieve;
}

int ki_match_study_wanted(ki_match_cache *cache) {
    return cache && atomic_load_explicit(&cache->due_count, memory_order_relaxed) != 0;
}

/* ---- Parsed filters ---------------------------------------------------------------------------------------------- */

void ki_parsed_release(ki_parsed *parsed) {
    if (!parsed || atomic_fetch_sub_explicit(&parsed->references, 1, memory_order_acq_rel) != 1) return;
    ki_filter_free(parsed->filter);
    free(parsed->text);
    free(parsed);
}

static int is_parsed(const ki_parsed *parsed, const char *text, size_t bytes, uint64_t hash, const ki_schema *schema) {
    return parsed && parsed->hash == hash && parsed->schema == schema && parsed->text_bytes == bytes &&
           memcmp(parsed->text, text, bytes) == 0;
}

/* To the front. */
static void renew(ki_match_cache *cache, size_t at, ki_parsed *parsed) {
    for (; at > 0; at--) cache->parsed[at] = cache->parsed[at - 1];
    cache->parsed[0] = parsed;
}

ki_parsed *ki_match_cache_parsed(ki_match_cache *cache, const char *text, size_t bytes, uint64_t hash,
                                 const ki_schema *schema) {
    ki_parsed *found = NULL;
    if (!cache) return NULL;
    pthread_mutex_lock(&cache->mutex);
    for (size_t i = 0; i < PARSED_MAX && !found; i++) {
        if (!is_parsed(cache->parsed[i], text, bytes, hash, schema)) continue;
        found = cache->parsed[i];
        atomic_fetch_add_explicit(&found->references, 1, memory_order_relaxed);
        renew(cache, i, found);
    }
    pthread_mutex_unlock(&cache->mutex);
    return found;
}

void ki_match_cache_keep_parsed(ki_match_cache *cache, ki_parsed *parsed) {
    if (!cache || parsed->text_bytes > PARSED_TEXT_MAX) return;
    atomic_fetch_add_explicit(&parsed->references, 1, memory_order_relaxed);
    pthread_mutex_lock(&cache->mutex);
    ki_parsed *last = cache->parsed[PARSED_MAX - 1];
    renew(cache, PARSED_MAX - 1, parsed);
    pthread_mutex_unlock(&cache->mutex);
    ki_parsed_release(last);
}

/* ---- Words of heads ---------------------------------------------------------------------------------------------- */

ki_head_words *ki_match_cache_words(ki_match_cache *cache, const ki_head *head) {
    size_t at = 0;
    pthread_mutex_lock(&cache->mutex);
    while (at < HEADS_MAX && cache->head[at] != head) at++;
    if (at == HEADS_MAX) {
        at = cache->next_head;
        cache->next_head = (at + 1) % HEADS_MAX;
        cache->head[at] = head;
    }
    pthread_mutex_unlock(&cache->mutex);
    return cache->words[at];
}
