/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile .fbin, .u8bin, .i8bin and .ibin files: each input as all of them. */
#define _GNU_SOURCE
#include "fuzz_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_put(data, size);
    fuzz_read(".fbin", NULL);
    fuzz_read(".u8bin", NULL);
    fuzz_read(".i8bin", NULL);
    fuzz_read(".ibin", NULL);
    return 0;
}
