/* SPDX-License-Identifier: Apache-2.0
 *
 * Amending a segment by its name, as tests and fuzz targets do that make odd files. */
#ifndef TESTS_SUPPORT_AMEND_H
#define TESTS_SUPPORT_AMEND_H

#include "store/segment.h"

static inline kith_status amend_file(const char *path, uint32_t kind, const void *data, uint64_t bytes, uint64_t count,
                                     kith_error *error) {
    ki_segment *old = NULL;
    kith_status status = ki_segment_open(path, NULL, &old, error);
    if (status == KITH_OK) status = ki_segment_amend(old, kind, data, bytes, count, NULL, NULL, NULL, error);
    ki_segment_close(old);
    return status;
}

#endif
