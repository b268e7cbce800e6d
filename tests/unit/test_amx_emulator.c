/* SPDX-License-Identifier: Apache-2.0
 *
 * The software AMX of tests/support against plain C: every instruction it knows, shapes, forms of address, refusals. On
 * a machine with AMX the same checks run on the processor, which holds the emulator's idea of AMX against the real one.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_FIXED_NOREPLACE */
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

#include <immintrin.h>

#include "base/rng.h"
#include "support/guard.h"

#define AMX __attribute__((target("amx-tile,amx-int8")))

/* gcc 12's tile intrinsics do not tell the compiler which memory they read: everything must be written before. */
#define BARRIER() __asm__ volatile("" ::: "memory")

typedef struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
} config;

AMX static void load_config(const config *c) {
    BARRIER();
    _tile_loadconfig(c);
}

AMX static void release(void) {
    _tile_release();
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

/* ---- Products
 * --------------------------------------------------------------------------------------------------------- */

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

/* Tiles 0..2 for two kinds of sign and 4..6 for the others, so that all encodings of tile numbers occur. */
AMX static void tile_product(product *p, enum sign sign) {
    const config c = product_config(p);

    load_config(&c);
    if (sign == SIGNED_SIGNED || sign == UNSIGNED_UNSIGNED) {
        _tile_loadd(0, p->sum, 64);
        _tile_loadd(1, p->a, 64);
        _tile_stream_loadd(2, p->b, 64);
        if (sign == SIGNED_SIGNED)
            _tile_dpbssd(0, 1, 2);
        else
            _tile_dpbuud(0, 1, 2);
        _tile_stored(0, p->sum, 64);
    } else {
        _tile_loadd(4, p->sum, 64);
        _tile_stream_loadd(5, p->a, 64);
        _tile_loadd(6, p->b, 64);
        if (sign == SIGNED_UNSIGNED)
            _tile_dpbsud(4, 5, 6);
        else
            _tile_dpbusd(4, 5, 6);
        _tile_stored(4, p->sum, 64);
    }
    BARRIER();
    _tile_release();
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
    amx_emulator_install();
    for (size_t m = 0; m < 5; m++)
        for (size_t k = 0; k < 5; k++)
            for (size_t n = 0; n < 5; n++) check_product(&rng, rows[m], bytes[k], bytes[n], -1);
    check_product(&rng, 16, 64, 64, 0x80); /* -128 by -128, 128 by 128 */
    check_product(&rng, 16, 64, 64, 0xFF);
    check_product(&rng, 16, 64, 64, 0x7F);
}

/* ---- Loads, stores, zeros, configuration
 * ------------------------------------------------------------------------------ */

AMX static void copy_through_tile_7(const void *from, long from_stride, void *to, long to_stride) {
    BARRIER();
    _tile_loadd(7, from, from_stride);
    _tile_stored(7, to, to_stride);
    BARRIER();
}

/* Every shape, also of columns that are no multiple of four, with both operands against a forbidden page. */
static void test_transfers_touch_only_their_shape(void **state) {
    guard from, to;
    ki_rng rng = {2};

    (void)state;
    amx_emulator_install();
    guard_make(&from, 4096);
    guard_make(&to, 4096);
    for (unsigned rows = 1; rows <= 16; rows += 3)
        for (unsigned columns = 1; columns <= 64; columns += columns < 8 ? 1 : 7) {
            const config c = uniform_config(rows, columns);
            const size_t stride = columns + rows, bytes = stride * (rows - 1) + columns;
            uint8_t *source = guard_end(&from, bytes), *target = guard_end(&to, bytes);
            fill_random(&rng, source, bytes);
            memset(target, 0x5A, bytes);
            load_config(&c);
            copy_through_tile_7(source, (long)stride, target, (long)stride);
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
    amx_emulator_install();
    fill_random(&rng, source, sizeof source);
    load_config(&c);
    copy_through_tile_7(source[15], -64, target, 64); /* backwards */
    for (int row = 0; row < 16; row++) assert_memory_equal(target[row], source[15 - row], 64);
    copy_through_tile_7(source[3], 0, target, 64); /* one row sixteen times */
    for (int row = 0; row < 16; row++) assert_memory_equal(target[row], source[3], 64);
    release();
}

AMX static void zero_all(uint8_t out[8][16][64], const uint8_t *noise) {
    BARRIER();
#define ZERO(t)                                                                                                        \
    _tile_loadd(t, noise, 64);                                                                                         \
    _tile_zero(t);                                                                                                     \
    _tile_stored(t, out[t], 64)
    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
    ZERO(4);
    ZERO(5);
    ZERO(6);
    ZERO(7);
#undef ZERO
    BARRIER();
}

AMX static void store_tile_2(void *out) {
    _tile_stored(2, out, 64);
    BARRIER();
}

static void test_zeros(void **state) {
    static uint8_t out[8][16][64], noise[16][64], zeros[8][16][64];
    const config c = uniform_config(16, 64);

    (void)state;
    amx_emulator_install();
    memset(noise, 0x77, sizeof noise);
    memset(out, 0x5A, sizeof out);
    load_config(&c);
    zero_all(out, noise[0]);
    assert_memory_equal(out, zeros, sizeof zeros);
    /* Configuring anew also zeroes. */
    copy_through_tile_7(noise, 64, out[0], 64);
    load_config(&c);
    memset(out, 0x5A, sizeof out);
    store_tile_2(out[0]);
    assert_memory_equal(out[0], zeros[0], sizeof zeros[0]);
    release();
}

AMX static void store_config(config *c) {
    memset(c, 0xFF, sizeof *c);
    BARRIER();
    _tile_storeconfig(c);
    BARRIER();
}

static void test_config_comes_back(void **state) {
    config c = {.palette = 1}, got;
    const config none = {0};

    (void)state;
    amx_emulator_install();
    for (unsigned t = 0; t < 8; t++) c.rows[t] = (uint8_t)(t + 1), c.column_bytes[t] = (uint16_t)(64 - 4 * t);
    c.rows[5] = 0, c.column_bytes[5] = 0;
    load_config(&c);
    store_config(&got);
    assert_memory_equal(&got, &c, sizeof c);
    assert_true(amx_tiles_configured());
    release();
    assert_false(amx_tiles_configured());
    store_config(&got);
    assert_memory_equal(&got, &none, sizeof none);
    load_config(&c);
    load_config(&none); /* palette 0 also releases */
    assert_false(amx_tiles_configured());
}

/* ---- Forms of address
 * ------------------------------------------------------------------------------------------------- */

static const config static_config = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
enum { FIXED_ADDRESS = 0x10000000 };

/* Each loads tile 1 with 16 rows of 64 bytes, 128 bytes apart, from `rows`. */
AMX static void load_plain(const uint8_t *rows) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm1" ::"r"(rows), "r"(128L) : "memory");
}
AMX static void load_r13_r12(const uint8_t *rows) { /* this base needs a displacement, and this index is not "none" */
    register const uint8_t *base __asm__("r13") = rows;
    register long index __asm__("r12") = 64;
    __asm__ volatile("tileloadd (%0,%1,2), %%tmm1" ::"r"(base), "r"(index) : "memory");
}
AMX static void load_r12_rbx(const uint8_t *rows) {
    register const uint8_t *base __asm__("r12") = rows - 127;
    register long index __asm__("r15") = 32;
    __asm__ volatile("tileloadd 127(%0,%1,4), %%tmm1" ::"r"(base), "r"(index) : "memory");
}
AMX static void load_small_displacement(const uint8_t *rows) {
    register const uint8_t *base __asm__("rax") = rows + 128;
    register long index __asm__("r9") = 16;
    __asm__ volatile("tileloaddt1 -128(%0,%1,8), %%tmm1" ::"r"(base), "r"(index) : "memory");
}
AMX static void load_large_displacement(const uint8_t *rows) {
    register const uint8_t *base __asm__("r8") = rows + 0x12345678;
    register long index __asm__("rcx") = 128;
    __asm__ volatile("tileloadd -0x12345678(%0,%1,1), %%tmm1" ::"r"(base), "r"(index) : "memory");
}
AMX static void load_stack_base(const uint8_t *rows) {
    __asm__ volatile("mov %%rsp, %%r14\n\t"
                     "mov %0, %%rsp\n\t"
                     "tileloadd (%%rsp,%1,1), %%tmm1\n\t"
                     "mov %%r14, %%rsp" ::"r"(rows),
                     "r"(128L)
                     : "memory", "r14");
}
AMX static void load_without_base(const uint8_t *rows) { /* the address is in the instruction */
    (void)rows;
    __asm__ volatile("tileloadd 0x10000000(,%0,1), %%tmm1" ::"r"(128L) : "memory");
}

AMX static void store_tile_1(uint8_t *out) {
    register uint8_t *base __asm__("r11") = out - 0x1000;
    register long index __asm__("r10") = 32;
    __asm__ volatile("tilestored %%tmm1, 0x1000(%0,%1,2)" ::"r"(base), "r"(index) : "memory");
}

AMX static void config_relative_to_code(void) {
    __asm__ volatile("ldtilecfg %0" ::"m"(static_config) : "memory");
}
AMX static void config_by_r13_and_index(void) {
    register const config *base __asm__("r13") = &static_config;
    register long index __asm__("r12") = 0;
    __asm__ volatile("ldtilecfg (%0,%1,4)" ::"r"(base), "r"(index) : "memory");
}
AMX static void config_by_r12(void) {
    register const config *base __asm__("r12") = &static_config;
    __asm__ volatile("ldtilecfg (%0)" ::"r"(base) : "memory");
}

static void test_forms_of_address(void **state) {
    static void (*const loads[])(const uint8_t *) = {
        load_plain,      load_r13_r12,     load_r12_rbx, load_small_displacement, load_large_displacement,
        load_stack_base, load_without_base};
    static void (*const configs[])(void) = {config_relative_to_code, config_by_r13_and_index, config_by_r12};
    ki_rng rng = {4};
    /* Signals need a stack, also while the stack pointer is the operand's address: room below the rows. */
    uint8_t *room = mmap((void *)(uintptr_t)(FIXED_ADDRESS - 0x10000), 0x20000, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    uint8_t out[16][64];

    (void)state;
    amx_emulator_install();
    assert_true(room == (uint8_t *)(uintptr_t)(FIXED_ADDRESS - 0x10000));
    uint8_t *rows = room + 0x10000;
    for (size_t c = 0; c < sizeof configs / sizeof *configs; c++)
        for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
            fill_random(&rng, rows, 16 * 128);
            memset(out, 0, sizeof out);
            configs[c]();
            loads[i](rows);
            store_tile_1(out[0]);
            release();
            for (int row = 0; row < 16; row++)
                if (memcmp(out[row], rows + 128 * row, 64))
                    fail_msg("load %zu after configuration %zu, row %d", i, c, row);
        }
    munmap(room, 0x20000);
}

/* ---- Threads
 * ---------------------------------------------------------------------------------------------------------- */

static void *other_thread(void *context) {
    int *configured = context;
    const config c = uniform_config(3, 12);

    configured[0] = amx_tiles_configured();
    load_config(&c);
    configured[1] = amx_tiles_configured();
    return NULL;
}

static void test_tiles_belong_to_a_thread(void **state) {
    const config c = uniform_config(16, 64);
    config got;
    pthread_t thread;
    int configured[2] = {-1, -1};

    (void)state;
    amx_emulator_install();
    load_config(&c);
    assert_int_equal(pthread_create(&thread, NULL, other_thread, configured), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(configured[0], 0);
    assert_int_equal(configured[1], 1);
    store_config(&got);
    assert_memory_equal(&got, &c, sizeof c);
    release();
}

/* ---- Refusals
 * --------------------------------------------------------------------------------------------------------- */

/* The child must die by a signal: the emulator aborts where the processor faults, otherwise both give `expected`. */
static void must_die(const char *what, void (*attempt)(void), int expected) {
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
        amx_emulator_install();
        attempt();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) fail_msg("%s was let through", what);
    if (amx_emulator_install() == 0) assert_int_equal(WTERMSIG(status), expected);
}

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
AMX static void not_configured(void) {
    _tile_zero(0);
}
AMX static void tile_without_shape(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[3] = 0, c.rows[3] = 0;
    load_config(&c);
    _tile_zero(3);
}
AMX static void shapes_do_not_fit(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[1] = 32; /* A is 8 groups deep, B has 16 rows */
    load_config(&c);
    _tile_dpbssd(0, 1, 2);
}
AMX static void sum_shape_does_not_fit(void) {
    config c = uniform_config(16, 64);
    c.rows[0] = 15;
    load_config(&c);
    _tile_dpbssd(0, 1, 2);
}
AMX static void columns_not_in_fours(void) {
    config c = uniform_config(16, 64);
    c.column_bytes[0] = 62, c.column_bytes[2] = 62;
    load_config(&c);
    _tile_dpbssd(0, 1, 2);
}
AMX static void tile_used_twice(void) {
    const config c = uniform_config(16, 64);
    load_config(&c);
    /* tdpbssd %tmm1, %tmm0, %tmm0, which assemblers refuse */
    __asm__ volatile(".byte 0xC4, 0xE2, 0x73, 0x5E, 0xC0" ::: "memory");
}
AMX static void load_past_the_end(void) {
    guard g;
    const config c = uniform_config(16, 64);
    guard_make(&g, 4096);
    load_config(&c);
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm0" ::"r"(guard_end(&g, 16 * 64 - 1)), "r"(64L) : "memory");
}
static void other_illegal_instruction(void) {
    __asm__ volatile("ud2");
}

static void test_refusals(void **state) {
    (void)state;
    amx_emulator_install();
    must_die("palette 2", bad_palette, SIGABRT);
    must_die("a reserved byte", bad_reserved, SIGABRT);
    must_die("17 rows", bad_rows, SIGABRT);
    must_die("65 columns", bad_columns, SIGABRT);
    must_die("rows without columns", bad_half_shape, SIGABRT);
    must_die("a ninth tile", bad_ninth_tile, SIGABRT);
    must_die("a tile before configuration", not_configured, SIGABRT);
    must_die("a tile without shape", tile_without_shape, SIGABRT);
    must_die("a depth that does not fit", shapes_do_not_fit, SIGABRT);
    must_die("a sum that does not fit", sum_shape_does_not_fit, SIGABRT);
    must_die("columns that are no groups of four", columns_not_in_fours, SIGABRT);
    must_die("one tile used twice", tile_used_twice, SIGABRT);
    must_die("a load past the end", load_past_the_end, SIGSEGV);
    must_die("an instruction that is illegal anyway", other_illegal_instruction, SIGILL);
}

static void test_instructions_are_counted(void **state) {
    (void)state;
    if (amx_emulator_install() == 1) skip(); /* the processor does not count */
    const uint64_t before = amx_emulator_instructions();
    release();
    release();
    assert_int_equal(amx_emulator_instructions() - before, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_transfers_touch_only_their_shape),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_config_comes_back),
        cmocka_unit_test(test_forms_of_address),
        cmocka_unit_test(test_tiles_belong_to_a_thread),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_instructions_are_counted),
    };
    print_message("AMX is %s\n", amx_emulator_install() ? "this machine's own" : "emulated");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void test_no_amx_here(void **state) {
    (void)state;
    assert_int_equal(amx_emulator_install(), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_amx_here)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
