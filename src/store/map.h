/* SPDX-License-Identifier: Apache-2.0
 *
 * Surviving the loss of mapped pages. Touching a mapped page that the file no longer has (somebody truncated it, or the
 * disk cannot read it) raises SIGBUS, which by default ends the process. A process-wide handler looks the address up in
 * a registry of our mappings; if it is ours, zeros take the place of the rest of that mapping and its `damaged` flag is
 * set, so that the reader goes on and its search fails afterwards instead of the process.
 *
 * Rejected: sigsetjmp around every search would need thread-locals, and a jump out of a pool's worker would leave its
 * work unaccounted for and skip the kernels' tile release; reading sections with pread would copy what a map shares; a
 * lease (F_SETLEASE) needs the file's owner and only delays the writer.
 *
 * M1. The handler takes no lock and allocates nothing: the registry is a fixed array of atomics.
 * M2. `damaged` is set before zeros appear: who sees such a zero also sees the flag.
 * M3. A slot's flag lives in the registry, never in memory that a closing owner frees.
 * M4. Faults elsewhere go to the handler that was installed before ours, or to the default action.
 * M5. A slot is published by its start (release), after its end; it is withdrawn before the map goes away.
 *
 * Any thread. Zeros replace the rest of the mapping and not one page alone, because thousands of single-page mappings
 * would run into the system's limit of mappings (65,530), and then the process would die after all. */
#ifndef KI_STORE_MAP_H
#define KI_STORE_MAP_H

#include "kith.h"

enum { KI_MAPS_MAX = 4096, KI_MAP_NONE = -1 };

/* Protect a mapping; installs the handler at the first call. *slot identifies it. KITH_E_LIMIT when KI_MAPS_MAX
 * mappings are protected already. */
kith_status ki_map_protect(const void *start, size_t bytes, int *slot, kith_error *error);
/* Before munmap. Fine on KI_MAP_NONE. */
void ki_map_release(int slot);
/* Non-zero once a page was lost; 0 for KI_MAP_NONE. */
int ki_map_damaged(int slot);

#endif
