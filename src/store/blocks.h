/* SPDX-License-Identifier: Apache-2.0
 *
 * One pass over all blocks of a layout on a pool, with progress, cancelling, and the failure of the lowest block: the
 * same file gives the same sentence on any number of threads. Store only. */
#ifndef KI_STORE_BLOCKS_H
#define KI_STORE_BLOCKS_H

#include "store/format.h"

/* Looks at one block; called once for each from any worker, two calls with the same worker never overlap. */
typedef kith_status (*ki_block_fn)(void *context, uint64_t number, const ki_block *block, unsigned worker,
                                   kith_error *error);

typedef struct ki_block_pass {
    const ki_layout *layout;
    kith_pool *pool;
    const char *stage;
    kith_progress_fn progress; /* or NULL */
    void *progress_context;
    ki_block_fn fn;
    void *context;
} ki_block_pass;

kith_status ki_blocks_run(const ki_block_pass *pass, kith_error *error);

/* "section 'codes', part 'factors'", or "padding after ..." if zeros are missing there. data: the block's bytes as they
 * are now. */
enum { KI_PLACE_BYTES = 96 };
void ki_block_place(const ki_layout *layout, const ki_block *block, const void *data, char *text, size_t text_bytes);

#endif
