/* SPDX-License-Identifier: Apache-2.0
 *
 * Qdrant's filters, as kith's JSON form has them: docs/qdrant.md lists what differs. */
#ifndef KITH_SERVER_QDRANT_FILTER_H
#define KITH_SERVER_QDRANT_FILTER_H

#include <jansson.h>

#include "json/json.h"
#include "kith.h"

typedef struct ks_qd_filter_rules {
    ks_call *call; /* whose body it is of; NULL for a tree that is jansson's own */
    kith_id_kind id_kind;
    unsigned depth_max; /* of clauses in clauses */
} ks_qd_filter_rules;

/* Write a filter (a JSON object with must, should, must_not, min_should) as one of kith's at the end of *to. KITH_E_ARG
 * (it is none), KITH_E_UNSUPPORTED (names what is not offered), KITH_E_LIMIT (too deep), KITH_E_NOMEM. */
kith_status ks_qd_filter(const json_t *filter, const ks_qd_filter_rules *rules, ks_text *to, kith_error *error);

/* A payload key as kith names fields: "a[]" is "a", quotes around the whole go. *bytes of *key are meant. KITH_E_ARG,
 * KITH_E_UNSUPPORTED (a path through an array). */
kith_status ks_qd_key(const char **key, size_t *bytes, kith_error *error);

#endif
