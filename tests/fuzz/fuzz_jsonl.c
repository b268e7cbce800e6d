/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile .jsonl files, also with bad lines left out and keys asked for, and what the first bytes of a file without a
 * suffix are taken for. */
#define _GNU_SOURCE
#include "fuzz_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_put(data, size);
    fuzz_read(".jsonl", NULL);
    fuzz_read("", NULL);
    const kith_reader_options skip = {.struct_size = sizeof(skip), .skip_bad = 1, .skip_zero = 1};
    fuzz_read(".jsonl", &skip);
    const kith_reader_options keys = {.struct_size = sizeof(keys), .vector_key = "emb", .id_column = "name"};
    fuzz_read(".jsonl", &keys);
    return 0;
}
