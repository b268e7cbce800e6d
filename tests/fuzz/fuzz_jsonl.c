/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile .jsonl files, and what the first bytes of a file without a suffix are taken for. */
#define _GNU_SOURCE
#include "fuzz_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_put(data, size);
    fuzz_read(".jsonl", NULL);
    fuzz_read("", NULL);
    return 0;
}
