/* SPDX-License-Identifier: Apache-2.0
 *
 * The first 64 bytes of a second code's model, and checks that its kinds share. Little-endian:
 *
 *      0  "KI2C"         12  u32 m           24  u64 bytes of the model
 *      4  u32 kind       16  u32 bits        32  the kind's own
 *      8  u32 dim        20  u32 rotated
 *
 * Pure functions; any thread. */
#ifndef KI_QUANT_SECOND_MODEL_H
#define KI_QUANT_SECOND_MODEL_H

#include "base/bytes.h"
#include "quant/second.h"

enum { KI_SECOND_HEADER = 64, KI_SECOND_OWN = 32 };

/* All 64 bytes; the kind's own are zero. */
static inline void ki_second_header_write(void *model, const ki_second_spec *spec, size_t dim, uint64_t bytes) {
    uint8_t *to = model;
    memset(to, 0, KI_SECOND_HEADER);
    memcpy(to, "KI2C", 4);
    ki_store_u32(to + 4, (uint32_t)spec->kind);
    ki_store_u32(to + 8, (uint32_t)dim);
    ki_store_u32(to + 12, spec->m);
    ki_store_u32(to + 16, spec->bits);
    ki_store_u32(to + 20, (uint32_t)spec->rotated);
    ki_store_u64(to + 24, bytes);
}

/* True if all floats are numbers of magnitude `most` or less. */
static inline int ki_second_within(const void *floats, size_t count, float most) {
    const uint8_t *at = floats;
    int within = 1;
    for (size_t i = 0; i < count; i++) {
        const float x = ki_load_f32(at + i * sizeof(float));
        within &= x >= -most && x <= most;
    }
    return within;
}

/* True if all floats are finite. */
static inline int ki_second_finite(const void *floats, size_t count) {
    return ki_second_within(floats, count, 0x1.fffffep127f);
}

#endif
