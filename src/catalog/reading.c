/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads of a catalog, whoever keeps it: which thread reads through what, and then the keeper.
 *
 * R1. The thread that changes reads its own changes. A thread that has begun a reading (ki_catalog_read_begin, or a
 *     scan whose callback reads on) goes on with it, and so sees one state. Anyone else is lent a spare one, made where
 *     none is there, for one call.
 * R2. A reading in `lent` is its thread's alone; the list, the spares and `depth` are guarded by the mutex. */
#define _GNU_SOURCE
#include "base/checked.h"
#include "base/status.h"
#include "catalog/keeper.h"

#include <string.h>

/* Spares that are kept open: more threads than that pay for opening now and then. A guess; a machine of today has some
 * dozens of cores. */
enum { SPARES_MAX = 32 };

/* Rows that are read in the changer's place, who waits meanwhile: at two microseconds a row, less than what showing the
 * commits to others costs it. */
enum { FEW_MAX = 64 };

/* What the thread has already, or NULL. */
static ki_reading *find_lent(const ki_catalog *catalog, pthread_t self) {
    if (catalog->changing && pthread_equal(catalog->changer, self)) return catalog->keeper->own(catalog->self);
    for (ki_reading *reading = catalog->lent; reading; reading = reading->next)
        if (pthread_equal(reading->thread, self)) return reading;
    return NULL;
}

static void lend(ki_catalog *catalog, ki_reading *reading, pthread_t self) {
    reading->thread = self;
    reading->depth = 1;
    reading->next = catalog->lent;
    catalog->lent = reading;
}

static void take_back(ki_catalog *catalog, ki_reading *reading) {
    ki_reading **place = &catalog->lent;
    while (*place != reading) place = &(*place)->next;
    *place = reading->next;
    if (catalog->spares < SPARES_MAX) {
        reading->next = catalog->spare;
        catalog->spare = reading;
        catalog->spares++;
        reading = NULL;
    }
    pthread_mutex_unlock(&catalog->mutex);
    if (reading) catalog->keeper->reading_destroy(reading);
}

/* A spare reading, begun; the mutex is given up. */
static kith_status lend_spare(ki_catalog *catalog, ki_reading_kind kind, ki_reading **reading, kith_error *error) {
    const pthread_t self = pthread_self();
    ki_reading *found = catalog->spare;
    kith_status status = KITH_OK;
    if (found) {
        catalog->spare = found->next;
        catalog->spares--;
        lend(catalog, found, self);
        pthread_mutex_unlock(&catalog->mutex);
    } else {
        pthread_mutex_unlock(&catalog->mutex);
        status = catalog->keeper->reading_create(catalog->self, &found, error);
        if (status != KITH_OK) return status;
        pthread_mutex_lock(&catalog->mutex);
        lend(catalog, found, self);
        pthread_mutex_unlock(&catalog->mutex);
    }
    status = catalog->keeper->reading_start(found, kind, error);
    if (status == KITH_OK) {
        *reading = found;
        return KITH_OK;
    }
    pthread_mutex_lock(&catalog->mutex);
    take_back(catalog, found);
    return status;
}

/* Commits are there that other readings do not show. One row, or a few, are read as the changer would, in its place;
 * who reads more has them shown first, because changes must not wait for it. */
static kith_status enter_pending(ki_catalog *catalog, ki_reading_kind kind, ki_reading **reading, kith_error *error) {
    kith_status status = ki_catalog_lock(catalog, error);
    if (status != KITH_OK) return status;
    if ((kind == KI_READ_ONE || kind == KI_READ_FEW) && catalog->keeper->pending(catalog->self)) {
        status = catalog->keeper->settle(catalog->self, error);
        if (status == KITH_OK) {
            pthread_mutex_lock(&catalog->mutex);
            catalog->borrowed = 1;
            pthread_mutex_unlock(&catalog->mutex);
            *reading = catalog->keeper->own(catalog->self);
            return KITH_OK;
        }
    } else {
        status = catalog->keeper->publish(catalog->self, error);
    }
    ki_catalog_unlock(catalog);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&catalog->mutex);
    return lend_spare(catalog, kind, reading, error);
}

kith_status ki_reading_enter(ki_catalog *catalog, ki_reading_kind kind, ki_reading **reading, kith_error *error) {
    const pthread_t self = pthread_self();
    kith_status status = ki_catalog_usable(catalog, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&catalog->mutex);
    ki_reading *found = find_lent(catalog, self);
    if (found) {
        const int is_own = found == catalog->keeper->own(catalog->self);
        found->depth++; /* of the changer's own nobody asks */
        if (is_own && catalog->borrowed) catalog->borrowed++;
        pthread_mutex_unlock(&catalog->mutex);
        if (is_own) status = catalog->keeper->settle(catalog->self, error);
        if (status == KITH_OK)
            *reading = found;
        else
            ki_reading_leave(catalog, found);
        return status;
    }
    if (catalog->keeper->pending(catalog->self)) {
        pthread_mutex_unlock(&catalog->mutex);
        return enter_pending(catalog, kind, reading, error);
    }
    status = lend_spare(catalog, kind, &found, error);
    if (status == KITH_OK) *reading = found;
    return status;
}
void ki_reading_leave(ki_catalog *catalog, ki_reading *reading) {
    pthread_mutex_lock(&catalog->mutex);
    if (catalog->borrowed && pthread_equal(catalog->changer, pthread_self())) {
        const int goes_on = --catalog->borrowed > 0;
        pthread_mutex_unlock(&catalog->mutex);
        if (!goes_on) ki_catalog_unlock(catalog);
        return;
    }
    reading->depth--;
    const int goes_on = reading->depth || reading == catalog->keeper->own(catalog->self);
    pthread_mutex_unlock(&catalog->mutex);
    if (goes_on) return;
    catalog->keeper->reading_stop(reading);
    pthread_mutex_lock(&catalog->mutex);
    take_back(catalog, reading);
}

void ki_reading_close_all(ki_catalog *catalog) {
    for (int i = 0; i < 2; i++) {
        ki_reading **list = i ? &catalog->spare : &catalog->lent;
        while (*list) {
            ki_reading *reading = *list;
            *list = reading->next;
            if (!i) catalog->keeper->reading_stop(reading);
            catalog->keeper->reading_destroy(reading);
        }
    }
}

kith_status ki_catalog_read_begin(ki_catalog *catalog, kith_error *error) {
    ki_reading *reading = NULL;
    return ki_reading_enter(catalog, KI_READ_SEVERAL, &reading, error);
}

kith_status ki_catalog_read_rows(ki_catalog *catalog, uint64_t rows, kith_error *error) {
    ki_reading *reading = NULL;
    return ki_reading_enter(catalog, rows <= FEW_MAX ? KI_READ_FEW : KI_READ_SEVERAL, &reading, error);
}

void ki_catalog_read_end(ki_catalog *catalog) {
    if (!catalog || !ki_catalog_here(catalog)) return;
    pthread_mutex_lock(&catalog->mutex);
    ki_reading *reading = find_lent(catalog, pthread_self());
    pthread_mutex_unlock(&catalog->mutex);
    if (reading) ki_reading_leave(catalog, reading);
}

/* ---- What reads find --------------------------------------------------------------------------------------------- */

char *ki_found_room(ki_found *found, uint64_t bytes) {
    return ki_array_reserve(&found->memory, &found->capacity, bytes, 1) ? found->memory : NULL;
}

void ki_found_free(ki_found *found) {
    if (!found) return;
    free(found->memory);
    *found = (ki_found){0};
}

/* ---- Reads ------------------------------------------------------------------------------------------------------- */

static kith_status refuse_null(kith_error *error) {
    return ki_fail(error, KITH_E_ARG, "a read of the catalog was given NULL");
}

static kith_status get_named(ki_catalog *catalog, int64_t kind, ki_bytes name, ki_found *found, kith_error *error) {
    ki_reading *reading = NULL;
    if (!found || !name.data) return refuse_null(error);
    kith_status status = ki_reading_enter(catalog, KI_READ_ONE, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->get_named(reading, kind, name, found, error);
    ki_reading_leave(catalog, reading);
    return status;
}

kith_status ki_catalog_get_setting(ki_catalog *catalog, const char *name, ki_found *found, kith_error *error) {
    return get_named(catalog, KI_KIND_SETTING, (ki_bytes){name, name ? strlen(name) : 0}, found, error);
}

kith_status ki_catalog_get_record(ki_catalog *catalog, uint32_t kind, ki_bytes name, ki_found *found,
                                  kith_error *error) {
    return get_named(catalog, kind, name, found, error);
}

kith_status ki_catalog_get_item(ki_catalog *catalog, uint64_t key, ki_found *found, kith_error *error) {
    ki_reading *reading = NULL;
    if (!found) return refuse_null(error);
    kith_status status = ki_reading_enter(catalog, KI_READ_ONE, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->get_item(reading, key, found, error);
    ki_reading_leave(catalog, reading);
    return status;
}

kith_status ki_catalog_find_text(ki_catalog *catalog, ki_bytes text, uint64_t *key, kith_error *error) {
    ki_reading *reading = NULL;
    if (!key || (text.bytes && !text.data)) return refuse_null(error);
    if (!text.bytes) return KITH_E_NOTFOUND;
    kith_status status = ki_reading_enter(catalog, KI_READ_ONE, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->find_text(reading, text, key, error);
    ki_reading_leave(catalog, reading);
    return status;
}

kith_status ki_catalog_next_expiry(ki_catalog *catalog, uint64_t *expires_ms, kith_error *error) {
    ki_reading *reading = NULL;
    if (!expires_ms) return refuse_null(error);
    kith_status status = ki_reading_enter(catalog, KI_READ_ONE, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->next_expiry(reading, expires_ms, error);
    ki_reading_leave(catalog, reading);
    return status;
}

kith_status ki_catalog_scan_items(ki_catalog *catalog, uint64_t first, ki_catalog_item_fn fn, void *context,
                                  kith_error *error) {
    ki_reading *reading = NULL;
    if (!fn) return refuse_null(error);
    kith_status status = ki_reading_enter(catalog, KI_READ_SCAN, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->scan_items(reading, first, fn, context, error);
    ki_reading_leave(catalog, reading);
    return status;
}

kith_status ki_catalog_scan_expired(ki_catalog *catalog, uint64_t now_ms, ki_catalog_item_fn fn, void *context,
                                    kith_error *error) {
    ki_reading *reading = NULL;
    if (!fn) return refuse_null(error);
    kith_status status = ki_reading_enter(catalog, KI_READ_SCAN, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->scan_expired(reading, ki_min_u64(now_ms, INT64_MAX), fn, context, error);
    ki_reading_leave(catalog, reading);
    return status;
}

static kith_status scan_numbered(ki_catalog *catalog, ki_numbered table, uint64_t first, ki_catalog_body_fn fn,
                                 void *context, kith_error *error) {
    ki_reading *reading = NULL;
    if (!fn) return refuse_null(error);
    kith_status status = ki_reading_enter(catalog, KI_READ_SCAN, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->scan_numbered(reading, table, first, fn, context, error);
    ki_reading_leave(catalog, reading);
    return status;
}

kith_status ki_catalog_scan_log(ki_catalog *catalog, uint64_t after, ki_catalog_body_fn fn, void *context,
                                kith_error *error) {
    if (after == UINT64_MAX) return ki_catalog_usable(catalog, error);
    return scan_numbered(catalog, KI_LOG, after + 1, fn, context, error);
}

kith_status ki_catalog_scan_segments(ki_catalog *catalog, ki_catalog_body_fn fn, void *context, kith_error *error) {
    return scan_numbered(catalog, KI_SEGMENTS, 0, fn, context, error);
}

kith_status ki_catalog_scan_records(ki_catalog *catalog, uint32_t kind, ki_catalog_record_fn fn, void *context,
                                    kith_error *error) {
    ki_reading *reading = NULL;
    if (!fn) return refuse_null(error);
    kith_status status = ki_reading_enter(catalog, KI_READ_SCAN, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->scan_named(reading, kind, fn, context, error);
    ki_reading_leave(catalog, reading);
    return status;
}
