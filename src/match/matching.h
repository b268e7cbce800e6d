/* SPDX-License-Identifier: Apache-2.0
 *
 * Inner to matching: what is kept of filters between searches.
 *
 * A *sieve* is what a question lets through of one place (a segment or a head), dead rows too: it does not depend on
 * what was deleted since. A *living sieve* is that less the dead rows of one state, for searches also as positions.
 *
 * M1. A sieve's name holds all that it depends on: the question's canonical text, the segment's number and its table's
 *     hash, or the head and its first row (no two heads have both in common, also when one takes the other's memory);
 *     for answers that were read from payloads the state's publication too: what lives where is part of them, and a
 *     follower may see an item move from its head to a segment without a new version. So a kept answer is what a fresh
 *     one would be.
 * M2. Sieves and living sieves never change once they are shown to others, but for what is worked out later at need
 *     (the positions, and what searches find out): one of several equal answers is kept. How rows lie in lists is
 *     counted for a living sieve; what plans find and cost is noted for the sieve, whatever dies.
 * M3. The cache holds at most its budget; what is in use lives on until it is let go of.
 * M4. Kept sieves hold no segment and no head: files and memory go when their time has come.
 *
 * Any thread. */
#ifndef KI_MATCH_MATCHING_H
#define KI_MATCH_MATCHING_H

#include "base/area.h"
#include "match/match.h"

/* ---- What is asked ----------------------------------------------------------------------------------------------- */

/* A filter, parsed and checked against one schema. */
typedef struct ki_parsed {
    _Atomic uint64_t references;
    const ki_schema *schema;
    ki_filter *filter;
    const char *undeclared; /* a field that is not declared; NULL: none */
    uint64_t hash;          /* of the text as it was given */
    size_t text_bytes;
    char *text;
    _Atomic uint64_t rows_read; /* that were looked at one by one: enough of them are worth a sieve */
} ki_parsed;

/* A filter and a segment as one tree. In place: not to be copied. */
typedef struct ki_question {
    ki_parsed *parsed;     /* the filter; NULL: none, or one that lets everything through */
    const ki_field *field; /* of segments; NULL: none is asked for */
    const char *segment;
    size_t segment_bytes;
    const ki_filter *filter; /* the tree of both */
    const char *name;        /* what names the tree, and the filter alone */
    size_t name_bytes;
    uint64_t hash;
    const char *filter_name;
    size_t filter_name_bytes;
    uint64_t filter_hash;
    ki_filter joined;
    ki_filter_node equal, both;
    const ki_filter_node *child[2];
    ki_operand operand;
    ki_area memory; /* kept from question to question */
} ki_question;

kith_status ki_question_ask(ki_question *question, kith_collection *collection, const ki_schema *schema,
                            const char *filter, const char *segment, kith_error *error);
void ki_question_end(ki_question *question); /* memory stays */

/* ---- What is kept ------------------------------------------------------------------------------------------------ */

/* Rows as the positions of one index. */
typedef struct ki_sieve_positions {
    ki_bits *bits; /* NULL: few are there */
    uint32_t *few; /* NULL: they are many */
    uint64_t count;
    ki_filter_counts *counts; /* beside bits */
} ki_sieve_positions;

typedef struct ki_living {
    _Atomic uint64_t references;
    ki_bits *alive; /* the rows that live: held, so that a pointer says which */
    ki_bits *rows;  /* those of the sieve among them */
    size_t specs;
    _Atomic(ki_sieve_positions *) positions[]; /* made at need */
} ki_living;

typedef struct ki_sieve_name {
    uint64_t number, hash;             /* a segment and its table; number 0: a head */
    const ki_head *head;               /* never followed */
    uint64_t first_key, first_version; /* of the head's rows */
    uint64_t publication;              /* of the state whose payloads were read; UINT64_MAX: none were */
    uint64_t question_hash;
    const char *question;
    size_t question_bytes;
} ki_sieve_name;

typedef struct ki_sieve ki_sieve;
struct ki_sieve {
    _Atomic uint64_t references;
    ki_sieve_name name; /* its question is owned */
    ki_bits *rows;
    size_t specs;
    _Atomic(ki_bits *) *positions;  /* made at need */
    ki_living *living;              /* the last one; guarded by the cache */
    ki_filter_notes **notes;        /* one a slot, NULL: there are none; guarded by the cache, once it is kept */
    ki_sieve *newer, *older, *next; /* of the cache; next: of one bucket */
    uint64_t bytes;
};

/* A sieve of its own; rows: taken over, also on failure. NULL: no memory. */
ki_sieve *ki_sieve_create(const ki_sieve_name *name, size_t specs, ki_bits *rows);
ki_sieve *ki_sieve_hold(ki_sieve *sieve);
void ki_sieve_release(ki_sieve *sieve); /* NULL is fine */
ki_living *ki_living_hold(ki_living *living);
void ki_living_release(ki_living *living); /* NULL is fine */

/* The sieve of a name, held; NULL: it is not kept. cache NULL: nothing is. */
ki_sieve *ki_match_cache_find(ki_match_cache *cache, const ki_sieve_name *name);
/* Keep a sieve; one of the same name makes room for it. */
void ki_match_cache_keep(ki_match_cache *cache, ki_sieve *sieve);
/* The sieve's rows that live, held; NULL: no memory. */
ki_living *ki_match_cache_living(ki_match_cache *cache, ki_sieve *sieve, ki_bits *alive);
/* The same as positions of one index; positions: those that live. NULL: no memory. */
const ki_sieve_positions *ki_living_positions(ki_living *living, ki_sieve *sieve, const ki_sealed *sealed, size_t spec,
                                              const ki_bits *positions);

/* What searches find out about a kept sieve as a filter of one index, held; NULL: it is not kept, or no memory. Of the
 * sieves that have such, only those that were used last keep it. */
ki_filter_notes *ki_match_cache_notes(ki_match_cache *cache, ki_sieve *sieve, size_t spec);

/* Kept sieves whose studies wait: put one there (0: there is no room), take the first one, held (NULL: none waits). */
int ki_match_cache_put_due(ki_match_cache *cache, ki_sieve *sieve, size_t spec);
ki_sieve *ki_match_cache_take_due(ki_match_cache *cache, size_t *spec);

/* ---- study.c ----------------------------------------------------------------------------------------------------- */

/* Let a study wait that a search of the sieve may have wanted. */
void ki_match_note_due(ki_match_cache *cache, ki_sieve *sieve, size_t spec, ki_filter_notes *notes);

/* Parsed filters by their texts, held. */
ki_parsed *ki_match_cache_parsed(ki_match_cache *cache, const char *text, size_t bytes, uint64_t hash,
                                 const ki_schema *schema);
void ki_match_cache_keep_parsed(ki_match_cache *cache, ki_parsed *parsed);
void ki_parsed_release(ki_parsed *parsed); /* NULL is fine */

/* ---- head_words.c ------------------------------------------------------------------------------------------------ */

typedef struct ki_head_words ki_head_words;

ki_head_words *ki_head_words_create(void); /* NULL: out of memory */
void ki_head_words_destroy(ki_head_words *words);
/* The rows among a head's first `count` (at least 1) whose tag `field`, by its number in the head's schema, is `word`,
 * in any order; how many, or SIZE_MAX without memory. */
size_t ki_head_words_find(ki_head_words *words, const ki_head *head, size_t count, size_t field, const char *word,
                          size_t bytes, ki_area *rows);
/* The cache's table for a head. Another head may have it the next time. */
ki_head_words *ki_match_cache_words(ki_match_cache *cache, const ki_head *head);

#endif
