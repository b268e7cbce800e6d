/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs that change a collection. */
#include "base/grow.h"
#include "base/status.h"
#include "log/load.h"
#include "state/made.h"
#include "upkeep/upkeep.h"
#include "write/commit.h"

#include <stdlib.h>
#include <string.h>

/* Commit what was checked, and tell. */
static kith_status carry_out(kith_collection *collection, ki_request *request, kith_write_report *report,
                             kith_error *error) {
    const kith_status status = ki_commit(collection, request, error);
    if (status == KITH_OK) ki_grown_write(KI_GROWN_WRITE_REPORT, &request->report, report);
    return status;
}

/* Made anew where generations have changed in between (request.h Q3). */
static kith_status try_write(kith_collection *collection, const kith_items *items, kith_write_mode mode,
                             kith_write_report *report, int *stale, kith_error *error) {
    ki_request request;
    kith_status status = ki_request_write(collection, items, mode, &request, error);
    if (status == KITH_OK) status = carry_out(collection, &request, report, error);
    *stale = request.stale;
    ki_request_free(&request);
    return status;
}

kith_status kith_collection_write(kith_collection *collection, const kith_items *items, kith_write_mode mode,
                                  kith_write_report *report, kith_error *error) {
    int stale = 0;
    if (!collection || !items) return ki_fail(error, KITH_E_ARG, "kith_collection_write: an argument is NULL");
    kith_status status = ki_grown_check(KI_GROWN_WRITE_REPORT, report, error);
    if (status == KITH_OK) status = ki_collection_takes_writes(collection, error);
    if (status != KITH_OK) return status;
    do status = try_write(collection, items, mode, report, &stale, error);
    while (stale);
    return status;
}

kith_status kith_collection_delete(kith_collection *collection, const kith_ids *ids, const uint64_t *if_version,
                                   kith_write_report *report, kith_error *error) {
    ki_request request;
    if (!collection || !ids) return ki_fail(error, KITH_E_ARG, "kith_collection_delete: an argument is NULL");
    kith_status status = ki_grown_check(KI_GROWN_WRITE_REPORT, report, error);
    if (status == KITH_OK) status = ki_collection_takes_writes(collection, error);
    if (status != KITH_OK) return status;
    status = ki_request_remove(collection, ids, if_version, &request, error);
    if (status == KITH_OK) status = carry_out(collection, &request, report, error);
    ki_request_free(&request);
    return status;
}

kith_status kith_collection_delete_where(kith_collection *collection, const char *filter, kith_write_report *report,
                                         kith_error *error) {
    ki_request request = {.verb = KI_VERB_REMOVE_WHERE, .filter = filter};
    if (!collection || !filter) return ki_fail(error, KITH_E_ARG, "kith_collection_delete_where: an argument is NULL");
    kith_status status = ki_grown_check(KI_GROWN_WRITE_REPORT, report, error);
    if (status == KITH_OK) status = ki_collection_takes_writes(collection, error);
    return status == KITH_OK ? carry_out(collection, &request, report, error) : status;
}

/* ---- Declaring a field ------------------------------------------------------------------------------------------- */

static kith_status put_fields(kith_collection *collection, void *context, kith_error *error) {
    const ki_schema *schema = context;
    char *text = NULL;
    kith_status status = ki_fields_encode(schema, &text, error);
    if (status == KITH_OK)
        status = ki_catalog_put_setting(collection->catalog, KI_SETTING_FIELDS, (ki_bytes){text, strlen(text)}, error);
    free(text);
    return status;
}

/* Under `writing`. */
static kith_status declare(kith_collection *collection, const kith_field *field, kith_error *error) {
    const ki_schema *old = collection->current->schema;
    ki_schema *schema = NULL;
    ki_edit *edit = NULL;
    kith_status status = ki_collection_writable(collection, error);
    if (status == KITH_OK) status = ki_schema_add(old, field, (uint32_t)old->count, &schema, error);
    if (status == KITH_OK && schema->count == old->count) { /* it is declared already */
        ki_schema_destroy(schema);
        return KITH_OK;
    }
    if (status == KITH_OK) {
        status = ki_state_keep_schema(collection, schema, error);
        if (status != KITH_OK) ki_schema_destroy(schema);
    }
    if (status == KITH_OK) status = ki_edit_begin(collection, &edit, error);
    if (status == KITH_OK) {
        status = ki_edit_schema(edit, schema, error);
        if (status == KITH_OK) return ki_commit_edit(collection, edit, put_fields, schema, error);
        ki_edit_abandon(edit);
    }
    return status;
}

kith_status kith_collection_declare(kith_collection *collection, const kith_field *field, kith_error *error) {
    if (!collection || !field) return ki_fail(error, KITH_E_ARG, "kith_collection_declare: an argument is NULL");
    pthread_mutex_lock(&collection->writing);
    const kith_status status = declare(collection, field, error);
    pthread_mutex_unlock(&collection->writing);
    if (status != KITH_OK) return status;
    if (collection->options.no_background) return ki_maintain_fields(collection, error);
    ki_maintain_wake(collection);
    return KITH_OK;
}
