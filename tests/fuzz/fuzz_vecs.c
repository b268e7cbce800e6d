/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile .fvecs, .bvecs and .ivecs files: each input as all of them. */
#define _GNU_SOURCE
#include "fuzz_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_put(data, size);
    fuzz_read(".fvecs", NULL);
    fuzz_read(".bvecs", NULL);
    fuzz_read(".ivecs", NULL);
    return 0;
}
