/* SPDX-License-Identifier: Apache-2.0
 *
 * Public structs that grow. A caller was compiled against some kith.h, whose structs may be shorter or longer than
 * today's; each says its size in struct_size, and only through here are they read and written.
 *
 * G1. Members are only ever added, behind the last one, and where no released struct had padding: what an older caller
 *     wrote is a prefix of today's struct. A struct without struct_size never changes.
 * G2. Options, read: members beyond the caller's struct have the values of today's _INIT. Bytes beyond today's struct
 *     must be zero: they hold a wish of a newer caller otherwise, and ignoring it would answer another question.
 * G3. Reports, written: as much as the caller's struct holds, and never more. Its struct_size stays; what it has beyond
 *     today's struct becomes zero, which is every member's "not known".
 * G4. A size below what the first release had, or beyond any sense, means that nobody initialised the struct.
 *
 * tests/e2e/test_contract.py holds the table in grow.c and G1 against the headers of all releases. Any thread. */
#ifndef KI_BASE_GROW_H
#define KI_BASE_GROW_H

#include "kith.h"

typedef enum ki_grown {
    KI_GROWN_CPU,
    KI_GROWN_DEVICE,
    KI_GROWN_READER_OPTIONS,
    KI_GROWN_READER_INFO,
    KI_GROWN_SOURCE,
    KI_GROWN_BUILD_OPTIONS,
    KI_GROWN_BUILD_REPORT,
    KI_GROWN_OPEN_OPTIONS,
    KI_GROWN_INDEX_INFO,
    KI_GROWN_SECTION,
    KI_GROWN_EXPLAIN,
    KI_GROWN_QUERIES,
    KI_GROWN_SEARCH_OPTIONS,
    KI_GROWN_JOIN_OPTIONS,
    KI_GROWN_JOIN_REPORT,
    KI_GROWN_TUNE_OPTIONS,
    KI_GROWN_COLLECTION_OPTIONS,
    KI_GROWN_COLLECTION_OPEN_OPTIONS,
    KI_GROWN_ITEMS,
    KI_GROWN_WRITE_REPORT,
    KI_GROWN_SCROLL,
    KI_GROWN_COLLECTION_INFO,
    KI_GROWN_REPAIR_REPORT,
    KI_GROWN_HITS,
    KI_GROWN_ASK,
    KI_GROWN_ASK_REPORT,
    KI_GROWN_PROFILE_OPTIONS,
    KI_GROWN_PROFILE_REPORT,
    KI_GROWN_REBUILD_REPORT,
    KI_GROWN_GENERATION_OPTIONS,
    KI_GROWN_GENERATION_INFO,
    KI_GROWN_GENERATION_CHECK_OPTIONS,
    KI_GROWN_GENERATION_REPORT,
    KI_GROWN_FLIP_OPTIONS,
    KI_GROWN_FLIP_REPORT,
    KI_GROWN_LOAD_OPTIONS,
    KI_GROWN_LOAD_REPORT,
    KI_GROWN_COUNT
} ki_grown;

/* Read a caller's struct into `today`, which holds the _INIT values and keeps its struct_size (G2). given NULL: the
 * _INIT values stay. KITH_E_ARG names the struct. */
kith_status ki_grown_read(ki_grown which, const void *given, void *today, kith_error *error);

/* Whether a caller's struct can be written to (G4); NULL can. Ask before any work is done. */
kith_status ki_grown_check(ki_grown which, const void *given, kith_error *error);

/* Write today's struct into the caller's, which was checked (G3). NULL is fine. */
void ki_grown_write(ki_grown which, const void *today, void *given);

#endif
