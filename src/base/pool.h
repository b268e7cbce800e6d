/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread pool that hands out numbered pieces of one work at a time.
 *
 * I1. The calling thread works too, as worker 0; a pool of one makes no thread at all.
 * I2. After fork() the child owns no threads: the first work started there makes them anew (the pid is compared).
 * I3. Running a work allocates nothing once the threads exist.
 * I4. If threads cannot be made, the work still completes on those that could, at worst on the caller alone. */
#ifndef KI_BASE_POOL_H
#define KI_BASE_POOL_H

#include "kith.h"

/* piece: 0..pieces-1, each handed out once, in ascending order of start; worker: 0..threads-1, two pieces with the same
 * worker never overlap in time. */
typedef void (*ki_pool_fn)(void *context, size_t piece, unsigned worker);

/* Run fn for every piece and return when all are done. Callers from several threads take turns. pool NULL: all on the
 * caller as worker 0. fn must not run works on the same pool. */
void ki_pool_run(kith_pool *pool, size_t pieces, ki_pool_fn fn, void *context);

/* Threads of a pool; 1 for NULL. */
unsigned ki_pool_threads(const kith_pool *pool);

#endif
