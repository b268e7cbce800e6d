/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles as bytes, as they are and with a right hash: refused, or one that takes events and is written as the same
 * bytes. */
#include "base/bytes.h"
#include "profile/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void use(ki_profile *profile) {
    float *vector = calloc(profile->dim, sizeof(*vector));
    if (!vector) return;
    vector[0] = 1;
    for (uint32_t i = 0; i < profile->interest_count; i++) ki_profile_query(profile, i, vector);
    for (int kind = KITH_EVENT_LIKE; kind <= KITH_EVENT_SEEN; kind++)
        ki_profile_apply(profile, &(ki_profile_event){(kith_event_kind)kind, 1, 7, profile->time_ms / 2, vector});
    free(vector);
}

static void try_profile(const uint8_t *data, size_t bytes) {
    ki_profile profile;
    void *again;
    size_t more;
    kith_error error = {0};
    const kith_status status = ki_profile_decode(data, bytes, "fuzz", &profile, &error);
    if (status != KITH_OK && status != KITH_E_CORRUPT && status != KITH_E_VERSION) abort();
    if (status != KITH_OK) return;
    if (ki_profile_encode(&profile, &again, &more, &error) == KITH_OK) {
        if (more != bytes || memcmp(again, data, bytes) != 0) abort();
        free(again);
    }
    use(&profile);
    ki_profile_free(&profile);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    uint8_t *body = malloc(bytes + 8); /* a copy, aligned, with room for a hash */
    if (!body) return 0;
    if (bytes) memcpy(body, data, bytes);
    try_profile(body, bytes);
    const uint64_t hash = XXH3_64bits(body, bytes);
    memcpy(body + bytes, &hash, sizeof(hash));
    try_profile(body, bytes + 8);
    free(body);
    return 0;
}
