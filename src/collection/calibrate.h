/* SPDX-License-Identifier: Apache-2.0
 *
 * Calibrations of segments: what their plans find and cost. What is made of segments that have none takes its place
 * without one, and searches of it are exact; it is measured later, in the background. What is made of others is
 * measured by its build, and they go on meanwhile: so a search with a target recall gets slower at no time.
 *
 * They are records of the catalog, not of index files, which never change. Little-endian:
 *
 *   name   u64 number of the segment, u32 number of the vector
 *   body   u32 version 1, u32 0, the bytes of index/calibration.h
 *
 * Q1. They come and go with their segment, in the same transaction of the catalog.
 * Q2. A calibration is a ki_sealed's, which is constant once others have it: a segment that was measured is opened once
 *     more, from the same files, and takes its own place.
 * Q3. What is damaged or of another version is left aside, as in index files: the segment is measured again. */
#ifndef KI_COLLECTION_CALIBRATE_H
#define KI_COLLECTION_CALIBRATE_H

#include "collection/seal.h"

enum {
    KI_RECORD_CALIBRATION = 2, /* kind of the catalog's records */
    /* Measuring takes as long as half of a build, and what it saves a search grows with the rows. */
    KI_CALIBRATED_FROM = 40000
};

/* A segment that was just opened takes what the catalog has of it. In one read with the segment's body. */
kith_status ki_calibration_read(kith_collection *collection, ki_sealed *sealed, kith_error *error);
/* *same: what an open segment has is what the catalog has now. */
kith_status ki_calibration_same(kith_collection *collection, const ki_sealed *sealed, int *same, kith_error *error);
/* A segment that was opened once more takes what the old one has. */
kith_status ki_calibration_copy(const ki_sealed *old, ki_sealed *sealed, kith_error *error);

/* Between begin and commit: a segment goes. */
kith_status ki_calibration_remove(kith_collection *collection, const ki_sealed *sealed, kith_error *error);

/* Whether a segment waits to be measured; measuring one. *done: there was none. */
int ki_calibrate_wanted(const kith_collection *collection, const ki_snapshot *snapshot);
kith_status ki_calibrate(kith_collection *collection, ki_watch *watch, int *done, kith_error *error);

#endif
