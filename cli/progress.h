/* SPDX-License-Identifier: Apache-2.0
 *
 * A progress bar on stderr, drawn only when stderr is a terminal and nobody asked for quiet: stage, bar, share, rate,
 * time left. Drawn at most ten times a second. It also carries the interrupt to the library. */
#ifndef KITH_CLI_PROGRESS_H
#define KITH_CLI_PROGRESS_H

#include <stdbool.h>

#include "kith.h"

struct progress {
    bool shown, drawn;
    const char *stage;
    uint64_t stage_start_ns, stage_start_done, last_ns; /* done: work that is gone on with begins beyond 0 */
};

void progress_start(struct progress *progress, bool quiet);
/* A kith_progress_fn whose context is a struct progress: draws, and returns non-zero once SIGINT or SIGTERM came. */
int progress_report(void *context, const kith_progress *state);
/* The same for work of our own. unit "": no rate is shown. */
int progress_step(struct progress *progress, const char *stage, const char *unit, uint64_t done, uint64_t total);
/* Wipe the bar. Call before anything else is printed on the terminal. */
void progress_end(struct progress *progress);

#endif
