/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing, the scalar reference of unpacking, and the registers that unpack_template.h is made for. */
#include "kernel/unpack.h"

#include "cpu/cpu.h"

#include <string.h>

enum { ROW = 64 /* bytes of a row of a block, packed or not */ };

/* The plane that bit `bit` of a code lies in: its width, and the lowest bit of the code in it. */
static unsigned plane_of(unsigned bits, unsigned bit, unsigned *low) {
    const unsigned four = bits & 4, two = bits & 2;
    if (bit < four) return *low = 0, 4;
    if (bit < four + two) return *low = four, 2;
    return *low = four + two, 1;
}

/* Where row j of the tile layout keeps bit `bit` of its codes: which row of the packed block, and which bit of a
 * byte. */
static size_t packed_row(unsigned bits, unsigned bit, size_t quads, size_t j, unsigned *at) {
    unsigned low;
    const unsigned width = plane_of(bits, bit, &low), fields = 8 / width;
    *at = (unsigned)(j % fields) * width + bit - low;
    return quads * low / 8 + j / fields;
}

void ki_unpack_pack(const uint8_t *codes, size_t quads, unsigned bits, uint8_t *packed) {
    memset(packed, 0, quads * 8 * bits);
    for (size_t j = 0; j < quads; j++, codes += ROW)
        for (unsigned bit = 0; bit < bits; bit++) {
            unsigned at;
            uint8_t *row = packed + packed_row(bits, bit, quads, j, &at) * ROW;
            for (int i = 0; i < ROW; i++) row[i] = (uint8_t)(row[i] | (codes[i] >> bit & 1) << at);
        }
}

static void scalar_unpack(const uint8_t *packed, size_t blocks, size_t quads, unsigned bits, uint8_t *out) {
    for (; blocks; blocks--, packed += quads * 8 * bits)
        for (size_t j = 0; j < quads; j++, out += ROW) {
            memset(out, 129 - (1 << bits), ROW);
            for (unsigned bit = 0; bit < bits; bit++) {
                unsigned at;
                const uint8_t *row = packed + packed_row(bits, bit, quads, j, &at) * ROW;
                for (int i = 0; i < ROW; i++) out[i] = (uint8_t)(out[i] + ((row[i] >> at & 1) << (bit + 1)));
            }
        }
}

#if defined(__x86_64__)
#define NAME(name) avx2_##name
#define TARGET     __attribute__((target("avx2")))
#define BYTES      32
#include "kernel/unpack_template.h"

#define NAME(name) avx512_##name
#define TARGET     __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define BYTES      64
#include "kernel/unpack_template.h"
#elif defined(__aarch64__)
#define NAME(name) neon_##name
#define TARGET
#define BYTES 16
#include "kernel/unpack_template.h"
#endif

ki_unpack_fn ki_unpack_fill(uint32_t features) {
#if defined(__x86_64__)
    if (features & KI_AVX512) return avx512_unpack;
    if (features & KI_AVX2) return avx2_unpack;
#elif defined(__aarch64__)
    if (features & KI_NEON) return neon_unpack;
#endif
    (void)features;
    return scalar_unpack;
}
