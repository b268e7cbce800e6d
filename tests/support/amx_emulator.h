/* SPDX-License-Identifier: Apache-2.0
 *
 * AMX in software: a SIGILL handler that decodes the tile instructions of AMX-TILE and AMX-INT8 where they stand in
 * compiled code, does what they would have done, and goes on behind them. So the amx tier's kernels run, slowly, on any
 * x86-64 machine: what they compute can be tested everywhere, how fast they are cannot.
 *
 * Emulated: LDTILECFG STTILECFG TILERELEASE TILEZERO TILELOADD TILELOADDT1 TILESTORED TDPBSSD TDPBSUD TDPBUSD TDPBUUD.
 * What the processor would refuse (an illegal configuration, shapes that do not fit, an unconfigured tile, one tile
 * used twice in a product) prints one line and aborts, so that a test fails.
 *
 * E1. Tiles belong to a thread, as in hardware; a new thread's are not configured.
 * E2. Operands in memory are read and written exactly as far as the tile's shape says, so a forbidden page behind an
 *     operand is found as in hardware.
 * E3. Other illegal instructions get the handling they had before.
 *
 * Call install at the start of every test function: cmocka puts its own handler for SIGILL in place before each. */
#ifndef TESTS_SUPPORT_AMX_EMULATOR_H
#define TESTS_SUPPORT_AMX_EMULATOR_H

#include <stdint.h>

/* As often as one likes. 1: this machine has AMX and nothing was installed. 0: emulation is installed.
 * -1: not an x86-64 machine. */
int amx_emulator_install(void);

/* Tile instructions emulated in this process so far; 0 on a machine with AMX. */
uint64_t amx_emulator_instructions(void);

/* Whether the calling thread's tiles are configured, which no kernel may leave behind it. Real AMX or emulated. */
int amx_tiles_configured(void);

#endif
