/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring an index's plans. kith_tune() does it for a file, ki_tune_build() for one that is being written; how it is
 * done is told in inner.h. */
#ifndef KI_TUNE_TUNE_H
#define KI_TUNE_TUNE_H

#include "kith.h"
#include "index/index.h"
#include "store/segment.h"

/* Whether an index has something to measure: lists, or another index; every search is exact otherwise. */
int ki_tune_worth(const kith_index *index);

/* Measure an index that is about to be finished, and append the calibration to it. build_ns: what the build took;
 * memory_bytes: what measuring may take, about. Does nothing without originals or where it is not worth it. */
kith_status ki_tune_build(ki_segment_writer *writer, const ki_segment_head *head, const kith_tune_options *options,
                          uint64_t build_ns, uint64_t memory_bytes, kith_error *error);

/* Measure an open index, which stays as it is: *bytes, an encoded calibration, are the caller's to free. budget_ns:
 * about the time that each thread is at it, 0: as at the end of a build. memory_bytes as above. KITH_E_UNSUPPORTED: not
 * worth it, or no originals. */
kith_status ki_tune_index(const kith_index *index, const kith_tune_options *options, uint64_t budget_ns,
                          uint64_t memory_bytes, unsigned char **bytes, size_t *count, kith_error *error);

/* ---- survivors.c ------------------------------------------------------------------------------------------------- */

/* The share of rows that scans of an index that is about to be finished score again; 0 where it is not measured: few
 * rows, bits, or no originals. */
kith_status ki_tune_survivors(ki_segment_writer *writer, const ki_segment_head *head, const kith_open_options *open,
                              double *share, kith_error *error);

#endif
