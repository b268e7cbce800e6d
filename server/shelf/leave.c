/* SPDX-License-Identifier: Apache-2.0
 *
 * Collections that were dropped: when the last one has given it back, a thread closes it and removes its files. A loop
 * may be the last one, and must not wait for either. */
#define _GNU_SOURCE
#include "shelf/inner.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static ks_slot *take_left(ks_shelf *shelf) {
    for (ks_slot *slot = shelf->leaving; slot; slot = slot->next)
        if (slot->left) return slot;
    return NULL;
}

static void unlink_slot(ks_shelf *shelf, const ks_slot *slot) {
    for (ks_slot **at = &shelf->leaving; *at; at = &(*at)->next)
        if (*at == slot) {
            *at = slot->next;
            return;
        }
}

static void remove_files(const ks_shelf *shelf, const char *grave) {
    const int dropped = ks_file_folder(shelf->own_fd, "dropped");
    if (dropped < 0) return;
    (void)ks_file_remove(dropped, grave); /* what stays is tried again when the shelf is opened */
    close(dropped);
}

/* It stays in the list until it is gone, so that nobody makes another one of that folder meanwhile. */
static void *reap(void *context) {
    ks_shelf *shelf = context;
    pthread_mutex_lock(&shelf->leaving_lock);
    for (;;) {
        ks_slot *slot = take_left(shelf);
        if (!slot && shelf->closing) break;
        if (!slot) {
            pthread_cond_wait(&shelf->leaving_changed, &shelf->leaving_lock);
            continue;
        }
        pthread_mutex_unlock(&shelf->leaving_lock);
        kith_collection_close(slot->shop.collection);
        slot->shop.collection = NULL;
        remove_files(shelf, slot->grave);
        pthread_mutex_lock(&shelf->leaving_lock);
        unlink_slot(shelf, slot);
        ks_slot_close(slot);
        pthread_cond_broadcast(&shelf->leaving_changed);
    }
    pthread_mutex_unlock(&shelf->leaving_lock);
    return NULL;
}

kith_status ks_leaving_start(ks_shelf *shelf, kith_error *error) {
    if (shelf->one || shelf->options.read_only) return KITH_OK;
    const int failed = pthread_create(&shelf->reaper, NULL, reap, shelf);
    if (failed) return ks_shelf_fail_errno(error, failed, "cannot start a thread for", shelf->path);
    shelf->has_reaper = 1;
    return KITH_OK;
}

void ks_leaving_stop(ks_shelf *shelf) {
    pthread_mutex_lock(&shelf->leaving_lock);
    shelf->closing = 1;
    pthread_cond_broadcast(&shelf->leaving_changed);
    pthread_mutex_unlock(&shelf->leaving_lock);
    if (shelf->has_reaper) pthread_join(shelf->reaper, NULL);
    shelf->has_reaper = 0;
}

void ks_leaving_add(ks_shelf *shelf, ks_slot *slot) {
    pthread_mutex_lock(&shelf->leaving_lock);
    slot->next = shelf->leaving;
    shelf->leaving = slot;
    pthread_mutex_unlock(&shelf->leaving_lock);
}

static int leaves(const ks_shelf *shelf, const char *folder) {
    for (const ks_slot *slot = shelf->leaving; slot; slot = slot->next)
        if (strcmp(slot->folder, folder) == 0) return 1;
    return 0;
}

int ks_leaving_wait(ks_shelf *shelf, const char *folder, unsigned seconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)seconds;
    pthread_mutex_lock(&shelf->leaving_lock);
    int there = leaves(shelf, folder), late = 0;
    while (there && !late) {
        late = pthread_cond_timedwait(&shelf->leaving_changed, &shelf->leaving_lock, &until) != 0;
        there = leaves(shelf, folder);
    }
    pthread_mutex_unlock(&shelf->leaving_lock);
    return !there;
}

void ks_shelf_return(ks_shelf *shelf, ks_shop *shop) {
    if (!shop) return;
    ks_slot *slot = (ks_slot *)shop;
    if (atomic_fetch_sub_explicit(&slot->borrowed, 1, memory_order_acq_rel) != 1) return;
    pthread_mutex_lock(&shelf->leaving_lock);
    slot->left = 1;
    pthread_cond_broadcast(&shelf->leaving_changed);
    pthread_mutex_unlock(&shelf->leaving_lock);
}
