/* SPDX-License-Identifier: Apache-2.0
 *
 * What an open segment is made of, shared by opening and verifying. Store only; immutable once open. */
#ifndef KI_STORE_SEGMENT_MAP_H
#define KI_STORE_SEGMENT_MAP_H

#include "base/file.h"
#include "store/format.h"

struct ki_segment {
    char *path;
    const unsigned char *map; /* header.file_bytes bytes, read-only, shared */
    int slot;                 /* in the registry of map.h */
    uint64_t ends[2];         /* the last eight bytes of both header copies as they were when it was opened */
    ki_file_identity identity;
    ki_layout layout;
    ki_segment_head head;
    ki_header header; /* the copy that was believed */
};

#endif
