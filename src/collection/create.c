/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a collection: the settings of an empty one, in a folder that gets its name when all is there. */
#include "base/grow.h"
#include "base/status.h"
#include "collection/create.h"
#include "segment/home.h"
#include "state/made.h"

#include <stdlib.h>
#include <string.h>

static kith_status put_text(ki_catalog *catalog, const char *name, const char *text, kith_error *error) {
    return ki_catalog_put_setting(catalog, name, (ki_bytes){text, strlen(text)}, error);
}

static kith_status put_all(ki_catalog *catalog, const char *made, const char *fields, kith_error *error) {
    unsigned char state[KI_STATE_BYTES];
    ki_state_encode(&(ki_state){.next_segment = 1}, state);
    kith_status status = put_text(catalog, KI_SETTING_MADE, made, error);
    if (status == KITH_OK) status = put_text(catalog, KI_SETTING_FIELDS, fields, error);
    if (status == KITH_OK)
        status = ki_catalog_put_setting(catalog, KI_SETTING_STATE, (ki_bytes){state, sizeof(state)}, error);
    return status;
}

kith_status ki_create_settings(ki_catalog *catalog, const ki_made *made, const ki_schema *schema, kith_error *error) {
    char *made_text = NULL, *fields_text = NULL;
    kith_status status = ki_made_encode(made, &made_text, error);
    if (status == KITH_OK) status = ki_fields_encode(schema, &fields_text, error);
    if (status == KITH_OK) status = ki_catalog_begin(catalog, error);
    if (status == KITH_OK) {
        status = put_all(catalog, made_text, fields_text, error);
        if (status == KITH_OK)
            status = ki_catalog_commit(catalog, error);
        else
            ki_catalog_rollback(catalog);
    }
    free(made_text);
    free(fields_text);
    return status;
}

static kith_status make_catalog(const char *folder, const ki_made *made, const ki_schema *schema, kith_error *error) {
    const ki_catalog_options options = {.create = 1};
    ki_catalog *catalog = NULL;
    char *path = ki_home_path(folder, KI_HOME_CATALOG);
    kith_status status =
        path ? ki_catalog_open_sqlite(path, &options, &catalog, error) : ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) status = ki_create_settings(catalog, made, schema, error);
    ki_catalog_close(catalog); /* what is in the write-ahead log goes into the file */
    free(path);
    return status;
}

static kith_status make_segments(const char *folder, kith_error *error) {
    char *path = ki_home_path(folder, KI_HOME_SEGMENTS);
    const kith_status status = path ? ki_home_make(path, error) : ki_fail(error, KITH_E_NOMEM, "out of memory");
    free(path);
    return status;
}

kith_status kith_collection_create(const char *path, const kith_collection_options *given, kith_error *error) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    ki_made made = {0};
    ki_schema *schema = NULL;
    char *temp = NULL;
    if (!path || !given) return ki_fail(error, KITH_E_ARG, "kith_collection_create: an argument is NULL");
    kith_status status = ki_grown_read(KI_GROWN_COLLECTION_OPTIONS, given, &options, error);
    if (status == KITH_OK) status = ki_made_create(&options, &made, &schema, error);
    if (status != KITH_OK) return status;
    status = ki_home_begin(path, &temp, error);
    if (status == KITH_OK) status = make_catalog(temp, &made, schema, error);
    if (status == KITH_OK) status = make_segments(temp, error);
    if (status == KITH_OK) status = ki_home_commit(temp, path, error);
    if (status != KITH_OK && temp) (void)ki_home_remove(temp, NULL);
    free(temp);
    ki_schema_destroy(schema);
    ki_made_free(&made);
    return status;
}
