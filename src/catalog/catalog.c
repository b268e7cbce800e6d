/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of a catalog that is the same for every keeper: begin, commit and what makes them fail (G1, G2), and the
 * checks of what callers hand over. */
#define _GNU_SOURCE
#include "catalog/catalog.h"

#include "base/checked.h"
#include "base/status.h"
#include "catalog/keeper.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A page that a fork empties, where the system has such; else NULL. */
static unsigned char *make_mark(void) {
    unsigned char *mark = NULL;
#ifdef MADV_WIPEONFORK
    const size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return NULL;
    if (madvise(page, bytes, MADV_WIPEONFORK) != 0) {
        munmap(page, bytes);
        return NULL;
    }
    mark = page;
    *mark = 1;
#endif
    return mark;
}

int ki_catalog_here(const ki_catalog *catalog) {
    return catalog->mark ? *catalog->mark : catalog->process == getpid();
}

kith_status ki_catalog_make(const ki_keeper *keeper, void *self, int read_only, ki_catalog **catalog,
                            kith_error *error) {
    ki_catalog *made = ki_alloc_array_zeroed(1, sizeof *made);
    if (!made) return ki_fail(error, KITH_E_NOMEM, "out of memory for a catalog");
    *made =
        (ki_catalog){.keeper = keeper, .self = self, .process = getpid(), .mark = make_mark(), .read_only = read_only};
    if (pthread_mutex_init(&made->mutex, NULL) != 0) goto failed;
    if (pthread_cond_init(&made->ended, NULL) != 0) {
        pthread_mutex_destroy(&made->mutex);
        goto failed;
    }
    *catalog = made;
    return KITH_OK;
failed:
    if (made->mark) munmap(made->mark, (size_t)sysconf(_SC_PAGESIZE));
    free(made);
    return ki_fail(error, KITH_E_NOMEM, "out of memory for the lock of a catalog");
}

/* In a child SQLite's files must not be closed: it would clean up behind the parent's back. Its memory is lost. */
void ki_catalog_close(ki_catalog *catalog) {
    if (!catalog || !ki_catalog_here(catalog)) return;
    if (catalog->changing) catalog->keeper->rollback(catalog->self);
    ki_reading_close_all(catalog);
    catalog->keeper->close(catalog->self);
    pthread_cond_destroy(&catalog->ended);
    pthread_mutex_destroy(&catalog->mutex);
    if (catalog->mark) munmap(catalog->mark, (size_t)sysconf(_SC_PAGESIZE));
    free(catalog);
}

kith_status ki_catalog_usable(const ki_catalog *catalog, kith_error *error) {
    if (!catalog) return ki_fail(error, KITH_E_ARG, "the catalog is NULL");
    if (!ki_catalog_here(catalog))
        return ki_fail(error, KITH_E_ARG, "a catalog that was opened before fork() cannot be used in the child");
    return KITH_OK;
}

/* ---- Who changes ------------------------------------------------------------------------------------------------- */

kith_status ki_catalog_lock(ki_catalog *catalog, kith_error *error) {
    kith_status status = KITH_OK;
    pthread_mutex_lock(&catalog->mutex);
    if (catalog->changing && pthread_equal(catalog->changer, pthread_self()))
        status = ki_fail(error, KITH_E_ARG, "this thread has begun to change the catalog already");
    while (status == KITH_OK && catalog->changing) pthread_cond_wait(&catalog->ended, &catalog->mutex);
    if (status == KITH_OK) {
        catalog->changing = 1;
        catalog->changer = pthread_self();
        catalog->failed = KITH_OK;
    }
    pthread_mutex_unlock(&catalog->mutex);
    return status;
}

void ki_catalog_unlock(ki_catalog *catalog) {
    pthread_mutex_lock(&catalog->mutex);
    catalog->changing = 0;
    pthread_cond_signal(&catalog->ended);
    pthread_mutex_unlock(&catalog->mutex);
}

int ki_catalog_is_changer(ki_catalog *catalog) {
    pthread_mutex_lock(&catalog->mutex);
    const int result = catalog->changing && pthread_equal(catalog->changer, pthread_self());
    pthread_mutex_unlock(&catalog->mutex);
    return result;
}

/* Why nothing more can be changed, for now or for good. `failed` and `poisoned` are read by the changer only. */
static void keep_failure(ki_catalog *catalog, const kith_error *reason) {
    memcpy(catalog->failure, reason->text, sizeof catalog->failure);
    catalog->failure[sizeof catalog->failure - 1] = 0;
}

void ki_catalog_poison(ki_catalog *catalog, kith_status status, const kith_error *reason) {
    catalog->poisoned = status;
    keep_failure(catalog, reason);
}

static kith_status hand_over(kith_error *error, const kith_error *reason, kith_status status) {
    if (error) *error = *reason;
    return status;
}

kith_status ki_catalog_begin(ki_catalog *catalog, kith_error *error) {
    kith_status status = ki_catalog_usable(catalog, error);
    if (status != KITH_OK) return status;
    if (catalog->read_only) return ki_fail(error, KITH_E_ARG, "the catalog was opened for reading only");
    status = ki_catalog_lock(catalog, error);
    if (status != KITH_OK) return status;
    if (catalog->poisoned != KITH_OK)
        status =
            ki_fail(error, KITH_E_IO, "no more changes until the catalog is opened again, because a commit failed: %s",
                    catalog->failure);
    else
        status = catalog->keeper->begin(catalog->self, error);
    if (status != KITH_OK) ki_catalog_unlock(catalog);
    return status;
}

/* The calling thread is between begin and commit. */
static kith_status check_begun(ki_catalog *catalog, kith_error *error) {
    const kith_status status = ki_catalog_usable(catalog, error);
    if (status != KITH_OK || ki_catalog_is_changer(catalog)) return status;
    return ki_fail(error, KITH_E_ARG, "changes of a catalog are made between begin and commit, by one thread");
}

static kith_status refuse(const ki_catalog *catalog, kith_error *error) {
    return ki_fail(error, catalog->failed, "an earlier change failed and undid all: %s", catalog->failure);
}

static kith_status may_change(ki_catalog *catalog, kith_error *error) {
    const kith_status status = check_begun(catalog, error);
    return status == KITH_OK && catalog->failed != KITH_OK ? refuse(catalog, error) : status;
}

kith_status ki_catalog_commit(ki_catalog *catalog, kith_error *error) {
    kith_error reason = {0};
    int unknown = 0;
    kith_status status = check_begun(catalog, error);
    if (status != KITH_OK) return status;
    if (catalog->failed != KITH_OK)
        status = refuse(catalog, &reason);
    else
        status = catalog->keeper->commit(catalog->self, &unknown, &reason);
    if (unknown) ki_catalog_poison(catalog, status, &reason);
    ki_catalog_unlock(catalog);
    return status == KITH_OK ? KITH_OK : hand_over(error, &reason, status);
}

void ki_catalog_rollback(ki_catalog *catalog) {
    if (!catalog || !ki_catalog_here(catalog) || !ki_catalog_is_changer(catalog)) return;
    if (catalog->failed == KITH_OK) catalog->keeper->rollback(catalog->self);
    ki_catalog_unlock(catalog);
}

/* What every change ends with: one that failed undoes the transaction, but for what was not even tried (KITH_E_ARG and
 * KITH_E_LIMIT of the checks above it never come here). */
static kith_status settle(ki_catalog *catalog, kith_status status, const kith_error *reason, kith_error *error) {
    if (status == KITH_OK) return KITH_OK;
    catalog->keeper->rollback(catalog->self);
    catalog->failed = status;
    keep_failure(catalog, reason);
    return hand_over(error, reason, status);
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

static kith_status check_bytes(ki_bytes bytes, const char *what, kith_error *error) {
    if (bytes.bytes && !bytes.data) return ki_fail(error, KITH_E_ARG, "the %s is NULL", what);
    if (bytes.bytes > KI_CATALOG_BODY_MAX)
        return ki_fail(error, KITH_E_LIMIT, "the %s has %zu bytes, and %zu are the most", what, bytes.bytes,
                       (size_t)KI_CATALOG_BODY_MAX);
    return KITH_OK;
}

static kith_status check_name(ki_bytes name, kith_error *error) {
    if (!name.bytes) return ki_fail(error, KITH_E_ARG, "a record needs a name");
    if (name.bytes > KITH_STRING_MAX)
        return ki_fail(error, KITH_E_LIMIT, "the name of a record has %zu bytes, and %u are the most", name.bytes,
                       KITH_STRING_MAX);
    return check_bytes(name, "name of a record", error);
}

kith_status ki_catalog_put_item(ki_catalog *catalog, const ki_catalog_item *item, kith_error *error) {
    kith_error reason = {0};
    kith_status status = may_change(catalog, error);
    if (status != KITH_OK) return status;
    if (!item) return ki_fail(error, KITH_E_ARG, "the item is NULL");
    if (item->expires_ms > INT64_MAX) return ki_fail(error, KITH_E_LIMIT, "the item expires too far away");
    if (item->text.bytes > KITH_STRING_MAX)
        return ki_fail(error, KITH_E_LIMIT, "the item's id has %zu bytes, and %u are the most", item->text.bytes,
                       KITH_STRING_MAX);
    status = check_bytes(item->text, "item's id", error);
    if (status == KITH_OK) status = check_bytes(item->payload, "item's payload", error);
    if (status != KITH_OK) return status;
    return settle(catalog, catalog->keeper->put_item(catalog->self, item, &reason), &reason, error);
}

kith_status ki_catalog_remove_item(ki_catalog *catalog, uint64_t key, kith_error *error) {
    kith_error reason = {0};
    const kith_status status = may_change(catalog, error);
    if (status != KITH_OK) return status;
    return settle(catalog, catalog->keeper->remove_item(catalog->self, key, &reason), &reason, error);
}

static kith_status put_numbered(ki_catalog *catalog, ki_numbered table, uint64_t number, ki_bytes body,
                                kith_error *error) {
    kith_error reason = {0};
    kith_status status = may_change(catalog, error);
    if (status == KITH_OK) status = check_bytes(body, "body", error);
    if (status != KITH_OK) return status;
    return settle(catalog, catalog->keeper->put_numbered(catalog->self, table, number, body, &reason), &reason, error);
}

static kith_status remove_numbered(ki_catalog *catalog, ki_numbered table, uint64_t first, uint64_t last,
                                   kith_error *error) {
    kith_error reason = {0};
    const kith_status status = may_change(catalog, error);
    if (status != KITH_OK) return status;
    return settle(catalog, catalog->keeper->remove_numbered(catalog->self, table, first, last, &reason), &reason,
                  error);
}

kith_status ki_catalog_append_log(ki_catalog *catalog, uint64_t sequence, ki_bytes body, kith_error *error) {
    return put_numbered(catalog, KI_LOG, sequence, body, error);
}

kith_status ki_catalog_drop_log(ki_catalog *catalog, uint64_t sequence, kith_error *error) {
    return remove_numbered(catalog, KI_LOG, 0, sequence, error);
}

kith_status ki_catalog_put_segment(ki_catalog *catalog, uint64_t number, ki_bytes body, kith_error *error) {
    return put_numbered(catalog, KI_SEGMENTS, number, body, error);
}

kith_status ki_catalog_remove_segment(ki_catalog *catalog, uint64_t number, kith_error *error) {
    return remove_numbered(catalog, KI_SEGMENTS, number, number, error);
}

static kith_status put_named(ki_catalog *catalog, int64_t kind, ki_bytes name, ki_bytes body, kith_error *error) {
    kith_error reason = {0};
    kith_status status = may_change(catalog, error);
    if (status == KITH_OK) status = check_name(name, error);
    if (status == KITH_OK) status = check_bytes(body, "body of a record", error);
    if (status != KITH_OK) return status;
    return settle(catalog, catalog->keeper->put_named(catalog->self, kind, name, body, &reason), &reason, error);
}

kith_status ki_catalog_put_setting(ki_catalog *catalog, const char *name, ki_bytes value, kith_error *error) {
    const ki_bytes bytes = {name, name ? strlen(name) : 0};
    return put_named(catalog, KI_KIND_SETTING, bytes, value, error);
}

kith_status ki_catalog_put_record(ki_catalog *catalog, uint32_t kind, ki_bytes name, ki_bytes body, kith_error *error) {
    return put_named(catalog, kind, name, body, error);
}

kith_status ki_catalog_remove_record(ki_catalog *catalog, uint32_t kind, ki_bytes name, kith_error *error) {
    kith_error reason = {0};
    kith_status status = may_change(catalog, error);
    if (status == KITH_OK) status = check_name(name, error);
    if (status != KITH_OK) return status;
    return settle(catalog, catalog->keeper->remove_named(catalog->self, kind, name, &reason), &reason, error);
}
