/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/file.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* One system call moves at most this much, so that a kill or a signal is noticed soon. */
static const size_t STEP_BYTES = (size_t)64 << 20;

char *ki_path_join(const char *a, size_t a_bytes, const char *b) {
    const size_t b_bytes = strlen(b);
    char *text = malloc(a_bytes + b_bytes + 1);
    if (!text) return NULL;
    memcpy(text, a, a_bytes);
    memcpy(text + a_bytes, b, b_bytes + 1);
    return text;
}

/* Bytes of the path up to and with its last slash; 0 if it has none. */
static size_t folder_bytes(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static char *folder_of(const char *path) {
    const size_t bytes = folder_bytes(path);
    return bytes ? ki_path_join(path, bytes, ".") : ki_path_join(".", 1, "");
}

/* A nameless file is linked by the name that /proc gives its descriptor; where there is no /proc (a chroot, a container
 * without one) it could get no name at the end. */
static int can_be_linked(const ki_outfile *file) {
    struct stat opened, named;
    return fstat(file->fd, &opened) == 0 && stat(file->self, &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

/* The time makes it differ from what an earlier process of the same number left behind when it was killed. */
static char *temporary_name(const char *path) {
    static atomic_uint counter;
    char tail[96];
    const size_t folder = folder_bytes(path);
    snprintf(tail, sizeof(tail), ".kith-%ld-%llx-%u.tmp", (long)getpid(), (unsigned long long)ki_now_ns(),
             atomic_fetch_add(&counter, 1));
    return ki_path_join(path, folder, tail);
}

/* What the last of a chain of symbolic links names: the caller's to free. KITH_E_NOMEM, KITH_E_IO. */
static kith_status follow(const char *given, char **out, kith_error *error) {
    enum { LINKS_MAX = 40, TARGET_BYTES = 4096 };
    char *path = ki_path_join(given, strlen(given), ""), *target = malloc(TARGET_BYTES);
    kith_status result = path && target ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
    for (int links = 0; result == KITH_OK; links++) {
        struct stat status;
        if (lstat(path, &status) != 0 || !S_ISLNK(status.st_mode)) break;
        const ssize_t bytes = readlink(path, target, TARGET_BYTES);
        if (bytes < 0 || bytes == TARGET_BYTES || links == LINKS_MAX) {
            result = ki_fail_errno(error,
                                   bytes < 0            ? errno
                                   : links == LINKS_MAX ? ELOOP
                                                        : ENAMETOOLONG,
                                   "%s: cannot follow the symbolic link", given);
            break;
        }
        target[bytes] = 0;
        char *next = ki_path_join(path, target[0] == '/' ? 0 : folder_bytes(path), target);
        if (!next) {
            result = ki_fail(error, KITH_E_NOMEM, "out of memory");
            break;
        }
        free(path);
        path = next;
    }
    free(target);
    if (result == KITH_OK)
        *out = path;
    else
        free(path);
    return result;
}

/* Open the file without a name, or as `temp` where the system has no such thing or could not give it one later. */
static int open_new(const char *folder, const char *temp, mode_t mode, ki_outfile *file) {
    file->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
    if (file->fd >= 0) {
        snprintf(file->self, sizeof(file->self), "/proc/self/fd/%d", file->fd);
        if (can_be_linked(file)) return 1;
        close(file->fd);
    } else if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
        return 0;
    }
    file->fd = open(temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);
    file->named = file->fd >= 0;
    return file->named;
}

kith_status ki_outfile_create(const char *given, ki_outfile *file, kith_error *error) {
    struct stat status;
    char *path = NULL;
    kith_status result = follow(given, &path, error);
    if (result != KITH_OK) return result;
    const int there = stat(path, &status) == 0;
    if (there && !S_ISREG(status.st_mode)) {
        free(path);
        return ki_fail(error, KITH_E_ARG, "%s: is there already and is not a regular file", given);
    }
    const mode_t mode = there ? 0600 : 0666; /* what replaces a file gets that one's mode at the end */
    char *folder = folder_of(path), *temp = temporary_name(path);
    ki_outfile made = {.fd = -1, .path = path, .temp = temp};
    if (!folder || !temp) {
        result = ki_fail(error, KITH_E_NOMEM, "out of memory");
        goto out;
    }
    if (!open_new(folder, temp, mode, &made)) result = ki_fail_errno(error, errno, "%s: cannot create", given);
out:
    free(folder);
    if (result != KITH_OK) {
        free(path);
        free(temp);
        return result;
    }
    *file = made;
    return KITH_OK;
}

kith_status ki_outfile_write_at(ki_outfile *file, const void *data, uint64_t bytes, uint64_t offset,
                                kith_error *error) {
    const char *from = data;
    while (bytes) {
        const size_t step = (size_t)ki_min_u64(bytes, STEP_BYTES);
        const ssize_t wrote = pwrite(file->fd, from, step, (off_t)offset);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return ki_fail_errno(error, wrote ? errno : EIO, "%s: cannot write", file->path);
        from += wrote;
        offset += (uint64_t)wrote;
        bytes -= (uint64_t)wrote;
    }
    return KITH_OK;
}

kith_status ki_read_at(int fd, const char *path, void *data, uint64_t bytes, uint64_t offset, kith_error *error) {
    char *to = data;
    while (bytes) {
        const size_t step = (size_t)ki_min_u64(bytes, STEP_BYTES);
        const ssize_t got = pread(fd, to, step, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return ki_fail_errno(error, errno, "%s: cannot read at byte %llu", path, (unsigned long long)offset);
        if (got == 0)
            return ki_fail(error, KITH_E_FORMAT, "%s: ends at byte %llu, %llu more expected", path,
                           (unsigned long long)offset, (unsigned long long)bytes);
        to += got;
        offset += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return KITH_OK;
}

kith_status ki_outfile_read_at(ki_outfile *file, void *data, uint64_t bytes, uint64_t offset, kith_error *error) {
    return ki_read_at(file->fd, file->path, data, bytes, offset, error);
}

static kith_status give_name(ki_outfile *file, kith_error *error) {
    if (file->named) return KITH_OK;
    int failed = linkat(AT_FDCWD, file->self, AT_FDCWD, file->temp, AT_SYMLINK_FOLLOW);
    /* /proc was there when the file was made; this way needs a privilege before Linux 6.10. */
    if (failed && errno == ENOENT) failed = linkat(file->fd, "", AT_FDCWD, file->temp, AT_EMPTY_PATH);
    if (failed) return ki_fail_errno(error, errno, "%s: cannot link the finished file", file->path);
    file->named = 1;
    return KITH_OK;
}

static kith_status open_folder(const char *path, int *fd, kith_error *error) {
    char *folder = folder_of(path);
    if (!folder) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int number = errno;
    free(folder);
    return *fd < 0 ? ki_fail_errno(error, number, "%s: cannot open its folder", path) : KITH_OK;
}

bool ki_file_identify(int fd, ki_file_identity *identity) {
    struct stat status;
    if (fstat(fd, &status) != 0) return false;
    *identity = (ki_file_identity){status.st_dev, status.st_ino};
    return true;
}

static bool is_expected(const ki_outfile *file, const struct stat *status) {
    const ki_file_identity *expected = &file->expected;
    return !expected->inode || (expected->device == status->st_dev && expected->inode == status->st_ino);
}

static kith_status not_expected(const ki_outfile *file, kith_error *error) {
    return ki_fail(error, KITH_E_BUSY, "%s: was replaced by another file meanwhile, which is left as it is",
                   file->path);
}

/* Mode, owner and group of the file that will be replaced, if there is one. */
static kith_status inherit(ki_outfile *file, kith_error *error) {
    struct stat old, own;
    if (stat(file->path, &old) != 0) return file->expected.inode ? not_expected(file, error) : KITH_OK;
    if (!S_ISREG(old.st_mode))
        return ki_fail(error, KITH_E_IO, "%s: something that is not a regular file took the name", file->path);
    if (!is_expected(file, &old)) return not_expected(file, error);
    if (fstat(file->fd, &own) != 0) return ki_fail_errno(error, errno, "%s: cannot stat", file->path);
    mode_t mode = old.st_mode & 0777;
    if (own.st_gid != old.st_gid && fchown(file->fd, (uid_t)-1, old.st_gid) != 0)
        mode &= ~(mode_t)070; /* of a group that had no part in the old file */
    if (own.st_uid != old.st_uid && fchown(file->fd, old.st_uid, (gid_t)-1) != 0 && errno != EPERM)
        return ki_fail_errno(error, errno, "%s: cannot keep its owner", file->path);
    if (fchmod(file->fd, mode) != 0) return ki_fail_errno(error, errno, "%s: cannot keep its mode", file->path);
    return KITH_OK;
}

/* Give the file its name. Where one certain file is to be replaced, the two change places, so that another one that
 * came between the look and the rename is seen, and gets its name back. */
static kith_status take_name(ki_outfile *file, kith_error *error) {
    struct stat old;
    if (file->expected.inode && renameat2(AT_FDCWD, file->temp, AT_FDCWD, file->path, RENAME_EXCHANGE) == 0) {
        if (stat(file->temp, &old) == 0 && is_expected(file, &old)) return KITH_OK; /* unlinked by discard */
        if (renameat2(AT_FDCWD, file->temp, AT_FDCWD, file->path, RENAME_EXCHANGE) != 0) file->named = 0;
        return not_expected(file, error);
    }
    if (rename(file->temp, file->path) != 0)
        return ki_fail_errno(error, errno, "%s: cannot rename the finished file", file->path);
    file->named = 0; /* it bears its final name now: nothing to unlink */
    return KITH_OK;
}

kith_status ki_outfile_commit(ki_outfile *file, kith_error *error) {
    int folder = -1;
    kith_status result = inherit(file, error);
    if (result == KITH_OK) result = ki_outfile_sync(file, error);
    if (result == KITH_OK) result = give_name(file, error);
    /* Opened before the rename, so that after it only the sync itself can fail. */
    if (result == KITH_OK) result = open_folder(file->path, &folder, error);
    if (result == KITH_OK) result = take_name(file, error);
    if (result == KITH_OK) {
        if (file->named) unlink(file->temp); /* the file that was replaced */
        file->named = 0;
        if (fsync(folder) != 0) result = ki_fail_errno(error, errno, "%s: cannot sync its folder", file->path);
    }
    if (folder >= 0) close(folder);
    ki_outfile_discard(file);
    return result;
}

void ki_outfile_discard(ki_outfile *file) {
    if (file->fd < 0) return;
    if (file->named && !file->kept) unlink(file->temp);
    close(file->fd);
    free(file->path);
    free(file->temp);
    *file = (ki_outfile)KI_OUTFILE_NONE;
}

/* Open `temp` and lock it, unless it was renamed or removed before the lock was had: then -1 is left in *fd. */
static kith_status open_locked(const char *path, const char *temp, int *fd, kith_error *error) {
    struct stat opened, named;
    *fd = open(temp, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (*fd < 0) return ki_fail_errno(error, errno, "%s: cannot create", path);
    kith_status status = KITH_OK;
    if (fstat(*fd, &opened) != 0)
        status = ki_fail_errno(error, errno, "%s: cannot stat", temp);
    else if (!S_ISREG(opened.st_mode))
        status = ki_fail(error, KITH_E_ARG, "%s: is there already and is not a regular file", temp);
    else if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
        status = errno == EWOULDBLOCK ? ki_fail(error, KITH_E_BUSY, "%s: another process is at work on it", path)
                                      : ki_fail_errno(error, errno, "%s: cannot lock", temp);
    const int same =
        status == KITH_OK && stat(temp, &named) == 0 && named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
    if (!same) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

kith_status ki_outfile_resume(const char *path, const char *temp, ki_outfile *file, kith_error *error) {
    char *own = ki_path_join(path, strlen(path), ""), *name = ki_path_join(temp, strlen(temp), "");
    int fd = -1;
    kith_status status = own && name ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
    while (status == KITH_OK && fd < 0) status = open_locked(path, temp, &fd, error);
    if (status != KITH_OK) {
        free(own);
        free(name);
        return status;
    }
    *file = (ki_outfile){.fd = fd, .path = own, .temp = name, .named = 1, .kept = 1};
    return KITH_OK;
}

kith_status ki_outfile_reserve(ki_outfile *file, uint64_t bytes, kith_error *error) {
    int failed = 0;
    do failed = bytes ? fallocate(file->fd, 0, 0, (off_t)bytes) : 0;
    while (failed && errno == EINTR);
    if (failed && errno != EOPNOTSUPP && errno != ENOSYS)
        return ki_fail_errno(error, errno, "%s: cannot reserve %llu bytes", file->path, (unsigned long long)bytes);
    return ki_outfile_cut(file, bytes, error);
}

kith_status ki_outfile_cut(ki_outfile *file, uint64_t bytes, kith_error *error) {
    int failed;
    do failed = ftruncate(file->fd, (off_t)bytes);
    while (failed && errno == EINTR);
    return failed ? ki_fail_errno(error, errno, "%s: cannot set its size", file->path) : KITH_OK;
}

kith_status ki_outfile_sync(ki_outfile *file, kith_error *error) {
    return fdatasync(file->fd) == 0 ? KITH_OK : ki_fail_errno(error, errno, "%s: cannot sync", file->path);
}

kith_status ki_remove(const char *path, kith_error *error) {
    int folder = -1;
    if (unlink(path) != 0) return errno == ENOENT ? KITH_OK : ki_fail_errno(error, errno, "%s: cannot remove", path);
    kith_status status = open_folder(path, &folder, error);
    if (status == KITH_OK && fsync(folder) != 0)
        status = ki_fail_errno(error, errno, "%s: cannot sync its folder", path);
    if (folder >= 0) close(folder);
    return status;
}

kith_status ki_temporary(int *fd, kith_error *error) {
    const char *folder = secure_getenv("TMPDIR");
    if (!folder || !*folder) folder = "/tmp";
    *fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd >= 0) return KITH_OK;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return ki_fail_errno(error, errno, "%s: cannot make a temporary file there", folder);
    char *name = ki_path_join(folder, strlen(folder), "/kith-XXXXXX");
    if (!name) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    *fd = mkostemp(name, O_CLOEXEC);
    const int number = errno;
    if (*fd >= 0) unlink(name);
    free(name);
    return *fd >= 0 ? KITH_OK : ki_fail_errno(error, number, "%s: cannot make a temporary file there", folder);
}

kith_status ki_open_read(const char *path, int *fd, uint64_t *bytes, kith_error *error) {
    struct stat status;
    const int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0) return ki_fail_errno(error, errno, "%s: cannot open", path);
    if (fstat(opened, &status) != 0) {
        const int number = errno;
        close(opened);
        return ki_fail_errno(error, number, "%s: cannot stat", path);
    }
    if (!S_ISREG(status.st_mode)) {
        close(opened);
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: not a regular file", path);
    }
    *fd = opened;
    *bytes = (uint64_t)status.st_size;
    return KITH_OK;
}
