/* SPDX-License-Identifier: Apache-2.0 */
#include "write/bodies.h"

#include "base/checked.h"
#include "base/status.h"

struct ki_bodies_one {
    ki_sealed *sealed; /* the edited state holds it */
    uint64_t dead;
    void *data;
    size_t bytes;
};

void ki_bodies_free(ki_bodies *bodies) {
    for (size_t b = 0; b < bodies->count; b++) free(bodies->one[b].data);
    free(bodies->one);
    *bodies = (ki_bodies){0};
}

static kith_status add(ki_bodies *bodies, const ki_snapshot_sealed *in, kith_error *error) {
    struct ki_bodies_one *one = &bodies->one[bodies->count];
    const kith_status status = ki_sealed_encode(in->sealed, in->alive, bodies->version, &one->data, &one->bytes, error);
    if (status != KITH_OK) return status;
    one->sealed = in->sealed;
    one->dead = in->alive->rows - in->alive->set;
    bodies->count++;
    return KITH_OK;
}

kith_status ki_bodies_encode(const ki_snapshot *state, const ki_sealed *made, int deaths, uint64_t version,
                             ki_bodies *bodies, kith_error *error) {
    *bodies = (ki_bodies){.version = version, .one = ki_alloc_array_zeroed(state->sealed_count, sizeof(*bodies->one))};
    if (!bodies->one) return ki_fail(error, KITH_E_NOMEM, "out of memory for a change of the collection");
    kith_status status = KITH_OK;
    for (size_t i = 0; i < state->sealed_count && status == KITH_OK; i++) {
        const ki_snapshot_sealed *in = &state->sealed[i];
        const uint64_t dead = in->alive->rows - in->alive->set;
        if (in->sealed == made || (deaths && dead != in->sealed->saved_dead)) status = add(bodies, in, error);
    }
    return status;
}

kith_status ki_bodies_put(const ki_bodies *bodies, ki_catalog *catalog, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t b = 0; b < bodies->count && status == KITH_OK; b++) {
        const struct ki_bodies_one *one = &bodies->one[b];
        status = ki_catalog_put_segment(catalog, one->sealed->number, (ki_bytes){one->data, one->bytes}, error);
    }
    return status;
}

void ki_bodies_settle(const ki_bodies *bodies) {
    for (size_t b = 0; b < bodies->count; b++) {
        bodies->one[b].sealed->saved_dead = bodies->one[b].dead;
        bodies->one[b].sealed->saved_version = bodies->version;
    }
}
