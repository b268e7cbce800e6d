/* SPDX-License-Identifier: Apache-2.0
 *
 * See model.h: the items, and what writes make of them. What a collection is compared with is in model_compare.c. */
#include "support/model.h"

#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *memory) {
    if (memory) return memory;
    fprintf(stderr, "model: no memory for the test itself\n");
    abort();
}

void model_make(model *m, const kith_collection_options *made) {
    *m = (model){.id_kind = made->id_kind,
                 .spec = made->vectors,
                 .spec_count = made->vector_count,
                 .segment_field = made->segment_field};
    for (size_t i = 0; i < made->field_count; i++) model_declare(m, &made->fields[i]);
}

static void item_clear(const model *m, model_item *item) {
    free(item->text);
    json_decref(item->payload);
    for (size_t i = 0; i < m->spec_count; i++) free(item->vector[i]);
}

static unsigned char *row_copy(const kith_vector_spec *spec, const void *row) {
    const size_t bytes = kith_row_bytes(spec->dtype, spec->dim);
    unsigned char *copy = need(malloc(bytes));
    memcpy(copy, row, bytes);
    return copy;
}

static model_item item_copy(const model *m, const model_item *from) {
    model_item to = *from;
    to.text = from->text ? need(strdup(from->text)) : NULL;
    to.payload = from->payload ? need(json_deep_copy(from->payload)) : NULL;
    for (size_t i = 0; i < m->spec_count; i++)
        if (from->vector[i]) to.vector[i] = row_copy(&m->spec[i], from->vector[i]);
    return to;
}

static void add_item(model *m, const model_item *item) {
    if (m->count == m->capacity) {
        m->capacity = 2 * m->capacity + 64;
        m->item = need(realloc(m->item, m->capacity * sizeof(*m->item)));
    }
    m->item[m->count++] = *item;
}

void model_copy(model *to, const model *from) {
    *to = *from;
    to->count = to->capacity = 0;
    to->item = NULL;
    for (size_t i = 0; i < from->count; i++) {
        const model_item item = item_copy(from, &from->item[i]);
        add_item(to, &item);
    }
    to->field = need(malloc((from->field_count + 1) * sizeof(*to->field)));
    if (from->field_count) memcpy(to->field, from->field, from->field_count * sizeof(*to->field));
}

void model_free(model *m) {
    for (size_t i = 0; i < m->count; i++) item_clear(m, &m->item[i]);
    free(m->item);
    free(m->field);
    *m = (model){0};
}

static void remove_item(model *m, size_t place) {
    item_clear(m, &m->item[place]);
    memmove(m->item + place, m->item + place + 1, (m->count - place - 1) * sizeof(*m->item));
    m->count--;
}

void model_declare(model *m, const kith_field *field) {
    m->field = need(realloc(m->field, (m->field_count + 1) * sizeof(*m->field)));
    m->field[m->field_count++] = *field;
}

void model_expire(model *m, uint64_t now_ms) {
    for (size_t i = m->count; i-- > 0;)
        if (m->item[i].expires_ms && m->item[i].expires_ms <= now_ms) remove_item(m, i);
}

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

struct name {
    uint64_t id;
    const char *text;
    size_t bytes;
};

static struct name name_of(const model *m, const kith_ids *ids, size_t i) {
    if (m->id_kind == KITH_ID_U64) return (struct name){ids->ids[i], NULL, 0};
    const uint64_t begin = i ? ids->id_ends[i - 1] : 0;
    return (struct name){UINT64_MAX, ids->id_bytes + begin, ids->id_ends[i] - begin};
}

static model_item *find_name(const model *m, struct name name) {
    for (size_t i = 0; i < m->count; i++) {
        model_item *item = &m->item[i];
        if (!name.text ? item->id == name.id
                       : strlen(item->text) == name.bytes && memcmp(item->text, name.text, name.bytes) == 0)
            return item;
    }
    return NULL;
}

static int condition_met(const model_item *item, const uint64_t *if_version, size_t i) {
    if (!if_version || if_version[i] == KITH_VERSION_ANY) return 1;
    return (item ? item->version : 0) == if_version[i];
}

/* ---- Payloads ---------------------------------------------------------------------------------------------------- */

static json_t *given_payload(const kith_items *items, size_t i) {
    if (!items->payload_bytes) return NULL;
    const uint64_t begin = i ? items->payload_ends[i - 1] : 0, bytes = items->payload_ends[i] - begin;
    return bytes ? need(json_loadb(items->payload_bytes + begin, bytes, 0, NULL)) : NULL;
}

/* Of the given keys only, within objects too; a null removes one. */
static json_t *merged(const json_t *old, json_t *given) {
    const char *key;
    json_t *value, *made = json_is_object(old) ? need(json_deep_copy(old)) : need(json_object());
    json_object_foreach(given, key, value) {
        if (json_is_null(value))
            json_object_del(made, key);
        else if (json_is_object(value))
            json_object_set_new(made, key, merged(json_object_get(made, key), value));
        else
            json_object_set(made, key, value);
    }
    return made;
}

static int is_simple(const json_t *value) {
    return json_is_string(value) || json_is_number(value) || json_is_boolean(value);
}

/* Whether a payload's values have the types that are declared. */
static int well_typed(const model *m, const json_t *payload) {
    for (size_t i = 0; payload && i < m->field_count; i++) {
        const json_t *value = json_object_get(payload, m->field[i].name);
        if (!value || json_is_null(value)) continue;
        const kith_field_type type = m->field[i].type;
        if (type == KITH_FIELD_TAG && !is_simple(value)) return 0;
        if (type == KITH_FIELD_INT && !json_is_integer(value)) return 0;
        if (type == KITH_FIELD_FLOAT && !json_is_number(value)) return 0;
        if (type == KITH_FIELD_BOOL && !json_is_boolean(value)) return 0;
        if (type == KITH_FIELD_TAGS && !is_simple(value) && !json_is_array(value)) return 0;
    }
    return 1;
}

/* ---- Writes ------------------------------------------------------------------------------------------------------ */

static void give_vectors(const model *m, const kith_items *items, size_t i, model_item *to) {
    for (size_t v = 0; v < items->vector_count; v++) {
        const kith_item_vectors *given = &items->vectors[v];
        const char *name = given->name ? given->name : "";
        if (given->present && !given->present[i]) continue;
        for (size_t s = 0; s < m->spec_count; s++) {
            const kith_vector_spec *spec = &m->spec[s];
            if (strcmp(spec->name ? spec->name : "", name) != 0) continue;
            const size_t bytes = kith_row_bytes(given->dtype, given->dim);
            const unsigned char *row = given->data;
            row += i * (given->stride_bytes ? given->stride_bytes : bytes);
            free(to->vector[s]);
            to->vector[s] = need(malloc(kith_row_bytes(spec->dtype, spec->dim)));
            if (given->dtype == spec->dtype) {
                memcpy(to->vector[s], row, bytes);
            } else {
                float *floats = need(malloc(spec->dim * sizeof(float)));
                data_floats(given->dtype, row, spec->dim, floats);
                data_convert(floats, spec->dtype, spec->dim, to->vector[s]);
                free(floats);
            }
        }
    }
}

/* One item as it becomes; old: what was there, or NULL. */
static model_item written(const model *m, const kith_items *items, size_t i, kith_write_mode mode,
                          const model_item *old) {
    const struct name name = name_of(m, &items->ids, i);
    const int keeps = old && (mode == KITH_UPDATE || mode == KITH_MERGE);
    model_item made = keeps ? item_copy(m, old) : (model_item){.id = name.id};
    if (!keeps && name.text) made.text = need(strndup(name.text, name.bytes));
    if (!keeps && old) made.id = old->id;
    json_t *payload = given_payload(items, i);
    if (payload && mode == KITH_MERGE) {
        json_t *whole = merged(made.payload, payload);
        json_decref(payload);
        payload = whole;
    }
    if (payload) {
        json_decref(made.payload);
        made.payload = payload;
    }
    if (items->expires_ms) made.expires_ms = items->expires_ms[i];
    give_vectors(m, items, i, &made);
    return made;
}

/* A later item of the same id takes its place. */
static int superseded(const model *m, const kith_ids *ids, size_t i) {
    const struct name name = name_of(m, ids, i);
    for (size_t j = i + 1; j < ids->count; j++) {
        const struct name later = name_of(m, ids, j);
        if (name.text ? name.bytes == later.bytes && memcmp(name.text, later.text, name.bytes) == 0
                      : name.id == later.id)
            return 1;
    }
    return 0;
}

/* What is wrong with a payload matters whatever becomes of its item. */
static int all_well_typed(const model *m, const kith_items *items) {
    for (size_t i = 0; i < items->ids.count; i++) {
        json_t *payload = given_payload(items, i);
        const int good = well_typed(m, payload);
        json_decref(payload);
        if (!good) return 0;
    }
    return 1;
}

kith_status model_write(model *m, const kith_items *items, kith_write_mode mode, uint64_t version,
                        kith_write_report *report) {
    model after;
    kith_status status = all_well_typed(m, items) ? KITH_OK : KITH_E_DATA;
    *report = (kith_write_report)KITH_WRITE_REPORT_INIT;
    model_copy(&after, m);
    for (size_t i = 0; i < items->ids.count && status == KITH_OK; i++) {
        model_item *old = find_name(&after, name_of(m, &items->ids, i));
        if (superseded(m, &items->ids, i)) continue;
        if (!condition_met(old, items->if_version, i)) {
            report->unmet++;
            continue;
        }
        if (old && mode == KITH_INSERT) status = KITH_E_DATA;
        if (!old && (mode == KITH_UPDATE || mode == KITH_MERGE)) status = KITH_E_NOTFOUND;
        if (status != KITH_OK) break;
        model_item made = written(m, items, i, mode, old);
        made.version = version;
        if (old) {
            report->replaced++;
            item_clear(m, old);
            *old = made;
        } else {
            report->inserted++;
            add_item(&after, &made);
        }
    }
    if (status == KITH_OK && version) {
        if (report->inserted + report->replaced) after.version = version;
        model_free(m);
        *m = after;
    } else {
        model_free(&after);
    }
    report->version = m->version;
    return status;
}

void model_delete(model *m, const kith_ids *ids, const uint64_t *if_version, uint64_t version,
                  kith_write_report *report) {
    *report = (kith_write_report)KITH_WRITE_REPORT_INIT;
    for (size_t i = 0; i < ids->count; i++) {
        model_item *item = find_name(m, name_of(m, ids, i));
        if (superseded(m, ids, i)) continue;
        if (!condition_met(item, if_version, i))
            report->unmet++;
        else if (item) {
            report->removed++;
            remove_item(m, (size_t)(item - m->item));
        }
    }
    if (report->removed) m->version = version;
    report->version = m->version;
}

void model_delete_where(model *m, const condition *where, uint64_t version, kith_write_report *report) {
    *report = (kith_write_report)KITH_WRITE_REPORT_INIT;
    for (size_t i = m->count; i-- > 0;)
        if (condition_holds(where, m->item[i].payload, m->item[i].id)) {
            report->removed++;
            remove_item(m, i);
        }
    if (report->removed) m->version = version;
    report->version = m->version;
}

size_t model_count(const model *m, const condition *where) {
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++) count += !where || condition_holds(where, m->item[i].payload, m->item[i].id);
    return count;
}
