/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions: a filter's text parsed and checked, a segment's value beside it, and the one tree and name of both. */
#include "match/matching.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>
#include <xxhash.h>

static kith_status parse(kith_collection *collection, const ki_schema *schema, const char *text, ki_parsed **out,
                         kith_error *error) {
    const size_t bytes = strlen(text);
    const uint64_t hash = XXH3_64bits(text, bytes);
    *out = ki_match_cache_parsed(collection->matches, text, bytes, hash, schema);
    if (*out) return KITH_OK;
    ki_parsed *parsed = ki_alloc_array_zeroed(1, sizeof(*parsed));
    char *copy = ki_alloc_array((uint64_t)bytes + 1, 1);
    if (!parsed || !copy) {
        free(parsed);
        free(copy);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for a filter of %zu bytes", bytes);
    }
    memcpy(copy, text, bytes + 1);
    *parsed = (ki_parsed){.schema = schema, .hash = hash, .text_bytes = bytes, .text = copy};
    atomic_init(&parsed->references, 1);
    atomic_init(&parsed->rows_read, 0);
    kith_status status = ki_filter_parse(text, bytes, &parsed->filter, error);
    if (status == KITH_OK) status = ki_filter_check(parsed->filter, schema, &parsed->undeclared, error);
    if (status != KITH_OK) {
        ki_parsed_release(parsed);
        return status;
    }
    ki_match_cache_keep_parsed(collection->matches, parsed);
    *out = parsed;
    return KITH_OK;
}

static kith_status find_field(ki_question *question, kith_collection *collection, const ki_schema *schema,
                              kith_error *error) {
    const char *name = collection->made.segment_field;
    question->field = name[0] ? ki_schema_find(schema, name, strlen(name)) : NULL;
    if (question->field) return KITH_OK;
    return ki_fail(error, KITH_E_NOTFOUND, "the collection has no segment field: it was made without one");
}

/* The tree `field = "segment"`, and the filter too. */
static void join_trees(ki_question *q) {
    q->operand = (ki_operand){.kind = KI_OPERAND_TEXT, .text = q->segment, .text_bytes = (uint32_t)q->segment_bytes};
    q->equal = (ki_filter_node){.op = KI_FILTER_EQ,
                                .name = q->field->name,
                                .name_bytes = (uint32_t)q->field->name_bytes,
                                .count = 1,
                                .operand = &q->operand};
    q->joined = (ki_filter){.root = &q->equal};
    if (q->parsed) {
        q->child[0] = &q->equal;
        q->child[1] = q->parsed->filter->root;
        q->both = (ki_filter_node){.op = KI_FILTER_AND, .count = 2, .child = q->child};
        q->joined.root = &q->both;
    }
    q->filter = &q->joined;
}

/* What names a tree: whether there is a segment, its value with its length, which no text can be taken for, and the
 * filter. */
static char *put_name(char *to, const char *segment, uint64_t segment_bytes, const char *filter, size_t filter_bytes) {
    *to++ = segment != NULL;
    memcpy(to, &segment_bytes, sizeof(segment_bytes));
    to += sizeof(segment_bytes);
    if (segment) memcpy(to, segment, segment_bytes);
    memcpy(to + segment_bytes, filter, filter_bytes);
    return to + segment_bytes + filter_bytes;
}

static int name_trees(ki_question *q) {
    const char *filter = q->parsed ? q->parsed->filter->canonical : "";
    const size_t filter_bytes = strlen(filter), head = 1 + sizeof(uint64_t);
    q->name_bytes = head + q->segment_bytes + filter_bytes;
    q->filter_name_bytes = head + filter_bytes;
    char *name = ki_area_take(&q->memory, q->name_bytes + q->filter_name_bytes, 1);
    if (!name) return 0;
    char *filter_name = put_name(name, q->segment, q->segment_bytes, filter, filter_bytes);
    (void)put_name(filter_name, NULL, 0, filter, filter_bytes);
    q->name = name;
    q->hash = XXH3_64bits(name, q->name_bytes);
    q->filter_name = filter_name;
    q->filter_hash = q->segment ? XXH3_64bits(filter_name, q->filter_name_bytes) : q->hash;
    return 1;
}

kith_status ki_question_ask(ki_question *q, kith_collection *collection, const ki_schema *schema, const char *filter,
                            const char *segment, kith_error *error) {
    const ki_area memory = q->memory;
    *q = (ki_question){.memory = memory};
    kith_status status = KITH_OK;
    if (filter) status = parse(collection, schema, filter, &q->parsed, error);
    if (status == KITH_OK && q->parsed && q->parsed->filter->root->op == KI_FILTER_ALL) {
        ki_parsed_release(q->parsed);
        q->parsed = NULL;
    }
    if (status == KITH_OK && segment) status = find_field(q, collection, schema, error);
    if (status != KITH_OK) {
        ki_question_end(q);
        return status;
    }
    q->segment = segment;
    q->segment_bytes = segment ? strlen(segment) : 0;
    if (q->field)
        join_trees(q);
    else if (q->parsed)
        q->filter = q->parsed->filter;
    if (!q->filter || name_trees(q)) return KITH_OK;
    ki_question_end(q);
    return ki_fail(error, KITH_E_NOMEM, "out of memory for a filter");
}

void ki_question_end(ki_question *q) {
    ki_parsed_release(q->parsed);
    q->parsed = NULL;
    q->filter = NULL;
    q->field = NULL;
}
