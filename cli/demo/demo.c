/* SPDX-License-Identifier: Apache-2.0
 *
 * kith demo: 60,000 pictures of clothes, an index of them, 10,000 searches, a shop of them that somebody visits, and a
 * page to look at.
 *
 * The index and the shop are kept beside the page, since the page says how to go on with them. */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "demo/demo.h"
#include "json.h"
#include "table.h"
#include "terminal.h"

#define DATA_FOLDER "/usr/share/datasets/fashion-mnist"
#define ROWS_MIN    200  /* enough for every search of the page */
#define SERVED_AT   6333 /* where `kith serve` listens unless told otherwise */

const char *const demo_class_names[DEMO_CLASSES] = {"T-shirt", "Trouser", "Pullover", "Dress", "Coat",
                                                    "Sandal",  "Shirt",   "Sneaker",  "Bag",   "Boot"};

/* ---- Loading ----------------------------------------------------------------------------------------------------- */

static int load(const char *folder, const char *name, unsigned dimensions, struct idx *idx) {
    kith_error error = {0};
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) return fail(EXIT_OTHER, "out of memory");
    kith_status status = idx_read(path, dimensions, idx, &error);
    int failed = EXIT_OK;
    if (status == KITH_E_NOTFOUND && strcmp(folder, DATA_FOLDER) == 0) {
        failed = fail(EXIT_ABSENT,
                      "%s is missing: the pictures of the demo are Debian's package dataset-fashion-mnist. "
                      "Install it with \"sudo apt-get install dataset-fashion-mnist\", or say with --data "
                      "where they lie",
                      path);
    } else if (status == KITH_E_NOTFOUND) {
        failed = fail(EXIT_ABSENT, "%s is missing: --data names the folder that holds the four files of Fashion-MNIST",
                      path);
    } else if (status) {
        failed = fail_status(status, &error);
    }
    free(path);
    return failed;
}

static int check_set(const char *folder, const char *name, const struct idx *pictures, const struct idx *labels) {
    if (pictures->rows != DEMO_SIDE || pictures->columns != DEMO_SIDE)
        return fail(EXIT_INPUT, "%s/%s-images-idx3-ubyte.gz holds pictures of %zu x %zu, not of %d x %d", folder, name,
                    pictures->rows, pictures->columns, DEMO_SIDE, DEMO_SIDE);
    if (pictures->count != labels->count || pictures->count < ROWS_MIN)
        return fail(EXIT_INPUT,
                    "%s has %zu %s pictures and %zu labels; the demo needs a label for each, and at least %d", folder,
                    pictures->count, name, labels->count, ROWS_MIN);
    for (size_t i = 0; i < labels->count; i++)
        if (labels->data[i] >= DEMO_CLASSES)
            return fail(EXIT_INPUT, "%s/%s-labels-idx1-ubyte.gz: label %zu is %d, not 0 to %d", folder, name, i,
                        labels->data[i], DEMO_CLASSES - 1);
    return EXIT_OK;
}

static int load_all(struct demo *demo, const char *folder) {
    int failed = load(folder, "train-images-idx3-ubyte.gz", 3, &demo->train);
    if (!failed) failed = load(folder, "train-labels-idx1-ubyte.gz", 1, &demo->train_labels);
    if (!failed) failed = load(folder, "t10k-images-idx3-ubyte.gz", 3, &demo->test);
    if (!failed) failed = load(folder, "t10k-labels-idx1-ubyte.gz", 1, &demo->test_labels);
    if (!failed) failed = check_set(folder, "train", &demo->train, &demo->train_labels);
    return failed ? failed : check_set(folder, "t10k", &demo->test, &demo->test_labels);
}

/* ---- Building and opening ---------------------------------------------------------------------------------------- */

/* "demo.html" -> "demo.fashion-mnist.kith": a name that nobody else uses, because a build replaces the index of its
 * name. */
static char *path_beside(const char *page, const char *suffix) {
    size_t stem = strlen(page);
    char *path = NULL;
    if (stem > 5 && strcmp(page + stem - 5, ".html") == 0) stem -= 5;
    return asprintf(&path, "%.*s%s", (int)stem, page, suffix) < 0 ? NULL : path;
}

static int build(struct demo *demo) {
    kith_error error = {0};
    kith_reader *reader = NULL;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = KITH_L2SQ;
    options.pool = demo->pool;
    options.progress = progress_report;
    options.progress_context = &demo->progress;
    demo->build = (kith_build_report)KITH_BUILD_REPORT_INIT;
    kith_status status =
        kith_reader_from_memory(demo->train.data, KITH_U8, demo->train.count, DEMO_DIM, 0, NULL, &reader, &error);
    if (!status) status = kith_build(reader, demo->index_path, &options, &demo->build, &error);
    kith_reader_close(reader);
    if (!status) return EXIT_OK;
    progress_end(&demo->progress);
    return fail_status(status, &error);
}

static int prepare(struct demo *demo, const struct arguments *arguments) {
    kith_error error = {0};
    kith_status status = kith_cpu_info(&demo->cpu, &error);
    if (status) return fail_status(status, &error);
    status = kith_pool_create((unsigned)option_number(arguments, OPTION_THREADS, 0), &demo->pool, &error);
    if (status) return fail_status(status, &error);
    demo->threads = kith_pool_threads(demo->pool);
    int failed = output_replace(arguments, demo->index_path, OUTPUT_INDEX, KITH_FORMAT_AUTO);
    if (!failed) failed = build(demo);
    if (failed) return failed;
    kith_open_options options = {.struct_size = sizeof(options), .populate = 1};
    status = kith_index_open(demo->index_path, &options, &demo->index, &error);
    if (!status) status = kith_scratch_create(demo->index, demo->pool, &demo->scratch, &error);
    return status ? fail_status(status, &error) : EXIT_OK;
}

/* ---- Telling ----------------------------------------------------------------------------------------------------- */

static void json_shop(struct json *json, const struct demo *demo) {
    char words[128];
    emit_object(json, "shop");
    emit_text(json, "path", demo->shop.path);
    emit_uint(json, "items", demo->train.count);
    emit_real(json, "seconds", demo->shop.seconds);
    emit_uint(json, "bytes", demo->shop.bytes);
    emit_text(json, "profile", DEMO_SHOPPER);
    emit_array(json, "visit");
    for (size_t v = 0; v < demo->shop.visits; v++) {
        const struct demo_visit *visit = &demo->shop.visit[v];
        demo_visit_words(demo, visit, words, sizeof(words));
        emit_object(json, NULL);
        emit_text(json, "step", words);
        emit_array(json, "told");
        for (size_t i = 0; i < visit->told_count; i++) emit_uint(json, NULL, visit->told[i]);
        emit_array_end(json);
        if (visit->told_count) emit_real(json, "told_ms", visit->told_seconds * 1e3);
        emit_real(json, "asked_ms", visit->asked_seconds * 1e3);
        emit_array(json, "shown");
        for (size_t i = 0; i < visit->shown_count; i++) emit_uint(json, NULL, visit->shown[i]);
        emit_array_end(json);
        emit_uint(json, "new", visit->fresh);
        emit_object_end(json);
    }
    emit_array_end(json);
    emit_object_end(json);
}

static void print_json(const struct demo *demo) {
    struct json json = JSON_PRETTY(stdout);
    emit_object(&json, NULL);
    emit_uint(&json, "vectors", demo->train.count);
    emit_uint(&json, "dim", DEMO_DIM);
    emit_uint(&json, "queries", demo->test.count);
    emit_uint(&json, "k", DEMO_K);
    emit_uint(&json, "threads", demo->threads);
    emit_text(&json, "tier", demo->cpu.tier);
    emit_text(&json, "processor", demo->cpu.model);
    emit_text(&json, "version", kith_version());
    emit_real(&json, "build_seconds", (double)demo->build.total_ns * 1e-9);
    emit_uint(&json, "index_bytes", demo->build.file_bytes);
    emit_real(&json, "batch_seconds", demo->batch_seconds);
    emit_real(&json, "batch_queries_per_second", demo_batch_rate(demo));
    emit_text(&json, "plan", demo->explain.plan_name);
    emit_uint(&json, "single_queries", demo->latencies);
    emit_real(&json, "single_p50_ms", demo_latency_ms(demo, 50));
    emit_real(&json, "single_p99_ms", demo_latency_ms(demo, 99));
    emit_real(&json, "plain_queries_per_second", demo_plain_rate(demo));
    emit_real(&json, "times_plain", demo_batch_rate(demo) / demo_plain_rate(demo));
    emit_uint(&json, "checked_queries", demo->checked);
    emit_uint(&json, "identical_queries", demo->identical);
    emit_uint(&json, "votes", DEMO_VOTES);
    emit_real(&json, "accuracy", demo_accuracy(demo));
    emit_array(&json, "sweep");
    for (size_t i = 0; i < demo->sweep_count; i++) {
        emit_object(&json, NULL);
        emit_uint(&json, "batch", demo->sweep[i].batch);
        emit_real(&json, "queries_per_second", demo->sweep[i].per_second);
        emit_object_end(&json);
    }
    emit_array_end(&json);
    emit_array(&json, "confusion");
    for (size_t row = 0; row < DEMO_CLASSES; row++) {
        emit_object(&json, NULL);
        emit_text(&json, "class", demo_class_names[row]);
        emit_array(&json, "answered");
        for (size_t column = 0; column < DEMO_CLASSES; column++) emit_uint(&json, NULL, demo->confusion[row][column]);
        emit_array_end(&json);
        emit_object_end(&json);
    }
    emit_array_end(&json);
    json_shop(&json, demo);
    emit_text(&json, "page", demo->page_path);
    emit_text(&json, "index", demo->index_path);
    emit_object_end(&json);
}

static void print_summary(const struct demo *demo) {
    char first[HUMAN_BYTES], second[HUMAN_BYTES], third[HUMAN_BYTES];
    const char *bold = terminal_style(stdout, STYLE_BOLD), *good = terminal_style(stdout, STYLE_GREEN),
               *plain = terminal_style(stdout, STYLE_PLAIN);
    printf("%sFashion-MNIST: %s pictures of %d x %d pixels", bold, human_count(first, demo->train.count), DEMO_SIDE,
           DEMO_SIDE);
    printf(", searched for %s others%s\n\n", human_count(first, demo->test.count), plain);
    pair_line(stdout, "index", "%s, built in %s", human_bytes(first, demo->build.file_bytes),
              human_duration(second, (double)demo->build.total_ns * 1e-9));
    pair_line(stdout, "in batches", "%s%s%s (10 nearest of each, %u thread%s, %s)", good,
              human_rate(first, demo_batch_rate(demo)), plain, demo->threads, demo->threads == 1 ? "" : "s",
              demo->cpu.tier);
    pair_line(stdout, "one by one", "%s%s%s median, %s at p99 of %zu", good,
              human_duration(first, demo_latency_ms(demo, 50) * 1e-3), plain,
              human_duration(second, demo_latency_ms(demo, 99) * 1e-3), demo->latencies);
    pair_line(stdout, "plain scan", "%s, measured on %zu; all %s would take %s",
              human_rate(first, demo_plain_rate(demo)), demo->checked, human_count(third, demo->test.count),
              human_duration(second, (double)demo->test.count / demo_plain_rate(demo)));
    pair_line(stdout, "faster by", "%s%.1f times%s", good, demo_batch_rate(demo) / demo_plain_rate(demo), plain);
    pair_line(stdout, "exact", "%zu of %zu answers equal the plain scan's in every bit", demo->identical,
              demo->checked);
    pair_line(stdout, "accuracy", "%s%.2f %%%s when the %d nearest vote", good, 100 * demo_accuracy(demo), plain,
              DEMO_VOTES);
    pair_line(stdout, "page", "%s", demo->page_path);
    pair_line(stdout, "index file", "%s", demo->index_path);
    pair_line(stdout, "shop", "%s, %s items in %s, made in %s", demo->shop.path, human_count(first, demo->train.count),
              human_bytes(second, demo->shop.bytes), human_duration(third, demo->shop.seconds));
}

/* Per class: how many are found, and what they are taken for most. */
static int print_classes(const struct demo *demo) {
    static const struct table_column columns[] = {
        {"kind", TABLE_LEFT}, {"pictures", TABLE_RIGHT}, {"found", TABLE_RIGHT}, {"most often taken for", TABLE_LEFT}};
    struct table *table = table_create(stdout, columns, sizeof(columns) / sizeof(*columns));
    if (!table) return fail(EXIT_OTHER, "out of memory");
    for (size_t class = 0; class < DEMO_CLASSES; class ++) {
        uint32_t total = 0;
        size_t rival = class == 0 ? 1 : 0;
        for (size_t answer = 0; answer < DEMO_CLASSES; answer++) {
            total += demo->confusion[class][answer];
            if (answer != class && demo->confusion[class][answer] > demo->confusion[class][rival]) rival = answer;
        }
        table_format(table, "%s", demo_class_names[class]);
        table_format(table, "%u", total);
        table_format(table, "%.1f %%", total ? 100.0 * demo->confusion[class][class] / total : 0);
        table_format(table, "%s (%u)", demo_class_names[rival], demo->confusion[class][rival]);
    }
    printf("\n");
    bool printed = table_flush(table);
    table_destroy(table);
    return printed ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

/* "5 Sneaker, 3 Bag" */
static void count_kinds(const struct demo *demo, const struct demo_visit *visit, char *to, size_t room) {
    size_t count[DEMO_CLASSES] = {0}, used = 0;
    for (size_t i = 0; i < visit->shown_count; i++) count[demo->train_labels.data[visit->shown[i]]]++;
    *to = 0;
    for (size_t class = 0; class < DEMO_CLASSES && used < room; class ++)
        if (count[class])
            used += (size_t)snprintf(to + used, room - used, "%s%zu %s", used ? ", " : "", count[class],
                                     demo_class_names[class]);
}

static int print_visit(const struct demo *demo) {
    static const struct table_column columns[] = {{DEMO_SHOPPER, TABLE_LEFT},
                                                  {"written in", TABLE_RIGHT},
                                                  {"answered in", TABLE_RIGHT},
                                                  {"new", TABLE_RIGHT},
                                                  {"recommended then", TABLE_LEFT}};
    char words[160], time[HUMAN_BYTES];
    struct table *table = table_create(stdout, columns, sizeof(columns) / sizeof(*columns));
    if (!table) return fail(EXIT_OTHER, "out of memory");
    for (size_t v = 0; v < demo->shop.visits; v++) {
        const struct demo_visit *visit = &demo->shop.visit[v];
        demo_visit_words(demo, visit, words, sizeof(words));
        table_format(table, "%s", words);
        table_format(table, "%s", visit->told_count ? human_duration(time, visit->told_seconds) : "-");
        table_format(table, "%s", human_duration(time, visit->asked_seconds));
        table_format(table, "%zu of %zu", visit->fresh, visit->shown_count);
        count_kinds(demo, visit, words, sizeof(words));
        table_format(table, "%s", words);
    }
    printf("\n");
    const bool printed = table_flush(table);
    table_destroy(table);
    return printed ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
}

/* A path as a shell takes it. */
static void print_word(const char *word) {
    if (word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,@%=:")] == 0) {
        printf("%s", word);
        return;
    }
    putchar('\'');
    for (; *word; word++) {
        if (*word == '\'')
            printf("'\\''");
        else
            putchar(*word);
    }
    putchar('\'');
}

static void print_next(const struct demo *demo) {
    static const struct {
        const char *command, *rest;
    } next[] = {{"query", " --profile " DEMO_SHOPPER " -k 5"},
                {"profile", " " DEMO_SHOPPER " --like 42"},
                {"query", " --profile " DEMO_SHOPPER " --where 'kind = \"Dress\" and price < 60' --diversity 0.3"}};
    printf("\nGo on in the shop:\n");
    for (size_t i = 0; i < sizeof(next) / sizeof(*next); i++) {
        printf("  kith %s ", next[i].command);
        print_word(demo->shop.path);
        printf("%s\n", next[i].rest);
    }
    printf("\nOr in a browser: run\n  kith serve ");
    print_word(demo->shop.path);
    printf("\nand open http://127.0.0.1:%d/ui/\n", SERVED_AT);
}

static int write_page(struct demo *demo) {
    struct demo_look look;
    struct html page = HTML_INIT;
    struct result_file file;
    int failed = demo_look(demo, &look);
    if (failed) return failed;
    demo_page(&page, demo, &look);
    demo_look_free(&look);
    failed = html_ok(&page) ? result_file_open(&file, demo->page_path) : fail(EXIT_OTHER, "out of memory for the page");
    if (!failed) {
        html_write(&page, file.stream); /* commit looks at the stream's error flag */
        failed = result_file_commit(&file);
    }
    html_free(&page);
    return failed;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

static int run(struct demo *demo, const struct arguments *arguments) {
    int failed = output_replace(arguments, demo->page_path, OUTPUT_HTML, KITH_FORMAT_AUTO);
    if (!failed) failed = demo_shop_check(demo);
    if (!failed) failed = load_all(demo, option_text(arguments, OPTION_DATA, DATA_FOLDER));
    if (!failed) failed = prepare(demo, arguments);
    if (!failed) failed = demo_measure(demo);
    if (!failed) failed = demo_shop(demo);
    if (!failed) failed = write_page(demo);
    progress_end(&demo->progress);
    if (failed) return failed;
    if (option_given(arguments, OPTION_JSON)) {
        print_json(demo);
    } else if (!option_given(arguments, OPTION_QUIET)) {
        print_summary(demo);
        failed = print_classes(demo);
        if (!failed) failed = print_visit(demo);
        if (!failed) print_next(demo);
    }
    if (!failed && demo->identical != demo->checked)
        failed = fail(EXIT_OTHER, "%zu of %zu answers differ from the plain scan: this is a defect of kith",
                      demo->checked - demo->identical, demo->checked);
    return failed;
}

int command_demo(const struct arguments *arguments) {
    struct demo demo = {.cpu = KITH_CPU_INIT, .explain = KITH_EXPLAIN_INIT};
    demo.page_path = option_text(arguments, OPTION_OUTPUT, "kith-demo.html");
    demo.index_path = path_beside(demo.page_path, ".fashion-mnist.kith");
    demo.shop.path = path_beside(demo.page_path, ".shop");
    progress_start(&demo.progress, option_given(arguments, OPTION_QUIET));
    int failed = demo.index_path && demo.shop.path ? run(&demo, arguments) : fail(EXIT_OTHER, "out of memory");
    demo_shop_close(&demo.shop);
    free(demo.answers);
    free(demo.latency_ns);
    free(demo.distances);
    free(demo.ids);
    kith_scratch_destroy(demo.scratch);
    kith_index_close(demo.index);
    kith_pool_destroy(demo.pool);
    idx_free(&demo.train);
    idx_free(&demo.test);
    idx_free(&demo.train_labels);
    idx_free(&demo.test_labels);
    free(demo.index_path);
    return failed;
}
