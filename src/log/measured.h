/* SPDX-License-Identifier: Apache-2.0
 *
 * What was measured of segments' plans (index/calibration.h), as records of the catalog: index files never change.
 * Little-endian:
 *
 *   name   u64 number of the segment, u32 number of the vector
 *   body   u32 version 1, u32 0, the bytes of a calibration
 *
 * Q1. They come and go with their segment, in the same transaction of the catalog.
 * Q2. A calibration is a ki_sealed's, which is constant once others have it: a segment that was measured is opened once
 *     more, from the same files, and takes its own place.
 * Q3. What is damaged or of another version is left aside, as in index files: the segment is measured again. */
#ifndef KI_LOG_MEASURED_H
#define KI_LOG_MEASURED_H

#include "state/collection.h"

enum { KI_RECORD_CALIBRATION = 2 }; /* kind of the catalog's records */

/* Whether an index of a segment is such that something can be measured: it has lists or a graph. */
int ki_measured_may(const ki_sealed *sealed, size_t spec);
/* Give an index an encoded calibration, if that is such as it can use (Q3). Before others have the segment. */
kith_status ki_measured_take(ki_sealed *sealed, size_t spec, const unsigned char *bytes, size_t count,
                             kith_error *error);
/* A segment that was just opened takes what the catalog has of it. In one read with the segment's body. */
kith_status ki_measured_read(kith_collection *collection, ki_sealed *sealed, kith_error *error);
/* *same: what an open segment has is what the catalog has now. */
kith_status ki_measured_same(kith_collection *collection, const ki_sealed *sealed, int *same, kith_error *error);
/* A segment that was opened once more takes what the old one has. */
kith_status ki_measured_copy(const ki_sealed *old, ki_sealed *sealed, kith_error *error);

/* Between begin and commit: the records of a segment as it is; none of one that goes. */
kith_status ki_measured_put(kith_collection *collection, const ki_sealed *sealed, kith_error *error);
kith_status ki_measured_remove(kith_collection *collection, const ki_sealed *sealed, kith_error *error);

#endif
