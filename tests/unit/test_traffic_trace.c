/* SPDX-License-Identifier: Apache-2.0
 *
 * Trace files: written and read back, cut at every length, damaged at every byte, and made by an author who means ill
 * and whose checksums are right. Each bad file is refused with its name and what is wrong; none costs memory for what
 * it merely claims. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "support/faulty_malloc.h"
#include "support/io_file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <xxhash.h>

#include "../../bench/traffic/describe.h"
#include "../../bench/traffic/trace.h"
#include "../../bench/traffic/write.h"
#include "base/bytes.h"
#include "base/rng.h"

static kith_error error;

static struct traffic_options tiny_options(void) {
    struct traffic_options options;
    traffic_options_default(&options);
    options.users = 20;
    options.items = 30;
    options.dim = 4;
    options.topics = options.segments = 2;
    options.days = 1;
    options.rate = 0.003;
    options.delete_share = options.update_share = 0.2;
    return options;
}

static void write_trace(const char *path, const struct traffic_options *options) {
    struct traffic *traffic;
    struct traffic_trace_writer *writer;
    struct traffic_event events[50];
    size_t got = 1;
    assert_int_equal(traffic_create(options, &traffic, &error), KITH_OK);
    assert_int_equal(traffic_trace_create(path, options, &writer, &error), KITH_OK);
    while (got) {
        assert_int_equal(traffic_read(traffic, events, 50, &got, &error), KITH_OK);
        assert_int_equal(traffic_trace_write(writer, events, got, &error), KITH_OK);
    }
    assert_int_equal(traffic_trace_commit(writer, traffic_get_counts(traffic), &error), KITH_OK);
    traffic_destroy(traffic);
}

/* Opens and reads to the end in steps of `room`; the status of the first failure. */
static kith_status read_trace(const char *path, size_t room, size_t *count) {
    struct traffic_reader *reader = NULL;
    struct traffic_event events[64];
    size_t got = 1;
    error.text[0] = '\0';
    *count = 0;
    kith_status status = traffic_reader_open(path, &reader, &error);
    while (status == KITH_OK && got) {
        status = traffic_reader_next(reader, events, room, &got, &error);
        if (status == KITH_OK) *count += got;
    }
    traffic_reader_close(reader);
    return status;
}

static struct {
    uint8_t *bytes;
    size_t size;
} whole;

static int make_whole(void **state) {
    if (io_folder_make(state) != 0) return -1;
    const struct traffic_options options = tiny_options();
    write_trace(io_path("whole"), &options);
    FILE *file = fopen(io_path("whole"), "rb");
    struct stat about;
    if (!file || fstat(fileno(file), &about) != 0) return -1;
    whole.size = (size_t)about.st_size;
    whole.bytes = malloc(whole.size);
    const size_t got = fread(whole.bytes, 1, whole.size, file);
    fclose(file);
    return got == whole.size ? 0 : -1;
}

static int drop_whole(void **state) {
    free(whole.bytes);
    return io_folder_remove(state);
}

static const char *put_file(const void *bytes, size_t size) {
    const char *path = io_path("bad");
    remove(path); /* file systems that flush what is written over are slow */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void refused(const void *bytes, size_t size, const char *why) {
    size_t count;
    const kith_status status = read_trace(put_file(bytes, size), 64, &count);
    if (status != KITH_E_FORMAT && status != KITH_E_VERSION) fail_msg("%s: status %d %s", why, status, error.text);
    assert_non_null(strstr(error.text, "/bad: "));
    assert_non_null(strstr(error.text, why));
}

/* ---- Good files -------------------------------------------------------------------------------------------------- */

static void test_what_is_written_is_read(void **state) {
    (void)state;
    const struct traffic_options options = tiny_options();
    struct traffic *traffic;
    struct traffic_reader *reader;
    size_t got = 1, count, made = 0;
    assert_int_equal(traffic_create(&options, &traffic, &error), KITH_OK);
    assert_int_equal(traffic_reader_open(io_path("whole"), &reader, &error), KITH_OK);
    assert_memory_equal(traffic_reader_options(reader), &options, sizeof(options));
    for (;; made += got) {
        struct traffic_event event, again;
        assert_int_equal(traffic_read(traffic, &event, 1, &got, &error), KITH_OK);
        assert_int_equal(traffic_reader_next(reader, &again, 1, &count, &error), KITH_OK);
        assert_int_equal(got, count);
        if (!got) break;
        uint8_t a[TRACE_RECORD_BYTES], b[TRACE_RECORD_BYTES];
        traffic_record_encode(&event, a);
        traffic_record_encode(&again, b);
        assert_memory_equal(a, b, sizeof(a));
    }
    assert_memory_equal(traffic_reader_counts(reader), traffic_get_counts(traffic), sizeof(struct traffic_counts));
    assert_true(made > 100 && traffic_get_counts(traffic)->kinds[TRAFFIC_FLIP] == 1);
    traffic_reader_close(reader);
    traffic_destroy(traffic);
    assert_int_equal(read_trace(io_path("whole"), 3, &count), KITH_OK);
    assert_int_equal(count, made);
}

/* The same bytes on every machine. A change of the model changes them, and the version of the format stays, because a
 * trace carries its events. */
static void test_bytes_are_those_of_other_machines(void **state) {
    (void)state;
    assert_int_equal(XXH3_64bits(whole.bytes, whole.size), UINT64_C(0x529407466014a1eb));
}

static void test_vectors_are_those_of_other_machines(void **state) {
    (void)state;
    struct traffic_options options;
    struct traffic_space *space;
    float vectors[3][64];
    traffic_options_default(&options);
    assert_int_equal(traffic_space_create(&options, &space, &error), KITH_OK);
    traffic_space_set_generation(space, 3);
    const struct traffic_event event = traffic_space_initial(space, 77);
    const struct traffic_event ask = {.kind = TRAFFIC_QUERY_VECTOR, .user = 5, .item = 9, .row = 12, .topic = 3};
    traffic_space_item(space, &event, vectors[0]);
    traffic_space_query(space, &ask, vectors[1]);
    traffic_space_user(space, 123, 5 * TRAFFIC_DAY_US, vectors[2]);
    assert_int_equal(XXH3_64bits(vectors, sizeof(vectors)), UINT64_C(0x0bd8a75cb8872a74));
    traffic_space_destroy(space);
}

static void test_trace_without_events(void **state) {
    (void)state;
    struct traffic_options options = tiny_options();
    size_t count;
    options.days = 1e-6;
    write_trace(io_path("empty"), &options);
    assert_int_equal(read_trace(io_path("empty"), 64, &count), KITH_OK);
    assert_int_equal(count, 0);
    struct traffic_description description;
    assert_int_equal(traffic_describe(io_path("empty"), NULL, NULL, &description, &error), KITH_OK);
    assert_int_equal(description.items.seen, 0);
    traffic_description_free(&description);
}

static void test_description_counts(void **state) {
    (void)state;
    struct traffic_description description;
    assert_int_equal(traffic_describe(io_path("whole"), NULL, NULL, &description, &error), KITH_OK);
    const uint64_t *kinds = description.counts.kinds;
    uint64_t users = 0, sessions = 0;
    for (unsigned kind = TRAFFIC_QUERY_VECTOR; kind <= TRAFFIC_LIKE; kind++) users += kinds[kind];
    for (size_t i = 0; i < description.hour_count; i++) sessions += description.hours[i];
    assert_int_equal(users, sessions);
    assert_true(description.session_mean * (double)description.counts.sessions - (double)users < 1e-6);
    assert_int_equal(description.items.total, kinds[TRAFFIC_VIEW]);
    assert_int_equal(description.users.total, description.counts.sessions);
    assert_int_equal(description.nights, 1);
    assert_int_equal(description.nightly_inserts, 1); /* 0.05 of some thirty */
    traffic_description_free(&description);
}

static int stop(void *context, uint64_t done, uint64_t total) {
    (void)context;
    return done <= total;
}

static void test_description_can_be_stopped(void **state) {
    (void)state;
    struct traffic_description description;
    assert_int_equal(traffic_describe(io_path("whole"), stop, NULL, &description, &error), KITH_E_CANCELLED);
}

/* ---- Damaged files ----------------------------------------------------------------------------------------------- */

static void test_every_cut_is_refused(void **state) {
    (void)state;
    for (size_t size = 0; size < whole.size; size += size < 1024 ? 1 : 37) refused(whole.bytes, size, "");
    uint8_t *longer = calloc(whole.size + 32, 1);
    memcpy(longer, whole.bytes, whole.size);
    refused(longer, whole.size + 32, "bytes, which are not");
    free(longer);
}

static void test_every_flip_is_refused(void **state) {
    (void)state;
    for (size_t at = 0; at < whole.size; at += at < 1024 ? 1 : 13) {
        whole.bytes[at] ^= 0x10;
        refused(whole.bytes, whole.size, "");
        whole.bytes[at] ^= 0x10;
    }
}

static void sign(uint8_t *file, size_t size) {
    ki_store_u64(file + TRACE_AT_HASH, XXH3_64bits(file + TRACE_HEADER_BYTES, size - TRACE_HEADER_BYTES));
    ki_store_u64(file + TRACE_AT_HEADER_HASH, XXH3_64bits(file, TRACE_AT_HEADER_HASH));
}

/* A file with one number changed and right checksums. */
static void refused_with(size_t at, uint64_t value, size_t bytes, const char *why) {
    uint8_t *file = malloc(whole.size);
    memcpy(file, whole.bytes, whole.size);
    memcpy(file + at, &value, bytes);
    sign(file, whole.size);
    refused(file, whole.size, why);
    free(file);
}

static size_t option_place(const char *name) {
    for (size_t i = 0; traffic_option_table[i].name; i++)
        if (strcmp(traffic_option_table[i].name, name) == 0) return TRACE_AT_VALUES + 8 * i;
    fail_msg("no option %s", name);
    return 0;
}

static void test_hostile_headers_are_refused(void **state) {
    (void)state;
    const uint64_t events = ki_load_u64(whole.bytes + TRACE_AT_EVENTS);
    refused_with(0, 0, 4, "not a traffic trace");
    refused_with(TRACE_AT_VERSION, 2, 4, "has version 2");
    refused_with(TRACE_AT_HEADER_BYTES, 0, 4, "sizes of header");
    refused_with(TRACE_AT_RECORD_BYTES, UINT32_MAX, 4, "sizes of header");
    refused_with(TRACE_AT_OPTIONS, UINT32_MAX, 4, "options");
    refused_with(TRACE_AT_EVENTS, events + 1, 8, "which are not");
    refused_with(TRACE_AT_EVENTS, UINT64_MAX, 8, "which are not");
    refused_with(TRACE_AT_EVENTS, events + (UINT64_C(1) << 59), 8, "which are not"); /* x 32 wraps around */
    refused_with(TRACE_AT_LAST, 1, 8, "counts are not those");
    refused_with(TRACE_AT_SESSIONS, UINT64_MAX, 8, "counts are not those");
    refused_with(TRACE_AT_ITEM_ROWS, 0, 8, "counts are not those");
    refused_with(TRACE_AT_QUERY_ROWS, 0, 8, "counts are not those");
    refused_with(TRACE_AT_LIVE, 1, 8, "counts are not those");
    for (size_t kind = 0; kind < 8; kind++) refused_with(TRACE_AT_KINDS + 8 * kind, 999999, 8, "counts are not those");
    refused_with(option_place("items"), UINT64_MAX, 8, "options: items");
    refused_with(option_place("dim"), 0, 8, "options: dim");
    refused_with(option_place("topics"), 65536, 8, "options: topics");
    refused_with(option_place("days"), UINT64_C(0x7ff8000000000000), 8, "options: days"); /* NaN */
    refused_with(option_place("rate"), UINT64_C(0x7ff0000000000000), 8, "options: rate"); /* infinity */
    refused_with(option_place("users"), 1, 8, "names a user beyond the last");
}

static size_t place_of(unsigned kind, unsigned skip) {
    for (size_t at = TRACE_HEADER_BYTES; at < whole.size; at += TRACE_RECORD_BYTES)
        if (whole.bytes[at + 28] == kind && skip-- == 0) return at;
    fail_msg("no event of kind %u", kind);
    return 0;
}

static void test_hostile_events_are_refused(void **state) {
    (void)state;
    const size_t query = place_of(TRAFFIC_QUERY_VECTOR, 1), by_user = place_of(TRAFFIC_QUERY_USER, 1);
    const size_t view = place_of(TRAFFIC_VIEW, 1), insert = place_of(TRAFFIC_INSERT, 0);
    const size_t update = place_of(TRAFFIC_UPDATE, 0), gone = place_of(TRAFFIC_DELETE, 0);
    const size_t flip = place_of(TRAFFIC_FLIP, 0);
    refused_with(query, 0, 8, "is earlier");
    refused_with(query, UINT64_MAX, 8, "is later than the last day");
    refused_with(query + 8, TRAFFIC_NONE, 4, "names a user");
    refused_with(query + 12, 100000, 4, "names a session");
    refused_with(query + 16, 100000, 4, "unknown item");
    refused_with(query + 20, 77, 4, "wrong row");
    refused_with(query + 24, 2, 4, "names a segment");
    refused_with(query + 28, 0, 1, "no known kind");
    refused_with(query + 28, 9, 1, "no known kind");
    refused_with(query + 28, 255, 1, "no known kind");
    refused_with(query + 29, 4, 1, "flags");
    refused_with(query + 30, 2, 2, "names a topic");
    refused_with(by_user + 16, 0, 4, "unknown item");
    refused_with(by_user + 20, 0, 4, "wrong row");
    refused_with(view + 16, 30000, 4, "never inserted");
    refused_with(view + 20, 0, 4, "has a row");
    refused_with(view + 29, 1, 1, "flags");
    refused_with(TRACE_HEADER_BYTES + 28, TRAFFIC_VIEW, 1, "");
    refused_with(insert + 16, 0, 4, "does not insert the next");
    refused_with(insert + 20, 0, 4, "wrong row");
    refused_with(insert + 8, 0, 4, "has a user");
    refused_with(update + 16, 30000, 4, "never inserted");
    refused_with(update + 29, 4, 1, "flags");
    refused_with(gone + 16, UINT32_MAX, 4, "never inserted");
    refused_with(gone + 20, 3, 4, "wrong row");
    refused_with(place_of(TRAFFIC_DELETE, 1) + 16, ki_load_u32(whole.bytes + gone + 16), 4, "was deleted");
    refused_with(flip + 20, 2, 4, "next generation");
    refused_with(flip + 24, 0, 4, "fields of other kinds");
}

/* Anything may be changed, so anything may be the answer; what the sanitizers watch for is not. */
static void test_random_changes_do_no_harm(void **state) {
    (void)state;
    ki_rng rng = {.state = 9};
    unsigned good = 0, bad = 0;
    uint8_t *file = malloc(whole.size);
    for (int i = 0; i < 400; i++) {
        memcpy(file, whole.bytes, whole.size);
        for (uint64_t changes = 1 + ki_rng_below(&rng, 3); changes; changes--) {
            const uint64_t header = ki_rng_below(&rng, 3) == 0;
            const uint64_t at = header ? 24 + ki_rng_below(&rng, 480) : 512 + ki_rng_below(&rng, whole.size - 512);
            file[at] = (uint8_t)ki_rng_next(&rng);
        }
        sign(file, whole.size);
        struct traffic_description description;
        if (traffic_describe(put_file(file, whole.size), NULL, NULL, &description, &error) == KITH_OK) {
            good++;
            traffic_description_free(&description);
        } else {
            bad++;
            assert_non_null(strstr(error.text, "/bad: "));
        }
    }
    assert_true(good > 0 && bad > good);
    free(file);
}

/* A thousand million items and two thousand million users, claimed by a file of a few kilobytes. */
static void test_claims_cost_nothing(void **state) {
    (void)state;
    uint8_t *file = malloc(whole.size);
    struct traffic_description description;
    memcpy(file, whole.bytes, whole.size);
    ki_store_u64(file + option_place("users"), UINT64_C(1) << 31);
    ki_store_u64(file + option_place("items"), UINT64_C(1) << 30);
    ki_store_u32(file + place_of(TRAFFIC_DELETE, 0) + 16, (UINT32_C(1) << 30) - 1);
    sign(file, whole.size);
    const char *path = put_file(file, whole.size);
    free(file);
    faulty_malloc_start(-1, 0);
    const kith_status status = traffic_describe(path, NULL, NULL, &description, &error);
    faulty_malloc_stop();
    assert_int_equal(status, KITH_E_FORMAT);
    assert_in_range(faulty_peak, 1, 4 << 20);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static void test_files_that_are_none_are_refused(void **state) {
    (void)state;
    struct traffic_reader *reader;
    struct traffic_trace_writer *writer;
    const struct traffic_options options = tiny_options();
    assert_int_equal(traffic_reader_open(io_path("absent"), &reader, &error), KITH_E_NOTFOUND);
    assert_int_equal(traffic_reader_open("/dev/null", &reader, &error), KITH_E_UNSUPPORTED);
    assert_int_equal(traffic_trace_create("/dev/full", &options, &writer, &error), KITH_E_ARG);
    assert_int_equal(traffic_trace_create("-", &options, &writer, &error), KITH_E_ARG);
    assert_int_equal(traffic_trace_create(io_path("no/such"), &options, &writer, &error), KITH_E_NOTFOUND);
}

static kith_status write_all(const struct traffic_write_names *names, const struct traffic_options *options) {
    struct traffic *traffic;
    struct traffic_write write;
    struct traffic_event events[64];
    size_t got = 1;
    assert_int_equal(traffic_create(options, &traffic, &error), KITH_OK);
    kith_status status = traffic_write_open(&write, names, options, &error);
    while (status == KITH_OK && got) {
        status = traffic_read(traffic, events, 64, &got, &error);
        if (status == KITH_OK) status = traffic_write_events(&write, traffic, events, got, &error);
    }
    if (status == KITH_OK) status = traffic_write_commit(&write, traffic_get_counts(traffic), &error);
    traffic_write_discard(&write);
    traffic_destroy(traffic);
    return status;
}

/* A limit on the size of files stands for a full disk: writes fail part way with an errno of the same family. */
static void test_full_disk_leaves_no_file(void **state) {
    (void)state;
    struct traffic_options options = tiny_options();
    const struct rlimit small = {.rlim_cur = 300000, .rlim_max = RLIM_INFINITY};
    struct rlimit before;
    options.rate = 2;
    char trace[600], folder[600], lines[600];
    snprintf(trace, sizeof(trace), "%s", io_path("full.trace"));
    snprintf(lines, sizeof(lines), "%s", io_path("full.ndjson"));
    snprintf(folder, sizeof(folder), "%s", io_path("full"));
    const struct traffic_write_names cases[] = {{.trace = trace}, {.ndjson = lines}, {.vectors = folder}};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t i = 0; i < 3; i++) {
        struct rlimit limit = {.rlim_cur = small.rlim_cur, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        const kith_status status = write_all(&cases[i], &options);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, KITH_E_NOSPACE);
        assert_non_null(strstr(error.text, "full"));
    }
    assert_int_equal(access(trace, F_OK), -1);
    assert_int_equal(access(lines, F_OK), -1);
    assert_int_equal(access(io_path("full/queries.npy"), F_OK), -1);
    assert_int_equal(write_all(&(struct traffic_write_names){.ndjson = "/dev/full"}, &options), KITH_E_NOSPACE);
    assert_non_null(strstr(error.text, "/dev/full"));
}

/* The N-th allocation fails, once or for good: the answer is KITH_E_NOMEM or all is well, nothing is lost, and a file
 * is there only if all went well. */
static void try_without_memory(long number, int for_good, bool *failed) {
    const struct traffic_options options = tiny_options();
    struct traffic_options small = options;
    struct traffic *traffic = NULL;
    struct traffic_write write = {.trace = NULL};
    struct traffic_description description;
    struct traffic_event events[64];
    char trace[600], folder[600];
    small.days = 0.2;
    snprintf(trace, sizeof(trace), "%s", io_path("memory"));
    snprintf(folder, sizeof(folder), "%s", io_path("memory.d"));
    const struct traffic_write_names names = {.trace = trace, .vectors = folder};
    size_t got = 1;
    remove(trace);
    faulty_malloc_start(number, for_good);
    kith_status status = traffic_create(&small, &traffic, &error);
    if (status == KITH_OK) status = traffic_write_open(&write, &names, &small, &error);
    while (status == KITH_OK && got) {
        status = traffic_read(traffic, events, 64, &got, &error);
        if (status == KITH_OK) status = traffic_write_events(&write, traffic, events, got, &error);
    }
    if (status == KITH_OK) status = traffic_write_commit(&write, traffic_get_counts(traffic), &error);
    traffic_write_discard(&write);
    traffic_destroy(traffic);
    if (status == KITH_OK) {
        status = traffic_describe(trace, NULL, NULL, &description, &error);
        if (status == KITH_OK) traffic_description_free(&description);
    } else {
        assert_int_equal(access(trace, F_OK), -1);
    }
    const long live = faulty_live;
    faulty_malloc_stop();
    assert_int_equal(live, 0);
    *failed = status != KITH_OK;
    if (*failed) assert_int_equal(status, KITH_E_NOMEM);
}

static void test_without_memory(void **state) {
    (void)state;
    for (int for_good = 0; for_good < 2; for_good++) {
        bool failed = true;
        long number = 0;
        for (; number < 500 && failed; number++) try_without_memory(number, for_good, &failed);
        assert_in_range(number, 30, 499);
    }
}

static void test_lines_of_json(void **state) {
    (void)state;
    const struct traffic_options options = tiny_options();
    struct traffic_event event = {.time_us = 61000042,
                                  .user = 1,
                                  .session = 2,
                                  .item = 3,
                                  .row = 4,
                                  .segment = 5,
                                  .kind = TRAFFIC_QUERY_VECTOR,
                                  .flags = 3,
                                  .topic = 6};
    char line[TRAFFIC_LINE_BYTES + 1];
    line[traffic_line(&options, &event, line)] = '\0';
    assert_string_equal(line, "{\"time\":61.000042,\"kind\":\"query_vector\",\"user\":1,\"session\":2,\"item\":3,"
                              "\"row\":4,\"segment\":5,\"topic\":6,\"k\":10,"
                              "\"filter\":{\"segment\":5,\"topic\":6}}\n");
    /* The longest there is stays within the room that callers give. */
    event = (struct traffic_event){.time_us = UINT64_MAX,
                                   .user = UINT32_MAX - 1,
                                   .session = UINT32_MAX - 1,
                                   .item = UINT32_MAX - 1,
                                   .row = UINT32_MAX - 1,
                                   .segment = UINT32_MAX - 1,
                                   .kind = TRAFFIC_QUERY_VECTOR,
                                   .flags = 7,
                                   .topic = UINT16_MAX};
    assert_in_range(traffic_line(&options, &event, line), 1, TRAFFIC_LINE_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_bytes_are_those_of_other_machines),
        cmocka_unit_test(test_vectors_are_those_of_other_machines),
        cmocka_unit_test(test_trace_without_events),
        cmocka_unit_test(test_description_counts),
        cmocka_unit_test(test_description_can_be_stopped),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_every_flip_is_refused),
        cmocka_unit_test(test_hostile_headers_are_refused),
        cmocka_unit_test(test_hostile_events_are_refused),
        cmocka_unit_test(test_random_changes_do_no_harm),
        cmocka_unit_test(test_claims_cost_nothing),
        cmocka_unit_test(test_files_that_are_none_are_refused),
        cmocka_unit_test(test_full_disk_leaves_no_file),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_lines_of_json),
    };
    return cmocka_run_group_tests(tests, make_whole, drop_whole);
}
