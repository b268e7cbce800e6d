/* SPDX-License-Identifier: Apache-2.0
 *
 * The state file of a join: 128 bytes, little-endian.
 *
 *   0   magic          "\x89KJN\r\n\x1a\n"
 *   8   u32 version    1
 *   12  u32 bytes      128
 *   16  ki_join_state  ten u64 in their order
 *   96  zeros
 *   120 u64 hash       XXH3-64 of the 120 bytes before it */
#define _GNU_SOURCE
#include "join/join.h"

#include "base/bytes.h"
#include "base/status.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { BYTES = 128, STATE_AT = 16, HASH_AT = 120, VERSION = 1 };
static const char magic[] = "\x89KJN\r\n\x1a\n";

static_assert(sizeof(ki_join_state) == 80, "ten numbers");

/* The version's place never moves, so that a newer file is told from a damaged one. */
static const char *fault_of(const unsigned char *file, uint64_t bytes, const ki_join_state *state) {
    if (bytes < STATE_AT || memcmp(file, magic, 8) != 0) return "its state file is damaged";
    if (bytes != BYTES || ki_load_u32(file + 12) != BYTES || XXH3_64bits(file, HASH_AT) != ki_load_u64(file + HASH_AT))
        return ki_load_u32(file + 8) != VERSION ? "its state file is of another version" : "its state file is damaged";
    if (ki_load_u32(file + 8) != VERSION) return "its state file is of another version";
    return state->done <= state->rows ? NULL : "its state file is damaged";
}

kith_status ki_join_state_load(const char *path, ki_join_state *state, const char **why, kith_error *error) {
    unsigned char file[BYTES] = {0};
    uint64_t bytes = 0;
    int fd = -1;
    kith_error local = {0};
    kith_status status = ki_open_read(path, &fd, &bytes, &local);
    if (status == KITH_E_NOTFOUND) {
        *why = "";
        return KITH_OK;
    }
    if (status == KITH_OK) {
        const uint64_t some = bytes < BYTES ? bytes : BYTES;
        status = ki_read_at(fd, path, file, some, 0, &local);
        close(fd);
    }
    if (status != KITH_OK && status != KITH_E_FORMAT) { /* FORMAT: cut while it was read */
        if (error) *error = local;
        return status;
    }
    memcpy(state, file + STATE_AT, sizeof(*state));
    *why = fault_of(file, status == KITH_OK ? bytes : 0, state);
    return KITH_OK;
}

kith_status ki_join_state_save(const char *path, const ki_join_state *state, kith_error *error) {
    unsigned char bytes[BYTES] = {0};
    ki_outfile file = KI_OUTFILE_NONE;
    memcpy(bytes, magic, 8);
    ki_store_u32(bytes + 8, VERSION);
    ki_store_u32(bytes + 12, BYTES);
    memcpy(bytes + STATE_AT, state, sizeof(*state));
    ki_store_u64(bytes + HASH_AT, XXH3_64bits(bytes, HASH_AT));
    kith_status status = ki_outfile_create(path, &file, error);
    if (status == KITH_OK) status = ki_outfile_write_at(&file, bytes, BYTES, 0, error);
    if (status == KITH_OK) status = ki_outfile_commit(&file, error);
    ki_outfile_discard(&file);
    return status;
}
