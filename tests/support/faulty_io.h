/* SPDX-License-Identifier: Apache-2.0
 *
 * The system calls by which a test program's library touches files, replaced by ones that count and fail: include it in
 * one source of the program. Syncs that do not fail are left out: no power is cut here, and thousands of builds are
 * made.
 *
 * Calls of all threads are numbered in the order in which they happen. */
#ifndef TESTS_SUPPORT_FAULTY_IO_H
#define TESTS_SUPPORT_FAULTY_IO_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__clang__)
/* The C library's headers declare some of these inline when they are fortified. */
#pragma clang diagnostic ignored "-Wstatic-in-inline"
#endif

enum { FAULTY_SHORT = -1 }; /* in place of an errno value: reads and writes move one byte or half, others go well */

static atomic_int faulty_io_counting;
static atomic_long faulty_io_count;
static atomic_long faulty_io_first;
static atomic_int faulty_io_for_good;
static atomic_int faulty_io_number;             /* errno or FAULTY_SHORT */
static _Atomic(const char *) faulty_io_refused; /* the call that failed last, NULL: none did */

static inline void faulty_io_start(long first, int for_good, int number) {
    atomic_store(&faulty_io_count, 0);
    atomic_store(&faulty_io_first, first);
    atomic_store(&faulty_io_for_good, for_good);
    atomic_store(&faulty_io_number, number);
    atomic_store(&faulty_io_refused, NULL);
    atomic_store(&faulty_io_counting, 1);
}

static inline long faulty_io_stop(void) {
    atomic_store(&faulty_io_counting, 0);
    return atomic_load(&faulty_io_count);
}

/* 0: go on; otherwise errno is set, or *bytes is less than it was. */
static int faulty_io_fails(const char *call, size_t *bytes) {
    if (!atomic_load(&faulty_io_counting)) return 0;
    const long number = atomic_fetch_add(&faulty_io_count, 1), first = atomic_load(&faulty_io_first);
    if (first < 0 || number < first || (number > first && !atomic_load(&faulty_io_for_good))) return 0;
    const int error = atomic_load(&faulty_io_number);
    if (error == FAULTY_SHORT) {
        if (bytes && *bytes > 1) *bytes = number % 2 || *bytes > 4096 ? *bytes / 2 : 1;
        return 0;
    }
    atomic_store(&faulty_io_refused, call);
    errno = error;
    return 1;
}

int open(const char *path, int flags, ...) {
    unsigned mode = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, unsigned);
        va_end(arguments);
    }
    return faulty_io_fails("open", NULL) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int fstat(int fd, struct stat *status) {
    return faulty_io_fails("fstat", NULL) ? -1 : (int)syscall(SYS_fstat, fd, status);
}

ssize_t pread(int fd, void *data, size_t bytes, off_t offset) {
    return faulty_io_fails("pread", &bytes) ? -1 : (ssize_t)syscall(SYS_pread64, fd, data, bytes, offset);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
    return faulty_io_fails("pwrite", &bytes) ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, data, bytes, offset);
}

int ftruncate(int fd, off_t bytes) {
    return faulty_io_fails("ftruncate", NULL) ? -1 : (int)syscall(SYS_ftruncate, fd, bytes);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes) {
    return faulty_io_fails("fallocate", NULL) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
}

int flock(int fd, int operation) {
    return faulty_io_fails("flock", NULL) ? -1 : (int)syscall(SYS_flock, fd, operation);
}

int fdatasync(int fd) {
    (void)fd;
    return faulty_io_fails("fdatasync", NULL) ? -1 : 0;
}

int fsync(int fd) {
    (void)fd;
    return faulty_io_fails("fsync", NULL) ? -1 : 0;
}

int sync_file_range(int fd, off_t offset, off_t bytes, unsigned flags) {
    (void)fd, (void)offset, (void)bytes, (void)flags;
    return faulty_io_fails("sync_file_range", NULL) ? -1 : 0;
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    if (faulty_io_fails("linkat", NULL)) return -1;
    return (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}

int rename(const char *from, const char *to) {
    if (faulty_io_fails("rename", NULL)) return -1;
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    if (faulty_io_fails("mmap", NULL)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}

#endif
