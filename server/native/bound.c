/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes and deletions by ids under a key with a segment. What is there is looked at first; what may be changed is then
 * changed only if it still has the version that was seen, and what was not there only if it is still not there. Where
 * somebody else was quicker it is looked at again. So no item of another segment is ever touched, however writes meet.
 *
 * An id that another segment has cannot be written: 403. Deleting it does nothing, as of one that is not there. */
#include <string.h>

#include "native/batch.h"
#include "native/look.h"

enum { TRIES = 16 };

static void note(void *context, const ks_v1_found *found) {
    uint64_t *versions = context;
    versions[found->id] = found->place >= 0 ? found->hits->versions[found->place] : 0;
}

/* Versions of what the key may see; 0 for the rest. */
static int look(ks_call *call, ks_shop *shop, const kith_ids *ids, uint64_t *versions) {
    return ks_v1_look(call, shop, ids, KITH_WITH_VERSION, 0, note, versions);
}

/* 403 where an id is there and not to be seen. */
static int refuse_others(ks_call *call, ks_shop *shop, const kith_ids *ids, const uint64_t *versions, uint8_t *there) {
    kith_error error = {0};
    const kith_status status = kith_collection_exists(shop->collection, ids, there, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return -1;
    }
    for (size_t i = 0; i < ids->count; i++) {
        if (!there[i] || versions[i]) continue;
        ks_call_fail(call, 403, "point %zu has an id that is not this key's to write", i + 1);
        return -1;
    }
    return 0;
}

static kith_status try_write(ks_v1_batch *batch, kith_items *items, const uint64_t *wanted, uint64_t *versions,
                             uint8_t *there, kith_write_report *report) {
    kith_error error = {0};
    if (look(batch->call, batch->shop, &items->ids, versions) != 0 ||
        refuse_others(batch->call, batch->shop, &items->ids, versions, there) != 0)
        return KITH_E_ARG;
    for (size_t i = 0; i < items->ids.count; i++) {
        if (!wanted || wanted[i] == KITH_VERSION_ANY || wanted[i] == versions[i]) continue;
        versions[i] = wanted[i]; /* is not met, and says so */
    }
    if (batch->mode != KITH_INSERT) items->if_version = versions; /* an insertion touches nothing that is there */
    const kith_status status = kith_collection_write(batch->shop->collection, items, batch->mode, report, &error);
    if (status != KITH_OK) ks_call_fail_status(batch->call, status, &error);
    return status;
}

/* Whether what was not met was not asked for either: somebody else was quicker. */
static uint64_t surprises(const kith_write_report *report, const uint64_t *wanted, size_t count) {
    if (!report->unmet) return 0;
    for (size_t i = 0; wanted && i < count; i++)
        if (wanted[i] != KITH_VERSION_ANY) return 0; /* the caller has to look anyway */
    return report->unmet;
}

static kith_status busy(ks_call *call) {
    ks_call_fail(call, 409, "others write these points all the time; try again");
    return KITH_E_BUSY;
}

kith_status ks_v1_bound_write(ks_v1_batch *batch, const kith_items *items, kith_write_report *report) {
    const size_t count = items->ids.count;
    uint64_t *versions = ks_call_alloc(batch->call, (count + 1) * sizeof *versions);
    uint8_t *there = ks_call_alloc(batch->call, count + 1);
    kith_items bound = *items;
    if (!versions || !there) {
        ks_call_no_memory(batch->call);
        return KITH_E_NOMEM;
    }
    uint64_t inserted = 0; /* by all tries: a later one finds there what an earlier one inserted */
    for (int i = 0; i < TRIES; i++) {
        const kith_status status = try_write(batch, &bound, items->if_version, versions, there, report);
        if (status != KITH_OK) return status;
        const uint64_t written = report->inserted + report->replaced;
        inserted += report->inserted;
        if (surprises(report, items->if_version, count)) continue;
        report->inserted = inserted < written ? inserted : written;
        report->replaced = written - report->inserted;
        return KITH_OK;
    }
    return busy(batch->call);
}

/* ---- Deleting ---------------------------------------------------------------------------------------------------- */

/* Those of the ids that were seen, with the versions at which they may go. */
struct chosen {
    kith_ids ids;
    uint64_t *numbers, *versions; /* numbers: ids, or ends */
    char *bytes;
};

static int make_chosen(ks_call *call, const kith_ids *ids, struct chosen *chosen) {
    const size_t bytes = ids->count && ids->id_ends ? (size_t)ids->id_ends[ids->count - 1] : 0;
    chosen->numbers = ks_call_alloc(call, (ids->count + 1) * sizeof *chosen->numbers);
    chosen->versions = ks_call_alloc(call, (ids->count + 1) * sizeof *chosen->versions);
    chosen->bytes = ks_call_alloc(call, bytes + 1);
    if (chosen->numbers && chosen->versions && chosen->bytes) return 0;
    ks_call_no_memory(call);
    return -1;
}

static void choose(const kith_ids *ids, const uint64_t *seen, const uint64_t *wanted, struct chosen *chosen) {
    size_t count = 0, used = 0;
    for (size_t i = 0; i < ids->count; i++) {
        if (!seen[i]) continue;
        chosen->versions[count] = wanted && wanted[i] != KITH_VERSION_ANY ? wanted[i] : seen[i];
        if (ids->ids) {
            chosen->numbers[count++] = ids->ids[i];
            continue;
        }
        const uint64_t begin = i ? ids->id_ends[i - 1] : 0;
        memcpy(chosen->bytes + used, ids->id_bytes + begin, (size_t)(ids->id_ends[i] - begin));
        used += (size_t)(ids->id_ends[i] - begin);
        chosen->numbers[count++] = used;
    }
    chosen->ids = (kith_ids){.count = count};
    if (ids->ids) {
        chosen->ids.ids = chosen->numbers;
        return;
    }
    chosen->ids.id_bytes = chosen->bytes;
    chosen->ids.id_ends = chosen->numbers;
}

kith_status ks_v1_bound_delete(ks_call *call, ks_shop *shop, const kith_ids *ids, const uint64_t *if_version,
                               kith_write_report *report) {
    kith_error error = {0};
    struct chosen chosen;
    uint64_t removed = 0, *seen = ks_call_alloc(call, (ids->count + 1) * sizeof *seen);
    if (!seen) ks_call_no_memory(call);
    if (!seen || make_chosen(call, ids, &chosen) != 0) return KITH_E_NOMEM;
    for (int i = 0; i < TRIES; i++) {
        if (look(call, shop, ids, seen) != 0) return KITH_E_ARG;
        choose(ids, seen, if_version, &chosen);
        const kith_status status =
            kith_collection_delete(shop->collection, &chosen.ids, chosen.versions, report, &error);
        if (status != KITH_OK) {
            ks_call_fail_status(call, status, &error);
            return status;
        }
        report->removed = removed += report->removed;
        if (if_version || !report->unmet) return KITH_OK;
    }
    return busy(call);
}
