/* SPDX-License-Identifier: Apache-2.0
 *
 * Doing what bodies of the log say: by the writer, by readers that follow and at opening.
 *
 * One edit at a time, under `writing`. */
#ifndef KI_LOG_APPLY_H
#define KI_LOG_APPLY_H

#include "log/log.h"

typedef struct ki_apply {
    kith_collection *collection;
    ki_edit *edit;
    const ki_schema *schema;
    int to_catalog; /* write the items too: not when the catalog has them already */
    int check;      /* look at the vectors: bodies that come from the catalog */
    ki_values values;
} ki_apply; /* ends with ki_values_free(&values) */

/* A ki_log_fn; context: a ki_apply. */
kith_status ki_apply_operation(void *context, const ki_log_head *head, const ki_log_operation *operation,
                               kith_error *error);

#endif
