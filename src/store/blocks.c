/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "store/blocks.h"

#include "base/checked.h"
#include "base/status.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* 4 MiB a piece: about half a millisecond of hashing, so that handing pieces out costs nothing and cancelling is
 * prompt. */
enum { PIECE_BLOCKS = 64 };

struct run {
    const ki_block_pass *pass;
    uint64_t blocks;
    atomic_uint_fast64_t done;
    atomic_uint_fast64_t first_bad; /* lowest failed block; UINT64_MAX: none */
    atomic_int cancelled;
    pthread_mutex_t lock; /* guards status and error, which belong to first_bad */
    kith_status status;
    kith_error error;
};

static void report(struct run *run) {
    const ki_block_pass *pass = run->pass;
    if (!pass->progress) return;
    const kith_progress progress = {
        .struct_size = sizeof(progress),
        .stage = pass->stage,
        .unit = "bytes",
        .done = ki_min_u64(atomic_load(&run->done) * KI_BLOCK_BYTES, pass->layout->data_end),
        .total = pass->layout->data_end,
    };
    if (pass->progress(pass->progress_context, &progress)) atomic_store(&run->cancelled, 1);
}

static void note_failure(struct run *run, uint64_t number, kith_status status, const kith_error *error) {
    pthread_mutex_lock(&run->lock);
    if (number < atomic_load(&run->first_bad)) {
        atomic_store(&run->first_bad, number);
        run->status = status;
        run->error = *error;
    }
    pthread_mutex_unlock(&run->lock);
}

static void run_piece(void *context, size_t piece, unsigned worker) {
    struct run *run = context;
    const uint64_t begin = (uint64_t)piece * PIECE_BLOCKS;
    const uint64_t end = ki_min_u64(begin + PIECE_BLOCKS, run->blocks);
    for (uint64_t number = begin; number < end; number++) {
        if (atomic_load_explicit(&run->cancelled, memory_order_relaxed) || number > atomic_load(&run->first_bad))
            return;
        const ki_block block = ki_layout_block(run->pass->layout, number);
        kith_error error;
        const kith_status status = run->pass->fn(run->pass->context, number, &block, worker, &error);
        if (status != KITH_OK) note_failure(run, number, status, &error);
    }
    atomic_fetch_add(&run->done, end - begin);
    if (worker == 0) report(run); /* the caller's own thread, as kith_progress_fn promises */
}

kith_status ki_blocks_run(const ki_block_pass *pass, kith_error *error) {
    const uint64_t blocks = pass->layout->blocks;
    struct run run = {.pass = pass, .blocks = blocks, .lock = PTHREAD_MUTEX_INITIALIZER, .status = KITH_OK};
    atomic_init(&run.first_bad, UINT64_MAX);
    ki_pool_run(pass->pool, (size_t)((blocks + PIECE_BLOCKS - 1) / PIECE_BLOCKS), run_piece, &run);
    if (run.status != KITH_OK) {
        if (error) *error = run.error;
    } else {
        report(&run);
        if (atomic_load(&run.cancelled))
            run.status = ki_fail(error, KITH_E_CANCELLED, "cancelled while %s", pass->stage);
    }
    pthread_mutex_destroy(&run.lock);
    return run.status;
}

static int any_set(const unsigned char *data, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++)
        if (data[i]) return 1;
    return 0;
}

void ki_block_place(const ki_layout *layout, const ki_block *block, const void *data, char *text, size_t text_bytes) {
    const ki_part *part = &layout->part[block->part];
    const uint64_t part_end = part->offset + part->bytes, block_end = block->offset + block->bytes;
    const uint64_t used = part_end < block_end ? part_end - ki_min_u64(part_end, block->offset) : block->bytes;
    const int padding = any_set((const unsigned char *)data + used, block->bytes - used);
    snprintf(text, text_bytes, "%s%s", padding ? "padding after " : "", ki_part_place(part->id));
}
