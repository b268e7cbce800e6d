/* SPDX-License-Identifier: Apache-2.0
 *
 * What every room that has a collection asks of it. */
#include "state/collection.h"

#include "base/status.h"

#include <stdio.h>
#include <string.h>

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

kith_status ki_collection_vector_number(const kith_collection *collection, const char *name, size_t *number,
                                        kith_error *error) {
    const char *wanted = name ? name : "";
    const ki_made *made = &collection->made;
    char names[300];
    size_t used = 0;
    for (size_t v = 0; v < made->vector_count; v++)
        if (strcmp(made->vector[v].name, wanted) == 0) {
            *number = v;
            return KITH_OK;
        }
    for (size_t v = 0; v < made->vector_count && used < sizeof(names) - 1; v++) {
        const int bytes = snprintf(names + used, sizeof(names) - used, "%s\"%s\"", v ? ", " : "", made->vector[v].name);
        used += bytes > 0 ? (size_t)bytes : 0;
    }
    return ki_fail(error, KITH_E_NOTFOUND, "the collection has no vector \"%.100s\": there is %s", wanted, names);
}
