/* SPDX-License-Identifier: Apache-2.0 */
#include "log/apply.h"

#include "base/status.h"
#include "log/convert.h"

#include <stdio.h>

/* What the catalog hands us as a vector must be one: searches rely on it. */
static kith_status check_vectors(const ki_apply *apply, const ki_log_head *head, const ki_log_operation *operation,
                                 kith_error *error) {
    const ki_generations *generations = ki_edit_state(apply->edit)->generations;
    for (size_t v = 0; v < generations->slots; v++) {
        const ki_vector *vector = &generations->vector[v];
        kith_error own = {0};
        if (!operation->vector[v] ||
            ki_convert_row(vector, vector->dtype, operation->vector[v], NULL, NULL, "", &own) == KITH_OK)
            continue;
        return ki_fail(error, KITH_E_CORRUPT, "%s: the catalog's log of version %llu is damaged: key %llu%s",
                       apply->collection->path, (unsigned long long)head->version, (unsigned long long)operation->key,
                       own.text);
    }
    return KITH_OK;
}

static kith_status append(ki_apply *apply, const ki_log_head *head, const ki_log_operation *operation,
                          kith_error *error) {
    kith_error own = {0};
    ki_head_row row = {.key = operation->key,
                       .version = head->version,
                       .expires_ms = operation->expires_ms,
                       .text = operation->text.data,
                       .text_bytes = operation->text.bytes,
                       .payload = operation->payload.data,
                       .payload_bytes = operation->payload.bytes,
                       .values = &apply->values,
                       .vectors = operation->vector};
    int replaced = 0;
    kith_status status =
        ki_values_of(apply->schema, operation->payload.data, operation->payload.bytes, 0, &apply->values, &own);
    if (status == KITH_E_DATA)
        return ki_fail(error, KITH_E_CORRUPT, "%s: the catalog's log of version %llu is damaged: key %llu: %s",
                       apply->collection->path, (unsigned long long)head->version, (unsigned long long)operation->key,
                       own.text);
    if (status != KITH_OK) return ki_fail(error, status, "%s", own.text);
    return ki_edit_append(apply->edit, &row, &replaced, error);
}

kith_status ki_apply_operation(void *context, const ki_log_head *head, const ki_log_operation *operation,
                               kith_error *error) {
    ki_apply *apply = context;
    ki_catalog *catalog = apply->collection->catalog;
    int was;
    if (operation->kind == KI_LOG_REMOVE) {
        const kith_status status = ki_edit_kill(apply->edit, operation->key, &was, error);
        return status == KITH_OK && apply->to_catalog ? ki_catalog_remove_item(catalog, operation->key, error) : status;
    }
    const ki_catalog_item item = {.key = operation->key,
                                  .version = head->version,
                                  .expires_ms = operation->expires_ms,
                                  .text = operation->text,
                                  .payload = operation->payload};
    kith_status status = apply->check ? check_vectors(apply, head, operation, error) : KITH_OK;
    if (status == KITH_OK) status = append(apply, head, operation, error);
    return status == KITH_OK && apply->to_catalog ? ki_catalog_put_item(catalog, &item, error) : status;
}
