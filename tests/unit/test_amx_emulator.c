/* SPDX-License-Identifier: Apache-2.0
 *
 * The software AMX of tests/support against plain C: every instruction it knows, shapes, forms of address, refusals.
 *
 * Instructions stand in short pieces of assembly, which take their operands in the registers of a `registers` and can
 * be run in two ways, so that the same tests run up to three times:
 *
 * 1. interpreted: the emulator is handed a ucontext that was made up, one instruction after the other. The processor
 *    executes none of them, so this proves the emulator on every x86-64 machine, also on one that has tiles.
 * 2. in place: the processor comes to them. Where it has tiles they are the processor's, which holds the tests' idea
 *    of AMX against the real one; elsewhere the emulator is asked through its SIGILL handler.
 * 3. in place, with the emulator playing a processor (E4): what these tests do on a machine with tiles, tried on one
 *    without. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_FIXED_NOREPLACE, names of the registers in ucontext */
#endif
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/amx_emulator.h"

#if defined(__x86_64__)

#include <ucontext.h>

#include "base/rng.h"
#include "support/guard.h"

typedef struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
} config;

/* ---- Pieces of code, and the two ways to run them ---------------------------------------------------------------- */

/* Operands of a piece. The base pointer is where a piece goes when it is done. rsp 0: the stack as it is. */
typedef struct registers {
    uint64_t rax, rcx, rdx, rbx, rsp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
} registers;

/* The end of each piece: a jump to where rbp points. */
static const uint8_t end_of_piece[] = {0xFF, 0xE5};

#define PIECE(name, text)                                                                                              \
    __asm__(".pushsection .text\n" #name ":\n\t" text "\n\tjmp *%rbp\n.popsection");                                   \
    extern const uint8_t name[] __attribute__((visibility("hidden")))

#define HIDDEN __attribute__((visibility("hidden")))

/* Used by the assembly below only; one thread at a time is in a piece. */
HIDDEN extern uint64_t piece_stack, piece_entry;
uint64_t piece_stack, piece_entry;

/* Load all registers from `operands`, jump to `piece`, and come back. */
HIDDEN void enter_piece(const registers *operands, const uint8_t *piece);
__asm__(".pushsection .text\n"
        "enter_piece:\n\t"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n\t"
        "mov %rsp, piece_stack(%rip); mov %rsi, piece_entry(%rip)\n\t"
        "mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx; mov 40(%rdi), %rsi\n\t"
        "mov 56(%rdi), %r8; mov 64(%rdi), %r9; mov 72(%rdi), %r10; mov 80(%rdi), %r11\n\t"
        "mov 88(%rdi), %r12; mov 96(%rdi), %r13; mov 104(%rdi), %r14; mov 112(%rdi), %r15\n\t"
        "mov 32(%rdi), %rax; test %rax, %rax; cmovz %rsp, %rax; mov %rax, %rsp\n\t"
        "lea 1f(%rip), %rbp; mov 0(%rdi), %rax; mov 48(%rdi), %rdi\n\t"
        "jmp *piece_entry(%rip)\n"
        "1:\n\t"
        "mov piece_stack(%rip), %rsp\n\t"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n\t"
        "ret\n"
        ".popsection");

static void run_in_place(const uint8_t *piece, registers operands) {
    enter_piece(&operands, piece);
    __asm__ volatile("" ::: "memory");
}

static ucontext_t context_of(const uint8_t *piece, const registers *operands) {
    ucontext_t context;
    greg_t *all = context.uc_mcontext.gregs;

    memset(&context, 0x5A, sizeof context); /* what a piece has no business with */
    all[REG_RAX] = (greg_t)operands->rax, all[REG_RCX] = (greg_t)operands->rcx, all[REG_RDX] = (greg_t)operands->rdx;
    all[REG_RBX] = (greg_t)operands->rbx, all[REG_RSP] = (greg_t)operands->rsp, all[REG_RSI] = (greg_t)operands->rsi;
    all[REG_RDI] = (greg_t)operands->rdi, all[REG_R8] = (greg_t)operands->r8, all[REG_R9] = (greg_t)operands->r9;
    all[REG_R10] = (greg_t)operands->r10, all[REG_R11] = (greg_t)operands->r11, all[REG_R12] = (greg_t)operands->r12;
    all[REG_R13] = (greg_t)operands->r13, all[REG_R14] = (greg_t)operands->r14, all[REG_R15] = (greg_t)operands->r15;
    all[REG_RIP] = (greg_t)(uintptr_t)piece;
    return context;
}

static void run_interpreted(const uint8_t *piece, registers operands) {
    ucontext_t context = context_of(piece, &operands);

    for (;;) {
        const uint8_t *at = (const uint8_t *)(uintptr_t)context.uc_mcontext.gregs[REG_RIP];
        if (!memcmp(at, end_of_piece, sizeof end_of_piece)) return;
        if (!amx_emulator_step(&context)) fail_msg("the instruction at byte %td of a piece is not known", at - piece);
    }
}

/* How this run of the tests does it. `home` is who executes instructions, for what only one of them does. */
static void (*run)(const uint8_t *piece, registers operands);
static amx_home home;

static uint64_t address(const void *at) {
    return (uint64_t)(uintptr_t)at;
}

PIECE(code_load_config, "ldtilecfg (%rdi)");
PIECE(code_store_config, "sttilecfg (%rdi)");
PIECE(code_release, "tilerelease");

static void load_config(const config *c) {
    run(code_load_config, (registers){.rdi = address(c)});
}

static void store_config(config *c) {
    memset(c, 0xFF, sizeof *c); /* so that an instruction that writes nothing is seen */
    run(code_store_config, (registers){.rdi = address(c)});
}

static void release(void) {
    run(code_release, (registers){0});
}

static bool configured(void) {
    config c;
    store_config(&c);
    return c.palette != 0;
}

static config uniform_config(unsigned rows, unsigned column_bytes) {
    config c = {.palette = 1};
    for (int t = 0; t < 8; t++) c.rows[t] = (uint8_t)rows, c.column_bytes[t] = (uint16_t)column_bytes;
    return c;
}

static void fill_random(ki_rng *rng, void *to, size_t bytes) {
    uint8_t *at = to;
    for (size_t i = 0; i < bytes; i++) at[i] = (uint8_t)ki_rng_next(rng);
}

/* At the start of each test, whatever the one before left behind. */
static void begin(void) {
    if (run == run_in_place) home = amx_emulator_install();
    release();
}

/* ---- Products ---------------------------------------------------------------------------------------------------- */

enum sign { SIGNED_SIGNED, SIGNED_UNSIGNED, UNSIGNED_SIGNED, UNSIGNED_UNSIGNED, SIGNS };

typedef struct product {
    unsigned rows, depth_bytes, column_bytes; /* of A: rows x depth_bytes; of the sum: rows x column_bytes */
    uint8_t a[16][64], b[16][64], sum[16][64];
} product;

/* The sum of p->sum and the product, in plain C. */
static void plain_product(product *p, enum sign sign) {
    const bool a_signed = sign == SIGNED_SIGNED || sign == SIGNED_UNSIGNED;
    const bool b_signed = sign == SIGNED_SIGNED || sign == UNSIGNED_SIGNED;

    for (unsigned m = 0; m < p->rows; m++)
        for (unsigned n = 0; n < p->column_bytes / 4; n++) {
            uint32_t start;
            memcpy(&start, &p->sum[m][4 * n], 4);
            int64_t sum = start;
            for (unsigned k = 0; k < p->depth_bytes; k++) {
                const uint8_t a = p->a[m][k], b = p->b[k / 4][4 * n + k % 4];
                sum += (a_signed ? (int8_t)a : (int)a) * (b_signed ? (int8_t)b : (int)b);
            }
            const uint32_t low = (uint32_t)sum;
            memcpy(&p->sum[m][4 * n], &low, 4);
        }
}

static config product_config(const product *p) {
    config c = {.palette = 1};
    for (int t = 0; t < 8; t += 4) {
        c.rows[t] = (uint8_t)p->rows, c.column_bytes[t] = (uint16_t)p->column_bytes;
        c.rows[t + 1] = (uint8_t)p->rows, c.column_bytes[t + 1] = (uint16_t)p->depth_bytes;
        c.rows[t + 2] = (uint8_t)(p->depth_bytes / 4), c.column_bytes[t + 2] = (uint16_t)p->column_bytes;
    }
    return c;
}

/* rdi: configuration; rsi, rdx, rcx: sum, A, B; r8: stride. */
#define PRODUCT(name, instruction, sum, a, b)                                                                          \
    PIECE(name, "ldtilecfg (%rdi)\n\t"                                                                                 \
                "tileloadd (%rsi,%r8,1), %tmm" #sum "\n\t"                                                             \
                "tileloadd (%rdx,%r8,1), %tmm" #a "\n\t"                                                               \
                "tileloaddt1 (%rcx,%r8,1), %tmm" #b "\n\t" #instruction " %tmm" #b ", %tmm" #a ", %tmm" #sum "\n\t"    \
                "tilestored %tmm" #sum ", (%rsi,%r8,1)\n\t"                                                            \
                "tilerelease")

/* Tiles 0..2 for two kinds of sign and 4..6 for the others, so that all encodings of tile numbers occur. */
PRODUCT(code_signed_signed, tdpbssd, 0, 1, 2);
PRODUCT(code_signed_unsigned, tdpbsud, 4, 5, 6);
PRODUCT(code_unsigned_signed, tdpbusd, 4, 5, 6);
PRODUCT(code_unsigned_unsigned, tdpbuud, 0, 1, 2);

static void tile_product(product *p, enum sign sign) {
    static const uint8_t *const codes[SIGNS] = {code_signed_signed, code_signed_unsigned, code_unsigned_signed,
                                                code_unsigned_unsigned};
    const config c = product_config(p);
    run(codes[sign],
        (registers){.rdi = address(&c), .rsi = address(p->sum), .rdx = address(p->a), .rcx = address(p->b), .r8 = 64});
}

static void check_product(ki_rng *rng, unsigned rows, unsigned depth_bytes, unsigned column_bytes, int fill) {
    product expected, got;

    for (int sign = 0; sign < SIGNS; sign++) {
        memset(&expected, 0, sizeof expected);
        expected.rows = rows, expected.depth_bytes = depth_bytes, expected.column_bytes = column_bytes;
        fill_random(rng, expected.a, sizeof expected.a);
        fill_random(rng, expected.b, sizeof expected.b);
        fill_random(rng, expected.sum, sizeof expected.sum);
        if (fill >= 0) {
            memset(expected.a, fill, sizeof expected.a);
            memset(expected.b, fill, sizeof expected.b);
        }
        got = expected;
        plain_product(&expected, (enum sign)sign);
        tile_product(&got, (enum sign)sign);
        if (memcmp(&expected, &got, sizeof got))
            fail_msg("sign %d, %u rows, depth %u, %u columns", sign, rows, depth_bytes, column_bytes);
    }
}

static void test_products(void **state) {
    ki_rng rng = {1};
    static const unsigned rows[] = {1, 2, 7, 15, 16}, bytes[] = {4, 8, 20, 60, 64};

    (void)state;
    begin();
    for (size_t m = 0; m < 5; m++)
        for (size_t k = 0; k < 5; k++)
            for (size_t n = 0; n < 5; n++) check_product(&rng, rows[m], bytes[k], bytes[n], -1);
    check_product(&rng, 16, 64, 64, 0x80); /* -128 by -128, 128 by 128 */
    check_product(&rng, 16, 64, 64, 0xFF);
    check_product(&rng, 16, 64, 64, 0x7F);
}

/* ---- Loads, stores, zeros, configuration ------------------------------------------------------------------------- */

PIECE(code_copy, "tileloadd (%rdi,%rsi,1), %tmm7\n\t"
                 "tilestored %tmm7, (%rdx,%rcx,1)");

static void copy_through_tile_7(const void *from, int64_t from_stride, void *to, int64_t to_stride) {
    run(code_copy,
        (registers){
            .rdi = address(from), .rsi = (uint64_t)from_stride, .rdx = address(to), .rcx = (uint64_t)to_stride});
}

/* Every shape that may be moved, with both operands against a forbidden page. */
static void test_transfers_touch_only_their_shape(void **state) {
    guard from, to;
    ki_rng rng = {2};

    (void)state;
    begin();
    guard_make(&from, 4096);
    guard_make(&to, 4096);
    for (unsigned rows = 1; rows <= 16; rows++)
        for (unsigned columns = 4; columns <= 64; columns += 4) {
            const config c = uniform_config(rows, columns);
            const size_t stride = columns + rows, bytes = stride * (rows - 1) + columns;
            uint8_t *source = guard_end(&from, bytes), *target = guard_end(&to, bytes);
            fill_random(&rng, source, bytes);
            memset(target, 0x5A, bytes);
            load_config(&c);
            copy_through_tile_7(source, (int64_t)stride, target, (int64_t)stride);
            release();
            for (size_t i = 0; i < bytes; i++) assert_int_equal(target[i], i % stride < columns ? source[i] : 0x5A);
        }
    guard_free(&from);
    guard_free(&to);
}

static void test_strides(void **state) {
    uint8_t source[16][64], target[16][64];
    ki_rng rng = {3};
    const config c = uniform_config(16, 64);

    (void)state;
    begin();
    fill_random(&rng, source, sizeof source);
    load_config(&c);
    copy_through_tile_7(source[15], -64, target, 64); /* backwards */
    for (int row = 0; row < 16; row++) assert_memory_equal(target[row], source[15 - row], 64);
    copy_through_tile_7(source[3], 0, target, 64); /* one row sixteen times */
    for (int row = 0; row < 16; row++) assert_memory_equal(target[row], source[3], 64);
    release();
}

/* rdi: noise; rsi: stride; rdx: where eight tiles go. */
#define ZERO(t, place)                                                                                                 \
    "tileloadd (%rdi,%rsi,1), %tmm" #t "\n\t"                                                                          \
    "tilezero %tmm" #t "\n\t"                                                                                          \
    "tilestored %tmm" #t ", " #place "(%rdx,%rsi,1)\n\t"
PIECE(code_zero_all,
      ZERO(0, 0) ZERO(1, 1024) ZERO(2, 2048) ZERO(3, 3072) ZERO(4, 4096) ZERO(5, 5120) ZERO(6, 6144) ZERO(7, 7168));
PIECE(code_store_7, "tilestored %tmm7, (%rdi,%rsi,1)");

static void test_zeros(void **state) {
    static uint8_t out[8][16][64], noise[16][64], zeros[8][16][64];
    const config c = uniform_config(16, 64);

    (void)state;
    begin();
    memset(noise, 0x77, sizeof noise);
    memset(out, 0x5A, sizeof out);
    load_config(&c);
    run(code_zero_all, (registers){.rdi = address(noise), .rsi = 64, .rdx = address(out)});
    assert_memory_equal(out, zeros, sizeof zeros);
    /* Configuring anew also zeroes. */
    copy_through_tile_7(noise, 64, out[0], 64);
    assert_memory_equal(out[0], noise, sizeof noise);
    load_config(&c);
    run(code_store_7, (registers){.rdi = address(out), .rsi = 64});
    assert_memory_equal(out[0], zeros[0], sizeof zeros[0]);
    release();
}

static void test_config_comes_back(void **state) {
    config c = {.palette = 1}, got;
    const config none = {0};

    (void)state;
    begin();
    for (unsigned t = 0; t < 8; t++) c.rows[t] = (uint8_t)(t + 1), c.column_bytes[t] = (uint16_t)(64 - 4 * t);
    c.rows[5] = 0, c.column_bytes[5] = 0;
    load_config(&c);
    store_config(&got);
    assert_memory_equal(&got, &c, sizeof c);
    if (run == run_in_place) assert_true(amx_tiles_configured());
    release();
    assert_false(configured());
    if (run == run_in_place) assert_false(amx_tiles_configured());
    store_config(&got);
    assert_memory_equal(&got, &none, sizeof none);
    load_config(&c);
    load_config(&none); /* palette 0 also releases */
    assert_false(configured());
}

/* ---- Forms of address -------------------------------------------------------------------------------------------- */

enum { FIXED_ADDRESS = 0x10000000, LARGE = 0x12345678 };

HIDDEN extern const config static_config;
const config static_config = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

PIECE(code_config_relative, "ldtilecfg static_config(%rip)");
PIECE(code_config_r13_index, "ldtilecfg (%r13,%r12,4)");
PIECE(code_config_r12, "ldtilecfg (%r12)");
/* Each loads tile 1 with 16 rows of 64 bytes, 128 bytes apart. */
PIECE(code_load_plain, "tileloadd (%rbx,%rdx,1), %tmm1");
PIECE(code_load_r13_r12, "tileloadd (%r13,%r12,2), %tmm1"); /* a base that needs a displacement, an index not "none" */
PIECE(code_load_r12, "tileloadd 127(%r12,%r15,4), %tmm1");
PIECE(code_load_small, "tileloaddt1 -128(%rax,%r9,8), %tmm1");
PIECE(code_load_large, "tileloadd -0x12345678(%r8,%rcx,1), %tmm1");
PIECE(code_load_stack, "tileloadd (%rsp,%r14,1), %tmm1");
PIECE(code_load_without_base, "tileloadd 0x10000000(,%rdi,1), %tmm1"); /* the address is in the instruction */
PIECE(code_store_1, "tilestored %tmm1, 0x1000(%r11,%r10,2)");

static void load_in_form(size_t form, uint64_t rows) {
    const struct {
        const uint8_t *piece;
        registers operands;
    } forms[] = {
        {code_load_plain, {.rbx = rows, .rdx = 128}},
        {code_load_r13_r12, {.r13 = rows, .r12 = 64}},
        {code_load_r12, {.r12 = rows - 127, .r15 = 32}},
        {code_load_small, {.rax = rows + 128, .r9 = 16}},
        {code_load_large, {.r8 = rows + LARGE, .rcx = 128}},
        {code_load_stack, {.rsp = rows, .r14 = 128}},
        {code_load_without_base, {.rdi = 128}},
    };
    run(forms[form].piece, forms[form].operands);
}
enum { FORMS = 7 };

static void test_forms_of_address(void **state) {
    const struct {
        const uint8_t *piece;
        registers operands;
    } configs[] = {
        {code_config_relative, {0}},
        {code_config_r13_index, {.r13 = address(&static_config) - 8, .r12 = 2}},
        {code_config_r12, {.r12 = address(&static_config)}},
    };
    ki_rng rng = {4};
    /* Signals need a stack, also while the stack pointer is the operand's address: room below the rows. */
    uint8_t *room = mmap((void *)(uintptr_t)(FIXED_ADDRESS - 0x10000), 0x20000, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    uint8_t out[16][64];

    (void)state;
    begin();
    assert_true(room == (uint8_t *)(uintptr_t)(FIXED_ADDRESS - 0x10000));
    uint8_t *rows = room + 0x10000;
    for (size_t c = 0; c < sizeof configs / sizeof *configs; c++)
        for (size_t i = 0; i < FORMS; i++) {
            fill_random(&rng, rows, 16 * 128);
            memset(out, 0, sizeof out);
            run(configs[c].piece, configs[c].operands);
            load_in_form(i, address(rows));
            run(code_store_1, (registers){.r11 = address(out) - 0x1000, .r10 = 32});
            release();
            for (int row = 0; row < 16; row++)
                if (memcmp(out[row], rows + 128 * row, 64))
                    fail_msg("load %zu after configuration %zu, row %d", i, c, row);
        }
    munmap(room, 0x20000);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

static void *other_thread(void *context) {
    static const uint8_t noise[16][64] = {{9}};
    uint8_t out[16][64];
    int *found = context;
    const config c = uniform_config(3, 12);

    found[0] = configured();
    release();
    found[1] = configured();
    load_config(&c);
    copy_through_tile_7(noise, 64, out, 64);
    found[2] = configured();
    return NULL;
}

/* What a thread does with its tiles is nothing to the one that made it. */
static void test_tiles_belong_to_a_thread(void **state) {
    const config c = uniform_config(16, 64);
    config got;
    uint8_t rows[16][64], out[16][64];
    ki_rng rng = {5};
    pthread_t thread;
    int found[3] = {-1, -1, -1};

    (void)state;
    begin();
    fill_random(&rng, rows, sizeof rows);
    load_config(&c);
    copy_through_tile_7(rows, 64, out, 64);
    assert_int_equal(pthread_create(&thread, NULL, other_thread, found), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (home == AMX_EMULATED) assert_int_equal(found[0], 0); /* E1: a processor may have given it the configuration */
    assert_int_equal(found[1], 0);
    assert_int_equal(found[2], 1);
    store_config(&got);
    assert_memory_equal(&got, &c, sizeof c);
    memset(out, 0, sizeof out);
    run(code_store_7, (registers){.rdi = address(out), .rsi = 64});
    assert_memory_equal(out, rows, sizeof rows);
    release();
}

/* ---- Refusals ---------------------------------------------------------------------------------------------------- */

/* Make the attempt in a child, and return the signal that it died by. */
static int signal_of(void (*attempt)(void)) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        if (!freopen("/dev/null", "w", stderr)) /* the refusal's own line is expected */
            _exit(0);
        signal(SIGSEGV, SIG_DFL); /* whatever the test framework or a sanitizer made of them */
        signal(SIGABRT, SIG_DFL);
        signal(SIGILL, SIG_DFL);
        begin();
        attempt();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* What AMX forbids: the emulator aborts, a processor faults. */
static void must_be_refused(const char *what, void (*attempt)(void)) {
    const int number = signal_of(attempt);
    if (!number) fail_msg("%s was let through", what);
    if (home == AMX_EMULATED ? number != SIGABRT : number != SIGILL && number != SIGSEGV)
        fail_msg("%s ended with signal %d", what, number);
}

PIECE(code_zero_0, "tilezero %tmm0");
PIECE(code_zero_3, "tilezero %tmm3");
PIECE(code_load_0, "tileloadd (%rdi,%rsi,1), %tmm0");
PIECE(code_store_0, "tilestored %tmm0, (%rdi,%rsi,1)");
PIECE(code_product, "tdpbssd %tmm2, %tmm1, %tmm0");
PIECE(code_product_twice, ".byte 0xC4, 0xE2, 0x73, 0x5E, 0xC0"); /* tdpbssd %tmm1, %tmm0, %tmm0: assemblers refuse */
PIECE(code_no_instruction, "ud2");
PIECE(code_no_tile_instruction, "vpshufb %xmm0, %xmm0, %xmm0"); /* of the same map, and legal */

static uint8_t operand[16][64];

static void bad_palette(void) {
    config c = uniform_config(16, 64);
    c.palette = 2;
    load_config(&c);
}
static void bad_reserved(void) {
    config c = uniform_config(16, 64);
    c.reserved[13] = 1;
    load_config(&c);
}
static void bad_rows(void) {
    config c = uniform_config(16, 64);
    c.rows[6] = 17;
    load_config(&c);
}
static void bad_columns(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[6] = 65;
    load_config(&c);
}
static void bad_half_shape(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[6] = 0;
    load_config(&c);
}
static void bad_ninth_tile(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[8] = 64, c.rows[8] = 16;
    load_config(&c);
}
static void not_configured(void) {
    run(code_zero_0, (registers){0});
}
static void tile_without_shape(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[3] = 0, c.rows[3] = 0;
    load_config(&c);
    run(code_zero_3, (registers){0});
}
static void shapes_do_not_fit(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[1] = 32; /* A is 8 groups deep, B has 16 rows */
    load_config(&c);
    run(code_product, (registers){0});
}
static void sum_shape_does_not_fit(void) {
    config c = uniform_config(16, 64);
    c.rows[0] = 15;
    load_config(&c);
    run(code_product, (registers){0});
}
static void columns_not_in_fours(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[0] = 62, c.column_bytes[2] = 62;
    load_config(&c);
    run(code_product, (registers){0});
}
static void tile_used_twice(void) {
    const config c = uniform_config(16, 64);
    load_config(&c);
    run(code_product_twice, (registers){0});
}
static void load_not_in_fours(void) {
    const config c = uniform_config(16, 62);
    load_config(&c);
    run(code_load_0, (registers){.rdi = address(operand), .rsi = 64});
}
static void store_not_in_fours(void) {
    const config c = uniform_config(16, 3);
    load_config(&c);
    run(code_store_0, (registers){.rdi = address(operand), .rsi = 64});
}
static void start_behind_the_rows(void) {
    config c = uniform_config(5, 64);
    c.start_row = 5;
    load_config(&c);
    run(code_load_0, (registers){.rdi = address(operand), .rsi = 64});
}
static void load_past_the_end(void) {
    guard g;
    const config c = uniform_config(16, 64);
    guard_make(&g, 4096);
    load_config(&c);
    run(code_load_0, (registers){.rdi = address(guard_end(&g, 16 * 64 - 1)), .rsi = 64});
}
static void other_illegal_instruction(void) {
    run(code_no_instruction, (registers){0});
}

static void test_refusals(void **state) {
    (void)state;
    begin();
    must_be_refused("palette 2", bad_palette);
    must_be_refused("a reserved byte", bad_reserved);
    must_be_refused("17 rows", bad_rows);
    must_be_refused("65 columns", bad_columns);
    must_be_refused("rows without columns", bad_half_shape);
    must_be_refused("a ninth tile", bad_ninth_tile);
    must_be_refused("a tile before configuration", not_configured);
    must_be_refused("a tile without shape", tile_without_shape);
    must_be_refused("a depth that does not fit", shapes_do_not_fit);
    must_be_refused("a sum that does not fit", sum_shape_does_not_fit);
    must_be_refused("columns that are no groups of four", columns_not_in_fours);
    must_be_refused("one tile used twice", tile_used_twice);
    must_be_refused("a load of columns that are no groups of four", load_not_in_fours);
    must_be_refused("a store of columns that are no groups of four", store_not_in_fours);
    must_be_refused("a start behind the rows", start_behind_the_rows);
    assert_int_equal(signal_of(load_past_the_end), SIGSEGV);
}

/* E3. */
static void test_other_instructions(void **state) {
    static const uint8_t *const others[] = {code_no_instruction, code_no_tile_instruction, end_of_piece};

    (void)state;
    begin();
    if (run == run_in_place) {
        assert_int_equal(signal_of(other_illegal_instruction), SIGILL);
        return;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ucontext_t context = context_of(others[i], &(registers){0}), before = context;
        assert_int_equal(amx_emulator_step(&context), 0);
        assert_memory_equal(&context, &before, sizeof context);
    }
}

static void test_instructions_are_counted(void **state) {
    (void)state;
    begin();
    const uint64_t before = amx_emulator_instructions();
    release();
    release();
    assert_int_equal(amx_emulator_instructions() - before, home == AMX_EMULATED ? 2 : 0);
}

/* ---- Three runs -------------------------------------------------------------------------------------------------- */

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_products),
    cmocka_unit_test(test_transfers_touch_only_their_shape),
    cmocka_unit_test(test_strides),
    cmocka_unit_test(test_zeros),
    cmocka_unit_test(test_config_comes_back),
    cmocka_unit_test(test_forms_of_address),
    cmocka_unit_test(test_tiles_belong_to_a_thread),
    cmocka_unit_test(test_refusals),
    cmocka_unit_test(test_other_instructions),
    cmocka_unit_test(test_instructions_are_counted),
};

int main(void) {
    run = run_interpreted;
    home = AMX_EMULATED;
    int failed = cmocka_run_group_tests_name("interpreted", tests, NULL, NULL);

    run = run_in_place;
    home = amx_emulator_install();
    if (home == AMX_NOWHERE) {
        print_message("left out: the tests in place, because this processor executes tile instructions, and the system "
                      "does not permit tiles\n");
        return failed;
    }
    if (home == AMX_PROCESSOR)
        return failed + cmocka_run_group_tests_name("in place, by the processor", tests, NULL, NULL);
    failed += cmocka_run_group_tests_name("in place, by the emulator", tests, NULL, NULL);
    setenv("KITH_TEST_AMX", "processor", 1);
    return failed + cmocka_run_group_tests_name("in place, by the emulator as a processor", tests, NULL, NULL);
}

#else

static void test_no_amx_here(void **state) {
    (void)state;
    assert_int_equal(amx_emulator_install(), AMX_NOWHERE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_amx_here)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
