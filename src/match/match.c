/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rows of a state a filter and a segment let through, place by place.
 *
 * A segment of vectors (a tenant's) that has few rows in a place is a list of them, which never touches anything as
 * long as the place. One that has a place for itself (upkeep/split.c) is all that lives there. All else are sieves
 * (matching.h): of sealed segments by their tables' columns, or, where a field is not declared or the table lacks its
 * column yet, by the payloads in the catalog, one pass for all places; of heads row by row, and only the rows that came
 * since the last time. */
#include "match/matching.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>

/* LISTED_MAX: a segment's rows that meet a filter one by one. ROWS_A_SIEVE: a row read by itself costs about as much
 * as so many that a column is asked for (a guess). */
enum { LISTED_MAX = 256, POLL_ITEMS = 256, ROWS_A_SIEVE = 32 };

/* What is let through of one place. */
typedef struct place {
    ki_sieve *sieve;   /* NULL: listed, or everything */
    ki_living *living; /* likewise */
    ki_bits *rows;     /* of a head, where a segment's were looked up; or NULL */
    int pending;       /* to be read from payloads */
    int listed;
    int all;        /* what lives of a sealed place */
    size_t first;   /* listed: of match->rows */
    uint64_t count; /* rows */
} place;

struct ki_match {
    kith_collection *collection;
    ki_snapshot *snapshot;
    const ki_limits *limits;
    ki_question question;
    int everything, read_payloads;
    uint64_t count;
    place *places; /* sealed ones, then heads */
    size_t place_count, listed_rows;
    ki_area place_memory, rows, serials, positions;
    ki_values values;
    ki_found found;
};

static const ki_schema no_fields;

static const ki_schema *schema_of(const ki_match *match) {
    return match->snapshot->schema ? match->snapshot->schema : &no_fields;
}

static kith_status no_memory(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for the rows that a filter lets through");
}

static ki_sieve_name name_of(const ki_match *match) {
    const ki_question *q = &match->question;
    return (ki_sieve_name){
        .publication = UINT64_MAX, .question_hash = q->hash, .question = q->name, .question_bytes = q->name_bytes};
}

/* The sieve is what the place lets through; it is let go of with the match. */
static kith_status take_sieve(ki_match *match, place *at, ki_sieve *sieve, ki_bits *alive, kith_error *error) {
    if (!sieve) return no_memory(error);
    at->sieve = sieve;
    at->living = ki_match_cache_living(match->collection->matches, sieve, alive);
    if (!at->living) return no_memory(error);
    at->count = at->living->rows->set;
    return KITH_OK;
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static ki_sieve_name sealed_name(const ki_match *match, const ki_sealed *sealed) {
    ki_sieve_name name = name_of(match);
    name.number = sealed->number + 1; /* 0 is a head's */
    name.hash = ki_table_hash(sealed->table);
    return name;
}

static bool put_row(uint32_t row, void *bits) {
    if (row < ((ki_bits *)bits)->rows) ki_bits_put(bits, row);
    return true;
}

/* KITH_E_UNSUPPORTED without a text: the table lacks a column. */
static kith_status match_table(const ki_match *match, const ki_sealed *sealed, const ki_filter *filter, ki_bits **bits,
                               kith_error *error) {
    roaring_bitmap_t *rows = NULL;
    kith_error why = {0};
    const kith_status status = ki_table_match(sealed->table, schema_of(match), filter, &rows, &why);
    if (status == KITH_E_UNSUPPORTED) return status;
    if (status != KITH_OK) return ki_fail(error, status, "%s", why.text);
    *bits = ki_bits_create(ki_table_rows(sealed->table), 0);
    if (*bits) roaring_iterate(rows, put_row, *bits);
    roaring_bitmap_free(rows);
    return *bits ? KITH_OK : no_memory(error);
}

static int undeclared(const ki_match *match) {
    return match->question.parsed && match->question.parsed->undeclared;
}

/* By the table where it can answer; else the place is left pending. */
static kith_status match_sealed(ki_match *match, size_t number, kith_error *error) {
    const ki_snapshot_sealed *in = &match->snapshot->sealed[number];
    place *at = &match->places[number];
    ki_sieve_name name = sealed_name(match, in->sealed);
    kith_status status = KITH_E_UNSUPPORTED;
    ki_sieve *sieve = NULL;
    if (!undeclared(match)) {
        ki_bits *bits = NULL;
        sieve = ki_match_cache_find(match->collection->matches, &name);
        if (sieve) return take_sieve(match, at, sieve, in->alive, error);
        status = match_table(match, in->sealed, match->question.filter, &bits, error);
        if (status == KITH_OK) {
            sieve = ki_sieve_create(&name, in->sealed->specs, bits);
            if (sieve) ki_match_cache_keep(match->collection->matches, sieve);
            return take_sieve(match, at, sieve, in->alive, error);
        }
        if (status != KITH_E_UNSUPPORTED) return status;
    }
    match->read_payloads = 1;
    name.publication = match->snapshot->publication;
    sieve = ki_match_cache_find(match->collection->matches, &name);
    if (sieve) return take_sieve(match, at, sieve, in->alive, error);
    at->pending = 1;
    return KITH_OK;
}

/* ---- Payloads ---------------------------------------------------------------------------------------------------- */

struct pass {
    ki_match *match;
    ki_bits **bits;       /* one a sealed place; NULL: it is not pending */
    uint64_t seen, items; /* live rows of pending places */
    int newer;            /* something was written since the state */
};

static int matches_item(const ki_match *match, const ki_catalog_item *item) {
    const char *text = item->text.bytes ? item->text.data : NULL;
    return ki_filter_matches_payload(match->question.filter, schema_of(match), item->payload.data, item->payload.bytes,
                                     item->key, text, item->text.bytes);
}

static kith_status pass_item(void *context, const ki_catalog_item *item, kith_error *error) {
    struct pass *pass = context;
    const ki_match *match = pass->match;
    ki_place at;
    if (match->limits && pass->items++ % POLL_ITEMS == 0) {
        const kith_status status = ki_limits_reached(match->limits, 0);
        if (status == KITH_E_DEADLINE) return ki_fail(error, status, "the search's time was up");
        if (status != KITH_OK) return ki_fail(error, status, "the search was cancelled");
    }
    if (item->version > match->snapshot->version) pass->newer = 1;
    if (!ki_snapshot_find_sealed(match->snapshot, item->key, &at) || !pass->bits[at.sealed]) return KITH_OK;
    pass->seen++;
    if (matches_item(match, item)) ki_bits_put(pass->bits[at.sealed], at.row);
    return KITH_OK;
}

/* Sieves of what the pass found. They are kept only if they are of the state, and not of a newer one in sieve. */
static kith_status take_pass(struct pass *pass, uint64_t wanted, kith_error *error) {
    ki_match *match = pass->match;
    kith_status status = KITH_OK;
    for (size_t i = 0; i < match->snapshot->sealed_count && status == KITH_OK; i++) {
        const ki_snapshot_sealed *in = &match->snapshot->sealed[i];
        if (!pass->bits[i]) continue;
        ki_sieve_name name = sealed_name(match, in->sealed);
        name.publication = match->snapshot->publication;
        ki_sieve *sieve = ki_sieve_create(&name, in->sealed->specs, pass->bits[i]);
        pass->bits[i] = NULL;
        if (sieve && !pass->newer && pass->seen == wanted) ki_match_cache_keep(match->collection->matches, sieve);
        status = take_sieve(match, &match->places[i], sieve, in->alive, error);
    }
    return status;
}

static kith_status read_pending(ki_match *match, kith_error *error) {
    const size_t count = match->snapshot->sealed_count;
    struct pass pass = {.match = match};
    uint64_t wanted = 0;
    pass.bits = ki_alloc_array_zeroed(count, sizeof(ki_bits *));
    kith_status status = pass.bits ? KITH_OK : no_memory(error);
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        if (!match->places[i].pending) continue;
        pass.bits[i] = ki_bits_create(match->snapshot->sealed[i].alive->rows, 0);
        wanted += match->snapshot->sealed[i].alive->set;
        if (!pass.bits[i]) status = no_memory(error);
    }
    if (status == KITH_OK && wanted)
        status = ki_catalog_scan_items(match->collection->catalog, 0, pass_item, &pass, error);
    if (status == KITH_OK) status = take_pass(&pass, wanted, error);
    for (size_t i = 0; i < count && pass.bits; i++) ki_bits_release(pass.bits[i]);
    free(pass.bits);
    return status;
}

/* ---- Heads ------------------------------------------------------------------------------------------------------- */

/* How a head's rows meet a filter: by their values, or by their payloads where it was begun before a field's
 * declaration. */
struct head_filter {
    const ki_head *head;
    const ki_filter *filter;
    const ki_schema *schema; /* of the values, or of the state */
    int payloads;
};

static kith_status begin_head(const ki_match *match, const ki_snapshot_head *in, const ki_filter *filter,
                              struct head_filter *h, kith_error *error) {
    const char *missing = NULL;
    *h = (struct head_filter){in->head, filter, ki_head_schema(in->head), 0};
    if (!h->schema) h->schema = &no_fields;
    const kith_status status = ki_filter_check(filter, h->schema, &missing, error);
    if (!missing) return status;
    h->schema = schema_of(match);
    h->payloads = 1;
    return status;
}

static int head_row_fits(const struct head_filter *h, uint32_t serial) {
    const ki_head_view row = ki_head_row_at(h->head, serial);
    const char *text = row.text_bytes ? row.text : NULL;
    ki_values values;
    if (h->payloads)
        return ki_filter_matches_payload(h->filter, h->schema, row.payload, row.payload_bytes, row.key, text,
                                         row.text_bytes);
    return ki_head_values(h->head, serial, &values) &&
           ki_filter_matches(h->filter, h->schema, &values, row.key, text, row.text_bytes);
}

/* What is known of the head's first rows, and the rest. */
static kith_status extend_sieve(ki_match *match, const ki_snapshot_head *in, const ki_sieve_name *name,
                                ki_sieve *before, ki_sieve **sieve, kith_error *error) {
    const size_t known = before ? (size_t)before->rows->rows : 0;
    ki_bits *bits = ki_bits_create(in->count, 0);
    if (!bits) return no_memory(error);
    if (before) {
        memcpy(bits->word, before->rows->word, (known + 63) / 64 * sizeof(uint64_t));
        bits->set = before->rows->set;
    }
    struct head_filter filter;
    const kith_status status = begin_head(match, in, match->question.filter, &filter, error);
    if (status != KITH_OK) {
        ki_bits_release(bits);
        return status;
    }
    for (size_t i = known; i < in->count; i++)
        if (head_row_fits(&filter, (uint32_t)i)) ki_bits_put(bits, i);
    *sieve = ki_sieve_create(name, 0, bits);
    if (*sieve) ki_match_cache_keep(match->collection->matches, *sieve);
    return KITH_OK;
}

/* A segment's rows of a head are looked up, and only they meet the filter. */
static kith_status match_head_segment(ki_match *match, const ki_snapshot_head *in, place *at, kith_error *error) {
    const ki_question *q = &match->question;
    const ki_schema *schema = ki_head_schema(in->head) ? ki_head_schema(in->head) : &no_fields;
    const ki_field *field = ki_schema_find(schema, q->field->name, q->field->name_bytes);
    ki_head_words *words = ki_match_cache_words(match->collection->matches, in->head);
    const size_t count = field ? ki_head_words_find(words, in->head, in->count, (size_t)(field - schema->fields),
                                                    q->segment, q->segment_bytes, &match->serials)
                               : 0;
    if (count == SIZE_MAX || !(at->rows = ki_bits_create(in->count, 0))) return no_memory(error);
    struct head_filter filter;
    kith_status status = q->parsed ? begin_head(match, in, q->parsed->filter, &filter, error) : KITH_OK;
    for (size_t i = 0; i < count && status == KITH_OK; i++) {
        const uint32_t serial = ((const uint32_t *)match->serials.data)[i];
        if (ki_bits_get(in->live, serial) && (!q->parsed || head_row_fits(&filter, serial)))
            ki_bits_put(at->rows, serial);
    }
    at->listed = 1;
    at->count = at->rows->set;
    return status;
}

static kith_status match_head(ki_match *match, size_t number, kith_error *error) {
    const ki_snapshot_head *in = &match->snapshot->head[number];
    place *at = &match->places[match->snapshot->sealed_count + number];
    if (!in->count) {
        at->listed = 1; /* nothing */
        return KITH_OK;
    }
    if (match->question.field && match->collection->matches) return match_head_segment(match, in, at, error);
    const ki_head_view first = ki_head_row_at(in->head, 0);
    ki_sieve_name name = name_of(match);
    name.head = in->head;
    name.first_key = first.key;
    name.first_version = first.version;
    ki_sieve *sieve = ki_match_cache_find(match->collection->matches, &name);
    if (!sieve || sieve->rows->rows < in->count) {
        ki_sieve *before = sieve;
        sieve = NULL;
        const kith_status status = extend_sieve(match, in, &name, before, &sieve, error);
        ki_sieve_release(before);
        if (status != KITH_OK) return status;
    }
    return take_sieve(match, at, sieve, in->live, error);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

/* Whether a table has the columns of all fields of a tree. */
static int has_columns(const ki_table *table, const ki_schema *schema, const ki_filter_node *node) {
    if (node->name) {
        const ki_field *field = ki_schema_find(schema, node->name, node->name_bytes);
        return field && ki_table_has(table, field);
    }
    for (size_t i = 0; i < node->count && node->child; i++)
        if (!has_columns(table, schema, node->child[i])) return 0;
    return 1;
}

/* Whether one row of a segment passes the filter beside it. */
static kith_status passes(ki_match *match, const ki_sealed *sealed, uint32_t row, int indexed, int *fits,
                          kith_error *error) {
    const ki_filter *filter = match->question.parsed->filter;
    const uint64_t key = ki_table_keys(sealed->table)[row];
    size_t text_bytes = 0;
    const char *text = ki_table_text(sealed->table, row, &text_bytes);
    if (indexed) {
        const kith_status status = ki_table_values(sealed->table, schema_of(match), row, &match->values);
        if (status != KITH_OK) return ki_fail(error, status, "%s: a row cannot be read", sealed->folder);
        *fits = ki_filter_matches(filter, schema_of(match), &match->values, key, text_bytes ? text : NULL, text_bytes);
        return KITH_OK;
    }
    match->read_payloads = 1;
    const kith_status status = ki_catalog_get_item(match->collection->catalog, key, &match->found, error);
    *fits = status == KITH_OK && matches_item(match, &match->found.item);
    return status == KITH_E_NOTFOUND ? KITH_OK : status;
}

/* The filter's own sieve, which all segments of vectors share: where it is kept already, or so many rows were read one
 * by one that it is worth making. NULL: it is not. */
static kith_status filter_sieve(ki_match *match, const ki_sealed *sealed, uint64_t count, ki_sieve **sieve,
                                kith_error *error) {
    const ki_question *q = &match->question;
    ki_sieve_name name = sealed_name(match, sealed);
    name.question = q->filter_name;
    name.question_bytes = q->filter_name_bytes;
    name.question_hash = q->filter_hash;
    *sieve = ki_match_cache_find(match->collection->matches, &name);
    if (*sieve || !match->collection->matches) return KITH_OK;
    if (atomic_fetch_add(&q->parsed->rows_read, count) < ki_table_rows(sealed->table) / ROWS_A_SIEVE) return KITH_OK;
    ki_bits *bits = NULL;
    const kith_status status = match_table(match, sealed, q->parsed->filter, &bits, error);
    if (status != KITH_OK) return status;
    *sieve = ki_sieve_create(&name, sealed->specs, bits);
    if (*sieve) ki_match_cache_keep(match->collection->matches, *sieve);
    return *sieve ? KITH_OK : no_memory(error);
}

static kith_status list_rows(ki_match *match, size_t number, const uint32_t *rows, uint64_t count, kith_error *error) {
    const ki_snapshot_sealed *in = &match->snapshot->sealed[number];
    place *at = &match->places[number];
    const ki_parsed *parsed = match->question.parsed;
    const int indexed =
        parsed && !parsed->undeclared && has_columns(in->sealed->table, schema_of(match), parsed->filter->root);
    ki_sieve *sieve = NULL;
    kith_status status = indexed ? filter_sieve(match, in->sealed, count, &sieve, error) : KITH_OK;
    uint32_t *list = ki_area_grow(&match->rows, match->listed_rows + count, sizeof(*list));
    if (status == KITH_OK && !list) status = no_memory(error);
    at->listed = 1;
    at->first = match->listed_rows;
    for (uint64_t i = 0; i < count && status == KITH_OK; i++) {
        int fits = ki_bits_get(in->alive, rows[i]);
        if (fits && sieve)
            fits = ki_bits_get(sieve->rows, rows[i]);
        else if (fits && parsed)
            status = passes(match, in->sealed, rows[i], indexed, &fits, error);
        list[match->listed_rows] = rows[i];
        match->listed_rows += (size_t)(fits && status == KITH_OK);
    }
    at->count = match->listed_rows - at->first;
    ki_sieve_release(sieve);
    return status;
}

/* A segment's rows in one place: a list where they are few, or with a filter very few; else by the tree of both. */
static kith_status match_segment(ki_match *match, size_t number, kith_error *error) {
    const ki_question *q = &match->question;
    const uint32_t *rows;
    const uint64_t count =
        ki_table_word(match->snapshot->sealed[number].sealed->table, q->field, q->segment, q->segment_bytes, &rows);
    const ki_snapshot_sealed *in = &match->snapshot->sealed[number];
    if (!count || (rows && (!q->parsed || count <= LISTED_MAX))) return list_rows(match, number, rows, count, error);
    if (rows || q->parsed || count < 2 || count != in->alive->rows) return match_sealed(match, number, error);
    match->places[number].all = 1; /* its own segment */
    match->places[number].count = in->alive->set;
    return KITH_OK;
}

/* ---- All together ------------------------------------------------------------------------------------------------ */

static kith_status match_places(ki_match *match, kith_error *error) {
    const ki_snapshot *snapshot = match->snapshot;
    kith_status status = KITH_OK;
    int pending = 0;
    for (size_t i = 0; i < snapshot->sealed_count && status == KITH_OK; i++) {
        status = match->question.field ? match_segment(match, i, error) : match_sealed(match, i, error);
        pending |= match->places[i].pending;
    }
    if (status == KITH_OK && pending) status = read_pending(match, error);
    for (size_t i = 0; i < snapshot->head_count && status == KITH_OK; i++) status = match_head(match, i, error);
    if (undeclared(match)) match->read_payloads = 1;
    for (size_t i = 0; i < match->place_count; i++) match->count += match->places[i].count;
    return status;
}

static kith_status begin(ki_match *match, kith_collection *collection, ki_snapshot *snapshot, const ki_limits *limits,
                         kith_error *error) {
    match->collection = collection;
    match->snapshot = snapshot;
    match->limits = limits;
    match->everything = match->read_payloads = 0;
    match->count = match->listed_rows = 0;
    const size_t count = snapshot->sealed_count + snapshot->head_count;
    place *places = ki_area_take(&match->place_memory, count, sizeof(*places));
    if (!places) return no_memory(error);
    for (size_t i = 0; i < count; i++) places[i] = (place){0};
    match->places = places;
    match->place_count = count;
    return KITH_OK;
}

kith_status ki_match_renew(ki_match **out, kith_collection *collection, ki_snapshot *snapshot, const char *filter,
                           const char *segment, const ki_limits *limits, kith_error *error) {
    ki_match *match = *out ? *out : ki_alloc_array_zeroed(1, sizeof(*match));
    if (!match) return no_memory(error);
    *out = match;
    kith_status status = begin(match, collection, snapshot, limits, error);
    if (status == KITH_OK)
        status = ki_question_ask(&match->question, collection, schema_of(match), filter, segment, error);
    if (status == KITH_OK && !match->question.filter) {
        match->everything = 1;
        match->count = snapshot->items;
    } else if (status == KITH_OK) {
        status = match_places(match, error);
    }
    if (status != KITH_OK) ki_match_empty(match);
    return status;
}

void ki_match_empty(ki_match *match) {
    if (!match) return;
    for (size_t i = 0; i < match->place_count; i++) {
        ki_living_release(match->places[i].living);
        ki_sieve_release(match->places[i].sieve);
        ki_bits_release(match->places[i].rows);
    }
    match->place_count = 0;
    match->snapshot = NULL;
    ki_question_end(&match->question);
}

kith_status ki_match_create(kith_collection *collection, ki_snapshot *snapshot, const char *filter, const char *segment,
                            ki_match **out, kith_error *error) {
    ki_match *match = NULL;
    const kith_status status = ki_match_renew(&match, collection, snapshot, filter, segment, NULL, error);
    if (status == KITH_OK)
        *out = match;
    else
        ki_match_destroy(match);
    return status;
}

void ki_match_destroy(ki_match *match) {
    if (!match) return;
    ki_match_empty(match);
    free(match->place_memory.data);
    free(match->rows.data);
    free(match->serials.data);
    free(match->positions.data);
    free(match->question.memory.data);
    ki_values_free(&match->values);
    ki_found_free(&match->found);
    free(match);
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

uint64_t ki_match_count(const ki_match *match) {
    return match->count;
}

uint64_t ki_match_shared(const ki_match *match) {
    uint64_t sum = 0;
    for (size_t i = 0; i < match->snapshot->sealed_count; i++)
        if (!match->snapshot->sealed[i].sealed->own) sum += match->places[i].count;
    return sum;
}

int ki_match_read_payloads(const ki_match *match) {
    return match->read_payloads;
}

const ki_bits *ki_match_rows(const ki_match *match, size_t sealed) {
    return match->everything ? NULL : match->places[sealed].living->rows;
}

const ki_bits *ki_match_serials(const ki_match *match, size_t head) {
    if (match->everything) return NULL;
    const place *at = &match->places[match->snapshot->sealed_count + head];
    if (at->rows) return at->rows;
    return at->living ? at->living->rows : match->snapshot->head[head].live; /* which is empty */
}

static kith_status list_positions(ki_match *match, const place *at, const ki_sealed *sealed, size_t spec,
                                  ki_match_positions *positions, kith_error *error) {
    const uint32_t *rows = (const uint32_t *)match->rows.data + at->first;
    uint32_t *list = ki_area_take(&match->positions, at->count + 1, sizeof(*list));
    if (!list) return no_memory(error);
    *positions = (ki_match_positions){.few = list};
    for (uint64_t i = 0; i < at->count; i++)
        positions->count += (uint64_t)ki_sealed_row_position(sealed, spec, rows[i], &list[positions->count]);
    return KITH_OK;
}

kith_status ki_match_positions_of(ki_match *match, size_t number, size_t spec, ki_match_positions *positions,
                                  kith_error *error) {
    const ki_snapshot_sealed *in = &match->snapshot->sealed[number];
    const place *at = &match->places[number];
    const ki_bits *live = in->positions[spec];
    if (match->everything || at->all) {
        *positions = ki_match_everything(live);
        return KITH_OK;
    }
    if (at->listed) return list_positions(match, at, in->sealed, spec, positions, error);
    const ki_sieve_positions *known = ki_living_positions(at->living, at->sieve, in->sealed, spec, live);
    if (!known) return no_memory(error);
    *positions = known->count == live->set ? ki_match_everything(live)
                                           : (ki_match_positions){known->bits, known->few, known->count, known->counts};
    return KITH_OK;
}

ki_filter_notes *ki_match_notes(const ki_match *match, size_t sealed, size_t spec) {
    const place *at = &match->places[sealed];
    if (match->everything || at->all || at->listed) return NULL;
    return ki_match_cache_notes(match->collection->matches, at->sieve, spec);
}

void ki_match_searched(const ki_match *match, size_t sealed, size_t spec, ki_filter_notes *notes) {
    if (atomic_load_explicit(&notes->due, memory_order_relaxed) == KI_STUDY_WANTED)
        ki_match_note_due(match->collection->matches, match->places[sealed].sieve, spec, notes);
}
