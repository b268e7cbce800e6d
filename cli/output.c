/* SPDX-License-Identifier: Apache-2.0
 *
 * Result files: written under a hidden temporary name beside the final one, synced, renamed. A file that is replaced
 * hands its mode, owner and group on, and a symbolic link is followed and stays one, as with what the library
 * writes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"

int output_check(const char *path) {
    struct stat about;
    if (!*path) return fail(EXIT_USAGE, "the name of the output file is empty");
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode))
        return fail(EXIT_STORAGE, "%s is not a regular file; it is left as it is", path);
    const size_t length = strlen(path);
    if (path[length - 1] == '/') return fail(EXIT_STORAGE, "%s is the name of a folder, not of a file", path);
    return EXIT_OK;
}

/* ".<name>.XXXXXX" in the folder of path: rename does not cross file systems. */
static char *temporary_name(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *text = NULL;
    return asprintf(&text, "%.*s.%s.XXXXXX", (int)(name - path), path, name) < 0 ? NULL : text;
}

/* Where `path` leads: the caller's to free. NULL: out of memory, or a symbolic link that leads nowhere (errno). */
static char *where(const char *path) {
    struct stat about;
    char *found = realpath(path, NULL);
    if (found || errno != ENOENT || lstat(path, &about) == 0) return found;
    return strdup(path);
}

/* The permissions of the file that will be replaced, or those that a newly made one would have; mkstemp makes it
 * private. What is refused leaves it more private, which harms nothing. */
static void give_mode(int fd, const char *path) {
    struct stat old;
    const mode_t mask = umask(0);
    umask(mask);
    mode_t mode = 0666 & ~mask;
    if (stat(path, &old) == 0) {
        mode = old.st_mode & 0777;
        if (fchown(fd, (uid_t)-1, old.st_gid) != 0) mode &= ~(mode_t)070;
        (void)!fchown(fd, old.st_uid, (gid_t)-1); /* else it is ours */
    }
    if (fchmod(fd, mode) != 0) return;
}

int result_file_open(struct result_file *file, const char *path) {
    memset(file, 0, sizeof(*file));
    const int refused = output_check(path);
    if (refused) return refused;
    file->path = where(path);
    if (!file->path && errno == ENOENT) return fail(EXIT_STORAGE, "%s is a symbolic link that leads nowhere", path);
    char *temporary = file->path ? temporary_name(file->path) : NULL;
    if (!temporary) {
        result_file_discard(file);
        return fail(EXIT_OTHER, "out of memory");
    }
    const int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd >= 0) file->temporary = temporary;
    if (fd < 0 || !(file->stream = fdopen(fd, "w"))) {
        const int number = errno;
        if (fd >= 0) {
            close(fd);
        } else {
            free(temporary);
        }
        result_file_discard(file);
        return fail(number == ENOENT ? EXIT_ABSENT : EXIT_STORAGE, "%s cannot be written: %s", path, strerror(number));
    }
    give_mode(fd, file->path);
    return EXIT_OK;
}

int result_file_commit(struct result_file *file) {
    int number = 0;
    errno = 0;
    if (fflush(file->stream) != 0 || ferror(file->stream) || fsync(fileno(file->stream)) != 0)
        number = errno ? errno : EIO;
    if (fclose(file->stream) != 0 && !number) number = errno;
    file->stream = NULL;
    if (!number && rename(file->temporary, file->path) != 0) number = errno;
    if (number) {
        fail(EXIT_STORAGE, "%s cannot be written: %s", file->path, strerror(number));
        result_file_discard(file);
        return EXIT_STORAGE;
    }
    free(file->temporary);
    file->temporary = NULL;
    result_file_discard(file);
    return EXIT_OK;
}

void result_file_discard(struct result_file *file) {
    if (file->stream) fclose(file->stream);
    if (file->temporary) unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    memset(file, 0, sizeof(*file));
}
