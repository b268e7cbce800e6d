/* SPDX-License-Identifier: Apache-2.0
 *
 * The calibration of an index: measured recall and cost of its plans, and what its queries looked like. src/tune
 * measures it, search/planner.c chooses by it, the section 'calibration' keeps it. Its bytes, little-endian:
 *
 *     0  "KITHCAL\n"          32  f64 unusual_below
 *     8  u32 version          40  f64 median
 *    12  u32 settings         48  f64 near_duplicates, then 8 zeros
 *    16  u32 queries          64  settings of 56 bytes each: u32 plan, code, k, batch, nprobe, rerank,
 *    20  u32 flags                f64 recall, recall_error, query_ns, lost
 *    24  u64 seed           last  XXH3-64 of all bytes before
 *
 * C1. Magic, version and the hash over all but the last eight bytes are the same in every version: so a section of a
 *     later version is told from a damaged one.
 * C2. What ki_calibration_decode() accepts needs no further checks: numbers are finite and in range, and settings
 *     ascend by (k, plan, code, nprobe, rerank, batch).
 *
 * Constant once decoded: any thread. */
#ifndef KI_INDEX_CALIBRATION_H
#define KI_INDEX_CALIBRATION_H

#include "kith.h"

enum {
    KI_CALIBRATION_VERSION = 1,
    KI_CALIBRATION_HEAD_BYTES = 64,
    KI_CALIBRATION_SETTING_BYTES = 56,
    KI_CALIBRATION_SETTINGS_MAX = 8192,
    KI_CALIBRATION_EFFORT_MAX = 1000000 /* of plans graph, hnsw and lsh, which stands where lists do */
};

typedef struct ki_calibration {
    kith_tuned *settings; /* owned */
    size_t count;         /* 0: no calibration */
    uint32_t queries;     /* that recall was measured with */
    int held_out;         /* they came from a reader, not from the index */
    uint64_t seed;
    float unusual_below; /* queries whose statistic (ki_query_statistic) is below differ from the calibration's */
    float median;        /* of that statistic */
    /* Share of stored rows with near-duplicates (tune/near.c): 0..1; 0 too where it was not measured. */
    double near_duplicates;
} ki_calibration;

typedef enum ki_calibration_state {
    KI_CALIBRATION_GOOD,
    KI_CALIBRATION_OTHER_VERSION,
    KI_CALIBRATION_DAMAGED,
    KI_CALIBRATION_NO_MEMORY
} ki_calibration_state;

/* Order of C2. */
int ki_tuned_compare(const void *a, const void *b);

/* Whether two settings differ by batch and what was measured at most. */
static inline int ki_tuned_same(const kith_tuned *a, const kith_tuned *b) {
    return a->k == b->k && a->plan == b->plan && a->code == b->code && a->nprobe == b->nprobe && a->rerank == b->rerank;
}

size_t ki_calibration_bytes(size_t settings);
size_t ki_calibration_settings(size_t bytes); /* the other way round */
/* `bytes` has room for ki_calibration_bytes(calibration->count). */
void ki_calibration_encode(const ki_calibration *calibration, unsigned char *bytes);
/* Unless GOOD *calibration is untouched. The bytes may change meanwhile (a map of a file that is cut): they are copied
 * first. */
ki_calibration_state ki_calibration_decode(const void *data, uint64_t bytes, ki_calibration *calibration);
void ki_calibration_free(ki_calibration *calibration);

#endif
