/* SPDX-License-Identifier: Apache-2.0
 *
 * Making and dropping collections. */
#define _GNU_SOURCE
#include "error/error.h"
#include "shelf/inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long making a collection waits for one of that name that somebody still works with. */
enum { LEAVING_S = 10 };

static kith_status may_change(const ks_shelf *shelf, kith_error *error) {
    if (shelf->one)
        return ks_error(error, KITH_E_BUSY,
                        "This server has one collection's folder: collections are made and dropped where it has "
                        "a folder of them.");
    if (shelf->options.read_only) return ks_error(error, KITH_E_BUSY, "This server only reads.");
    return KITH_OK;
}

static int is_taken(ks_shelf *shelf, const char *name, const char **as) {
    size_t place;
    pthread_rwlock_rdlock(&shelf->lock);
    *as = ks_slot_find(shelf, name, &place) ? "a collection" : ks_alias_find(shelf, name, &place) ? "an alias" : NULL;
    pthread_rwlock_unlock(&shelf->lock);
    return *as != NULL;
}

static kith_status insert(ks_shelf *shelf, ks_slot *slot, kith_error *error) {
    size_t place;
    ks_slot **slots = malloc((shelf->count + 1) * sizeof(*slots));
    if (!slots) return ks_error(error, KITH_E_NOMEM, "out of memory");
    pthread_rwlock_wrlock(&shelf->lock);
    (void)ks_slot_find(shelf, slot->name, &place);
    if (place) memcpy(slots, shelf->slots, place * sizeof(*slots));
    if (shelf->count > place) memcpy(slots + place + 1, shelf->slots + place, (shelf->count - place) * sizeof(*slots));
    slots[place] = slot;
    ks_slot **old = shelf->slots;
    shelf->slots = slots;
    shelf->count++;
    pthread_rwlock_unlock(&shelf->lock);
    free(old);
    return KITH_OK;
}

/* In making/ first, so that a crash leaves nothing on the shelf that is half a collection. */
static kith_status make_folder(ks_shelf *shelf, const char *folder, const kith_collection_options *options,
                               kith_error *error) {
    const int making = ks_file_folder(shelf->own_fd, "making");
    if (making < 0) return ks_shelf_fail_errno(error, errno, "cannot open the folder .shelf/making of", shelf->path);
    char inside[sizeof(".shelf/making/") + KS_FOLDER_MAX];
    snprintf(inside, sizeof(inside), ".shelf/making/%s", folder);
    char *path = ks_file_join(shelf->path, inside);
    (void)ks_file_remove(making, folder);
    kith_status status =
        path ? kith_collection_create(path, options, error) : ks_error(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK && ks_file_rename(making, folder, shelf->fd, folder) != 0)
        status = errno == EEXIST ? ks_error(error, KITH_E_BUSY,
                                            "There is a folder %s already, which is no collection that could be "
                                            "opened.",
                                            folder)
                                 : ks_shelf_fail_errno(error, errno, "cannot make the folder", folder);
    if (status != KITH_OK) (void)ks_file_remove(making, folder);
    free(path);
    close(making);
    return status;
}

static kith_status create(ks_shelf *shelf, const char *name, const kith_collection_options *options,
                          kith_error *error) {
    char folder[KS_FOLDER_MAX + 1];
    const char *as;
    ks_slot *slot = NULL;
    ks_name_folder(name, folder);
    if (is_taken(shelf, name, &as)) return ks_error(error, KITH_E_BUSY, "There is %s \"%s\" already.", as, name);
    if (!ks_leaving_wait(shelf, folder, LEAVING_S))
        return ks_error(error, KITH_E_BUSY,
                        "A collection \"%s\" was dropped, and somebody still works with it: try again later.", name);
    ks_kept_forget(shelf, folder);
    kith_status status = make_folder(shelf, folder, options, error);
    if (status != KITH_OK) return status;
    status = ks_slot_open(shelf, folder, name, &slot, error);
    if (status == KITH_OK) status = insert(shelf, slot, error);
    if (status == KITH_OK) return KITH_OK;
    ks_slot_close(slot);
    (void)ks_file_remove(shelf->fd, folder);
    return status;
}

kith_status ks_shelf_create(ks_shelf *shelf, const char *name, const kith_collection_options *options,
                            kith_error *error) {
    if (!ks_name_valid(name))
        return ks_error(error, KITH_E_ARG,
                        "A collection's name is 1 to %d bytes of UTF-8 without control characters, \"/\" and "
                        "\"\\\", and neither \".\" nor \"..\".",
                        KS_NAME_MAX);
    kith_status status = may_change(shelf, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&shelf->changing);
    status = create(shelf, name, options, error);
    pthread_mutex_unlock(&shelf->changing);
    return status;
}

/* ---- Dropping ---------------------------------------------------------------------------------------------------- */

static void take_out(ks_shelf *shelf, size_t place) {
    pthread_rwlock_wrlock(&shelf->lock);
    shelf->count--;
    memmove(shelf->slots + place, shelf->slots + place + 1, (shelf->count - place) * sizeof(*shelf->slots));
    pthread_rwlock_unlock(&shelf->lock);
}

/* The name of a grave is one that no other has: the collection's number, and this process'. Those of an earlier process
 * that could not be removed are passed over. */
static kith_status bury(const ks_shelf *shelf, ks_slot *slot, kith_error *error) {
    const int dropped = ks_file_folder(shelf->own_fd, "dropped");
    if (dropped < 0) return ks_shelf_fail_errno(error, errno, "cannot open the folder .shelf/dropped of", shelf->path);
    int failed = EEXIST;
    for (unsigned attempt = 0; failed == EEXIST && attempt < 1000; attempt++) {
        snprintf(slot->grave, sizeof(slot->grave), "%u-%u", slot->shop.number, attempt);
        failed = ks_file_rename(shelf->fd, slot->folder, dropped, slot->grave) == 0 ? 0 : errno;
    }
    close(dropped);
    return failed ? ks_shelf_fail_errno(error, failed, "cannot remove the folder", slot->folder) : KITH_OK;
}

static kith_status drop(ks_shelf *shelf, const char *name, kith_error *error) {
    size_t place;
    if (!ks_slot_find(shelf, name, &place)) /* only we change it */
        return ks_error(error, KITH_E_NOTFOUND, "There is no collection \"%.64s\" here.", name);
    ks_slot *slot = shelf->slots[place];
    const kith_status status = bury(shelf, slot, error);
    if (status != KITH_OK) return status;
    /* From here on it is gone; what cannot be tidied now is what a crash would have left. */
    atomic_store(&slot->dropped, 1);
    ks_leaving_add(shelf, slot);
    take_out(shelf, place);
    ks_kept_forget(shelf, slot->folder);
    (void)ks_aliases_forget(shelf, slot->name, NULL);
    ks_shelf_return(shelf, &slot->shop);
    return KITH_OK;
}

kith_status ks_shelf_drop(ks_shelf *shelf, const char *name, kith_error *error) {
    kith_status status = may_change(shelf, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&shelf->changing);
    status = drop(shelf, name, error);
    pthread_mutex_unlock(&shelf->changing);
    return status;
}
