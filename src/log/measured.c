/* SPDX-License-Identifier: Apache-2.0 */
#include "log/measured.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/status.h"

#include <stdlib.h>

enum {
    NAME_BYTES = 12,
    HEAD_BYTES = 8,
    VERSION = 1,
    HASH_BYTES = 8, /* the last ones of an encoded calibration */
};
static ki_bytes name_of(const ki_sealed *sealed, size_t spec, unsigned char to[NAME_BYTES]) {
    ki_store_u64(to, sealed->number);
    ki_store_u32(to + 8, (uint32_t)spec);
    return (ki_bytes){to, NAME_BYTES};
}

static uint64_t hash_of(const unsigned char *calibration, size_t bytes) {
    return ki_load_u64(calibration + bytes - HASH_BYTES);
}

int ki_measured_may(const ki_sealed *sealed, size_t spec) {
    const kith_index *index = sealed->index[spec];
    return index && (index->view.lists.count > 1 || index->view.graph.degree) && index->view.originals;
}

/* *found: what the catalog has of an index, bytes 0: nothing that can be read. */
static kith_status get(kith_collection *collection, const ki_sealed *sealed, size_t spec, ki_found *found,
                       kith_error *error) {
    unsigned char name[NAME_BYTES];
    kith_status status = KITH_E_NOTFOUND;
    if (ki_measured_may(sealed, spec))
        status = ki_catalog_get_record(collection->catalog, KI_RECORD_CALIBRATION, name_of(sealed, spec, name), found,
                                       error);
    const unsigned char *body = found->body.data;
    if (status == KITH_OK && found->body.bytes >= HEAD_BYTES + ki_calibration_bytes(0) && ki_load_u32(body) == VERSION)
        return KITH_OK;
    found->body = (ki_bytes){0};
    return status == KITH_E_NOTFOUND ? KITH_OK : status;
}

kith_status ki_measured_take(ki_sealed *sealed, size_t spec, const unsigned char *bytes, size_t count,
                             kith_error *error) {
    const ki_calibration_state state = ki_index_take_calibration(sealed->index[spec], bytes, count);
    if (state == KI_CALIBRATION_NO_MEMORY) return ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration");
    if (state == KI_CALIBRATION_GOOD) sealed->tuned[spec] = (ki_sealed_tuned){1, hash_of(bytes, count)};
    return KITH_OK;
}

kith_status ki_measured_read(kith_collection *collection, ki_sealed *sealed, kith_error *error) {
    ki_found found = {0};
    kith_status status = KITH_OK;
    for (size_t s = 0; s < sealed->specs && status == KITH_OK; s++) {
        status = get(collection, sealed, s, &found, error);
        const unsigned char *body = found.body.data;
        if (status == KITH_OK && body)
            status = ki_measured_take(sealed, s, body + HEAD_BYTES, found.body.bytes - HEAD_BYTES, error);
    }
    ki_found_free(&found);
    return status;
}

kith_status ki_measured_same(kith_collection *collection, const ki_sealed *sealed, int *same, kith_error *error) {
    ki_found found = {0};
    kith_status status = KITH_OK;
    *same = 1;
    for (size_t s = 0; s < sealed->specs && status == KITH_OK && *same; s++) {
        status = get(collection, sealed, s, &found, error);
        const unsigned char *body = found.body.data;
        const uint64_t hash = body ? hash_of(body, found.body.bytes) : 0;
        *same = hash == sealed->tuned[s].hash || (hash && !ki_measured_may(sealed, s));
    }
    ki_found_free(&found);
    return status;
}

static unsigned char *encode(const ki_calibration *calibration, size_t head, size_t *count) {
    *count = ki_calibration_bytes(calibration->count);
    unsigned char *bytes = ki_alloc_array(head + *count, 1);
    if (bytes) ki_calibration_encode(calibration, bytes + head);
    return bytes;
}

kith_status ki_measured_copy(const ki_sealed *old, ki_sealed *sealed, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t s = 0; s < old->specs && status == KITH_OK; s++) {
        size_t count;
        if (!old->tuned[s].hash || !sealed->index[s]) continue;
        unsigned char *bytes = encode(&old->index[s]->calibration, 0, &count);
        status = bytes ? ki_measured_take(sealed, s, bytes, count, error)
                       : ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration");
        free(bytes);
    }
    return status;
}

kith_status ki_measured_put(kith_collection *collection, const ki_sealed *sealed, kith_error *error) {
    unsigned char name[NAME_BYTES];
    kith_status status = KITH_OK;
    for (size_t s = 0; s < sealed->specs && status == KITH_OK; s++) {
        size_t count;
        if (!sealed->tuned[s].hash) continue;
        unsigned char *body = encode(&sealed->index[s]->calibration, HEAD_BYTES, &count);
        if (!body) return ki_fail(error, KITH_E_NOMEM, "out of memory for a calibration");
        ki_store_u32(body, VERSION);
        ki_store_u32(body + 4, 0);
        status = ki_catalog_put_record(collection->catalog, KI_RECORD_CALIBRATION, name_of(sealed, s, name),
                                       (ki_bytes){body, HEAD_BYTES + count}, error);
        free(body);
    }
    return status;
}

kith_status ki_measured_remove(kith_collection *collection, const ki_sealed *sealed, kith_error *error) {
    unsigned char name[NAME_BYTES];
    kith_status status = KITH_OK;
    for (size_t s = 0; s < sealed->specs && status == KITH_OK; s++)
        if (ki_measured_may(sealed, s))
            status =
                ki_catalog_remove_record(collection->catalog, KI_RECORD_CALIBRATION, name_of(sealed, s, name), error);
    return status;
}
