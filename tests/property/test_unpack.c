/* SPDX-License-Identifier: Apache-2.0
 *
 * Unpacking of codes of 1 to 7 bits (kernel/unpack.h), at every feature mask that this machine can run: packed and
 * unpacked codes are the bytes that the layout promises, whatever the bytes, and nothing past the operands is touched.
 *
 * Guards against: planes in the wrong order, bits that cross from byte to byte, the last row left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/unpack.h"
#include "support/guard.h"

enum { ROW = 64, QUADS_MAX = 48, BLOCKS_MAX = 5 };

static guard packed_room, out_room;
static uint8_t codes[BLOCKS_MAX * QUADS_MAX * ROW];

static int set_up(void **state) {
    (void)state;
    guard_make(&packed_room, sizeof(codes));
    guard_make(&out_room, sizeof(codes));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    guard_free(&packed_room);
    guard_free(&out_room);
    return 0;
}

static void check(ki_unpack_fn unpack, unsigned bits, size_t quads, size_t blocks, ki_rng *rng) {
    const size_t bytes = blocks * quads * ROW, block_bytes = quads * 8 * bits;
    uint8_t *packed = guard_end(&packed_room, blocks * block_bytes), *out = guard_end(&out_room, bytes);
    for (size_t i = 0; i < bytes; i++) codes[i] = (uint8_t)(ki_rng_next(rng) >> (64 - bits));
    for (size_t b = 0; b < blocks; b++) ki_unpack_pack(codes + b * quads * ROW, quads, bits, packed + b * block_bytes);
    memset(out, 0xEE, bytes);
    unpack(packed, blocks, quads, bits, out);
    for (size_t i = 0; i < bytes; i++) {
        const int c = 2 * codes[i] - ((1 << bits) - 1);
        if (out[i] != 128 + c)
            fail_msg("%u bits, %zu quads: byte %zu of %zu is %d, not %d", bits, quads, i, bytes, out[i], 128 + c);
    }
}

static void test_layout(void **state) {
    static const char *const settings[] = {"", "scalar", "avx2", "avx512", "neon"};
    const uint32_t found = ki_cpu_features_found();
    ki_rng rng = {1};
    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        uint32_t features;
        assert_true(ki_cpu_lower(found, settings[i], &features));
        for (unsigned bits = 1; bits <= KI_UNPACK_BITS_MAX; bits++)
            for (size_t quads = ki_unpack_period(bits); quads <= QUADS_MAX; quads += ki_unpack_period(bits))
                check(ki_unpack_fill(features), bits, quads, 1 + quads % BLOCKS_MAX, &rng);
    }
}

/* Field i of a row of a plane of w bits is bits iw.. of every byte: the layout, said by hand for 5 bits. */
static void test_planes(void **state) {
    enum { QUADS = 8 };
    uint8_t one[QUADS * ROW] = {0}, packed[QUADS * 8 * 5];
    (void)state;
    one[5 * ROW + 7] = 0x1B; /* row 5: the low four bits are 0xB, the fifth is 1 */
    ki_unpack_pack(one, QUADS, 5, packed);
    for (size_t i = 0; i < sizeof(packed); i++) {
        const int expected = i == 2 * ROW + 7 ? 0xB0 : i == 4 * ROW + 7 ? 1 << 5 : 0;
        assert_int_equal(packed[i], expected);
    }
}

static void test_function_of_process(void **state) {
    (void)state;
    assert_ptr_equal(ki_unpacker(), ki_unpack_fill(ki_cpu_features()));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_planes),
        cmocka_unit_test(test_function_of_process),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
