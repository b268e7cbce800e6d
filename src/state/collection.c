/* SPDX-License-Identifier: Apache-2.0
 *
 * What every room that has a collection asks of it. */
#include "state/collection.h"

#include "base/status.h"
#include "state/generations.h"

kith_status ki_collection_takes_writes(const kith_collection *collection, kith_error *error) {
    if (!collection->options.read_only) return KITH_OK;
    return ki_fail(error, KITH_E_ARG, "%s: is open for reading only", collection->path);
}

kith_status ki_collection_writable(const kith_collection *collection, kith_error *error) {
    const kith_status status = ki_collection_takes_writes(collection, error);
    if (status != KITH_OK) return status;
    if (collection->poisoned != KITH_OK)
        return ki_fail(error, collection->poisoned,
                       "%s: an earlier commit failed, and what the disk holds is unknown: open it anew (%s)",
                       collection->path, collection->poison);
    return KITH_OK;
}

ki_sealed_where ki_collection_where(const kith_collection *collection, const ki_generations *generations) {
    return (ki_sealed_where){.folder = collection->segments_path,
                             .specs = generations->spec,
                             .spec_count = generations->slots,
                             .no_sigbus_handler = collection->options.no_sigbus_handler};
}

const ki_generations *ki_collection_generations(const kith_collection *collection) {
    kith_collection *locked = (kith_collection *)(uintptr_t)collection; /* whose mutex it is */
    pthread_mutex_lock(&locked->publishing);
    const ki_generations *generations = locked->current->generations;
    pthread_mutex_unlock(&locked->publishing);
    return generations;
}
