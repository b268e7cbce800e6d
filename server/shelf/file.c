/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and folders by one name beneath an open folder; no link is followed on the way. */
#define _GNU_SOURCE
#include "shelf/inner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Ours nest three deep; what somebody put there may go deeper, and then stays. */
enum { DEPTH_MAX = 16 };

#define TEMPORARY ".new"

/* By openat2, which keeps every step beneath the folder; where the system (or a filter of its calls) has none, a single
 * name without "/" cannot lead away either but by a link, which O_NOFOLLOW refuses. */
static int open_beneath(int fd, const char *name, int flags, unsigned mode) {
    if (!*name || strchr(name, '/') || strcmp(name, "..") == 0) {
        errno = ENOENT;
        return -1;
    }
    const struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
                                 .mode = mode,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    const long opened = syscall(SYS_openat2, fd, name, &how, sizeof(how));
    if (opened >= 0 || (errno != ENOSYS && errno != EPERM)) return (int)opened;
    return openat(fd, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
}

int ks_file_folder(int fd, const char *name) {
    return open_beneath(fd, name, O_RDONLY | O_DIRECTORY, 0);
}

int ks_file_make_folder(int fd, const char *name) {
    if (mkdirat(fd, name, 0777) == 0) {
        if (fsync(fd) != 0) return -1;
    } else if (errno != EEXIST) {
        return -1;
    }
    return ks_file_folder(fd, name);
}

int ks_file_exists(int fd, const char *name) {
    struct stat status;
    return fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void ks_file_names_free(char **names) {
    for (char **name = names; name && *name; name++) free(*name);
    free(names);
}

static int add_name(char ***names, size_t *count, size_t *room, const char *name) {
    if (*count + 1 >= *room) {
        const size_t more = *room ? 2 * *room : 16;
        char **grown = realloc(*names, more * sizeof(**names));
        if (!grown) return -1;
        *names = grown;
        *room = more;
    }
    char *copy = strdup(name);
    if (!copy) return -1;
    (*names)[(*count)++] = copy;
    (*names)[*count] = NULL;
    return 0;
}

char **ks_file_names(int fd) {
    char **names = NULL;
    size_t count = 0, room = 0;
    const int own = open_beneath(fd, ".", O_RDONLY | O_DIRECTORY, 0); /* a place of its own in the folder */
    DIR *folder = own >= 0 ? fdopendir(own) : NULL;
    if (!folder) {
        if (own >= 0) close(own);
        return NULL;
    }
    errno = 0;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (add_name(&names, &count, &room, entry->d_name) != 0) {
            errno = ENOMEM;
            break;
        }
    }
    const int number = errno;
    closedir(folder);
    if (number == 0 && !names) names = calloc(1, sizeof(*names));
    if (number != 0) {
        ks_file_names_free(names);
        errno = number;
        return NULL;
    }
    if (count) qsort(names, count, sizeof(*names), by_name);
    return names;
}

char *ks_file_join(const char *folder, const char *name) {
    const size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

/* ---- Removing and renaming --------------------------------------------------------------------------------------- */

static int remove_at(int fd, const char *name, int depth) {
    if (unlinkat(fd, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return -1;
    if (depth == DEPTH_MAX) {
        errno = ELOOP;
        return -1;
    }
    const int folder = ks_file_folder(fd, name);
    if (folder < 0) return -1;
    char **names = ks_file_names(folder);
    int failed = names ? 0 : errno;
    for (char **each = names; each && *each && !failed; each++)
        if (remove_at(folder, *each, depth + 1) != 0) failed = errno;
    ks_file_names_free(names);
    close(folder);
    errno = failed;
    return failed ? -1 : unlinkat(fd, name, AT_REMOVEDIR);
}

int ks_file_remove(int fd, const char *name) {
    return remove_at(fd, name, 0);
}

int ks_file_rename(int from, const char *name, int to, const char *as) {
    if (renameat2(from, name, to, as, RENAME_NOREPLACE) != 0) {
        /* A file system that cannot refuse to replace: a folder replaces an empty one at most. */
        if (errno != EINVAL && errno != ENOSYS) return -1;
        if (ks_file_exists(to, as)) {
            errno = EEXIST;
            return -1;
        }
        if (renameat(from, name, to, as) != 0) return -1;
    }
    return fsync(to) == 0 && fsync(from) == 0 ? 0 : -1;
}

/* ---- Files that are whole or not there --------------------------------------------------------------------------- */

static int write_all(int file, const char *bytes, size_t count) {
    while (count) {
        const ssize_t wrote = write(file, bytes, count);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return -1;
        bytes += wrote;
        count -= (size_t)wrote;
    }
    return fsync(file);
}

int ks_file_write(int fd, const char *name, const char *bytes, size_t count) {
    const int file = open_beneath(fd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0) return -1;
    int failed = write_all(file, bytes, count) == 0 ? 0 : errno;
    if (close(file) != 0 && !failed) failed = errno;
    if (!failed && renameat(fd, TEMPORARY, fd, name) != 0) failed = errno;
    if (!failed && fsync(fd) != 0) failed = errno;
    if (!failed) return 0;
    (void)unlinkat(fd, TEMPORARY, 0);
    errno = failed;
    return -1;
}

static int read_all(int file, size_t max, char **bytes, size_t *count) {
    struct stat status;
    if (fstat(file, &status) != 0) return -1;
    if (!S_ISREG(status.st_mode) || status.st_size < 0 || (uint64_t)status.st_size > max) {
        errno = S_ISREG(status.st_mode) ? EFBIG : EINVAL;
        return -1;
    }
    const size_t size = (size_t)status.st_size;
    char *text = malloc(size + 1);
    size_t got = 0;
    while (text && got < size) {
        const ssize_t more = read(file, text + got, size - got);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) break;
        got += (size_t)more;
    }
    if (!text || got < size) {
        free(text);
        errno = text ? EIO : ENOMEM;
        return -1;
    }
    text[size] = 0;
    *bytes = text;
    *count = size;
    return 0;
}

int ks_file_read(int fd, const char *name, size_t max, char **bytes, size_t *count) {
    const int file = open_beneath(fd, name, O_RDONLY | O_NONBLOCK, 0); /* a pipe must not hold us up */
    if (file < 0) return -1;
    const int failed = read_all(file, max, bytes, count) == 0 ? 0 : errno;
    close(file);
    errno = failed;
    return failed ? -1 : 0;
}
