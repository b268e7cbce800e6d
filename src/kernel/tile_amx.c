/* SPDX-License-Identifier: Apache-2.0
 *
 * The tile scan: amx. */
#include "kernel/tile.h"

void ki_tile_fill_amx(uint32_t features, ki_tile_kernels *table) {
    (void)features;
    (void)table;
}
