/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids of points. Qdrant has unsigned integers and UUIDs; a collection of ours has u64 or texts.
 *
 * In a collection of texts an integer is its decimal digits, and a UUID is written in lower case with hyphens, however
 * it came (with hyphens, as 32 hex digits, as urn:uuid:). On the way out a text that is an integer as one would be
 * written, up to 2^64-1, is an integer, and all others are texts. So both come back as they went in. Other texts are
 * ids too, which Qdrant refuses. */
#ifndef KITH_SERVER_QDRANT_ID_H
#define KITH_SERVER_QDRANT_ID_H

#include <jansson.h>

#include "json/json.h"

enum { KS_QD_UUID_BYTES = 36 };

typedef struct ks_qd_id {
    const char *text; /* as a collection of texts has it: of the JSON value's memory, or `made` */
    size_t bytes;
    int is_number;
    uint64_t number;
    char made[KS_QD_UUID_BYTES + 1];
} ks_qd_id;

/* An id of a body. 0; or -1: *why is a static text that says what is wrong. It must not be moved afterwards. */
int ks_qd_id_of(const json_t *value, ks_qd_id *id, const char **why);
/* An id of a path: "7", or a text. */
int ks_qd_id_of_text(const char *text, ks_qd_id *id, const char **why);
/* The UUID that a text is, in lower case with hyphens and a zero behind; 0: it is none. */
int ks_qd_uuid(const char *text, size_t bytes, char uuid[KS_QD_UUID_BYTES + 1]);
/* Whether a text is an integer as it would be written, up to 2^64-1. */
int ks_qd_is_number(const char *text, size_t bytes);
/* An id as a member. */
void ks_qd_id_write(ks_json *json, const char *name, const char *text, size_t bytes);

#endif
