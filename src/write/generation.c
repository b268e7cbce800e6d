/* SPDX-License-Identifier: Apache-2.0
 *
 * A change of the table of generations: encoded, committed, and published with an edit. */
#include "write/generation.h"

#include "base/status.h"
#include "log/load.h"
#include "write/commit.h"

#include <stdlib.h>
#include <string.h>

kith_status ki_generation_change(kith_collection *collection, ki_generations **next, kith_error *error) {
    const kith_status status = ki_collection_writable(collection, error);
    if (status != KITH_OK) return status;
    *next = ki_generations_next(collection->current->generations);
    return *next ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for a change of the generations");
}

static kith_status put(kith_collection *collection, void *context, kith_error *error) {
    const ki_generations *generations = context;
    char *text = NULL;
    kith_status status = ki_generations_encode(generations, &text, error);
    if (status == KITH_OK)
        status =
            ki_catalog_put_setting(collection->catalog, KI_SETTING_GENERATIONS, (ki_bytes){text, strlen(text)}, error);
    free(text);
    return status;
}

kith_status ki_generation_publish(kith_collection *collection, ki_generations *next, kith_error *error) {
    ki_edit *edit = NULL;
    kith_status status = ki_state_keep_generations(collection, next, error);
    if (status != KITH_OK) {
        free(next);
        return status;
    }
    status = ki_edit_begin(collection, &edit, error);
    if (status == KITH_OK) {
        status = ki_edit_generations(edit, next, error);
        if (status == KITH_OK) return ki_commit_edit(collection, edit, put, next, error);
        ki_edit_abandon(edit);
    }
    return status;
}
