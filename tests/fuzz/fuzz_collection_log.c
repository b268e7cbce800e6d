/* SPDX-License-Identifier: Apache-2.0
 *
 * Bodies of a collection's log, as they are and with a right hash: refused, or operations whose every byte can be read
 * and from which the same body is written. The first byte chooses the kind of ids. */
#include "base/bytes.h"
#include "log/log.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static ki_vector vectors[] = {{.name = "", .dim = 3, .row_bytes = 12, .dtype = KITH_F32, .metric = KITH_L2SQ},
                              {.name = "b", .dim = 8, .row_bytes = 1, .dtype = KITH_B1, .metric = KITH_HAMMING}};

struct copy {
    ki_log_body body;
    uint64_t sum; /* of all bytes, so that sanitizers see each read */
};

static void read_bytes(struct copy *copy, const void *data, size_t bytes) {
    const uint8_t *at = data;
    for (size_t i = 0; i < bytes; i++) copy->sum += at[i];
}

static kith_status take(void *context, const ki_log_head *head, const ki_log_operation *operation, kith_error *error) {
    struct copy *copy = context;
    (void)head;
    read_bytes(copy, operation->text.data, operation->text.bytes);
    read_bytes(copy, operation->payload.data, operation->payload.bytes);
    for (size_t v = 0; v < 2; v++)
        if (operation->vector[v]) read_bytes(copy, operation->vector[v], vectors[v].row_bytes);
    return ki_log_add(&copy->body, operation, error);
}

static void try_body(const ki_generations *generations, const uint8_t *data, size_t bytes) {
    struct copy copy = {.body = {.generations = generations}};
    kith_error error = {0};
    ki_log_head head;
    const uint64_t sequence = bytes >= 16 ? ki_load_u64(data + 8) : 0;
    if (ki_log_begin(&copy.body, sequence, &error) != KITH_OK) abort();
    const kith_status status =
        ki_log_read(generations, "fuzz", sequence, (ki_bytes){data, bytes}, &head, take, &copy, &error);
    if (status != KITH_OK && status != KITH_E_CORRUPT && status != KITH_E_VERSION) abort();
    if (status == KITH_OK) {
        if (ki_log_end(&copy.body, head.next_key, &error) != KITH_OK) abort();
        if (copy.body.bytes != bytes) abort();
    }
    ki_log_free(&copy.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0) return 0;
    const ki_made made = {.id_kind = data[0] & 1 ? KITH_ID_STRING : KITH_ID_U64, .vector_count = 2, .vector = vectors};
    ki_generations *generations = ki_generations_first(&made);
    uint8_t *body = malloc(bytes + 8); /* a copy, aligned, with room for a hash */
    if (!body || !generations) abort();
    bytes--;
    memcpy(body, data + 1, bytes);
    try_body(generations, body, bytes);
    const uint64_t hash = XXH3_64bits(body, bytes);
    memcpy(body + bytes, &hash, sizeof(hash));
    try_body(generations, body, bytes + 8);
    free(body);
    free(generations);
    return 0;
}
