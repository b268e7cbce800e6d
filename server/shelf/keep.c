/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts that are kept about collections, and the folders of their snapshots. */
#define _GNU_SOURCE
#include "error/error.h"
#include "shelf/inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEPT_NAME_MAX = KS_FOLDER_MAX + 1 + KS_WHAT_MAX };

static kith_status kept_name(const ks_shop *shop, const char *what, char name[KEPT_NAME_MAX + 1], kith_error *error) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    const size_t bytes = strspn(what, allowed);
    if (!bytes || what[bytes] || bytes > KS_WHAT_MAX)
        return ks_error(error, KITH_E_ARG, "\"%.64s\" is no word that a text can be kept under.", what);
    snprintf(name, KEPT_NAME_MAX + 1, "%s.%s", ((const ks_slot *)shop)->folder, what);
    return KITH_OK;
}

static kith_status keep(ks_shelf *shelf, const ks_slot *slot, const char *name, const char *text, size_t bytes,
                        kith_error *error) {
    /* A text of one that was dropped would be taken for the next one's of that name. */
    if (atomic_load(&slot->dropped))
        return ks_error(error, KITH_E_NOTFOUND, "The collection \"%s\" was dropped.", slot->name);
    const int kept = ks_file_folder(shelf->own_fd, "kept");
    if (kept < 0) return ks_shelf_fail_errno(error, errno, "cannot open the folder .shelf/kept of", shelf->path);
    const int done = text ? ks_file_write(kept, name, text, bytes) : ks_file_remove(kept, name);
    const int failed = done == 0 ? 0 : errno;
    close(kept);
    return failed ? ks_shelf_fail_errno(error, failed, "cannot write .shelf/kept/", name) : KITH_OK;
}

kith_status ks_shelf_keep(ks_shelf *shelf, const ks_shop *shop, const char *what, const char *text, size_t bytes,
                          kith_error *error) {
    char name[KEPT_NAME_MAX + 1];
    kith_status status = kept_name(shop, what, name, error);
    if (status != KITH_OK) return status;
    if (bytes > KS_KEPT_MAX)
        return ks_error(error, KITH_E_LIMIT, "A text of %zu bytes is too long to be kept: %d are allowed.", bytes,
                        KS_KEPT_MAX);
    if (shelf->options.read_only) return ks_error(error, KITH_E_BUSY, "This server only reads.");
    pthread_mutex_lock(&shelf->changing);
    status = keep(shelf, (const ks_slot *)shop, name, text, bytes, error);
    pthread_mutex_unlock(&shelf->changing);
    return status;
}

kith_status ks_shelf_kept(ks_shelf *shelf, const ks_shop *shop, const char *what, char **text, size_t *bytes,
                          kith_error *error) {
    char name[KEPT_NAME_MAX + 1], *read = NULL;
    size_t count = 0;
    kith_status status = kept_name(shop, what, name, error);
    if (status != KITH_OK) return status;
    const int kept = shelf->own_fd >= 0 ? ks_file_folder(shelf->own_fd, "kept") : -1;
    if (kept >= 0) {
        const int failed = ks_file_read(kept, name, KS_KEPT_MAX, &read, &count) == 0 ? 0 : errno;
        close(kept);
        if (failed && failed != ENOENT) return ks_shelf_fail_errno(error, failed, "cannot read .shelf/kept/", name);
    }
    *text = read;
    *bytes = count;
    return KITH_OK;
}

void ks_kept_forget(const ks_shelf *shelf, const char *folder) {
    if (shelf->own_fd < 0 || shelf->options.read_only) return;
    const int kept = ks_file_folder(shelf->own_fd, "kept");
    char **names = kept >= 0 ? ks_file_names(kept) : NULL;
    for (char **name = names; name && *name; name++) {
        const char *dot = strrchr(*name, '.');
        char of[KS_FOLDER_MAX + 1];
        const size_t bytes = dot ? (size_t)(dot - *name) : 0;
        if (bytes > KS_FOLDER_MAX) continue;
        memcpy(of, *name, bytes);
        of[bytes] = 0;
        /* Half a text has no name but what follows the dot. */
        const int goes = folder ? strcmp(of, folder) == 0 : !bytes || (!shelf->one && !ks_file_exists(shelf->fd, of));
        if (goes) (void)ks_file_remove(kept, *name);
    }
    ks_file_names_free(names);
    if (kept >= 0) close(kept);
}

kith_status ks_shelf_snapshots(ks_shelf *shelf, const ks_shop *shop, char **path, kith_error *error) {
    const char *folder = ((const ks_slot *)shop)->folder;
    char inside[sizeof(".shelf/snapshots/") + KS_FOLDER_MAX];
    const int own = shelf->own_fd >= 0 ? dup(shelf->own_fd) : ks_file_make_folder(shelf->fd, ".shelf");
    const int all = own >= 0 ? ks_file_make_folder(own, "snapshots") : -1;
    const int of_it = all >= 0 ? ks_file_make_folder(all, folder) : -1;
    const int failed = of_it >= 0 ? 0 : errno;
    if (own >= 0) close(own);
    if (all >= 0) close(all);
    if (of_it >= 0) close(of_it);
    if (failed) return ks_shelf_fail_errno(error, failed, "cannot make the folder .shelf/snapshots of", shelf->path);
    snprintf(inside, sizeof(inside), ".shelf/snapshots/%s", folder);
    char *joined = ks_file_join(shelf->path, inside);
    if (!joined) return ks_error(error, KITH_E_NOMEM, "out of memory");
    *path = joined;
    return KITH_OK;
}
