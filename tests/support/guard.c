/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "support/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    abort();
}

void guard_make(guard *g, size_t capacity) {
    g->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room = (capacity / g->page_bytes + 1) * g->page_bytes;
    g->map_bytes = room + 2 * g->page_bytes;
    g->map = mmap(NULL, g->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g->map == MAP_FAILED) die("guard_make: mmap");
    if (mprotect(g->map + g->page_bytes, room, PROT_READ | PROT_WRITE)) die("guard_make: mprotect");
}

void guard_free(guard *g) {
    if (g->map && munmap(g->map, g->map_bytes)) die("guard_free: munmap");
    g->map = NULL;
}

void *guard_end(const guard *g, size_t bytes) {
    if (bytes > g->map_bytes - 2 * g->page_bytes) {
        fprintf(stderr, "guard_end: %zu bytes were asked for, more than the room\n", bytes);
        abort();
    }
    return g->map + g->map_bytes - g->page_bytes - bytes;
}

void *guard_start(const guard *g) {
    return g->map + g->page_bytes;
}

void guard_fill(const guard *g, int value) {
    memset(guard_start(g), value, g->map_bytes - 2 * g->page_bytes);
}
