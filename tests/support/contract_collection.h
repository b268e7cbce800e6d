/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls of tests/unit/test_contract.c that concern collections. Include there, behind its macro P and `out`. */
#ifndef TESTS_SUPPORT_CONTRACT_COLLECTION_H
#define TESTS_SUPPORT_CONTRACT_COLLECTION_H

static kith_collection *shop; /* two items, in memory alone */
static kith_result *found;

static const kith_vector_spec shop_vector = {.dim = DIM};
static const uint64_t shop_ids[] = {3, 5};

static kith_collection_options shop_options(void) {
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    options.vectors = &shop_vector;
    options.vector_count = 1;
    return options;
}

static kith_collection_open_options shop_open_options(void) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.no_background = 1;
    options.threads = 1;
    return options;
}

static kith_ids shop_some(void) {
    return (kith_ids){.count = 2, .ids = shop_ids};
}

static kith_items shop_items(void) {
    static kith_item_vectors vectors;
    kith_items items = KITH_ITEMS_INIT;
    vectors = (kith_item_vectors){.data = rows, .dtype = KITH_F32, .dim = DIM};
    items.ids = shop_some();
    items.vectors = &vectors;
    items.vector_count = 1;
    return items;
}

static kith_ask shop_ask(kith_queries *queries, kith_leg *leg) {
    kith_ask ask = KITH_ASK_INIT;
    *queries = some_queries();
    *leg = (kith_leg){.queries = queries};
    ask.legs = leg;
    ask.leg_count = 1;
    return ask;
}

/* ---- Every function once ----------------------------------------------------------------------------------------- */

static kith_status call_collection_create(unsigned missing, kith_error *error) {
    static unsigned made;
    char name[32];
    const kith_collection_options options = shop_options();
    snprintf(name, sizeof(name), "made%u", made++);
    return kith_collection_create(P(1, data_path(name)), P(2, &options), error);
}

static kith_status call_collection_open(unsigned missing, kith_error *error) {
    const kith_collection_open_options options = shop_open_options();
    return kith_collection_open(P(1, data_path("shop")), &options, P(2, &out.collection), error);
}

static kith_status call_collection_open_memory(unsigned missing, kith_error *error) {
    const kith_collection_options made = shop_options();
    const kith_collection_open_options options = shop_open_options();
    return kith_collection_open_memory(P(1, &made), &options, P(2, &out.collection), error);
}

static kith_status call_collection_write(unsigned missing, kith_error *error) {
    const kith_items items = shop_items();
    return kith_collection_write(P(1, shop), P(2, &items), KITH_UPSERT, &out.written, error);
}

static kith_status call_collection_delete(unsigned missing, kith_error *error) {
    static const uint64_t nobody = 99;
    const kith_ids ids = {.count = 1, .ids = &nobody};
    return kith_collection_delete(P(1, shop), P(2, &ids), NULL, &out.written, error);
}

static kith_status call_collection_delete_where(unsigned missing, kith_error *error) {
    return kith_collection_delete_where(P(1, shop), P(2, "nothing exists"), &out.written, error);
}

static kith_status call_collection_declare(unsigned missing, kith_error *error) {
    static const kith_field field = {.name = "price", .type = KITH_FIELD_FLOAT};
    return kith_collection_declare(P(1, shop), P(2, &field), error);
}

static kith_status call_result_create(unsigned missing, kith_error *error) {
    return kith_result_create(P(1, &out.result), error);
}

static kith_status call_result_hits(unsigned missing, kith_error *error) {
    (void)error;
    return kith_result_hits(P(1, found), P(2, &out.hits));
}

static kith_status call_collection_get(unsigned missing, kith_error *error) {
    const kith_ids ids = shop_some();
    return kith_collection_get(P(1, shop), P(2, &ids), KITH_WITH_PAYLOAD, P(3, found), error);
}

static kith_status call_collection_generation_get(unsigned missing, kith_error *error) {
    const kith_ids ids = shop_some();
    return kith_collection_generation_get(P(1, shop), 1, P(2, &ids), KITH_WITH_VECTORS, P(3, found), error);
}

static kith_status call_result_vector_spec(unsigned missing, kith_error *error) {
    const kith_status status = call_collection_generation_get(0, error);
    assert_int_equal(status, KITH_OK);
    return kith_result_vector_spec(P(1, found), "", P(2, &out.spec));
}

static kith_status call_collection_exists(unsigned missing, kith_error *error) {
    const kith_ids ids = shop_some();
    return kith_collection_exists(P(1, shop), P(2, &ids), P(3, out.exists), error);
}

static kith_status call_collection_count(unsigned missing, kith_error *error) {
    return kith_collection_count(P(1, shop), NULL, P(2, &out.id), error);
}

static kith_status call_collection_scroll(unsigned missing, kith_error *error) {
    return kith_collection_scroll(P(1, shop), NULL, P(2, found), error);
}

static kith_status call_collection_search(unsigned missing, kith_error *error) {
    kith_queries queries;
    kith_leg leg;
    const kith_ask ask = shop_ask(&queries, &leg);
    return kith_collection_search(P(1, shop), P(2, &ask), P(3, found), error);
}

static kith_status call_collection_get_info(unsigned missing, kith_error *error) {
    (void)error;
    return kith_collection_get_info(P(1, shop), P(2, &out.collection_info));
}

static kith_status call_collection_vector(unsigned missing, kith_error *error) {
    (void)error;
    return kith_collection_vector(P(1, shop), 0, P(2, &out.spec));
}

static kith_status call_collection_field(unsigned missing, kith_error *error) {
    static const kith_field field = {.name = "size", .type = KITH_FIELD_TAG};
    (void)error;
    assert_int_equal(kith_collection_declare(shop, &field, NULL), KITH_OK);
    return kith_collection_field(P(1, shop), 0, P(2, &out.field));
}

static kith_status call_collection_compact(unsigned missing, kith_error *error) {
    return kith_collection_compact(P(1, shop), NULL, NULL, error);
}

/* A collection in a folder, and names beside it that nothing has yet. */
static const char *kept_shop(void) {
    static char path[1024];
    const kith_collection_options made = shop_options();
    if (path[0]) return path;
    snprintf(path, sizeof(path), "%s", data_path("kept"));
    assert_int_equal(kith_collection_create(path, &made, NULL), KITH_OK);
    return path;
}

static const char *new_name(void) {
    static char path[1024];
    static int made;
    char name[32];
    snprintf(name, sizeof(name), "copy%d", made++);
    snprintf(path, sizeof(path), "%s", data_path(name));
    return path;
}

static kith_status call_collection_snapshot(unsigned missing, kith_error *error) {
    kith_collection *kept = NULL;
    assert_int_equal(kith_collection_open(kept_shop(), NULL, &kept, NULL), KITH_OK);
    const kith_status status = kith_collection_snapshot(P(1, kept), P(2, new_name()), error);
    kith_collection_close(kept);
    return status;
}

static kith_status call_collection_restore(unsigned missing, kith_error *error) {
    return kith_collection_restore(P(1, kept_shop()), P(2, new_name()), NULL, NULL, error);
}

static kith_status call_collection_verify(unsigned missing, kith_error *error) {
    return kith_collection_verify(P(1, kept_shop()), NULL, NULL, NULL, error);
}

static kith_status call_collection_repair(unsigned missing, kith_error *error) {
    return kith_collection_repair(P(1, kept_shop()), NULL, NULL, NULL, NULL, NULL, error);
}

static kith_status call_collection_profile_event(unsigned missing, kith_error *error) {
    static const kith_profile_event likes[] = {{.kind = KITH_EVENT_LIKE}, {.kind = KITH_EVENT_LIKE}};
    const kith_ids ids = shop_some();
    return kith_collection_profile_event(P(1, shop), P(2, "somebody"), P(3, &ids), P(4, likes), NULL, error);
}

static kith_status call_collection_profile_get(unsigned missing, kith_error *error) {
    return kith_collection_profile_get(P(1, shop), P(2, "reader"), P(3, &out.profile), NULL, 0, error);
}

static kith_status call_collection_profile_rebuild(unsigned missing, kith_error *error) {
    return kith_collection_profile_rebuild(P(1, shop), NULL, NULL, NULL, &out.rebuilt, error);
}

static kith_status call_collection_profile_delete(unsigned missing, kith_error *error) {
    if (!missing) assert_int_equal(call_collection_profile_event(0, error), KITH_OK);
    return kith_collection_profile_delete(P(1, shop), P(2, "somebody"), error);
}

static kith_generation_options shop_generation(void) {
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    options.vectors = &shop_vector;
    options.vector_count = 1;
    return options;
}

static kith_status call_collection_generation_begin(unsigned missing, kith_error *error) {
    const kith_generation_options options = shop_generation();
    const kith_status status = kith_collection_generation_begin(P(1, shop), P(2, &options), P(3, &out.number), error);
    if (!missing) assert_int_equal(kith_collection_generation_drop(shop, out.number, NULL), KITH_OK);
    return status;
}

static kith_status call_collection_generation(unsigned missing, kith_error *error) {
    return kith_collection_generation(P(1, shop), 0, P(2, &out.generation), error);
}

static kith_status call_collection_generation_vector(unsigned missing, kith_error *error) {
    return kith_collection_generation_vector(P(1, shop), 1, 0, P(2, &out.spec), error);
}

static kith_status call_collection_generation_check(unsigned missing, kith_error *error) {
    return kith_collection_generation_check(P(1, shop), 1, NULL, P(2, &out.checked), error);
}

static kith_status call_collection_flip(unsigned missing, kith_error *error) {
    return kith_collection_flip(P(1, shop), 1, NULL, &out.flipped, error);
}

/* On one that is made for it. */
static kith_status with_another(kith_collection *collection, int drop, kith_error *error) {
    const kith_generation_options options = shop_generation();
    uint32_t number = 0;
    if (collection) assert_int_equal(kith_collection_generation_begin(shop, &options, &number, NULL), KITH_OK);
    const kith_status status = drop ? kith_collection_generation_drop(collection, number, error)
                                    : kith_collection_generation_canary(collection, number, 0.5, error);
    if (collection && !drop) assert_int_equal(kith_collection_generation_drop(shop, number, NULL), KITH_OK);
    return status;
}

static kith_status call_collection_generation_canary(unsigned missing, kith_error *error) {
    return with_another(P(1, shop), 0, error);
}

static kith_status call_collection_generation_of(unsigned missing, kith_error *error) {
    return kith_collection_generation_of(P(1, shop), P(2, "ann"), P(3, &out.number), error);
}

static kith_status call_collection_generation_drop(unsigned missing, kith_error *error) {
    return with_another(P(1, shop), 1, error);
}

/* ---- Every struct, in every size ----------------------------------------------------------------------------------- */

static kith_status open_and_close(const void *made, const void *options, kith_error *error) {
    kith_collection *collection = NULL;
    const kith_status status = kith_collection_open_memory(made, options, &collection, error);
    kith_collection_close(collection);
    return status;
}

static kith_status give_collection_options(void *given, kith_error *error) {
    const kith_collection_open_options options = shop_open_options();
    return open_and_close(given, &options, error);
}

static kith_status give_collection_open_options(void *given, kith_error *error) {
    const kith_collection_options made = shop_options();
    return open_and_close(&made, given, error);
}

static kith_status give_items(void *given, kith_error *error) {
    return kith_collection_write(shop, given, KITH_UPSERT, NULL, error);
}

static kith_status give_write_report(void *given, kith_error *error) {
    const kith_items items = shop_items();
    return kith_collection_write(shop, &items, KITH_UPSERT, given, error);
}

static kith_status give_scroll(void *given, kith_error *error) {
    return kith_collection_scroll(shop, given, found, error);
}

static kith_status give_hits(void *given, kith_error *error) {
    (void)error;
    return kith_result_hits(found, given);
}

static kith_status give_ask(void *given, kith_error *error) {
    return kith_collection_search(shop, given, found, error);
}

static kith_status give_ask_report(void *given, kith_error *error) {
    kith_queries queries;
    kith_leg leg;
    kith_ask ask = shop_ask(&queries, &leg);
    ask.report = given;
    return kith_collection_search(shop, &ask, found, error);
}

static kith_status give_profile_options(void *given, kith_error *error) {
    static const kith_profile_event seen[] = {{.kind = KITH_EVENT_SEEN}, {.kind = KITH_EVENT_SEEN}};
    const kith_ids ids = shop_some();
    return kith_collection_profile_event(shop, "reader", &ids, seen, given, error);
}

static kith_status give_rebuild_report(void *given, kith_error *error) {
    return kith_collection_profile_rebuild(shop, NULL, NULL, NULL, given, error);
}

static kith_status give_profile_report(void *given, kith_error *error) {
    return kith_collection_profile_get(shop, "reader", given, NULL, 0, error);
}

static kith_status give_collection_info(void *given, kith_error *error) {
    (void)error;
    return kith_collection_get_info(shop, given);
}

static kith_status give_repair_report(void *given, kith_error *error) {
    return kith_collection_repair(kept_shop(), NULL, NULL, NULL, NULL, given, error);
}

static kith_status give_generation_options(void *given, kith_error *error) {
    uint32_t number;
    const kith_status status = kith_collection_generation_begin(shop, given, &number, error);
    if (status == KITH_OK) assert_int_equal(kith_collection_generation_drop(shop, number, NULL), KITH_OK);
    return status;
}

static kith_status give_generation_info(void *given, kith_error *error) {
    return kith_collection_generation(shop, 0, given, error);
}

static kith_status give_generation_check_options(void *given, kith_error *error) {
    kith_generation_report report = KITH_GENERATION_REPORT_INIT;
    return kith_collection_generation_check(shop, 1, given, &report, error);
}

static kith_status give_generation_report(void *given, kith_error *error) {
    return kith_collection_generation_check(shop, 1, NULL, given, error);
}

static kith_status give_flip_options(void *given, kith_error *error) {
    return kith_collection_flip(shop, 1, given, NULL, error);
}

static kith_status give_flip_report(void *given, kith_error *error) {
    return kith_collection_flip(shop, 1, NULL, given, error);
}

/* What such a struct begins with, beside the _INIT values. */
static void prepare_for_shop(void *given, const char *name) {
    static kith_queries queries;
    static kith_leg leg;
    const kith_collection_options made = shop_options();
    const kith_collection_open_options options = shop_open_options();
    const kith_items items = shop_items();
    const kith_ask ask = shop_ask(&queries, &leg);
    if (strcmp(name, "kith_collection_options") == 0) memcpy(given, &made, sizeof(made));
    if (strcmp(name, "kith_collection_open_options") == 0) memcpy(given, &options, sizeof(options));
    if (strcmp(name, "kith_items") == 0) memcpy(given, &items, sizeof(items));
    if (strcmp(name, "kith_ask") == 0) memcpy(given, &ask, sizeof(ask));
    const kith_generation_options generation = shop_generation();
    const kith_generation_check_options check = KITH_GENERATION_CHECK_OPTIONS_INIT;
    if (strcmp(name, "kith_generation_options") == 0) memcpy(given, &generation, sizeof(generation));
    if (strcmp(name, "kith_generation_check_options") == 0) memcpy(given, &check, sizeof(check));
}

/* ---- Set-up ------------------------------------------------------------------------------------------------------ */

static kith_status make_shop(kith_error *error) {
    const kith_collection_options made = shop_options();
    const kith_collection_open_options options = shop_open_options();
    const kith_items items = shop_items();
    kith_status status = kith_collection_create(data_path("shop"), &made, error);
    if (status == KITH_OK) status = kith_collection_open_memory(&made, &options, &shop, error);
    if (status == KITH_OK) status = kith_collection_write(shop, &items, KITH_UPSERT, NULL, error);
    if (status == KITH_OK) status = give_profile_options(NULL, error);
    return status == KITH_OK ? kith_result_create(&found, error) : status;
}

#endif
