/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as a file in memory, for fuzz targets of files. */
#ifndef KI_FUZZ_FILE_H
#define KI_FUZZ_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file in memory, and its name. */
static const char *fuzz_file(const uint8_t *data, size_t bytes) {
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, bytes, 0) != (ssize_t)bytes) abort();
    return path;
}

/* Read every byte, so that the sanitizer sees each. */
static void fuzz_touch(const void *data, uint64_t bytes) {
    uint8_t sum = 0;
    for (uint64_t i = 0; i < bytes; i++) sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    __asm__ volatile("" : : "r"(sum)); /* the sum counts as used */
}

#endif
