/* SPDX-License-Identifier: Apache-2.0
 *
 * Items by their ids, as far as a key may see them. Without a segment that is what the collection has. With one the ids
 * are looked up by scrolls with the segment's condition and `has_id`, some at a time; what they find comes in the
 * collection's order and is put into that of the ids again. */
#include <stdlib.h>
#include <string.h>

#include "native/look.h"

enum { CHUNK = 2000, CHUNK_BYTES = 512 * 1024, NOT_THERE = -1 };

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

static const char *id_text(const kith_ids *ids, size_t at, size_t *bytes) {
    const uint64_t begin = at ? ids->id_ends[at - 1] : 0;
    *bytes = (size_t)(ids->id_ends[at] - begin);
    return ids->id_bytes + begin;
}

/* {"must": [{"has_id": [...]}, the segment's condition]} */
static char *chunk_filter(ks_call *call, const ks_shop *shop, const kith_ids *ids, size_t first, size_t count) {
    ks_text text = {0};
    ks_json json = KS_JSON(&text);
    ks_json_object(&json, NULL);
    ks_json_array(&json, "must");
    ks_json_object(&json, NULL);
    ks_json_array(&json, "has_id");
    for (size_t i = first; i < first + count; i++) {
        size_t bytes;
        if (ids->ids)
            ks_json_uint(&json, NULL, ids->ids[i]);
        else {
            const char *id = id_text(ids, i, &bytes);
            ks_json_bytes(&json, NULL, id, bytes);
        }
    }
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_json_object(&json, NULL);
    ks_json_text(&json, "key", shop->segment_field);
    ks_json_object(&json, "match");
    ks_json_text(&json, "value", call->key->segment);
    ks_json_object_end(&json);
    ks_json_object_end(&json);
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_text_add(&text, "", 1);
    if (!text.failed) return text.bytes;
    ks_text_free(&text);
    return NULL;
}

/* How many ids from `first` on go into one scroll. */
static size_t chunk_of(const kith_ids *ids, size_t first) {
    size_t count = ids->count - first < CHUNK ? ids->count - first : CHUNK, bytes = 0;
    for (size_t i = 0; !ids->ids && i < count; i++) {
        size_t more;
        (void)id_text(ids, first + i, &more);
        bytes += more;
        if (bytes > CHUNK_BYTES) return i ? i : 1;
    }
    return count;
}

/* ---- What was found, by id --------------------------------------------------------------------------------------- */

struct found_id {
    uint64_t number;
    const char *text; /* NULL: the number is it */
    size_t bytes;
    ptrdiff_t at;
};

static int compare(const void *a, const void *b) {
    const struct found_id *one = a, *other = b;
    if (!one->text) return one->number < other->number ? -1 : one->number > other->number;
    const size_t shorter = one->bytes < other->bytes ? one->bytes : other->bytes;
    const int order = memcmp(one->text, other->text, shorter);
    return order ? order : one->bytes < other->bytes ? -1 : one->bytes > other->bytes;
}

static struct found_id *sorted(const kith_hits *hits) {
    struct found_id *all = malloc((hits->count + 1) * sizeof *all);
    for (size_t i = 0; all && i < hits->count; i++) {
        all[i] = (struct found_id){.number = hits->ids[i], .at = (ptrdiff_t)i};
        if (!hits->id_bytes) continue;
        const uint64_t begin = i ? hits->id_ends[i - 1] : 0;
        all[i].text = hits->id_bytes + begin;
        all[i].bytes = (size_t)(hits->id_ends[i] - begin);
    }
    if (all) qsort(all, hits->count, sizeof *all, compare);
    return all;
}

static ptrdiff_t place_of(const struct found_id *all, size_t count, const kith_ids *ids, size_t at) {
    struct found_id wanted = {0};
    if (ids->ids)
        wanted.number = ids->ids[at];
    else
        wanted.text = id_text(ids, at, &wanted.bytes);
    const struct found_id *found = bsearch(&wanted, all, count, sizeof *all, compare);
    return found ? found->at : NOT_THERE;
}

/* ---- Looking ----------------------------------------------------------------------------------------------------- */

struct look {
    ks_call *call;
    ks_shop *shop;
    const kith_ids *ids;
    unsigned with;
    uint32_t generation;
    ks_v1_look_fn *each;
    void *context;
};

static kith_status scroll_chunk(const struct look *look, size_t first, size_t count, size_t chunk, kith_result *result,
                                kith_error *error) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    kith_hits hits = KITH_HITS_INIT;
    char *filter = chunk_filter(look->call, look->shop, look->ids, first, count);
    scroll.filter = filter;
    scroll.limit = count;
    scroll.with = look->with;
    scroll.generation = look->generation;
    kith_status status = filter ? kith_collection_scroll(look->shop->collection, &scroll, result, error) : KITH_E_NOMEM;
    if (status == KITH_OK) status = kith_result_hits(result, &hits);
    struct found_id *all = status == KITH_OK ? sorted(&hits) : NULL;
    if (status == KITH_OK && !all) status = KITH_E_NOMEM;
    for (size_t i = 0; all && i < count; i++)
        look->each(look->context,
                   &(ks_v1_found){result, &hits, first + i, chunk, place_of(all, hits.count, look->ids, first + i)});
    free(all);
    free(filter);
    return status;
}

static kith_status look_bound(const struct look *look, kith_result *result, kith_error *error) {
    kith_status status = KITH_OK;
    size_t chunk = 0;
    for (size_t first = 0; first < look->ids->count && status == KITH_OK;) {
        const size_t count = chunk_of(look->ids, first);
        status = scroll_chunk(look, first, count, chunk++, result, error);
        first += count;
    }
    return status;
}

static kith_status look_free(const struct look *look, kith_result *result, kith_error *error) {
    kith_hits hits = KITH_HITS_INIT;
    const size_t wanted = look->ids->count;
    kith_status status =
        kith_collection_generation_get(look->shop->collection, look->generation, look->ids, look->with, result, error);
    if (status == KITH_OK) status = kith_result_hits(result, &hits);
    for (size_t i = 0; status == KITH_OK && i < hits.count; i++)
        look->each(look->context, &(ks_v1_found){result, &hits, wanted, 0, (ptrdiff_t)i});
    return status;
}

int ks_v1_look(ks_call *call, ks_shop *shop, const kith_ids *ids, unsigned with, uint32_t generation,
               ks_v1_look_fn *each, void *context) {
    const struct look look = {call, shop, ids, with, generation, each, context};
    kith_error error = {0};
    kith_result *result = NULL;
    if (ids->count == 0) return 0;
    kith_status status = kith_result_create(&result, &error);
    if (status == KITH_OK) status = (call->key->segment ? look_bound : look_free)(&look, result, &error);
    kith_result_destroy(result);
    if (status == KITH_OK) return 0;
    if (status == KITH_E_NOMEM)
        ks_call_no_memory(call);
    else
        ks_call_fail_status(call, status, &error);
    return -1;
}
