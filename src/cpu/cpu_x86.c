/* SPDX-License-Identifier: Apache-2.0
 *
 * Detection on x86-64. CPUID says what the processor has, XCR0 which registers the operating system saves when it
 * switches tasks, and for AMX Linux must also have granted the tile registers to this process. A feature needs all that
 * applies to it (C1): code that uses registers which are not saved computes wrong numbers, not slow ones. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* syscall() */
#endif
#include "cpu/detect.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdbool.h>
#include <string.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "cpu/cpu.h"

/* Bits of XCR0: which register files the operating system saves. */
enum {
    XCR0_AVX = 1u << 1 | 1u << 2,              /* SSE and upper halves of ymm */
    XCR0_AVX512 = 1u << 5 | 1u << 6 | 1u << 7, /* masks, upper halves of zmm, zmm16..31 */
    XCR0_AMX = 1u << 17 | 1u << 18             /* tile configuration, tile data */
};

/* arch_prctl's request for a register file that is off until asked for, and the number of tile data. */
enum { REQUEST_XCOMP_PERMISSION = 0x1023, XFEATURE_TILE_DATA = 18 };

typedef struct leaf {
    uint32_t a, b, c, d;
} leaf;

/* Zeros where the processor lacks the leaf. */
static leaf read_leaf(uint32_t number, uint32_t sub) {
    leaf l = {0};
    if (!__get_cpuid_count(number, sub, &l.a, &l.b, &l.c, &l.d)) return (leaf){0};
    return l;
}

static bool has(uint32_t value, uint32_t bits) {
    return (value & bits) == bits;
}

/* Call only where CPUID says that the operating system enabled it. */
static uint32_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Asked once in a process, because ki_cpu_detect() runs once, and believed: threads made later inherit the answer. */
static bool tiles_permitted(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    return syscall(SYS_arch_prctl, REQUEST_XCOMP_PERMISSION, XFEATURE_TILE_DATA) == 0;
#else
    return false;
#endif
}

/* Palette 1 as the kernels configure it: eight tiles of 16 rows of 64 bytes. */
static bool tiles_have_our_shape(void) {
    const leaf tiles = read_leaf(0x1D, 1);
    const uint32_t bytes_per_row = tiles.b & 0xFFFF, names = tiles.b >> 16, rows = tiles.c & 0xFFFF;
    return bytes_per_row == 64 && names >= 8 && rows == 16;
}

static uint32_t detect_avx512(leaf extended, leaf extended1) {
    const uint32_t f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
    uint32_t features = 0;

    if (!has(extended.b, f | dq | cd | bw | vl)) return 0;
    features |= KI_AVX512;
    if (has(extended.c, 1u << 11)) features |= KI_AVX512VNNI;
    if (has(extended1.a, 1u << 5)) features |= KI_AVX512BF16;
    if (has(extended.d, 1u << 23)) features |= KI_AVX512FP16;
    if (has(extended.c, 1u << 14)) features |= KI_AVX512VPOPCNT;
    if (has(extended.c, 1u << 1)) features |= KI_AVX512VBMI;
    return features;
}

static uint32_t detect_amx(leaf extended) {
    const uint32_t bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25;

    if (!has(extended.d, tile | int8) || !tiles_have_our_shape() || !tiles_permitted()) return 0;
    return KI_AMX_INT8 | (has(extended.d, bf16) ? KI_AMX_BF16 : 0);
}

uint32_t ki_cpu_detect(void) {
    const uint32_t fma = 1u << 12, popcnt = 1u << 23, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29; /* 1.ecx */
    const uint32_t avx2 = 1u << 5, bmi2 = 1u << 8;                                                         /* 7.ebx */
    const leaf basic = read_leaf(1, 0), extended = read_leaf(7, 0);
    const leaf extended1 = extended.a >= 1 ? read_leaf(7, 1) : (leaf){0};

    if (!has(basic.c, osxsave | avx | fma | f16c | popcnt) || !has(extended.b, avx2 | bmi2)) return 0;
    const uint32_t saved = read_xcr0();
    if (!has(saved, XCR0_AVX)) return 0;
    uint32_t features = KI_AVX2;
    if (has(extended1.a, 1u << 4)) features |= KI_AVXVNNI;
    if (has(saved, XCR0_AVX512)) features |= detect_avx512(extended, extended1);
    if (has(saved, XCR0_AMX) && (features & KI_AVX512VNNI)) features |= detect_amx(extended);
#ifdef KITH_EMULATE /* a build for tests, whose kernels for these are AVX2 (tests/support/emulated_x86.h) */
    features |= KI_AVXVNNI | KI_AVX512 | KI_AVX512VNNI | KI_AVX512VPOPCNT;
#endif
    return features;
}

void ki_cpu_detect_model(char *model, size_t bytes) {
    char name[49] = {0}; /* three leaves of 16 bytes, padded with blanks in front on some processors */

    for (uint32_t i = 0; i < 3; i++) {
        const leaf part = read_leaf(0x80000002u + i, 0);
        memcpy(name + 16 * i, &part, sizeof part);
    }
    const char *start = name + strspn(name, " ");
    size_t length = strlen(start);
    while (length && start[length - 1] == ' ') length--;
    if (bytes) {
        length = length < bytes ? length : bytes - 1;
        memcpy(model, start, length);
        model[length] = '\0';
    }
}

#else
typedef int ki_cpu_x86_not_built; /* a translation unit must declare something */
#endif
