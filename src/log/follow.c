/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeping the current state current: what another process wrote, and what is over. */
#define _GNU_SOURCE
#include "log/follow.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "log/load.h"

#include <stdlib.h>
#include <time.h>

/* ---- Following a writer ------------------------------------------------------------------------------------------ */

kith_status ki_collection_refresh(kith_collection *collection, kith_error *error) {
    uint64_t stamp;
    if (!collection->options.read_only) return KITH_OK;
    pthread_mutex_lock(&collection->writing);
    kith_status status = ki_catalog_stamp(collection->catalog, &stamp, error);
    if (status == KITH_OK && stamp != collection->stamp) status = ki_state_load(collection, error);
    pthread_mutex_unlock(&collection->writing);
    return status;
}

static struct timespec time_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / UINT64_C(1000000000)),
                             .tv_nsec = (long)(ns % UINT64_C(1000000000))};
}

static uint64_t current_version(kith_collection *collection) {
    pthread_mutex_lock(&collection->publishing);
    const uint64_t version = collection->current->version;
    pthread_mutex_unlock(&collection->publishing);
    return version;
}

struct waiting {
    uint64_t version, until;
    int (*cancelled)(void *);
    void *context;
};

static int is_cancelled(const struct waiting *waiting) {
    return waiting->cancelled && waiting->cancelled(waiting->context);
}

/* Nobody tells us of another process's commits: we look each millisecond. */
static kith_status wait_and_look(kith_collection *collection, const struct waiting *waiting, kith_error *error) {
    const struct timespec pause = time_of(1000000);
    for (;;) {
        const kith_status status = ki_collection_refresh(collection, error);
        if (status != KITH_OK || current_version(collection) >= waiting->version) return status;
        if (ki_now_ns() >= waiting->until) return KITH_E_DEADLINE;
        if (is_cancelled(waiting)) return KITH_E_CANCELLED;
        nanosleep(&pause, NULL);
    }
}

/* Whoever publishes wakes us; we look each hundredth of a second whether we are still wanted. */
static kith_status wait_for_publishing(kith_collection *collection, const struct waiting *waiting) {
    for (;;) {
        const uint64_t soon = ki_now_ns() + 10000000;
        const struct timespec turn = time_of(soon < waiting->until ? soon : waiting->until);
        int over = 0;
        pthread_mutex_lock(&collection->publishing);
        while (collection->current->version < waiting->version && !over)
            over = pthread_cond_timedwait(&collection->published, &collection->publishing, &turn) != 0;
        const int there = collection->current->version >= waiting->version;
        pthread_mutex_unlock(&collection->publishing);
        if (there) return KITH_OK;
        if (ki_now_ns() >= waiting->until) return KITH_E_DEADLINE;
        if (is_cancelled(waiting)) return KITH_E_CANCELLED;
    }
}

kith_status ki_collection_wait(kith_collection *collection, uint64_t version, uint64_t timeout_ns,
                               int (*cancelled)(void *), void *context, kith_error *error) {
    const uint64_t most = UINT64_C(1) << 62, now = ki_now_ns();
    const struct waiting waiting = {version, timeout_ns > most - now ? most : now + timeout_ns, cancelled, context};
    const kith_status status = collection->options.read_only ? wait_and_look(collection, &waiting, error)
                                                             : wait_for_publishing(collection, &waiting);
    if (status == KITH_E_CANCELLED) return ki_fail(error, status, "waiting for a version was cancelled");
    if (status != KITH_E_DEADLINE) return status;
    return ki_fail(error, status, "version %llu was not there in time: the collection is at %llu",
                   (unsigned long long)version, (unsigned long long)current_version(collection));
}

/* ---- What is over ------------------------------------------------------------------------------------------------ */

/* Keys whose time is up, and when the next one's is. */
struct over {
    uint64_t now_ms, next_ms; /* next_ms 0: nothing expires later */
    uint64_t *keys;
    size_t count, capacity;
};

#define ENOUGH KITH_E_CANCELLED /* ends a scan; never seen outside */

static kith_status note(void *context, const ki_catalog_item *item, kith_error *error) {
    struct over *over = context;
    void *keys = over->keys;
    if (item->expires_ms > over->now_ms) {
        over->next_ms = item->expires_ms;
        return ENOUGH;
    }
    if (!ki_array_reserve(&keys, &over->capacity, over->count + 1, sizeof(*over->keys)))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu items whose time is up", over->count);
    over->keys = keys;
    over->keys[over->count++] = item->key;
    return KITH_OK;
}

static kith_status find_over(kith_collection *collection, struct over *over, kith_error *error) {
    const kith_status status = ki_catalog_scan_expired(collection->catalog, UINT64_MAX, note, over, error);
    return status == ENOUGH ? KITH_OK : status;
}

static kith_status kill_over(kith_collection *collection, const struct over *over, kith_error *error) {
    ki_edit *edit = NULL;
    int was;
    kith_status status = ki_edit_begin(collection, &edit, error);
    for (size_t i = 0; i < over->count && status == KITH_OK; i++)
        status = ki_edit_kill(edit, over->keys[i], &was, error);
    if (status != KITH_OK) {
        ki_edit_abandon(edit);
        return status;
    }
    ki_edit_set_next_expiry(edit, over->next_ms);
    ki_edit_publish(edit, collection->version);
    return KITH_OK;
}

/* Whether what the catalog said just now may be newer than the current state. */
static int has_moved_on(kith_collection *collection, kith_status *status, kith_error *error) {
    uint64_t stamp = collection->stamp;
    if (!collection->options.read_only) return 0;
    *status = ki_catalog_stamp(collection->catalog, &stamp, error);
    return *status == KITH_OK && stamp != collection->stamp;
}

/* Under `writing`. A catalog that has moved on may have removed what is over, which then stays in the state of before:
 * so the state is read anew, and what is over goes from it in the same read. */
static kith_status expire(kith_collection *collection, uint64_t now_ms, kith_error *error) {
    struct over over = {.now_ms = now_ms};
    kith_status status = find_over(collection, &over, error);
    if (status == KITH_OK && has_moved_on(collection, &status, error))
        status = ki_state_load(collection, error);
    else if (status == KITH_OK)
        status = kill_over(collection, &over, error);
    free(over.keys);
    return status;
}

static int is_due(kith_collection *collection, uint64_t *now_ms) {
    pthread_mutex_lock(&collection->publishing);
    const uint64_t next = collection->current->next_expiry_ms;
    pthread_mutex_unlock(&collection->publishing);
    if (!next) return 0;
    *now_ms = collection->now_ms();
    return next <= *now_ms;
}

kith_status ki_state_expire(kith_collection *collection, kith_error *error) {
    struct over over = {0};
    if (!is_due(collection, &over.now_ms)) return KITH_OK;
    kith_status status = find_over(collection, &over, error);
    if (status == KITH_OK) status = kill_over(collection, &over, error);
    free(over.keys);
    return status;
}

kith_status ki_collection_expire(kith_collection *collection, kith_error *error) {
    uint64_t now_ms;
    if (!is_due(collection, &now_ms)) return KITH_OK;
    pthread_mutex_lock(&collection->writing);
    const kith_status status = is_due(collection, &now_ms) ? expire(collection, now_ms, error) : KITH_OK;
    pthread_mutex_unlock(&collection->writing);
    if (status == KITH_OK) collection->wake(collection);
    return status;
}
