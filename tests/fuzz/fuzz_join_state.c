/* SPDX-License-Identifier: Apache-2.0
 *
 * State files of joins: as they are, and with a right hash. What is believed is in bounds. */
#define _GNU_SOURCE
#include "join/join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { STATE_BYTES = 128, HASHED = 120 };

static void try_state(const uint8_t *data, size_t bytes) {
    static int fd = -1;
    char path[64];
    ki_join_state state = {0};
    const char *why = NULL;
    kith_error error = {0};
    if (fd < 0) fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, bytes, 0) != (ssize_t)bytes) abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (ki_join_state_load(path, &state, &why, &error) != KITH_OK) abort();
    if (!why && (bytes != STATE_BYTES || state.done > state.rows)) abort();
    if (why && !*why) abort(); /* there is a file */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    uint8_t state[STATE_BYTES] = {0};
    try_state(data, bytes);
    memcpy(state, data, bytes < HASHED ? bytes : HASHED);
    const uint64_t hash = XXH3_64bits(state, HASHED);
    memcpy(state + HASHED, &hash, sizeof(hash));
    try_state(state, STATE_BYTES);
    return 0;
}
