/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "segment/home.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ours nest two deep; what somebody put there may go deeper, and then stays. */
enum { DEPTH_MAX = 16 };

char *ki_home_path(const char *folder, const char *name) {
    const size_t bytes = strlen(folder);
    char *path = malloc(bytes + strlen(name) + 2);
    if (path) sprintf(path, "%s/%s", folder, name);
    return path;
}

int ki_home_find(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

kith_status ki_home_make(const char *path, kith_error *error) {
    if (mkdir(path, 0777) == 0) return KITH_OK;
    return errno == EEXIST ? ki_fail(error, KITH_E_BUSY, "%s: is there already", path)
                           : ki_fail_errno(error, errno, "%s: cannot make the folder", path);
}

kith_status ki_home_sync(const char *path, kith_error *error) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ki_fail_errno(error, errno, "%s: cannot open the folder", path);
    const kith_status status =
        fsync(fd) == 0 ? KITH_OK : ki_fail_errno(error, errno, "%s: cannot sync the folder", path);
    close(fd);
    return status;
}

kith_status ki_home_each(const char *path, ki_home_fn fn, void *context, kith_error *error) {
    DIR *folder = opendir(path);
    if (!folder) return ki_fail_errno(error, errno, "%s: cannot read the folder", path);
    kith_status status = KITH_OK;
    while (status == KITH_OK) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno) status = ki_fail_errno(error, errno, "%s: cannot read the folder", path);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = fn(context, entry->d_name, error);
    }
    closedir(folder);
    return status;
}

/* ---- Removing ---------------------------------------------------------------------------------------------------- */

struct removal {
    const char *path;
    int depth;
};

static kith_status remove_at(const char *path, int depth, kith_error *error);

static kith_status remove_entry(void *context, const char *name, kith_error *error) {
    const struct removal *above = context;
    char *path = ki_home_path(above->path, name);
    if (!path) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    const kith_status status = remove_at(path, above->depth + 1, error);
    free(path);
    return status;
}

static kith_status remove_at(const char *path, int depth, kith_error *error) {
    struct removal here = {path, depth};
    if (unlink(path) == 0 || errno == ENOENT) return KITH_OK;
    if (errno != EISDIR && errno != EPERM) return ki_fail_errno(error, errno, "%s: cannot remove", path);
    if (rmdir(path) == 0 || errno == ENOENT) return KITH_OK;
    if ((errno != ENOTEMPTY && errno != EEXIST) || depth == DEPTH_MAX)
        return ki_fail_errno(error, errno, "%s: cannot remove", path);
    const kith_status status = ki_home_each(path, remove_entry, &here, error);
    if (status != KITH_OK) return status;
    return rmdir(path) == 0 || errno == ENOENT ? KITH_OK : ki_fail_errno(error, errno, "%s: cannot remove", path);
}

kith_status ki_home_remove(const char *path, kith_error *error) {
    return remove_at(path, 0, error);
}

/* ---- Whole or not at all ----------------------------------------------------------------------------------------- */

static kith_status not_empty(void *context, const char *name, kith_error *error) {
    (void)name;
    const char **path = context;
    return ki_fail(error, KITH_E_BUSY, "%s: is there already, and is not empty", *path);
}

/* A folder takes the place of an empty one by renaming. */
static kith_status check_free(const char *path, kith_error *error) {
    struct stat status;
    if (lstat(path, &status) != 0)
        return errno == ENOENT ? KITH_OK : ki_fail_errno(error, errno, "%s: cannot look at it", path);
    if (!S_ISDIR(status.st_mode)) return ki_fail(error, KITH_E_BUSY, "%s: is there already, and is no folder", path);
    return ki_home_each(path, not_empty, &path, error);
}

/* The name without slashes at its end: a sibling's name is made from it. */
static char *trimmed(const char *path) {
    size_t bytes = strlen(path);
    while (bytes > 1 && path[bytes - 1] == '/') bytes--;
    return ki_path_join(path, bytes, "");
}

kith_status ki_home_begin(const char *path, char **temp, kith_error *error) {
    static atomic_uint counter;
    char tail[96];
    char *base = trimmed(path);
    if (!base) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    char *made = NULL;
    const char *last = strrchr(base, '/');
    last = last ? last + 1 : base;
    kith_status status = check_free(base, error);
    if (status == KITH_OK && (!*last || !strcmp(last, ".") || !strcmp(last, "..")))
        status = ki_fail(error, KITH_E_ARG, "\"%s\": a collection needs a folder with a name of its own", path);
    if (status == KITH_OK) {
        snprintf(tail, sizeof(tail), ".kith-%ld-%llx-%u.tmp", (long)getpid(), (unsigned long long)ki_now_ns(),
                 atomic_fetch_add(&counter, 1));
        made = ki_path_join(base, (size_t)(last - base), tail);
        status = made ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
    }
    if (status == KITH_OK && mkdir(made, 0777) != 0)
        status = ki_fail_errno(error, errno, "%s: cannot make a folder beside it", path);
    free(base);
    if (status == KITH_OK)
        *temp = made;
    else
        free(made);
    return status;
}

kith_status ki_home_commit(const char *temp, const char *path, kith_error *error) {
    char *base = trimmed(path), *parent = NULL;
    kith_status status = base ? ki_home_sync(temp, error) : ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) {
        const char *slash = strrchr(base, '/');
        parent = ki_path_join(base, slash ? (size_t)(slash - base) + 1 : 0, ".");
        if (!parent) status = ki_fail(error, KITH_E_NOMEM, "out of memory");
    }
    if (status == KITH_OK && rename(temp, base) != 0) {
        const int taken = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
        status = taken ? ki_fail(error, KITH_E_BUSY, "%s: somebody else made it meanwhile", path)
                       : ki_fail_errno(error, errno, "%s: cannot rename the finished folder", path);
    } else if (status == KITH_OK)
        status = ki_home_sync(parent, error);
    free(parent);
    free(base);
    return status;
}

kith_status ki_home_temporary(char **path, kith_error *error) {
    const char *folder = secure_getenv("TMPDIR");
    if (!folder || !*folder) folder = "/tmp";
    char *name = ki_home_path(folder, "kith-XXXXXX");
    if (!name) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (!mkdtemp(name)) {
        const int number = errno;
        free(name);
        return ki_fail_errno(error, number, "%s: cannot make a temporary folder there", folder);
    }
    *path = name;
    return KITH_OK;
}
