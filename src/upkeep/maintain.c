/* SPDX-License-Identifier: Apache-2.0
 *
 * The maintainer's life, and what others see of it. */
#define _GNU_SOURCE
#include "upkeep/maintain.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"

#include <string.h>
#include <time.h>

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static ki_maintainer *create(kith_collection *collection) {
    ki_maintainer *made = ki_alloc_array_zeroed(1, sizeof(*made));
    pthread_condattr_t attributes;
    if (!made) return NULL;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&made->mutex, NULL);
    made->collection = collection;
    for (int c = 0; c < KI_CLAIMS; c++) made->at_work[c].name = "";
    made->threads =
        collection->options.pool ? kith_pool_threads(collection->options.pool) : collection->options.threads;
    return made;
}

static void destroy(ki_maintainer *maintainer) {
    ki_maintain_dig(maintainer, 1);
    pthread_cond_destroy(&maintainer->changed);
    pthread_mutex_destroy(&maintainer->mutex);
    for (size_t i = 0; i < maintainer->told_count; i++) free(maintainer->told[i]);
    free(maintainer->buried);
    free(maintainer);
}

kith_status ki_maintain_start(kith_collection *collection, kith_error *error) {
    ki_maintainer *maintainer = create(collection);
    if (!maintainer) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    collection->maintainer = maintainer;
    const int relaxed = collection->options.durability == KITH_DURABILITY_RELAXED;
    if (collection->options.no_background && !relaxed) return KITH_OK;
    const int failed = pthread_create(&maintainer->thread, NULL, ki_maintain_run, maintainer);
    maintainer->has_thread = !failed;
    if (!failed) return KITH_OK;
    collection->maintainer = NULL;
    destroy(maintainer);
    return ki_fail_errno(error, failed, "cannot start the thread of background work");
}

void ki_maintain_stop(kith_collection *collection) {
    ki_maintainer *maintainer = collection->maintainer;
    if (!maintainer) return;
    pthread_mutex_lock(&maintainer->mutex);
    maintainer->stop = 1;
    pthread_cond_broadcast(&maintainer->changed);
    pthread_mutex_unlock(&maintainer->mutex);
    if (maintainer->has_thread) pthread_join(maintainer->thread, NULL);
    ki_link_stop(maintainer);
    collection->maintainer = NULL;
    destroy(maintainer);
}

/* ---- Retired segments -------------------------------------------------------------------------------------------- */

void ki_maintain_bury(kith_collection *collection, ki_sealed *sealed) {
    ki_maintainer *maintainer = collection->maintainer;
    int kept = 0;
    if (maintainer) {
        pthread_mutex_lock(&maintainer->mutex);
        void *buried = maintainer->buried;
        kept = ki_array_reserve(&buried, &maintainer->buried_capacity, maintainer->buried_count + 1, sizeof(sealed));
        maintainer->buried = buried;
        if (kept) maintainer->buried[maintainer->buried_count++] = sealed;
        pthread_mutex_unlock(&maintainer->mutex);
    }
    if (!kept) ki_sealed_release(sealed);
}

/* One that may be let go of; NULL: there is none. Nobody takes new references to what no state has any more. */
static ki_sealed *next_buried(ki_maintainer *maintainer, int all) {
    ki_sealed *found = NULL;
    pthread_mutex_lock(&maintainer->mutex);
    for (size_t i = 0; i < maintainer->buried_count && !found; i++) {
        if (!all && atomic_load(&maintainer->buried[i]->references) > 1) continue;
        found = maintainer->buried[i];
        maintainer->buried[i] = maintainer->buried[--maintainer->buried_count];
    }
    pthread_mutex_unlock(&maintainer->mutex);
    return found;
}

void ki_maintain_dig(ki_maintainer *maintainer, int all) {
    for (ki_sealed *sealed; (sealed = next_buried(maintainer, all));) ki_sealed_release(sealed);
}

/* ---- Claims ------------------------------------------------------------------------------------------------------ */

static int asked_to_stop(const ki_watch *watch) {
    const kith_progress progress = {.struct_size = sizeof(progress), .stage = "waiting", .unit = "rows"};
    return watch->progress && watch->progress(watch->progress_context, &progress);
}

/* Wait for a change, a twentieth of a second at most: the caller's callback is asked again. */
static void wait_a_little(ki_maintainer *maintainer) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 50000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&maintainer->changed, &maintainer->mutex, &until);
}

int ki_maintain_claim(ki_maintainer *maintainer, ki_claim claim, ki_watch *watch, const char *name) {
    ki_at_work *at_work = &maintainer->at_work[claim];
    int cancelled = 0;
    pthread_mutex_lock(&maintainer->mutex);
    at_work->waiting++;
    while (at_work->claimed && !maintainer->stop && !cancelled) {
        wait_a_little(maintainer);
        pthread_mutex_unlock(&maintainer->mutex);
        cancelled = asked_to_stop(watch);
        pthread_mutex_lock(&maintainer->mutex);
    }
    at_work->waiting--;
    const int claimed = !at_work->claimed && !maintainer->stop && !cancelled;
    if (claimed) *at_work = (ki_at_work){1, at_work->waiting, name, watch};
    pthread_mutex_unlock(&maintainer->mutex);
    return claimed;
}

void ki_maintain_release(ki_maintainer *maintainer, ki_claim claim) {
    ki_at_work *at_work = &maintainer->at_work[claim];
    pthread_mutex_lock(&maintainer->mutex);
    *at_work = (ki_at_work){0, at_work->waiting, "", NULL};
    pthread_cond_broadcast(&maintainer->changed);
    pthread_mutex_unlock(&maintainer->mutex);
}

void ki_maintain_name(ki_maintainer *maintainer, ki_claim claim, const char *name) {
    pthread_mutex_lock(&maintainer->mutex);
    maintainer->at_work[claim].name = name;
    pthread_mutex_unlock(&maintainer->mutex);
}

/* ---- What others ask --------------------------------------------------------------------------------------------- */

/* Whether a head waits to be sealed, or is as large as it may become. */
static int has_full_head(kith_collection *collection) {
    pthread_mutex_lock(&collection->publishing);
    const ki_snapshot *now = collection->current;
    const ki_snapshot_head *last = &now->head[now->head_count - 1];
    const int full = now->head_count > 1 || last->count >= ki_head_capacity(last->head);
    pthread_mutex_unlock(&collection->publishing);
    return full;
}

/* Without a thread full heads are sealed by whoever filled them; one at a time, and the others need not wait. */
static void seal_here(ki_maintainer *maintainer) {
    kith_error error = {0};
    ki_watch watch = {.threads = maintainer->threads};
    pthread_mutex_lock(&maintainer->mutex);
    const int later =
        maintainer->at_work[KI_CLAIM_SEAL].claimed || ki_now_ns() < maintainer->trouble[KI_WORK_SEAL].again_ns;
    pthread_mutex_unlock(&maintainer->mutex);
    if (later || !ki_maintain_claim(maintainer, KI_CLAIM_SEAL, &watch, "sealing")) return;
    const kith_status status = ki_seal(maintainer->collection, KI_SEAL_SOME, &watch, NULL, &error);
    ki_maintain_note(maintainer, KI_WORK_SEAL, status, &error);
    ki_maintain_dig(maintainer, 0);
    ki_maintain_release(maintainer, KI_CLAIM_SEAL);
}

void ki_maintain_wake(kith_collection *collection) {
    ki_maintainer *maintainer = collection->maintainer;
    if (!maintainer) return;
    const int full = has_full_head(collection);
    if (full && collection->options.no_background) seal_here(maintainer);
    if (!maintainer->has_thread) return;
    if (!full && !atomic_exchange(&maintainer->dozing, 0)) return;
    pthread_mutex_lock(&maintainer->mutex);
    maintainer->woken = 1;
    pthread_cond_broadcast(&maintainer->changed);
    pthread_mutex_unlock(&maintainer->mutex);
}

/* A text that is told, as it can be read for as long as the collection is open. Holds the mutex. */
static const char *tell(ki_maintainer *maintainer, const char *text) {
    for (size_t i = 0; i < maintainer->told_count; i++)
        if (strcmp(maintainer->told[i], text) == 0) return maintainer->told[i];
    char *kept = maintainer->told_count < KI_TOLD_MAX ? strdup(text) : NULL;
    if (!kept) return "background work fails again and again, for more reasons than are kept, and is tried again";
    return maintainer->told[maintainer->told_count++] = kept;
}

void ki_maintain_info(kith_collection *collection, kith_collection_info *info) {
    ki_maintainer *maintainer = collection->maintainer;
    if (!maintainer) {
        info->work = info->trouble = "";
        return;
    }
    pthread_mutex_lock(&maintainer->mutex);
    const ki_at_work *at_work = &maintainer->at_work[KI_CLAIM_REST]; /* what takes longer */
    if (!at_work->claimed) at_work = &maintainer->at_work[KI_CLAIM_SEAL];
    info->working = at_work->claimed;
    info->work = at_work->name;
    info->work_done = at_work->watched ? atomic_load(&at_work->watched->done) : 0;
    info->work_total = at_work->watched ? atomic_load(&at_work->watched->total) : 0;
    info->trouble = "";
    for (int w = KI_WORKS; w-- > 0;)
        if (maintainer->trouble[w].failures) info->trouble = tell(maintainer, maintainer->trouble[w].text);
    pthread_mutex_unlock(&maintainer->mutex);
}

kith_status ki_maintain_seal(ki_maintainer *maintainer, ki_seal_what what, ki_watch *watch, kith_error *error) {
    if (!ki_maintain_claim(maintainer, KI_CLAIM_SEAL, watch, "sealing"))
        return ki_fail(error, KITH_E_CANCELLED, "sealing was cancelled while it waited for its turn");
    const kith_status status = ki_seal(maintainer->collection, what, watch, NULL, error);
    ki_maintain_release(maintainer, KI_CLAIM_SEAL);
    return status;
}

kith_status ki_maintain_slots(kith_collection *collection, kith_error *error) {
    ki_maintainer *maintainer = collection->maintainer;
    if (!maintainer) return KITH_OK;
    ki_watch watch = {.threads = maintainer->threads};
    if (!ki_maintain_claim(maintainer, KI_CLAIM_REST, &watch, "dropping vectors"))
        return ki_fail(error, KITH_E_CANCELLED, "the collection is being closed");
    const kith_status status = ki_slots_clear(maintainer, &watch, error);
    ki_maintain_dig(maintainer, 0);
    ki_maintain_release(maintainer, KI_CLAIM_REST);
    return status;
}

kith_status ki_maintain_fields(kith_collection *collection, kith_error *error) {
    ki_maintainer *maintainer = collection->maintainer;
    int done = 0;
    if (!maintainer) return KITH_OK;
    ki_watch watch = {.threads = maintainer->threads};
    if (!ki_maintain_claim(maintainer, KI_CLAIM_REST, &watch, "indexing fields"))
        return ki_fail(error, KITH_E_CANCELLED, "the collection is being closed");
    /* Heads that were frozen have the old fields. */
    kith_status status = ki_maintain_seal(maintainer, KI_SEAL_FROZEN, &watch, error);
    while (status == KITH_OK && !done) status = ki_fields_index(collection, &watch, &done, error);
    ki_maintain_dig(maintainer, 0);
    ki_maintain_release(maintainer, KI_CLAIM_REST);
    return status;
}
