/* SPDX-License-Identifier: Apache-2.0
 *
 * How often searches are of one tenant (a value of the segment field), and how often of everything: what giving a large
 * tenant segments of its own is decided by (upkeep/split.c).
 *
 * Segments of its own save each search of a tenant about a walk, cost each search of everything about one more, and
 * have to be built. So what counts is by how many the one outnumber the other from the first one on (the *surplus*). Of
 * 115,659 text embeddings x 384 a row takes 200 to 400 us to build and to measure, and a search at .95 gains 40 to 100:
 * a search a row pays a quarter of that, which is what other work that searches ask for waits for, too.
 *
 * A1. Only who has KI_OWN_FROM rows beside those of others is noted, so there are few. At most TENANTS_MAX are known;
 *     a new one takes the place of who was asked for least.
 *
 * Any thread. */
#ifndef KI_STATE_TENANTS_H
#define KI_STATE_TENANTS_H

#include <stddef.h>
#include <stdint.h>

/* Fewer rows have no graph of their own (upkeep/calibrate.h), and are scanned as fast as a filter is walked for. */
enum { KI_OWN_FROM = 20000 };

typedef struct ki_tenants ki_tenants;

ki_tenants *ki_tenants_create(void);          /* NULL: no memory */
void ki_tenants_destroy(ki_tenants *tenants); /* NULL is fine */

/* So many queries were of everything. */
void ki_tenants_note_all(ki_tenants *tenants, uint64_t queries);
/* So many were of a tenant. Non-zero: it is time to look whether they pay for segments of its own. */
int ki_tenants_note(ki_tenants *tenants, const char *tenant, uint64_t queries);
/* One of those that are known, from number 0 on: its name, the caller's to free, and its surplus. NULL: there are no
 * more, or no memory. */
char *ki_tenants_get(ki_tenants *tenants, size_t number, uint64_t *surplus);
/* What was asked of it is spent: counting begins anew. */
void ki_tenants_spend(ki_tenants *tenants, const char *tenant);

#endif
