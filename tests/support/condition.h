/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters made by chance: in both of their languages, and evaluated plainly on a payload, by the words of the contract
 * and with nothing of the library. And the payloads that they are about. */
#ifndef TESTS_SUPPORT_CONDITION_H
#define TESTS_SUPPORT_CONDITION_H

#include "kith.h"

#include "base/rng.h"

#include <jansson.h>

typedef struct condition condition;

/* The fields of payloads, all of which a collection may declare. */
enum { CONDITION_FIELDS = 7 };
extern const kith_field condition_fields[CONDITION_FIELDS];

/* A payload in which each field may be missing; malloced text. */
char *condition_payload(ki_rng *rng);

/* A tree of about `size` conditions. ids: that HAS_ID may name; NULL: it names none. */
condition *condition_make(ki_rng *rng, size_t size, const uint64_t *ids, size_t id_count);
void condition_free(condition *c);
/* In the language for people (not with ids: NULL) or as JSON; malloced. */
char *condition_text(const condition *c);
char *condition_json(const condition *c);
/* payload: an object, or NULL. */
int condition_holds(const condition *c, const json_t *payload, uint64_t id);

#endif
