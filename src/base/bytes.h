/* SPDX-License-Identifier: Apache-2.0
 *
 * Little-endian numbers in byte buffers of any alignment. Files and wires are little-endian everywhere. */
#ifndef KI_BASE_BYTES_H
#define KI_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "kith maps its files as memory and needs a little-endian machine"
#endif

static inline uint16_t ki_load_u16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t ki_load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t ki_load_u64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline float ki_load_f32(const void *p) {
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline double ki_load_f64(const void *p) {
    double v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void ki_store_u32(void *p, uint32_t v) {
    memcpy(p, &v, sizeof v);
}
static inline void ki_store_u64(void *p, uint64_t v) {
    memcpy(p, &v, sizeof v);
}
static inline void ki_store_f32(void *p, float v) {
    memcpy(p, &v, sizeof v);
}
static inline void ki_store_f64(void *p, double v) {
    memcpy(p, &v, sizeof v);
}

#endif
