/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading much at once, inside: one segment that is built beside the collection, and put in its place in one
 * transaction (kith_collection_load).
 *
 *   stage    the folder "load": what is built so far, and a manifest that says what it is; going on with it
 *   items    ids become keys; payloads and keys become the file `items`
 *   build    payloads checked, the table, an index of each named vector
 *   commit   older rows of the keys die, items go into the catalog, the segment into the state
 *
 *   load/items      payloads back to back, zeros up to a multiple of 8; where there are payloads an end for each row
 *                   (u64); a key for each row (u64). In the order of rows
 *   load/manifest   what was loaded, as far as it is built (stage.c)
 *   load/segment/   the files of the segment; for the commit it is renamed to segments/<number>
 *
 * D1. Nothing of a load is seen before its transaction, and it takes no lock but to reserve keys and to commit.
 * D2. What the manifest names was synced before. A load without a manifest is as good as none.
 * D3. One load at a time in a collection (kith_collection.loading).
 * D4. Where a commit fails so that nobody knows what the disk holds, files stay where they are: the next opening finds
 *     out who names them, and puts those back that nobody does (ki_load_put_back).
 * D5. The version of a load is made by its commit, so that it replaces what was written before that. Since the log does
 *     not know of it, the segment's body bears that version (body.h).
 *
 * One thread, and those of builds. */
#ifndef KI_LOAD_LOAD_H
#define KI_LOAD_LOAD_H

#include "state/collection.h"

/* The rows of one named vector. */
typedef struct ki_load_source {
    size_t spec; /* its slot */
    kith_reader *reader;
    kith_reader_info info;
} ki_load_source;

typedef struct ki_load {
    kith_collection *collection;
    const ki_generations *generations; /* whose slots are filled, those of the current one; lives as long as it */
    kith_load_options options;
    kith_load_report report;
    const ki_schema *schema; /* whose columns the table has */
    size_t sources;
    ki_load_source source[KITH_VECTORS_MAX];
    uint64_t rows;

    char *folder, *files, *items_path, *manifest_path; /* load, load/segment, ... */
    uint64_t mark;                                     /* hash of what the sources are */
    uint64_t payload_bytes, items_hash;                /* of load/items */
    int has_payloads, built;                           /* built: there is a manifest */

    /* load/items, mapped */
    void *map;
    uint64_t map_bytes;
    int map_slot;
    const char *payload;
    const uint64_t *end; /* NULL: no payloads */
    const uint64_t *key;

    uint32_t *order; /* rows by ascending key */
    char *text;      /* string ids by row, until the table is written; NULL with numbers */
    uint64_t *text_end;

    ki_body made;    /* names of the segment's files */
    uint64_t number; /* of its folder, once it is placed */
    ki_sealed *sealed;
} ki_load;

/* KITH_E_CANCELLED when the caller says so. stage: static. */
kith_status ki_load_tell(const ki_load *load, const char *stage, uint64_t done, kith_error *error);
/* "path: row 7 (id 12)", for messages. */
enum { KI_LOAD_ROW_TEXT = 320 };
const char *ki_load_row_text(const ki_load *load, uint64_t row, char text[KI_LOAD_ROW_TEXT]);

/* ---- stage.c ----------------------------------------------------------------------------------------------------- */

/* An empty folder, or with options.resume the one that is there: then load->made has what is built, and built is
 * set. */
kith_status ki_load_stage(ki_load *load, kith_error *error);
/* The manifest says what load->made does. */
kith_status ki_load_keep(ki_load *load, kith_error *error);
/* The files get a number and become segments/<number>; back. */
kith_status ki_load_place(ki_load *load, kith_error *error);
void ki_load_displace(ki_load *load);
/* Remove the folder with all that is in it, the manifest first. */
void ki_load_clear(const ki_load *load);
/* At opening for writing, before orphans are removed: files of a load that was killed while it was committed go back
 * to where it can be resumed; what was committed, or cannot be resumed, leaves no folder behind. */
void ki_load_put_back(kith_collection *collection);

/* ---- items.c ----------------------------------------------------------------------------------------------------- */

/* Make load/items and its hash. */
kith_status ki_load_write_items(ki_load *load, kith_error *error);
/* Map it; `check`: compare it with its hash. */
kith_status ki_load_map_items(ki_load *load, int check, kith_error *error);
void ki_load_unmap_items(ki_load *load);
/* load->order; KITH_E_DATA: two rows have one key. */
kith_status ki_load_sort(ki_load *load, kith_error *error);

/* ---- build.c ----------------------------------------------------------------------------------------------------- */

kith_status ki_load_write_table(ki_load *load, kith_error *error);
/* The index of one named vector, if it is not there. */
kith_status ki_load_build_index(ki_load *load, const ki_load_source *source, kith_error *error);

/* ---- commit.c ---------------------------------------------------------------------------------------------------- */

/* KITH_E_DATA: an id is there already, as far as the current state tells. For KITH_INSERT, before anything is built. */
kith_status ki_load_refuse_known(const ki_load *load, kith_error *error);
/* load->sealed takes its place. *known: what the disk holds is known. */
kith_status ki_load_commit(ki_load *load, int *known, kith_error *error);

#endif
