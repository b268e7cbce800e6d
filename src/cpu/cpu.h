/* SPDX-License-Identifier: Apache-2.0
 *
 * What this machine can do, and how much of it kith uses.
 *
 * C1. A feature is reported only if CPUID names it *and* the operating system saves its registers (XCR0), and for AMX
 *     only if the kernel granted the tile registers (arch_prctl ARCH_REQ_XCOMP_PERM), asked once.
 * C2. Detection runs once; the result never changes in a process. KITH_CPU only lowers it.
 * C3. A tier's bit set is closed: avx512 implies avx2 and so on. KITH_CPU=TIER[,-feature...] e.g. "avx2,-avxvnni". */
#ifndef KI_CPU_CPU_H
#define KI_CPU_CPU_H

#include "kith.h"

enum ki_feature {
    KI_AVX2 = 1u << 0,    /* AVX2, FMA, F16C and BMI2 together: the avx2 tier */
    KI_AVXVNNI = 1u << 1, /* VPDPBUSD on 256 bits; part of the avx2 tier where found */
    KI_AVX512 = 1u << 2,  /* F, BW, DQ, VL, CD together: the avx512 tier */
    KI_AVX512VNNI = 1u << 3,
    KI_AVX512BF16 = 1u << 4,
    KI_AVX512FP16 = 1u << 5,
    KI_AVX512VPOPCNT = 1u << 6,
    KI_AVX512VBMI = 1u << 7,
    KI_AMX_INT8 = 1u << 8, /* with AMX-TILE and permission; needs AVX512VNNI: the amx tier */
    KI_AMX_BF16 = 1u << 9,
    KI_NEON = 1u << 16, /* aarch64 */
    KI_NEON_DOT = 1u << 17,
    KI_NEON_I8MM = 1u << 18,
};

/* Features in use (after KITH_CPU). */
uint32_t ki_cpu_features(void);
/* Features found. */
uint32_t ki_cpu_features_found(void);
/* Name of the highest tier in a mask: "scalar", "avx2", "avx512", "amx", "neon". */
const char *ki_cpu_tier(uint32_t features);
/* Lower `found` as KITH_CPU would by `setting`; false on an unknown word (then *lowered = found). */
int ki_cpu_lower(uint32_t found, const char *setting, uint32_t *lowered);
/* L2 of one core in bytes, never 0: 1 MiB when unknown. */
size_t ki_cpu_l2_bytes(void);

#endif
