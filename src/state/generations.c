/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "state/generations.h"

#include "base/checked.h"
#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Numbers count up, and are bounded where they are read: nobody begins so many. */
static const uint32_t NUMBER_MAX = UINT32_MAX / 2;

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static void mark_used(ki_generations *g) {
    g->used = 0;
    for (size_t i = 0; i < g->count; i++)
        for (size_t n = 0; n < g->made->vector_count; n++) g->used |= UINT64_C(1) << g->generation[i].slot[n];
}

static void fill_slot(ki_generations *g, size_t slot, size_t name, uint32_t tenant, const ki_vector *shape) {
    ki_vector *vector = &g->vector[slot];
    *vector = *shape;
    vector->name = g->made->vector[name].name;
    g->spec[slot] =
        (kith_vector_spec){.name = vector->name, .dim = vector->dim, .dtype = vector->dtype, .metric = vector->metric};
    g->tenant[slot] = tenant;
    g->name[slot] = (unsigned char)name;
    if (slot >= g->slots) g->slots = slot + 1;
}

ki_generations *ki_generations_first(const ki_made *made) {
    ki_generations *g = ki_alloc_array_zeroed(1, sizeof(*g));
    if (!g) return NULL;
    g->made = made;
    g->current = 1;
    g->next = 2;
    g->count = 1;
    ki_generation *first = &g->generation[0];
    first->number = 1;
    first->was_current = 1;
    for (size_t n = 0; n < made->vector_count; n++) {
        fill_slot(g, n, n, 1, &made->vector[n]);
        first->slot[n] = (unsigned char)n;
    }
    snprintf(first->model, sizeof(first->model), "%s", made->model ? made->model : "");
    mark_used(g);
    return g;
}

ki_generations *ki_generations_next(const ki_generations *from) {
    ki_generations *g = ki_alloc_array(1, sizeof(*g));
    if (!g) return NULL;
    *g = *from;
    g->edition++;
    return g;
}

/* ---- Changes ----------------------------------------------------------------------------------------------------- */

/* The lowest free slot; KITH_VECTORS_MAX: there is none. */
static size_t free_slot(const ki_generations *g) {
    for (size_t s = 0; s < g->slots; s++)
        if (!g->tenant[s]) return s;
    return g->slots;
}

static size_t name_number(const ki_made *made, const char *name) {
    for (size_t n = 0; n < made->vector_count; n++)
        if (strcmp(made->vector[n].name, name ? name : "") == 0) return n;
    return made->vector_count;
}

/* "there is "a", "b"": for messages. */
enum { NAMES_TEXT = 300 };
static const char *list_names(const ki_made *made, char text[NAMES_TEXT]) {
    size_t used = 0;
    text[0] = 0;
    for (size_t n = 0; n < made->vector_count && used < NAMES_TEXT - 1; n++) {
        const int bytes = snprintf(text + used, NAMES_TEXT - used, "%s\"%s\"", n ? ", " : "", made->vector[n].name);
        used += bytes > 0 ? (size_t)bytes : 0;
    }
    return text;
}

static kith_status no_such_vector(const ki_made *made, const char *name, kith_error *error) {
    char names[NAMES_TEXT];
    return ki_fail(error, KITH_E_NOTFOUND, "the collection has no vector \"%.100s\": there is %s", name ? name : "",
                   list_names(made, names));
}

static kith_status take_slot(ki_generations *g, ki_generation *to, const kith_vector_spec *given, kith_error *error) {
    const size_t name = name_number(g->made, given->name), slot = free_slot(g);
    ki_vector shape = {0};
    if (name == g->made->vector_count) return no_such_vector(g->made, given->name, error);
    if (g->tenant[to->slot[name]] == to->number)
        return ki_fail(error, KITH_E_ARG, "vector \"%s\" is given twice", g->made->vector[name].name);
    const kith_status status = ki_vector_shape(g->made->vector[name].name, given, &shape, error);
    if (status != KITH_OK) return status;
    if (slot == KITH_VECTORS_MAX)
        return ki_fail(error, KITH_E_LIMIT,
                       "the collection's generations have %u vectors together, and more are not possible: drop one",
                       KITH_VECTORS_MAX);
    fill_slot(g, slot, name, to->number, &shape);
    to->slot[name] = (unsigned char)slot;
    return KITH_OK;
}

kith_status ki_generations_begin(ki_generations *g, const kith_generation_options *options, uint64_t now_ms,
                                 kith_error *error) {
    const char *model = options->model ? options->model : "";
    if (!options->vectors || options->vector_count == 0)
        return ki_fail(error, KITH_E_ARG, "a generation needs at least one vector of its own");
    if (g->count == KITH_GENERATIONS_MAX || g->next > NUMBER_MAX)
        return ki_fail(error, KITH_E_LIMIT, "the collection has %zu generations, and more are not possible: drop one",
                       g->count);
    kith_status status = ki_model_check(model, error);
    ki_generation *to = &g->generation[g->count];
    *to = *ki_generations_current(g);
    to->number = g->next++;
    to->was_current = 0;
    to->share = 0;
    to->created_ms = now_ms;
    if (status == KITH_OK) snprintf(to->model, sizeof(to->model), "%s", model);
    for (size_t v = 0; v < options->vector_count && status == KITH_OK; v++)
        status = take_slot(g, to, &options->vectors[v], error);
    g->count++;
    mark_used(g);
    return status;
}

int ki_generations_would_fit(const ki_generations *g, const kith_generation_options *options) {
    return (size_t)__builtin_popcountll(g->used) + options->vector_count <= KITH_VECTORS_MAX;
}

void ki_generations_flip(ki_generations *g, const ki_generation *to) {
    ki_generation *one = &g->generation[to - g->generation];
    g->previous = g->current;
    g->current = one->number;
    one->was_current = 1;
    one->share = 0;
}

void ki_generations_drop(ki_generations *g, uint32_t number) {
    const ki_generation *gone = ki_generations_find(g, number);
    const size_t at = (size_t)(gone - g->generation);
    memmove(&g->generation[at], &g->generation[at + 1], (--g->count - at) * sizeof(*gone));
    if (g->previous == number) g->previous = 0;
    mark_used(g);
}

void ki_generations_free_slots(ki_generations *g, uint64_t leaving) {
    for (size_t s = 0; s < g->slots; s++) {
        if (!(leaving >> s & 1)) continue;
        g->vector[s] = (ki_vector){0};
        g->spec[s] = (kith_vector_spec){0};
        g->tenant[s] = 0;
        g->name[s] = 0;
    }
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

const ki_generation *ki_generations_find(const ki_generations *g, uint32_t number) {
    for (size_t i = 0; i < g->count; i++)
        if (g->generation[i].number == (number ? number : g->current)) return &g->generation[i];
    return NULL;
}

kith_status ki_generations_get(const ki_generations *g, uint32_t number, const ki_generation **found,
                               kith_error *error) {
    char numbers[KITH_GENERATIONS_MAX * 12];
    size_t used = 0;
    *found = ki_generations_find(g, number);
    if (*found) return KITH_OK;
    for (size_t i = 0; i < g->count; i++) {
        const int bytes =
            snprintf(numbers + used, sizeof(numbers) - used, "%s%u", i ? ", " : "", (unsigned)g->generation[i].number);
        used += bytes > 0 ? (size_t)bytes : 0;
    }
    return ki_fail(error, KITH_E_NOTFOUND, "the collection has no generation %u: there is %s", (unsigned)number,
                   numbers);
}

const ki_generation *ki_generations_of(const ki_generations *g, const char *user) {
    for (size_t i = 0; user && i < g->count; i++) {
        const ki_generation *canary = &g->generation[i];
        if (!(canary->share > 0)) continue;
        if (canary->share >= 1) return canary;
        const uint64_t hash = XXH3_64bits_withSeed(user, strlen(user), canary->number);
        if (hash < (uint64_t)ldexp(canary->share, 64)) return canary;
    }
    return ki_generations_current(g);
}

kith_status ki_generations_slot(const ki_generations *g, const ki_generation *generation, const char *name,
                                size_t *slot, kith_error *error) {
    const size_t number = name_number(g->made, name);
    if (number == g->made->vector_count) return no_such_vector(g->made, name, error);
    *slot = generation->slot[number];
    return KITH_OK;
}

uint64_t ki_generations_leaving(const ki_generations *g) {
    uint64_t leaving = 0;
    for (size_t s = 0; s < g->slots; s++)
        if (g->tenant[s] && !ki_generations_uses(g, s)) leaving |= UINT64_C(1) << s;
    return leaving;
}

kith_generation_state ki_generations_state(const ki_generations *g, const ki_generation *generation) {
    if (generation->number == g->current) return KITH_GENERATION_CURRENT;
    if (generation->number == g->previous) return KITH_GENERATION_PREVIOUS;
    return generation->was_current ? KITH_GENERATION_FORMER : KITH_GENERATION_BUILDING;
}

/* ---- As JSON ----------------------------------------------------------------------------------------------------- */

/* null for a free slot. */
static json_t *encode_slot(const ki_generations *g, size_t slot) {
    if (!g->tenant[slot]) return json_null();
    json_t *one = ki_setting_vector(&g->vector[slot]);
    if (one && json_object_set_new(one, "generation", json_integer(g->tenant[slot])) == 0) return one;
    json_decref(one);
    return NULL;
}

static json_t *encode_generation(const ki_generations *g, const ki_generation *from) {
    json_t *slots = json_array();
    for (size_t n = 0; n < g->made->vector_count; n++)
        if (json_array_append_new(slots, json_integer(from->slot[n])) != 0) {
            json_decref(slots);
            return NULL;
        }
    return json_pack("{s:I, s:s, s:b, s:f, s:I, s:o}", "number", (json_int_t)from->number, "model", from->model,
                     "was_current", from->was_current, "share", from->share, "created_ms", (json_int_t)from->created_ms,
                     "slots", slots);
}

kith_status ki_generations_encode(const ki_generations *g, char **text, kith_error *error) {
    json_t *slots = json_array(), *generations = json_array();
    int made = slots && generations;
    for (size_t s = 0; s < g->slots && made; s++) made = json_array_append_new(slots, encode_slot(g, s)) == 0;
    for (size_t i = 0; i < g->count && made; i++)
        made = json_array_append_new(generations, encode_generation(g, &g->generation[i])) == 0;
    if (!made) {
        json_decref(slots);
        json_decref(generations);
        return ki_fail(error, KITH_E_NOMEM, "out of memory");
    }
    return ki_setting_dump(json_pack("{s:i, s:I, s:I, s:I, s:I, s:o, s:o}", "version", KI_SETTING_FORMAT, "edition",
                                     (json_int_t)g->edition, "current", (json_int_t)g->current, "previous",
                                     (json_int_t)g->previous, "next", (json_int_t)g->next, "slots", slots,
                                     "generations", generations),
                           text, error);
}

/* ---- And back ---------------------------------------------------------------------------------------------------- */

/* A whole number from `least` to `most`; 0: that is none. */
static int read_number(const json_t *object, const char *key, uint64_t least, uint64_t most, uint64_t *number) {
    const json_t *value = json_object_get(object, key);
    const json_int_t read = json_integer_value(value);
    if (!json_is_integer(value) || read < 0 || (uint64_t)read < least || (uint64_t)read > most) return 0;
    *number = (uint64_t)read;
    return 1;
}

/* NULL, or what is wrong. */
static const char *read_slot(ki_generations *g, const json_t *one) {
    const size_t slot = g->slots++;
    uint64_t tenant;
    ki_vector shape = {0};
    if (json_is_null(one)) return NULL;
    const kith_vector_spec spec = ki_setting_spec(one);
    if (!spec.name || !read_number(one, "generation", 1, NUMBER_MAX, &tenant)) return "a slot is not whole";
    const size_t name = name_number(g->made, spec.name);
    if (name == g->made->vector_count) return "a slot is of a vector that the collection has not";
    if (ki_vector_shape(spec.name, &spec, &shape, NULL) != KITH_OK) return "a slot's vector cannot be";
    fill_slot(g, slot, name, (uint32_t)tenant, &shape);
    return NULL;
}

static const char *read_generation_slots(ki_generations *g, const json_t *list, ki_generation *to) {
    if (json_array_size(list) != g->made->vector_count) return "a generation has other vectors";
    for (size_t n = 0; n < g->made->vector_count; n++) {
        const json_t *value = json_array_get(list, n);
        const json_int_t slot = json_integer_value(value);
        if (!json_is_integer(value) || slot < 0 || (size_t)slot >= g->slots || !g->tenant[slot] || g->name[slot] != n ||
            g->tenant[slot] > to->number)
            return "a generation has a slot that is not its own";
        to->slot[n] = (unsigned char)slot;
    }
    return NULL;
}

static const char *read_generation(ki_generations *g, const json_t *one) {
    const uint32_t after = g->count ? g->generation[g->count - 1].number : 0;
    ki_generation *to = &g->generation[g->count++];
    const char *model = ki_setting_text(one, "model");
    uint64_t number;
    if (!read_number(one, "number", (uint64_t)after + 1, NUMBER_MAX, &number) || !model ||
        ki_model_check(model, NULL) != KITH_OK || !read_number(one, "created_ms", 0, INT64_MAX, &to->created_ms))
        return "a generation is not whole";
    to->number = (uint32_t)number;
    to->was_current = json_is_true(json_object_get(one, "was_current"));
    to->share = json_number_value(json_object_get(one, "share"));
    if (!(to->share >= 0 && to->share <= 1)) return "a generation's share is beyond any sense";
    snprintf(to->model, sizeof(to->model), "%s", model);
    return read_generation_slots(g, json_object_get(one, "slots"), to);
}

static const char *read_numbers(ki_generations *g, const json_t *root) {
    uint64_t current, previous, next;
    if (!read_number(root, "edition", 1, INT64_MAX / 2, &g->edition) ||
        !read_number(root, "current", 1, NUMBER_MAX, &current) ||
        !read_number(root, "previous", 0, NUMBER_MAX, &previous) ||
        !read_number(root, "next", 1, (uint64_t)NUMBER_MAX + 1, &next))
        return "a number is missing";
    g->current = (uint32_t)current;
    g->previous = (uint32_t)previous;
    g->next = (uint32_t)next;
    return NULL;
}

static const char *check_whole(const ki_generations *g) {
    const ki_generation *current = ki_generations_find(g, g->current);
    size_t canaries = 0;
    for (size_t i = 0; i < g->count; i++) canaries += g->generation[i].share > 0;
    if (!current || current->share > 0 || canaries > 1) return "it has no current generation, or several canaries";
    if (g->previous && (g->previous == g->current || !ki_generations_find(g, g->previous)))
        return "its previous generation cannot be";
    if (g->next <= g->generation[g->count - 1].number) return "its next generation is there already";
    return NULL;
}

static const char *read_all(ki_generations *g, const json_t *root) {
    const json_t *slots = json_object_get(root, "slots"), *generations = json_object_get(root, "generations");
    const size_t slot_count = json_array_size(slots), count = json_array_size(generations);
    if (slot_count == 0 || slot_count > KITH_VECTORS_MAX || count == 0 || count > KITH_GENERATIONS_MAX)
        return "it has no slots or generations, or too many";
    const char *wrong = read_numbers(g, root);
    for (size_t s = 0; s < slot_count && !wrong; s++) wrong = read_slot(g, json_array_get(slots, s));
    for (size_t i = 0; i < count && !wrong; i++) wrong = read_generation(g, json_array_get(generations, i));
    if (wrong) return wrong;
    mark_used(g);
    return check_whole(g);
}

kith_status ki_generations_decode(ki_bytes body, const char *path, const ki_made *made, ki_generations **out,
                                  kith_error *error) {
    json_t *root = NULL;
    kith_status status = ki_setting_load(body, path, KI_SETTING_GENERATIONS, &root, error);
    if (status != KITH_OK) return status;
    ki_generations *g = ki_alloc_array_zeroed(1, sizeof(*g));
    if (!g) {
        json_decref(root);
        return ki_fail(error, KITH_E_NOMEM, "out of memory");
    }
    g->made = made;
    const char *wrong = read_all(g, root);
    json_decref(root);
    if (!wrong) {
        *out = g;
        return KITH_OK;
    }
    free(g);
    return ki_setting_damaged(path, KI_SETTING_GENERATIONS, wrong, error);
}

kith_status ki_generations_read(ki_catalog *catalog, const char *path, const ki_made *made, ki_generations **out,
                                kith_error *error) {
    ki_found found = {0};
    kith_error own = {0};
    kith_status status = ki_catalog_get_setting(catalog, KI_SETTING_GENERATIONS, &found, &own);
    if (status == KITH_OK) {
        status = ki_generations_decode(found.body, path, made, out, error);
    } else if (status == KITH_E_NOTFOUND) {
        *out = ki_generations_first(made);
        status = *out ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory");
    } else {
        status = ki_fail(error, status, "%s", own.text);
    }
    ki_found_free(&found);
    return status;
}
