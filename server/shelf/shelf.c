/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a shelf, and finding what is on it. Borrowing takes a lock for reading, a search among sorted names, and a
 * count. */
#define _GNU_SOURCE
#include "error/error.h"
#include "shelf/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

kith_status ks_shelf_fail_errno(kith_error *error, int number, const char *what, const char *name) {
    const kith_status status = number == ENOSPC || number == EDQUOT    ? KITH_E_NOSPACE
                               : number == ENOENT || number == ENOTDIR ? KITH_E_NOTFOUND
                               : number == ENOMEM                      ? KITH_E_NOMEM
                                                                       : KITH_E_IO;
    char reason[128];
    return ks_error(error, status, "%s %s: %s", what, name, strerror_r(number, reason, sizeof(reason)));
}

/* ---- Places ------------------------------------------------------------------------------------------------------ */

int ks_slot_find(const ks_shelf *shelf, const char *name, size_t *place) {
    size_t low = 0, high = shelf->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strcmp(name, shelf->slots[middle]->name);
        *place = middle;
        if (order == 0) return 1;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    *place = low;
    return 0;
}

int ks_alias_find(const ks_shelf *shelf, const char *alias, size_t *place) {
    size_t low = 0, high = shelf->alias_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strcmp(alias, shelf->aliases[middle].alias);
        *place = middle;
        if (order == 0) return 1;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    *place = low;
    return 0;
}

static ks_shop *borrow_at(const ks_shelf *shelf, size_t place) {
    ks_slot *slot = shelf->slots[place];
    atomic_fetch_add_explicit(&slot->borrowed, 1, memory_order_relaxed);
    return &slot->shop;
}

kith_status ks_shelf_borrow(ks_shelf *shelf, const char *name, ks_shop **shop, kith_error *error) {
    size_t place;
    ks_shop *found = NULL;
    pthread_rwlock_rdlock(&shelf->lock);
    if (ks_slot_find(shelf, name, &place) ||
        (ks_alias_find(shelf, name, &place) && ks_slot_find(shelf, shelf->aliases[place].collection, &place)))
        found = borrow_at(shelf, place);
    pthread_rwlock_unlock(&shelf->lock);
    if (!found) return ks_error(error, KITH_E_NOTFOUND, "There is no collection \"%.64s\" here.", name);
    *shop = found;
    return KITH_OK;
}

ks_shop *ks_shelf_at(ks_shelf *shelf, size_t place) {
    pthread_rwlock_rdlock(&shelf->lock);
    ks_shop *shop = place < shelf->count ? borrow_at(shelf, place) : NULL;
    pthread_rwlock_unlock(&shelf->lock);
    return shop;
}

int ks_shelf_is_one(const ks_shelf *shelf) {
    return shelf->one;
}

/* ---- A collection ------------------------------------------------------------------------------------------------ */

void ks_slot_close(ks_slot *slot) {
    if (!slot) return;
    kith_collection_close(slot->shop.collection);
    free(slot);
}

static kith_status open_collection(const ks_shelf *shelf, const char *path, ks_slot *slot, kith_error *error) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.read_only = shelf->options.read_only;
    options.durability = shelf->options.durability;
    options.cache_bytes = shelf->options.cache_bytes;
    options.head_bytes = shelf->options.head_bytes;
    options.resident_bytes = shelf->options.resident_bytes;
    options.pool = shelf->options.pool;
    kith_status status = kith_collection_open(path, &options, &slot->shop.collection, error);
    if (status != KITH_OK) return status;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    status = kith_collection_get_info(slot->shop.collection, &info);
    if (status != KITH_OK) return ks_error(error, status, "%s: cannot be asked what it is like", path);
    slot->shop.id_kind = info.id_kind;
    slot->shop.vector_count = info.vectors;
    slot->shop.segment_field = info.segment_field;
    return KITH_OK;
}

kith_status ks_slot_open(ks_shelf *shelf, const char *folder, const char *name, ks_slot **out, kith_error *error) {
    ks_slot *slot = calloc(1, sizeof(*slot));
    char *path = shelf->one ? strdup(shelf->path) : ks_file_join(shelf->path, folder);
    kith_status status = slot && path ? KITH_OK : ks_error(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) {
        atomic_init(&slot->borrowed, 1);
        atomic_init(&slot->dropped, 0);
        snprintf(slot->name, sizeof(slot->name), "%s", name);
        snprintf(slot->folder, sizeof(slot->folder), "%s", folder);
        slot->shop.name = slot->name;
        status = open_collection(shelf, path, slot, error);
    }
    free(path);
    if (status != KITH_OK) {
        ks_slot_close(slot);
        return status;
    }
    slot->shop.number = shelf->numbers++;
    *out = slot;
    return KITH_OK;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

struct opening {
    ks_shelf *shelf;
    void (*trouble)(void *context, const char *name, const kith_error *error);
    void *context;
};

static kith_status add_opened(ks_shelf *shelf, ks_slot *slot, kith_error *error) {
    size_t place;
    ks_slot **slots = realloc(shelf->slots, (shelf->count + 1) * sizeof(*slots));
    if (!slots) return ks_error(error, KITH_E_NOMEM, "out of memory");
    shelf->slots = slots;
    if (ks_slot_find(shelf, slot->name, &place))
        return ks_error(error, KITH_E_BUSY, "The folders %s and %s are both called \"%s\": rename one of them.",
                        slots[place]->folder, slot->folder, slot->name);
    memmove(slots + place + 1, slots + place, (shelf->count - place) * sizeof(*slots));
    slots[place] = slot;
    shelf->count++;
    return KITH_OK;
}

/* One of the shelf's folders, if it is a collection's. KITH_E_NOMEM ends the opening, everything else is told. */
static kith_status open_folder(const struct opening *opening, const char *folder) {
    char name[KS_NAME_MAX + 1];
    kith_error why = {0};
    ks_slot *slot = NULL;
    const int fd = *folder == '.' ? -1 : ks_file_folder(opening->shelf->fd, folder);
    const int is_one = fd >= 0 && ks_file_exists(fd, "catalog.sqlite");
    if (fd >= 0) close(fd);
    if (!is_one) return KITH_OK;
    kith_status status;
    if (!ks_name_of_folder(folder, name))
        status = ks_error(&why, KITH_E_ARG, "The folder %.200s is called as no collection is: rename it.", folder);
    else
        status = ks_slot_open(opening->shelf, folder, name, &slot, &why);
    if (status == KITH_OK) {
        status = add_opened(opening->shelf, slot, &why);
        if (status != KITH_OK) ks_slot_close(slot);
    }
    if (status != KITH_OK && opening->trouble) opening->trouble(opening->context, folder, &why);
    return status == KITH_E_NOMEM ? status : KITH_OK;
}

static kith_status open_all(const struct opening *opening, kith_error *error) {
    ks_shelf *shelf = opening->shelf;
    char **folders = ks_file_names(shelf->fd);
    if (!folders) return ks_shelf_fail_errno(error, errno, "cannot read the folder", shelf->path);
    kith_status status = KITH_OK;
    for (char **folder = folders; *folder && status == KITH_OK; folder++) status = open_folder(opening, *folder);
    ks_file_names_free(folders);
    return status == KITH_OK ? status : ks_error(error, status, "out of memory");
}

static kith_status open_one(ks_shelf *shelf, kith_error *error) {
    char name[KS_NAME_MAX + 1];
    const char *last = strrchr(shelf->path, '/') + 1;
    ks_slot *slot = NULL;
    if (!ks_name_of_folder(last, name))
        return ks_error(error, KITH_E_ARG,
                        "%s: a collection's name is 1 to %d bytes, without control characters: rename the folder",
                        shelf->path, KS_NAME_MAX);
    kith_status status = ks_slot_open(shelf, KS_SHELF_OWN, name, &slot, error);
    if (status != KITH_OK) return status;
    status = add_opened(shelf, slot, error);
    if (status != KITH_OK) ks_slot_close(slot);
    return status;
}

/* What a crash left of collections that were being made or removed. */
static void clear(const ks_shelf *shelf, const char *which) {
    const int fd = ks_file_folder(shelf->own_fd, which);
    char **names = fd >= 0 ? ks_file_names(fd) : NULL;
    for (char **name = names; name && *name; name++) (void)ks_file_remove(fd, *name);
    ks_file_names_free(names);
    if (fd >= 0) close(fd);
}

static kith_status open_own(ks_shelf *shelf, kith_error *error) {
    if (shelf->options.read_only) {
        shelf->own_fd = ks_file_folder(shelf->fd, ".shelf");
        return KITH_OK;
    }
    static const char *const parts[] = {"kept", "making", "dropped", "snapshots"};
    shelf->own_fd = ks_file_make_folder(shelf->fd, ".shelf");
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts) && shelf->own_fd >= 0; i++) {
        const int fd = ks_file_make_folder(shelf->own_fd, parts[i]);
        if (fd < 0) return ks_shelf_fail_errno(error, errno, "cannot make the folder .shelf of", shelf->path);
        close(fd);
    }
    if (shelf->own_fd < 0) return ks_shelf_fail_errno(error, errno, "cannot make the folder .shelf of", shelf->path);
    clear(shelf, "making");
    clear(shelf, "dropped");
    return KITH_OK;
}

static kith_status make(const char *path, const ks_shelf_options *options, ks_shelf **out, kith_error *error) {
    ks_shelf *shelf = calloc(1, sizeof(*shelf));
    if (!shelf) return ks_error(error, KITH_E_NOMEM, "out of memory");
    shelf->fd = shelf->own_fd = -1;
    if (options) shelf->options = *options;
    pthread_mutex_init(&shelf->changing, NULL);
    pthread_rwlock_init(&shelf->lock, NULL);
    pthread_mutex_init(&shelf->leaving_lock, NULL);
    pthread_cond_init(&shelf->leaving_changed, NULL);
    *out = shelf;
    shelf->path = realpath(path, NULL);
    if (!shelf->path) return ks_shelf_fail_errno(error, errno, "cannot open the folder", path);
    shelf->fd = open(shelf->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (shelf->fd < 0) return ks_shelf_fail_errno(error, errno, "cannot open the folder", path);
    shelf->one = ks_file_exists(shelf->fd, "catalog.sqlite");
    return KITH_OK;
}

kith_status ks_shelf_open(const char *path, const ks_shelf_options *options,
                          void (*trouble)(void *context, const char *name, const kith_error *error), void *context,
                          ks_shelf **out, kith_error *error) {
    ks_shelf *shelf = NULL;
    if (!path || !out) return ks_error(error, KITH_E_ARG, "ks_shelf_open: an argument is NULL");
    kith_status status = make(path, options, &shelf, error);
    /* A collection first: what is ours is made beside it only when nobody else has it. */
    if (status == KITH_OK && shelf->one) status = open_one(shelf, error);
    if (status == KITH_OK) status = open_own(shelf, error);
    if (status == KITH_OK && !shelf->one) status = open_all(&(struct opening){shelf, trouble, context}, error);
    if (status == KITH_OK) status = ks_aliases_read(shelf, error);
    if (status == KITH_OK) ks_kept_forget(shelf, NULL);
    if (status == KITH_OK) status = ks_leaving_start(shelf, error);
    if (status != KITH_OK) {
        ks_shelf_close(shelf);
        return status;
    }
    *out = shelf;
    return KITH_OK;
}

void ks_shelf_close(ks_shelf *shelf) {
    if (!shelf) return;
    ks_leaving_stop(shelf);
    for (size_t i = 0; i < shelf->count; i++) ks_slot_close(shelf->slots[i]);
    if (shelf->own_fd >= 0) close(shelf->own_fd);
    if (shelf->fd >= 0) close(shelf->fd);
    pthread_cond_destroy(&shelf->leaving_changed);
    pthread_mutex_destroy(&shelf->leaving_lock);
    pthread_rwlock_destroy(&shelf->lock);
    pthread_mutex_destroy(&shelf->changing);
    free(shelf->slots);
    free(shelf->aliases);
    free(shelf->path);
    free(shelf);
}
