/* SPDX-License-Identifier: Apache-2.0
 *
 * Searching by points: the vector of one, or the mean of liked ones, moved away from the mean of disliked ones
 * (2 mean(positive) - mean(negative)). Under cosine, vectors of points count with unit length, as Qdrant stores them.
 * The points themselves are left out of what is found. */
#include "qdrant/query.h"

#include <math.h>
#include <string.h>

static int take(ks_qd_leg *leg, ks_qd_example *examples, const json_t *value, int negative) {
    uint64_t number;
    ks_qd_example *example = &examples[leg->example_count];
    example->negative = negative;
    if (ks_uint(value, &number) || (json_is_string(value) && !ks_is_numbers(value)))
        example->id = value;
    else if (!(example->floats = ks_qd_floats(leg->query->all->place.call, value, &leg->spec)))
        return -1;
    leg->example_count++;
    return 0;
}

/* One example, or an array of them. An array of numbers is one vector, or ids: whole numbers are ids where an array of
 * examples is expected. */
static int take_all(ks_qd_leg *leg, ks_qd_example *examples, const json_t *list, int negative) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (take(leg, examples, json_array_get(list, i), negative) < 0) return -1;
    }
    return 0;
}

int ks_qd_examples_of(ks_qd_leg *leg, const json_t *positive, const json_t *negative) {
    ks_call *call = leg->query->all->place.call;
    uint64_t number;
    const int single = ks_uint(positive, &number) || (json_is_string(positive) && !ks_is_numbers(positive));
    const json_t *likes = single || !positive ? NULL : ks_qd_elements(call, positive, "positive");
    const json_t *dislikes = negative ? ks_qd_elements(call, negative, "negative") : NULL;
    if ((negative && !dislikes) || (!single && positive && !likes)) return -1;
    const size_t count = (single ? 1 : json_array_size(likes)) + json_array_size(dislikes);
    if (!single && json_array_size(likes) == 0) {
        ks_call_fail(call, 400, "Wrong input: at least one positive example is needed for a recommendation");
        return -1;
    }
    if (count > leg->query->all->place.app->limits.k_max) {
        ks_call_fail(call, 400, "Wrong input: there are %zu examples, which are too many", count);
        return -1;
    }
    ks_qd_example *examples = ks_call_alloc(call, count * sizeof *examples);
    if (!examples) {
        ks_call_no_memory(call);
        return -1;
    }
    leg->examples = examples;
    leg->query->all->by_worker = 1;
    if (single) return take(leg, examples, positive, 0);
    return take_all(leg, examples, likes, 0) < 0 || take_all(leg, examples, dislikes, 1) < 0 ? -1 : 0;
}

/* ---- Reading them */

/* The ids among the examples. */
static int gather(const ks_qd_leg *leg, kith_ids *ids) {
    const ks_qd_place *place = &leg->query->all->place;
    ks_qd_id_list list;
    size_t text_bytes = 0;
    for (size_t i = 0; i < leg->example_count; i++)
        text_bytes += leg->examples[i].id ? json_string_length(leg->examples[i].id) : 0;
    if (ks_qd_id_list_begin(place, &list, leg->example_count, text_bytes) < 0) return -1;
    for (size_t i = 0; i < leg->example_count; i++) {
        if (leg->examples[i].id && ks_qd_id_list_add(place, &list, leg->examples[i].id) < 0) return -1;
    }
    *ids = ks_qd_id_list_ids(&list);
    return 0;
}

static void add(double *sum, const float *vector, size_t dim, int unit) {
    double squares = 0;
    for (size_t i = 0; unit && i < dim; i++) squares += (double)vector[i] * vector[i];
    const double factor = unit && squares > 0 ? 1 / sqrt(squares) : 1;
    for (size_t i = 0; i < dim; i++) sum[i] += factor * vector[i];
}

/* Sum up: `rows` are those of the points among the examples, in their order. */
static int sum_up(ks_qd_leg *leg, const float *rows, const uint8_t *present) {
    const size_t dim = leg->spec.dim;
    ks_call *call = leg->query->all->place.call;
    double *likes = ks_call_alloc(call, dim * sizeof *likes), *dislikes = ks_call_alloc(call, dim * sizeof *dislikes);
    float *query = ks_call_alloc(call, dim * sizeof *query);
    size_t positive = 0, negative = 0, row = 0;
    if (!likes || !dislikes || !query) {
        ks_call_no_memory(call);
        return -1;
    }
    for (size_t i = 0; i < leg->example_count; i++) {
        const ks_qd_example *example = &leg->examples[i];
        if (example->id && !(rows && present[row])) {
            ks_call_fail(call, 400, "Wrong input: a point among the examples has no vector `%s`", leg->spec.name);
            return -1;
        }
        const float *vector = example->id ? rows + row++ * dim : example->floats;
        add(example->negative ? dislikes : likes, vector, dim, example->id && leg->spec.metric == KITH_COSINE);
        *(example->negative ? &negative : &positive) += 1;
    }
    for (size_t i = 0; i < dim; i++) {
        const double like = likes[i] / (double)positive;
        query[i] = (float)(negative ? like + like - dislikes[i] / (double)negative : like);
    }
    leg->queries.data = query;
    leg->queries.dtype = KITH_F32;
    leg->queries.count = 1;
    leg->queries.dim = dim;
    return 0;
}

static int same_id(const kith_ids *ids, size_t a, size_t b) {
    if (ids->ids) return ids->ids[a] == ids->ids[b];
    const uint64_t from_a = a ? ids->id_ends[a - 1] : 0, from_b = b ? ids->id_ends[b - 1] : 0;
    const uint64_t bytes = ids->id_ends[a] - from_a;
    return ids->id_ends[b] - from_b == bytes &&
           memcmp(ids->id_bytes + from_a, ids->id_bytes + from_b, (size_t)bytes) == 0;
}

/* How many different ones: a point may be an example twice. There are k_max at most. */
static size_t different(const kith_ids *ids) {
    size_t count = 0;
    for (size_t i = 0; i < ids->count; i++) {
        size_t before = 0;
        while (before < i && !same_id(ids, before, i)) before++;
        count += before == i;
    }
    return count;
}

/* A key's segment must have them. */
static int of_segment(const ks_qd_leg *leg, const kith_ids *ids) {
    const ks_qd_place *place = &leg->query->all->place;
    const char *where;
    uint64_t count = 0;
    kith_error error = {0};
    if (!place->segment) return 0;
    if (ks_qd_where(place, NULL, ids, 1, &where) < 0) return -1;
    const kith_status status = kith_collection_count(place->shop->collection, where, &count, &error);
    if (status == KITH_OK && count == different(ids)) return 0;
    if (status == KITH_OK)
        ks_call_fail(place->call, 404, "Not found: No point with one of the ids found");
    else
        ks_call_fail_status(place->call, status, &error);
    return -1;
}

int ks_qd_examples_read(ks_qd_leg *leg) {
    const ks_qd_place *place = &leg->query->all->place;
    kith_ids ids;
    kith_hits hits = KITH_HITS_INIT;
    kith_error error = {0};
    const uint8_t *present = NULL;
    if (!leg->examples) return 0;
    if (gather(leg, &ids) < 0 || (ids.count > 0 && of_segment(leg, &ids) < 0)) return -1;
    kith_result *result = ks_qd_result(place->call);
    if (!result) return -1;
    if (ids.count > 0) {
        const kith_status status =
            kith_collection_get(place->shop->collection, &ids, KITH_WITH_VECTORS, result, &error);
        if (status != KITH_OK) {
            ks_call_fail_status(place->call, status, &error);
            return -1;
        }
        kith_result_hits(result, &hits);
        if (hits.count < ids.count) {
            ks_call_fail(place->call, 404, "Not found: No point with one of the ids found: %zu of %zu are there",
                         hits.count, ids.count);
            return -1;
        }
    }
    const float *rows = ids.count > 0 ? kith_result_vectors(result, leg->spec.name, &present) : NULL;
    if (leg->spec.dtype == KITH_B1) {
        ks_qd_not_offered(place->call, "vectors of bits by this API");
        return -1;
    }
    if (sum_up(leg, rows, present) < 0) return -1;
    return ks_qd_leg_where(leg, ids.count > 0 ? &ids : NULL);
}
