/* SPDX-License-Identifier: Apache-2.0
 *
 * How one tier's templates become one kernel for each element type. Only the distance_<tier>.c files include this, each
 * after it has defined, as always-inline functions that take the element type as a constant:
 *
 *   pair_any(op, type, q, x, dim)
 *   quad_any(op, type, q, x, dim, out)
 *   norm2_any(type, x, dim)
 *   to_f32_any(type, x, count, out)
 *
 * A macro, because C has no other way to name and address five functions made from one. */
#ifndef KI_KERNEL_DISTANCE_TYPES_H
#define KI_KERNEL_DISTANCE_TYPES_H

#include "kernel/distance.h"

enum pair_op { PAIR_DOT, PAIR_L2SQ };

/* The kernels of one element type. `target` is the tier's target attribute, or nothing. */
#define KI_DISTANCE_TYPE(target, isa, name, type)                                                                      \
    target static float dot_##name##_##isa(const float *q, const void *x, size_t dim) {                                \
        return pair_any(PAIR_DOT, type, q, x, dim);                                                                    \
    }                                                                                                                  \
    target static float l2sq_##name##_##isa(const float *q, const void *x, size_t dim) {                               \
        return pair_any(PAIR_L2SQ, type, q, x, dim);                                                                   \
    }                                                                                                                  \
    target static void dot4_##name##_##isa(const float *q, const void *const x[4], size_t dim, float out[4]) {         \
        quad_any(PAIR_DOT, type, q, x, dim, out);                                                                      \
    }                                                                                                                  \
    target static void l2sq4_##name##_##isa(const float *q, const void *const x[4], size_t dim, float out[4]) {        \
        quad_any(PAIR_L2SQ, type, q, x, dim, out);                                                                     \
    }                                                                                                                  \
    target static double norm2_##name##_##isa(const void *x, size_t dim) {                                             \
        return norm2_any(type, x, dim);                                                                                \
    }                                                                                                                  \
    target static void to_f32_##name##_##isa(const void *x, size_t count, float *out) {                                \
        to_f32_any(type, x, count, out);                                                                               \
    }

#define KI_DISTANCE_TYPES(target, isa)                                                                                 \
    KI_DISTANCE_TYPE(target, isa, f32, KITH_F32)                                                                       \
    KI_DISTANCE_TYPE(target, isa, f16, KITH_F16)                                                                       \
    KI_DISTANCE_TYPE(target, isa, bf16, KITH_BF16)                                                                     \
    KI_DISTANCE_TYPE(target, isa, i8, KITH_I8)                                                                         \
    KI_DISTANCE_TYPE(target, isa, u8, KITH_U8)

/* Put them into a table. */
#define KI_DISTANCE_SET(table, isa, name, type)                                                                        \
    do {                                                                                                               \
        (table)->dot[type] = dot_##name##_##isa;                                                                       \
        (table)->l2sq[type] = l2sq_##name##_##isa;                                                                     \
        (table)->dot4[type] = dot4_##name##_##isa;                                                                     \
        (table)->l2sq4[type] = l2sq4_##name##_##isa;                                                                   \
        (table)->norm2[type] = norm2_##name##_##isa;                                                                   \
        (table)->to_f32[type] = to_f32_##name##_##isa;                                                                 \
    } while (0)

#define KI_DISTANCE_SET_ALL(table, isa)                                                                                \
    do {                                                                                                               \
        KI_DISTANCE_SET(table, isa, f32, KITH_F32);                                                                    \
        KI_DISTANCE_SET(table, isa, f16, KITH_F16);                                                                    \
        KI_DISTANCE_SET(table, isa, bf16, KITH_BF16);                                                                  \
        KI_DISTANCE_SET(table, isa, i8, KITH_I8);                                                                      \
        KI_DISTANCE_SET(table, isa, u8, KITH_U8);                                                                      \
    } while (0)

#endif
