/* SPDX-License-Identifier: Apache-2.0
 *
 * A copy of what searches read most of a mapped file, in memory that the system can back with huge pages: a row of a
 * graph is some 40 lines at a random place, a list of codes begins at one, and with pages of 4 KiB finding the page costs
 * a good part of reading it.
 *
 * T1. Made by a thread of its own, while searches read the map. It is there for all from one moment on, whole.
 * T2. Where memory or a thread is refused, or the file is damaged meanwhile, there is none, and the map goes on to do.
 * T3. After fork() the child has the copy if it was there by then; otherwise it never will be, and the child's stop
 *     waits for nobody.
 *
 * data and bytes: any thread. */
#ifndef KI_INDEX_HOT_COPY_H
#define KI_INDEX_HOT_COPY_H

#include "store/segment.h"

typedef struct ki_hot_copy ki_hot_copy;

/* Bytes of a file, and how far from the beginning of the copy they go. */
typedef struct ki_hot_part {
    const uint8_t *from;
    size_t bytes, at;
} ki_hot_part;

enum { KI_HOT_PARTS_MAX = 24 };

/* Begin to copy parts of an open segment, which must stay open until the stop, to `room` bytes; NULL: T2. */
ki_hot_copy *ki_hot_copy_start(const ki_segment *segment, const ki_hot_part *parts, size_t count, size_t room);
void ki_hot_copy_stop(ki_hot_copy *hot); /* no search may read the copy any more; NULL is fine */

/* Where the copy will be. */
const uint8_t *ki_hot_copy_place(const ki_hot_copy *hot);
/* Whether it is there; hot may be NULL. */
int ki_hot_copy_done(const ki_hot_copy *hot);
/* Bytes copied so far. */
uint64_t ki_hot_copy_bytes(const ki_hot_copy *hot);

#endif
