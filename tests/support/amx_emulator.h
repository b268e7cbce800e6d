/* SPDX-License-Identifier: Apache-2.0
 *
 * AMX in software: an interpreter of the tile instructions of AMX-TILE and AMX-INT8 where they stand in compiled code,
 * and a SIGILL handler that asks it. So the amx tier's kernels run, slowly, on any x86-64 machine without tiles: what
 * they compute can be tested everywhere, how fast they are cannot. Where the processor has tiles and the system permits
 * them nothing is installed, and instructions run on the processor: no handler is asked, no state is the emulator's.
 *
 * Emulated: LDTILECFG STTILECFG TILERELEASE TILEZERO TILELOADD TILELOADDT1 TILESTORED TDPBSSD TDPBSUD TDPBUSD TDPBUUD.
 * What the processor would refuse (an illegal configuration, shapes that do not fit, an unconfigured tile, one tile
 * used twice in a product) prints one line and aborts, so that a test fails.
 *
 * E1. Tiles belong to a thread, as in hardware. A new thread's are not configured; on a processor Linux gives it its
 *     creator's configuration with zeros in the tiles, so nothing may rely on either.
 * E2. Operands in memory are read and written exactly as far as the tile's shape says, so a forbidden page behind an
 *     operand is found as in hardware.
 * E3. Other illegal instructions get the handling they had before.
 * E4. For tests of what tests do beside tiles, the environment variable KITH_TEST_AMX changes install's answer on a
 *     machine without tiles: "processor" lets the emulator play a processor (it is installed, but AMX_PROCESSOR is the
 *     answer, no instruction is counted, and refusals end with the processor's signals), "nowhere" gives AMX_NOWHERE.
 *
 * Call install at the start of every test function: cmocka puts its own handler for SIGILL in place before each. */
#ifndef TESTS_SUPPORT_AMX_EMULATOR_H
#define TESTS_SUPPORT_AMX_EMULATOR_H

#include <stdint.h>

/* Who executes tile instructions. */
typedef enum amx_home {
    AMX_NOWHERE = -1, /* not an x86-64 machine, or one that executes a part of them and permits no tiles: a kernel with
                       * tiles cannot run, and could not be emulated */
    AMX_EMULATED = 0,
    AMX_PROCESSOR = 1
} amx_home;

/* Find out, and install the handler where it is needed. As often as one likes. */
amx_home amx_emulator_install(void);

/* Interpret the tile instruction at the instruction pointer of `context`, a ucontext_t, whatever the processor has: its
 * operands are the registers of `context` and the emulator's tiles, and the instruction pointer moves behind it. 0, and
 * nothing happened: there is no tile instruction. */
int amx_emulator_step(void *context);

/* Tile instructions emulated in this process so far. */
uint64_t amx_emulator_instructions(void);

/* Whether the calling thread's tiles are configured, which no kernel may leave behind it. Real AMX or emulated. */
int amx_tiles_configured(void);

#endif
