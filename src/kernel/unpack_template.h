/* SPDX-License-Identifier: Apache-2.0
 *
 * Unpacking by registers of BYTES bytes, once for each instruction set: kernel/unpack.c defines NAME, TARGET and BYTES,
 * includes this, and does so again for the next one. A field is brought to its place by one shift of 16-bit words and
 * one mask, which takes away what crossed from byte to byte. */

typedef uint16_t NAME(words) __attribute__((vector_size(BYTES)));
typedef uint8_t NAME(bytes) __attribute__((vector_size(BYTES)));

/* Bits from..from+width of each byte, moved to bit `to`. */
TARGET static inline __attribute__((always_inline)) void NAME(add_field)(NAME(bytes) * sum, const uint8_t *row,
                                                                         unsigned from, unsigned width, unsigned to) {
    NAME(words) x;
    memcpy(&x, row, BYTES);
    x = from >= to ? x >> (from - to) : x << (to - from);
    *sum += (NAME(bytes))x & (uint8_t)(((1u << width) - 1) << to);
}

/* `bits` is a constant wherever this is called. */
TARGET static inline __attribute__((always_inline)) void NAME(blocks_of)(const uint8_t *packed, size_t blocks,
                                                                         size_t quads, unsigned bits, uint8_t *out) {
    const unsigned period = bits & 1 ? 8 : bits & 2 ? 4 : 2;
    const size_t four_bytes = bits & 4 ? quads * ROW / 2 : 0, two_bytes = bits & 2 ? quads * ROW / 4 : 0;
    for (; blocks; blocks--, packed += quads * 8 * bits) {
        const uint8_t *four = packed, *two = four + four_bytes, *one = two + two_bytes;
        for (size_t j = 0; j < quads; j += period, out += (size_t)period * ROW) {
            for (unsigned h = 0; h < ROW; h += BYTES) {
#pragma GCC unroll 8
                for (unsigned i = 0; i < period; i++) {
                    NAME(bytes) sum = (NAME(bytes)){0} + (uint8_t)(129 - (1u << bits));
                    if (bits & 4) NAME(add_field)(&sum, four + i / 2 * ROW + h, i % 2 * 4, 4, 1);
                    if (bits & 2) NAME(add_field)(&sum, two + i / 4 * ROW + h, i % 4 * 2, 2, 1 + (bits & 4));
                    if (bits & 1) NAME(add_field)(&sum, one + h, i, 1, 1 + (bits & 6));
                    memcpy(out + i * ROW + h, &sum, BYTES);
                }
            }
            four += period / 2 * ROW;
            two += period / 4 * ROW;
            one += period / 8 * ROW;
        }
    }
}

TARGET static void NAME(unpack)(const uint8_t *packed, size_t blocks, size_t quads, unsigned bits, uint8_t *out) {
    switch (bits) {
    case 1:
        NAME(blocks_of)(packed, blocks, quads, 1, out);
        break;
    case 2:
        NAME(blocks_of)(packed, blocks, quads, 2, out);
        break;
    case 3:
        NAME(blocks_of)(packed, blocks, quads, 3, out);
        break;
    case 4:
        NAME(blocks_of)(packed, blocks, quads, 4, out);
        break;
    case 5:
        NAME(blocks_of)(packed, blocks, quads, 5, out);
        break;
    case 6:
        NAME(blocks_of)(packed, blocks, quads, 6, out);
        break;
    default:
        NAME(blocks_of)(packed, blocks, quads, 7, out);
    }
}

#undef NAME
#undef TARGET
#undef BYTES
