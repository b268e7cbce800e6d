/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* names of the registers in ucontext */
#endif
#include "support/amx_emulator.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "cpu/cpu.h"

enum { TILES = 8, TILE_ROWS = 16, ROW_BYTES = 64, CONFIG_BYTES = 64 };

/* Bytes of a configuration. */
enum { CONFIG_PALETTE = 0, CONFIG_START_ROW = 1, CONFIG_COLUMNS = 16, CONFIG_ROWS = 48 };

typedef struct tile {
    unsigned rows, column_bytes; /* 0, 0: not in use */
    uint8_t data[TILE_ROWS][ROW_BYTES];
} tile;

static _Thread_local struct {
    bool configured;
    unsigned start_row; /* only a fault in the middle of a transfer makes it other than 0; kept for STTILECFG */
    tile tiles[TILES];
} state;

static atomic_uint_fast64_t instructions;
static struct sigaction previous;
static bool plays_processor; /* E4; written by install, before there are tiles to use */

/* What the processor would answer with #UD or #GP, which Linux makes SIGILL and SIGSEGV of. */
static _Noreturn void refuse(int number, const char *instruction, const char *why) {
    sigset_t set;

    fprintf(stderr, "AMX: %s: %s\n", instruction, why);
    if (plays_processor) {
        sigemptyset(&set);
        sigaddset(&set, number);
        signal(number, SIG_DFL);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* SIGILL waits while its handler runs, which is here */
        raise(number);
    }
    abort();
}

/* ---- Decoding ---------------------------------------------------------------------------------------------------- */

typedef struct decoded {
    uint8_t opcode, prefix; /* prefix: 0 none, 1 66, 2 F3, 3 F2 */
    uint8_t mode, reg, rm;  /* of the ModRM byte, without extensions */
    uint8_t extra;          /* the register in the VEX prefix */
    bool has_sib;
    uint64_t base;  /* address of the memory operand: base and displacement only */
    uint64_t index; /* index register << scale */
    const uint8_t *next;
} decoded;

/* The general registers in the order in which instructions number them. */
static const int register_at[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static uint64_t read_register(const ucontext_t *context, unsigned number) {
    return (uint64_t)context->uc_mcontext.gregs[register_at[number]];
}

static uint64_t read_displacement(const uint8_t **at, unsigned bytes) {
    int8_t small;
    int32_t large;

    if (bytes == 1) {
        memcpy(&small, *at, sizeof small);
        *at += sizeof small;
        return (uint64_t)(int64_t)small;
    }
    memcpy(&large, *at, sizeof large);
    *at += sizeof large;
    return (uint64_t)(int64_t)large;
}

/* The memory operand after a ModRM byte. `x` and `b` are the VEX extensions of index and base, 0 or 8. */
static void decode_memory(const ucontext_t *context, const uint8_t **at, unsigned x, unsigned b, decoded *d) {
    bool has_base = true, from_next = false;
    unsigned base = d->rm, displacement = d->mode == 1 ? 1 : d->mode == 2 ? 4 : 0;

    d->has_sib = d->rm == 4;
    if (d->has_sib) {
        const unsigned sib = *(*at)++, index = (sib >> 3 & 7) | x;
        base = sib & 7;
        if (index != 4) /* the stack pointer's number means none */
            d->index = read_register(context, index) << (sib >> 6);
    }
    if (d->mode == 0 && base == 5) { /* no base register: an address alone, or without SIB relative to what follows */
        has_base = false;
        from_next = !d->has_sib;
        displacement = 4;
    }
    if (displacement) d->base = read_displacement(at, displacement);
    if (has_base) d->base += read_register(context, base | b);
    if (from_next) d->base += (uint64_t)(uintptr_t)*at;
}

/* False if this is no instruction of the 0F38 map in VEX form, 128 bits, W0: no tile instruction is anything else. */
static bool decode(const ucontext_t *context, decoded *d) {
    const uint8_t *at = (const uint8_t *)(uintptr_t)context->uc_mcontext.gregs[REG_RIP];

    memset(d, 0, sizeof *d);
    if (at[0] != 0xC4 || (at[1] & 0x1F) != 2 || (at[2] & 0x84) != 0) return false;
    const unsigned r = at[1] & 0x80 ? 0 : 8, x = at[1] & 0x40 ? 0 : 8, b = at[1] & 0x20 ? 0 : 8; /* stored inverted */
    d->extra = (uint8_t)(~at[2] >> 3 & 15);
    d->prefix = at[2] & 3;
    d->opcode = at[3];
    d->mode = at[4] >> 6;
    d->reg = (uint8_t)((at[4] >> 3 & 7) | r);
    d->rm = at[4] & 7;
    at += 5;
    if (d->mode != 3)
        decode_memory(context, &at, x, b, d);
    else
        d->rm = (uint8_t)(d->rm | b);
    d->next = at;
    return true;
}

/* ---- Configuration ----------------------------------------------------------------------------------------------- */

static unsigned column_bytes_of(const uint8_t *config, unsigned t) {
    return config[CONFIG_COLUMNS + 2 * t] | (unsigned)config[CONFIG_COLUMNS + 2 * t + 1] << 8;
}

static void check_config(const uint8_t *config) {
    if (config[CONFIG_PALETTE] != 1) refuse(SIGSEGV, "ldtilecfg", "the palette is neither 0 nor 1");
    for (unsigned i = CONFIG_START_ROW + 1; i < CONFIG_COLUMNS; i++)
        if (config[i]) refuse(SIGSEGV, "ldtilecfg", "a reserved byte of 2..15 is not zero");
    for (unsigned t = 0; t < TILE_ROWS; t++) { /* there is room for 16 tiles, of which 8 exist */
        const unsigned columns = column_bytes_of(config, t), rows = config[CONFIG_ROWS + t];
        if (t >= TILES && (columns || rows)) refuse(SIGSEGV, "ldtilecfg", "a tile beyond tmm7 has a shape");
        if (columns > ROW_BYTES || rows > TILE_ROWS)
            refuse(SIGSEGV, "ldtilecfg", "a tile is larger than 16 rows of 64 bytes");
        if (!columns != !rows) refuse(SIGSEGV, "ldtilecfg", "a tile has rows but no columns, or columns but no rows");
    }
}

static void load_config(uint64_t address) {
    uint8_t config[CONFIG_BYTES];

    memcpy(config, (const void *)(uintptr_t)address, sizeof config);
    memset(&state, 0, sizeof state);
    if (!config[CONFIG_PALETTE]) return;
    check_config(config);
    state.configured = true;
    state.start_row = config[CONFIG_START_ROW];
    for (unsigned t = 0; t < TILES; t++) {
        state.tiles[t].column_bytes = column_bytes_of(config, t);
        state.tiles[t].rows = config[CONFIG_ROWS + t];
    }
}

static void store_config(uint64_t address) {
    uint8_t config[CONFIG_BYTES] = {0};

    if (state.configured) {
        config[CONFIG_PALETTE] = 1;
        config[CONFIG_START_ROW] = (uint8_t)state.start_row;
        for (unsigned t = 0; t < TILES; t++) {
            config[CONFIG_COLUMNS + 2 * t] = (uint8_t)state.tiles[t].column_bytes;
            config[CONFIG_ROWS + t] = (uint8_t)state.tiles[t].rows;
        }
    }
    memcpy((void *)(uintptr_t)address, config, sizeof config);
}

/* ---- Tiles ------------------------------------------------------------------------------------------------------- */

static tile *tile_at(const char *instruction, unsigned number) {
    if (!state.configured) refuse(SIGILL, instruction, "tiles are not configured");
    if (number >= TILES) refuse(SIGILL, instruction, "there is no such tile");
    if (!state.tiles[number].rows) refuse(SIGILL, instruction, "the tile has no shape in this configuration");
    return &state.tiles[number];
}

/* A tile that moves from or to memory. */
static tile *tile_to_move(const char *instruction, unsigned number) {
    tile *t = tile_at(instruction, number);
    if (t->column_bytes % 4) refuse(SIGILL, instruction, "the columns are not whole groups of four bytes");
    if (state.start_row >= t->rows) refuse(SIGILL, instruction, "the first row is behind the tile's last");
    return t;
}

/* Rows and columns outside the shape become zero. */
static void load_tile(const decoded *d) {
    tile *t = tile_to_move("tileloadd", d->reg);

    for (unsigned row = state.start_row; row < t->rows; row++) {
        memset(t->data[row], 0, ROW_BYTES);
        memcpy(t->data[row], (const void *)(uintptr_t)(d->base + row * d->index), t->column_bytes);
    }
    state.start_row = 0;
}

static void store_tile(const decoded *d) {
    const tile *t = tile_to_move("tilestored", d->reg);

    for (unsigned row = state.start_row; row < t->rows; row++)
        memcpy((void *)(uintptr_t)(d->base + row * d->index), t->data[row], t->column_bytes);
    state.start_row = 0;
}

static void zero_tile(const decoded *d) {
    tile *t = tile_at("tilezero", d->reg);
    memset(t->data, 0, sizeof t->data);
    state.start_row = 0;
}

static uint32_t widen(uint8_t byte, bool is_signed) {
    return is_signed ? (uint32_t)(int32_t)(int8_t)byte : byte;
}

/* One 32-bit sum: four products of bytes are added, modulo 2^32. */
static void add_products(uint8_t *sum_bytes, const uint8_t *a, bool a_signed, const uint8_t *b, bool b_signed) {
    uint32_t sum;

    memcpy(&sum, sum_bytes, sizeof sum);
    for (unsigned i = 0; i < 4; i++) sum += widen(a[i], a_signed) * widen(b[i], b_signed);
    memcpy(sum_bytes, &sum, sizeof sum);
}

static void multiply(const decoded *d) {
    static const char name[] = "tdpb..d";
    tile *sum = tile_at(name, d->reg);
    const tile *a = tile_at(name, d->rm), *b = tile_at(name, d->extra);
    const bool a_signed = d->prefix == 3 || d->prefix == 2, b_signed = d->prefix == 3 || d->prefix == 1;

    if (sum == a || sum == b || a == b) refuse(SIGILL, name, "a tile is used twice");
    if (sum->column_bytes % 4 || a->column_bytes % 4 || b->column_bytes % 4)
        refuse(SIGILL, name, "the columns are not whole groups of four bytes");
    if (sum->rows != a->rows || sum->column_bytes != b->column_bytes || a->column_bytes / 4 != b->rows)
        refuse(SIGILL, name,
               "the shapes do not fit: the sum needs A's rows and B's columns, and A four columns for each row of B");
    for (unsigned m = 0; m < sum->rows; m++)
        for (unsigned k = 0; k < a->column_bytes; k += 4)
            for (unsigned n = 0; n < sum->column_bytes; n += 4)
                add_products(&sum->data[m][n], &a->data[m][k], a_signed, &b->data[k / 4][n], b_signed);
    state.start_row = 0;
}

/* ---- The handler ------------------------------------------------------------------------------------------------- */

/* Opcode 49: configuration, release, zero. */
static bool run_49(const decoded *d) {
    if (d->extra || (d->mode != 3 && d->reg)) return false;
    if (d->mode != 3 && d->prefix == 0)
        load_config(d->base + d->index);
    else if (d->mode != 3 && d->prefix == 1)
        store_config(d->base + d->index);
    else if (d->mode == 3 && d->prefix == 0 && !d->reg && !d->rm)
        memset(&state, 0, sizeof state); /* tilerelease */
    else if (d->mode == 3 && d->prefix == 3 && !d->rm)
        zero_tile(d);
    else
        return false;
    return true;
}

static bool run(const decoded *d) {
    switch (d->opcode) {
    case 0x49:
        return run_49(d);
    case 0x4B:
        if (d->extra || d->mode == 3 || !d->has_sib || !d->prefix) return false;
        if (d->prefix == 2)
            store_tile(d);
        else
            load_tile(d); /* 1 is tileloaddt1: the same but for a hint to the cache */
        return true;
    case 0x5E:
        if (d->mode != 3) return false;
        multiply(d);
        return true;
    default:
        return false;
    }
}

int amx_emulator_step(void *raw_context) {
    ucontext_t *context = raw_context;
    decoded d;

    if (!decode(context, &d) || !run(&d)) return 0;
    atomic_fetch_add_explicit(&instructions, 1, memory_order_relaxed);
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)d.next;
    return 1;
}

static void on_illegal_instruction(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    /* Returning runs it again, and then the previous handler has it. */
    if (!amx_emulator_step(context)) sigaction(SIGILL, &previous, NULL);
}

static void install_handler(void) {
    struct sigaction action, replaced;

    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_illegal_instruction;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGILL, &action, &replaced)) {
        perror("amx_emulator_install: sigaction");
        abort();
    }
    if (replaced.sa_sigaction != on_illegal_instruction) previous = replaced;
}

/* Whether a tile instruction that needs no permission comes to the handler, as all do on a processor without tiles. */
static bool handler_is_asked(void) {
    const uint_fast64_t before = atomic_load(&instructions);
    amx_tiles_configured();
    return atomic_load(&instructions) != before;
}

amx_home amx_emulator_install(void) {
    const char *wanted = getenv("KITH_TEST_AMX");

    if (ki_cpu_features_found() & KI_AMX_INT8) return AMX_PROCESSOR;
    if (wanted && !strcmp(wanted, "nowhere")) return AMX_NOWHERE;
    plays_processor = wanted && !strcmp(wanted, "processor");
    install_handler();
    if (!handler_is_asked()) {
        sigaction(SIGILL, &previous, NULL);
        return AMX_NOWHERE;
    }
    return plays_processor ? AMX_PROCESSOR : AMX_EMULATED;
}

uint64_t amx_emulator_instructions(void) {
    return plays_processor ? 0 : atomic_load_explicit(&instructions, memory_order_relaxed);
}

__attribute__((target("amx-tile"))) int amx_tiles_configured(void) {
    uint8_t config[CONFIG_BYTES];
    memset(config, 0xFF, sizeof config); /* so that an instruction that writes nothing is seen */
    _tile_storeconfig(config);
    return config[CONFIG_PALETTE] != 0;
}

#else

amx_home amx_emulator_install(void) {
    return AMX_NOWHERE;
}

int amx_emulator_step(void *context) {
    (void)context;
    return 0;
}

uint64_t amx_emulator_instructions(void) {
    return 0;
}

int amx_tiles_configured(void) {
    return 0;
}

#endif
