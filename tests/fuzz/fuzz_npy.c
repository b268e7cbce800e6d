/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile .npy files: as vectors, as packed bits, and as the ids of a file. */
#define _GNU_SOURCE
#include "fuzz_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const kith_reader_options bits = {.struct_size = sizeof(bits), .dtype = KITH_B1};
    char ids_path[300];
    fuzz_put(data, size);
    snprintf(ids_path, sizeof(ids_path), "%s", fuzz_path(".ids"));
    fuzz_read(".npy", NULL);
    fuzz_read(".npy", &bits);
    const kith_reader_options ids = {.struct_size = sizeof(ids), .ids_path = ids_path, .first_row = 1};
    fuzz_read(".npy", &ids);
    return 0;
}
