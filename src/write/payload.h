/* SPDX-License-Identifier: Apache-2.0
 *
 * Merging one payload into another: JSON Merge Patch [RFC 7396]. Keys of the patch replace those of the target, objects
 * are merged member by member, and a null removes.
 *
 * Why not by a tree of a JSON library: what the patch does not name keeps its very bytes, so that a number of twenty
 * digits or 1.10 stays what it was.
 *
 * Both texts were checked before (filter/schema.h): only the ends of values are looked for. One owner at a time. */
#ifndef KI_WRITE_PAYLOAD_H
#define KI_WRITE_PAYLOAD_H

#include "kith.h"

/* Text that grows; memory is kept. {0} is fine; free(data) ends it. */
typedef struct ki_text {
    char *data;
    size_t bytes, capacity;
} ki_text;

/* Objects in objects; payloads that were checked are no deeper. */
enum { KI_MERGE_DEPTH = 64 };

/* *out becomes the target with the patch applied; a target of 0 bytes is an empty object. KITH_E_NOMEM; KITH_E_LIMIT:
 * deeper than KI_MERGE_DEPTH or longer than KITH_PAYLOAD_MAX; KITH_E_DATA: a text that is no object. */
kith_status ki_payload_merge(const char *target, size_t target_bytes, const char *patch, size_t patch_bytes,
                             ki_text *out, kith_error *error);

#endif
