/* SPDX-License-Identifier: Apache-2.0
 *
 * What families and parts are called, and the numbers that version 1 gave to parts, which were sections of their own
 * then. */
#include "store/format.h"

#include <string.h>

#define PART(id, family, part, version1)                                                                               \
    { id, version1, family "/" part, "section '" family "', part '" part "'" }
#define HEAD(number, family)                                                                                           \
    { KI_PART(number, 0), 0, family "/head", "section '" family "', part 'head'" }

static const struct {
    uint32_t id, version1;
    const char *name, *place;
} known[] = {
    HEAD(KI_FAMILY_LISTS, "lists"),
    PART(KI_PART_LISTS, "lists", "table", 1),
    PART(KI_PART_CENTROIDS, "lists", "centroids", 2),
    PART(KI_PART_LIST_BOUNDS, "lists", "bounds", 20),
    PART(KI_PART_COARSE_CODES, "lists", "codes", 18),
    PART(KI_PART_COARSE_FACTORS, "lists", "factors", 19),
    PART(KI_PART_COARSE_FIRST_CODES, "lists", "first_codes", 30),
    PART(KI_PART_COARSE_FIRST_FACTORS, "lists", "first_factors", 31),
    PART(KI_PART_SUPERS, "lists", "supers", 21),
    HEAD(KI_FAMILY_FIRST_LEVEL, "first_level"),
    PART(KI_PART_LEVEL1_BASIS, "first_level", "basis", 5),
    PART(KI_PART_LEVEL1_CODES, "first_level", "codes", 6),
    PART(KI_PART_LEVEL1_FACTORS, "first_level", "factors", 7),
    HEAD(KI_FAMILY_CODES, "codes"),
    PART(KI_PART_CODES, "codes", "codes", 3),
    PART(KI_PART_FACTORS, "codes", "factors", 4),
    HEAD(KI_FAMILY_SECOND_CODE, "second_code"),
    PART(KI_PART_SECOND_MODEL, "second_code", "model", 22),
    PART(KI_PART_SECOND_CODES, "second_code", "codes", 23),
    PART(KI_PART_SECOND_FACTORS, "second_code", "factors", 24),
    HEAD(KI_FAMILY_SECOND_LISTS, "second_lists"),
    PART(KI_PART_SECOND_LIST_COUNTS, "second_lists", "counts", 26),
    PART(KI_PART_SECOND_LIST_ENTRIES, "second_lists", "entries", 27),
    PART(KI_PART_SECOND_LIST_CODES, "second_lists", "codes", 28),
    PART(KI_PART_SECOND_LIST_FACTORS, "second_lists", "factors", 29),
    HEAD(KI_FAMILY_IDS, "ids"),
    PART(KI_PART_IDS, "ids", "ids", 10),
    PART(KI_PART_ID_ORDER, "ids", "order", 11),
    HEAD(KI_FAMILY_ORIGINALS, "originals"),
    PART(KI_PART_ORIGINALS, "originals", "rows", 8),
    PART(KI_PART_INVERSE_NORMS, "originals", "inverse_norms", 9),
    PART(KI_PART_NORMS2, "originals", "norms2", 0),
    HEAD(KI_FAMILY_STRINGS, "strings"),
    PART(KI_PART_STRING_ENDS, "strings", "ends", 12),
    PART(KI_PART_STRING_BYTES, "strings", "bytes", 13),
    PART(KI_PART_STRING_ORDER, "strings", "order", 14),
    HEAD(KI_FAMILY_NAMES, "names"),
    PART(KI_PART_NAME_ENDS, "names", "ends", 15),
    PART(KI_PART_NAME_BYTES, "names", "bytes", 16),
    HEAD(KI_FAMILY_META, "meta"),
    PART(KI_PART_META, "meta", "json", 17),
    HEAD(KI_FAMILY_CALIBRATION, "calibration"),
    PART(KI_PART_CALIBRATION, "calibration", "settings", 25),
    HEAD(KI_FAMILY_ROWS, "rows"),
    PART(KI_PART_KEYS, "rows", "keys", 0),
    PART(KI_PART_TEXT_ENDS, "rows", "ends", 0),
    PART(KI_PART_TEXT_BYTES, "rows", "bytes", 0),
    PART(KI_PART_TEXT_ORDER, "rows", "order", 0),
    HEAD(KI_FAMILY_COLUMNS, "columns"),
    PART(KI_PART_DIRECTORY, "columns", "directory", 0),
    PART(KI_PART_COLUMN_DATA, "columns", "data", 0),
    HEAD(KI_FAMILY_GRAPH, "graph"),
    PART(KI_PART_GRAPH_MODEL, "graph", "model", 0),
    PART(KI_PART_GRAPH_ROWS, "graph", "rows", 0),
    HEAD(KI_FAMILY_HNSW, "hnsw"),
    PART(KI_PART_HNSW_MODEL, "hnsw", "model", 0),
    PART(KI_PART_HNSW_LINKS, "hnsw", "links", 0),
    HEAD(KI_FAMILY_LSH, "lsh"),
    PART(KI_PART_LSH_MODEL, "lsh", "model", 0),
    PART(KI_PART_LSH_TABLES, "lsh", "tables", 0),
};
enum { KNOWN = sizeof(known) / sizeof(*known) };

static const char *const family_names[] = {
    [KI_FAMILY_LISTS] = "lists",
    [KI_FAMILY_FIRST_LEVEL] = "first_level",
    [KI_FAMILY_CODES] = "codes",
    [KI_FAMILY_SECOND_CODE] = "second_code",
    [KI_FAMILY_SECOND_LISTS] = "second_lists",
    [KI_FAMILY_IDS] = "ids",
    [KI_FAMILY_ORIGINALS] = "originals",
    [KI_FAMILY_STRINGS] = "strings",
    [KI_FAMILY_NAMES] = "names",
    [KI_FAMILY_META] = "meta",
    [KI_FAMILY_CALIBRATION] = "calibration",
    [KI_FAMILY_ROWS] = "rows",
    [KI_FAMILY_COLUMNS] = "columns",
    [KI_FAMILY_GRAPH] = "graph",
    [KI_FAMILY_HNSW] = "hnsw",
    [KI_FAMILY_LSH] = "lsh",
};

const char *ki_family_name(uint32_t family) {
    const size_t count = sizeof(family_names) / sizeof(*family_names);
    return family < count && family_names[family] ? family_names[family] : "unknown";
}

const char *ki_part_name(uint32_t id) {
    for (size_t i = 0; i < KNOWN; i++)
        if (known[i].id == id) return known[i].name;
    return "unknown";
}

const char *ki_part_place(uint32_t id) {
    for (size_t i = 0; i < KNOWN; i++)
        if (known[i].id == id) return known[i].place;
    return "an unknown section";
}

uint32_t ki_part_of_version1(uint32_t kind) {
    for (size_t i = 0; i < KNOWN && kind; i++)
        if (known[i].version1 == kind) return known[i].id;
    return 0;
}
