/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders of sealed segments: their names, how they come, and how what nobody names goes. Removing is done as far as it
 * can be: what stays behind is removed when the collection is opened for writing the next time. Whoever removes knows
 * that no reader of this process needs the files; those of other processes have them mapped. */
#define _GNU_SOURCE
#include "segment/sealed.h"

#include "base/status.h"
#include "segment/home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "<folder>/<ten digits>" and, with a name, "/<name>". */
static char *path_of(const char *folder, uint64_t number, const char *name) {
    const size_t bytes = strlen(folder) + 32 + (name ? strlen(name) : 0);
    char *path = malloc(bytes);
    if (path)
        snprintf(path, bytes, "%s/%010llu%s%s", folder, (unsigned long long)number, name ? "/" : "", name ? name : "");
    return path;
}

char *ki_sealed_folder(const char *folder, uint64_t number) {
    return path_of(folder, number, NULL);
}

char *ki_sealed_file(const char *folder, uint64_t number, const char *name) {
    return path_of(folder, number, name);
}

kith_status ki_sealed_make_folder(const char *folder, uint64_t number, kith_error *error) {
    char *path = ki_sealed_folder(folder, number);
    if (!path) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    ki_sealed_remove_files(path, NULL);
    kith_status status =
        mkdir(path, 0777) != 0 ? ki_fail_errno(error, errno, "%s: cannot make the folder", path) : KITH_OK;
    if (status == KITH_OK) {
        status = ki_home_sync(folder, error);
        if (status != KITH_OK) rmdir(path);
    }
    free(path);
    return status;
}

static int is_own(const ki_sealed *sealed, const char *name) {
    if (strcmp(name, sealed->table_name) == 0) return 1;
    for (size_t s = 0; s < sealed->specs; s++) {
        if (!sealed->index[s]) continue;
        const char *slash = strrchr(ki_segment_path(sealed->index[s]->segment), '/');
        if (slash && strcmp(name, slash + 1) == 0) return 1;
    }
    return 0;
}

/* Remove the files of a folder but those of `keep`, which may be NULL. */
static void empty(const char *path, const ki_sealed *keep) {
    DIR *folder = opendir(path);
    if (!folder) return;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!keep || !is_own(keep, entry->d_name)) unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}

void ki_sealed_remove_files(const char *path, const char *only) {
    if (!only) {
        empty(path, NULL);
        rmdir(path);
        return;
    }
    const int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return;
    unlinkat(folder, only, 0);
    close(folder);
}

void ki_sealed_remove_folder(const char *folder, uint64_t number) {
    char *path = ki_sealed_folder(folder, number);
    if (path) ki_sealed_remove_files(path, NULL);
    free(path);
}

void ki_sealed_sweep(const ki_sealed *sealed) {
    empty(sealed->folder, sealed);
}
