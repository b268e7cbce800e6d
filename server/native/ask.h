/* SPDX-License-Identifier: Apache-2.0
 *
 * A query of a call, as it is asked: read from a body of JSON, or from a body of floats and the URL's arguments. */
#ifndef KITH_SERVER_NATIVE_ASK_H
#define KITH_SERVER_NATIVE_ASK_H

#include "native/inner.h"

enum { KS_V1_LEGS_MAX = 16, KS_V1_BUDGET_MS_MAX = 1000 };

typedef struct ks_v1_asking {
    ks_search search;
    int explains;
    int raw; /* the answer is of bytes, not JSON */
    kith_explain explain;
    kith_leg legs[KS_V1_LEGS_MAX];
    kith_queries queries[KS_V1_LEGS_MAX];
} ks_v1_asking;

/* They fill ask, priority and budget; the call's deadline comes nearer where it says so. 0, or -1. */
int ks_v1_ask_body(ks_call *call, ks_v1_asking *asking);      /* ask.c */
int ks_v1_ask_arguments(ks_call *call, ks_v1_asking *asking); /* ask_raw.c */

/* A search of the collection that the path names: read by `read`, handed to the processor, and told to `finish`; or the
 * call fails and ends (query.c). */
typedef int ks_v1_read_fn(ks_call *call, ks_v1_asking *asking);
void ks_v1_ask(ks_call *call, ks_v1_read_fn *read, void (*finish)(ks_search *search, const ks_found *found));

/* What both end with: limits, the key's segment, the generation that is asked. */
int ks_v1_ask_check(ks_call *call, ks_v1_asking *asking);
/* The generation that the ask goes to: 0 is the current one. 0, or -1. */
int ks_v1_ask_generation(ks_call *call, const ks_v1_asking *asking, uint32_t *generation);
/* Rows that a search takes: none that the library would refuse, and with it those that are asked together with it. */
int ks_v1_ask_rows(ks_call *call, const kith_vector_spec *spec, const kith_queries *queries, const char *what);
/* Times and words of both: -1 where they are wrong. */
int ks_v1_ask_priority(ks_call *call, const char *word, ks_v1_asking *asking);
void ks_v1_ask_times(ks_call *call, uint64_t timeout_ms, uint64_t budget_ms, ks_v1_asking *asking);

void ks_v1_answer_raw(ks_call *call, const ks_search *search, const ks_found *found); /* answer_raw.c */

#endif
