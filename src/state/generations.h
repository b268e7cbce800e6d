/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of a collection's generations: which there are, and where their vectors lie.
 *
 * Heads, segments and the log know no generations, only *slots*: up to KITH_VECTORS_MAX places for vectors, each of one
 * name, dimension, type and metric. A generation says which slot each of the collection's names has. Generation 1 has
 * the slots 0, 1, ... of the names in their order; a later one gets slots of its own for the names that it was begun
 * with, and shares the others. So an item's row may hold vectors of several generations, and whatever is done to rows
 * (logged, sealed, merged, followed) is done to all of them.
 *
 * A slot that no generation has any more is *leaving*: nothing is written to it, but files and the log may hold its
 * vectors still. When none does it is free, and may be given to a name of a later generation (slots.c).
 *
 * G1. A table never changes. Snapshots point to one, and all that ever were live as long as the collection (as schemas
 *     do), so that models can be lent. A change is a new table, published with an edit: whoever holds a snapshot sees
 *     one table only.
 * G2. `edition` counts the changes; two tables of one collection never have it in common.
 * G3. `slots` never falls: bodies and snapshots of before have at most as many. A slot's dimension, type, metric, name
 *     and tenant stay while it is not free.
 * G4. `tenant`, the generation that a slot was made for, tells two uses of one slot apart: numbers of generations are
 *     never given twice.
 *
 * In the catalog as the setting "generations", JSON; where that is not there, there is generation 1 alone, as the
 * collection was made.
 *
 * Pure functions but for ki_generations_read: any thread. */
#ifndef KI_STATE_GENERATIONS_H
#define KI_STATE_GENERATIONS_H

#include "state/made.h"

#define KI_SETTING_GENERATIONS "generations"

typedef struct ki_generation {
    uint32_t number;
    int was_current;
    double share; /* of the users: a canary's */
    uint64_t created_ms;
    unsigned char slot[KITH_VECTORS_MAX]; /* by number of the name */
    char model[KI_NAME_MAX + 1];
} ki_generation;

typedef struct ki_generations {
    const ki_made *made; /* outlives the table, and owns the names */
    uint64_t edition;
    uint32_t current, previous, next; /* numbers; previous 0: none. next: of the next one that is begun */
    size_t slots;
    ki_vector vector[KITH_VECTORS_MAX];      /* by slot; dim 0: free. Names are borrowed */
    kith_vector_spec spec[KITH_VECTORS_MAX]; /* the same, as segments are opened by */
    uint32_t tenant[KITH_VECTORS_MAX];       /* 0: free */
    unsigned char name[KITH_VECTORS_MAX];    /* its number among those of `made` */
    uint64_t used;                           /* bits by slot: some generation has it */
    size_t count;
    ki_generation generation[KITH_GENERATIONS_MAX]; /* by ascending number */
} ki_generations;

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

/* Generation 1 alone. NULL: no memory. All tables are freed by free(). */
ki_generations *ki_generations_first(const ki_made *made);
/* What the catalog has; the caller's. KITH_E_CORRUPT, KITH_E_VERSION, KITH_E_NOMEM. */
kith_status ki_generations_decode(ki_bytes body, const char *path, const ki_made *made, ki_generations **generations,
                                  kith_error *error);
kith_status ki_generations_encode(const ki_generations *generations, char **text, kith_error *error);
/* The same out of a catalog, also where it has none. */
kith_status ki_generations_read(ki_catalog *catalog, const char *path, const ki_made *made,
                                ki_generations **generations, kith_error *error);

/* ---- What the next table is like: a copy of the last one, with `edition` one more -------------------------------- */

ki_generations *ki_generations_next(const ki_generations *generations); /* NULL: no memory */
/* One more generation in a table that is nobody else's yet, sharing slots with the current one but for the names in
 * `specs`. KITH_E_ARG, KITH_E_NOTFOUND, KITH_E_LIMIT; the table is unspecified then. */
kith_status ki_generations_begin(ki_generations *generations, const kith_generation_options *options, uint64_t now_ms,
                                 kith_error *error);
/* Whether slots that are leaving would make room for it. */
int ki_generations_would_fit(const ki_generations *generations, const kith_generation_options *options);
void ki_generations_flip(ki_generations *generations, const ki_generation *to);
/* Take one out, which is not the current one. */
void ki_generations_drop(ki_generations *generations, uint32_t number);
/* Slots that are leaving become free. */
void ki_generations_free_slots(ki_generations *generations, uint64_t leaving);

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

/* number 0: the current one. NULL: it is not there. */
const ki_generation *ki_generations_find(const ki_generations *generations, uint32_t number);
/* The same; KITH_E_NOTFOUND names those that are there. */
kith_status ki_generations_get(const ki_generations *generations, uint32_t number, const ki_generation **found,
                               kith_error *error);
/* Where the queries of a user go; NULL: to the current one. */
const ki_generation *ki_generations_of(const ki_generations *generations, const char *user);
/* The vector of a name (NULL: "") in a generation: its slot. KITH_E_NOTFOUND names those that are there. */
kith_status ki_generations_slot(const ki_generations *generations, const ki_generation *generation, const char *name,
                                size_t *slot, kith_error *error);
uint64_t ki_generations_leaving(const ki_generations *generations); /* bits by slot */
kith_generation_state ki_generations_state(const ki_generations *generations, const ki_generation *generation);

static inline const ki_generation *ki_generations_current(const ki_generations *generations) {
    return ki_generations_find(generations, generations->current);
}

static inline int ki_generations_uses(const ki_generations *generations, size_t slot) {
    return (int)(generations->used >> slot & 1);
}

#endif
