/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeping of a catalog, whoever keeps it: stamps, copies, checks, sizes. */
#define _GNU_SOURCE
#include "base/status.h"
#include "catalog/keeper.h"

kith_status ki_catalog_stamp(ki_catalog *catalog, uint64_t *stamp, kith_error *error) {
    const kith_status status = ki_catalog_usable(catalog, error);
    if (status != KITH_OK) return status;
    if (!stamp) return ki_fail(error, KITH_E_ARG, "the place for a stamp is NULL");
    return catalog->keeper->stamp(catalog->self, stamp, error);
}

/* What a sync that failed left out is not known, and will not be by asking again: the kernel has dropped it (G1). */
kith_status ki_catalog_sync(ki_catalog *catalog, kith_error *error) {
    kith_error reason = {0};
    kith_status status = ki_catalog_usable(catalog, error);
    if (status != KITH_OK || catalog->read_only) return status;
    status = ki_catalog_lock(catalog, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->publish(catalog->self, &reason);
    ki_catalog_unlock(catalog);
    if (status == KITH_OK) status = catalog->keeper->sync(catalog->self, &reason);
    if (status == KITH_OK) return KITH_OK;
    if (status == KITH_E_IO && ki_catalog_lock(catalog, NULL) == KITH_OK) {
        ki_catalog_poison(catalog, status, &reason);
        ki_catalog_unlock(catalog);
    }
    if (error) *error = reason;
    return status;
}

kith_status ki_catalog_copy(ki_catalog *catalog, const char *path, kith_error *error) {
    ki_reading *reading = NULL;
    kith_status status = ki_catalog_usable(catalog, error);
    if (status != KITH_OK) return status;
    if (!path) return ki_fail(error, KITH_E_ARG, "the path of a copy is NULL");
    if (ki_catalog_is_changer(catalog))
        return ki_fail(error, KITH_E_ARG, "a catalog is not copied between begin and commit");
    status = ki_reading_enter(catalog, KI_READ_SEVERAL, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->copy(catalog->self, reading, path, error);
    ki_reading_leave(catalog, reading);
    return status;
}

kith_status ki_catalog_check(ki_catalog *catalog, kith_progress_fn progress, void *progress_context,
                             kith_error *error) {
    ki_reading *reading = NULL;
    kith_status status = ki_reading_enter(catalog, KI_READ_SEVERAL, &reading, error);
    if (status != KITH_OK) return status;
    status = catalog->keeper->check(reading, progress, progress_context, error);
    ki_reading_leave(catalog, reading);
    return status;
}

kith_status ki_catalog_tidy(ki_catalog *catalog, kith_error *error) {
    const kith_status status = ki_catalog_usable(catalog, error);
    if (status != KITH_OK) return status;
    return catalog->read_only ? KITH_OK : catalog->keeper->tidy(catalog->self, catalog, error);
}

void ki_catalog_sizes(ki_catalog *catalog, uint64_t *disk_bytes, uint64_t *memory_bytes) {
    uint64_t disk = 0, memory = 0;
    if (catalog && ki_catalog_here(catalog)) {
        catalog->keeper->sizes(catalog->self, &disk, &memory);
        pthread_mutex_lock(&catalog->mutex);
        for (int i = 0; i < 2; i++)
            for (ki_reading *reading = i ? catalog->spare : catalog->lent; reading; reading = reading->next)
                memory += atomic_load_explicit(&reading->memory_bytes, memory_order_relaxed);
        pthread_mutex_unlock(&catalog->mutex);
    }
    if (disk_bytes) *disk_bytes = disk;
    if (memory_bytes) *memory_bytes = memory;
}
