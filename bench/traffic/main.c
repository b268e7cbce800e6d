/* SPDX-License-Identifier: Apache-2.0
 *
 * kith-traffic: makes traces, and says what is in one. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/command.h"
#include "../../cli/json.h"
#include "../../cli/progress.h"
#include "../../cli/suggest.h"
#include "../../cli/terminal.h"
#include "report.h"
#include "write.h"

enum { GROUP = 4096 };

struct request {
    struct traffic_options options;
    struct traffic_write_names names;
    const char *operand; /* of describe */
    const char *svg;
    bool json, quiet, help, generation_options;
};

static const struct switch_option {
    const char *name, *value, *help;
} switches[] = {
    {"trace", "FILE", "write the trace there (also -o FILE)"},
    {"ndjson", "FILE", "write the events as lines of JSON; -: standard output"},
    {"vectors", "FOLDER", "write the vectors there, as .npy files"},
    {"svg", "FILE", "describe: draw rates and popularity"},
    {"json", NULL, "the summary as JSON"},
    {"quiet", NULL, "no progress bar and no summary"},
    {"help", NULL, "this page"},
};
enum { SWITCHES = sizeof(switches) / sizeof(*switches) };

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

static int __attribute__((format(printf, 2, 3))) refuse(int exit_code, const char *format, ...) {
    char raw[1024], clean[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof(raw), format, arguments);
    va_end(arguments);
    text_clean(clean, sizeof(clean), raw, strlen(raw));
    fprintf(stderr, "kith-traffic: %s\n", clean);
    return exit_code;
}

static int exit_code_of(kith_status status) {
    switch (status) {
    case KITH_OK:
        return EXIT_OK;
    case KITH_E_ARG:
        return EXIT_USAGE;
    case KITH_E_FORMAT:
    case KITH_E_UNSUPPORTED:
    case KITH_E_VERSION:
        return EXIT_INPUT;
    case KITH_E_NOTFOUND:
        return EXIT_ABSENT;
    case KITH_E_IO:
    case KITH_E_NOSPACE:
        return EXIT_STORAGE;
    case KITH_E_CANCELLED:
        return interrupt_exit_code();
    default:
        return EXIT_OTHER;
    }
}

static int refuse_status(kith_status status, const kith_error *error) {
    if (status == KITH_E_CANCELLED) return exit_code_of(status);
    return refuse(exit_code_of(status), "%s", error->text);
}

/* ---- Command line ------------------------------------------------------------------------------------------------ */

static void print_option(const char *name, const char *value, const char *help) {
    char left[64];
    snprintf(left, sizeof(left), "--%s%s%s", name, value ? " " : "", value ? value : "");
    printf("  %-24s %s\n", left, help);
}

static int print_help(void) {
    puts("kith-traffic makes reproducible traffic of a personalised service, for benchmarks.\n\n"
         "usage: kith-traffic generate [--trace FILE] [--ndjson FILE] [--vectors FOLDER] [OPTION VALUE]...\n"
         "       kith-traffic describe TRACE [--json] [--svg FILE]\n");
    for (size_t i = 0; i < SWITCHES; i++) print_option(switches[i].name, switches[i].value, switches[i].help);
    puts("\nWhat `generate` makes, with defaults:\n");
    for (const struct traffic_option *option = traffic_option_table; option->name; option++) {
        char value[32];
        snprintf(value, sizeof(value), "%.10g", option->standard);
        print_option(option->name, value, option->help);
    }
    puts("\nbench/traffic/README.md explains the model and the files.");
    return EXIT_OK;
}

static int unknown_option(const char *name, size_t bytes) {
    struct suggestion near;
    suggest_start(&near, name, bytes);
    for (size_t i = 0; i < SWITCHES; i++) suggest_offer(&near, switches[i].name);
    for (const struct traffic_option *option = traffic_option_table; option->name; option++)
        suggest_offer(&near, option->name);
    if (near.best)
        return refuse(EXIT_USAGE, "there is no option --%.*s; did you mean --%s?", (int)bytes, name, near.best);
    return refuse(EXIT_USAGE, "there is no option --%.*s", (int)bytes, name);
}

static bool same(const char *name, const char *typed, size_t bytes) {
    return strlen(name) == bytes && memcmp(name, typed, bytes) == 0;
}

static int take_switch(struct request *request, const char *name, const char *value) {
    if (strcmp(name, "json") == 0) request->json = true;
    if (strcmp(name, "quiet") == 0) request->quiet = true;
    if (strcmp(name, "help") == 0) request->help = true;
    if (!value) return EXIT_OK;
    if (!*value) return refuse(EXIT_USAGE, "--%s takes a name, not \"\"", name);
    if (strcmp(name, "trace") == 0) request->names.trace = value;
    if (strcmp(name, "ndjson") == 0) request->names.ndjson = value;
    if (strcmp(name, "vectors") == 0) request->names.vectors = value;
    if (strcmp(name, "svg") == 0) request->svg = value;
    return EXIT_OK;
}

/* typed: behind "--"; value: behind "=", or NULL; *next: the argument after this, used up if it is the value. */
static int take_option(struct request *request, const char *typed, size_t bytes, const char *value, char ***next) {
    const struct traffic_option *option = traffic_option_table;
    const struct switch_option *found = NULL;
    while (option->name && !same(option->name, typed, bytes)) option++;
    for (size_t i = 0; i < SWITCHES; i++)
        if (same(switches[i].name, typed, bytes)) found = &switches[i];
    if (!option->name && !found) return unknown_option(typed, bytes);
    const bool takes_value = option->name || found->value;
    if (!takes_value && value) return refuse(EXIT_USAGE, "--%s takes no value", found->name);
    if (takes_value && !value) {
        if (!**next) return refuse(EXIT_USAGE, "--%.*s needs a value", (int)bytes, typed);
        value = *(*next)++;
    }
    if (found) return take_switch(request, found->name, value);
    kith_error error;
    request->generation_options = true;
    const kith_status status = traffic_option_parse(&request->options, option, value, &error);
    return status == KITH_OK ? EXIT_OK : refuse_status(status, &error);
}

static int parse(struct request *request, char **next) {
    while (*next) {
        const char *text = *next++;
        int failed = EXIT_OK;
        if (strcmp(text, "-h") == 0) {
            request->help = true;
        } else if (strcmp(text, "-o") == 0) {
            failed = take_option(request, "trace", 5, NULL, &next);
        } else if (strncmp(text, "--", 2) == 0 && text[2]) {
            const char *equals = strchr(text, '=');
            const size_t bytes = equals ? (size_t)(equals - text - 2) : strlen(text + 2);
            failed = take_option(request, text + 2, bytes, equals ? equals + 1 : NULL, &next);
        } else if (text[0] == '-' && text[1]) {
            failed = refuse(EXIT_USAGE, "there is no option %s", text);
        } else if (request->operand) {
            failed = refuse(EXIT_USAGE, "\"%s\" is one operand too many", text);
        } else {
            request->operand = text;
        }
        if (failed) return failed;
    }
    return EXIT_OK;
}

/* ---- generate ---------------------------------------------------------------------------------------------------- */

/* About how many events there will be, for the bar. */
static uint64_t expected_events(const struct traffic_options *options) {
    const double shares = options->insert_share + options->update_share + options->delete_share + 2 * options->churn;
    const double all = options->days * (86400 * options->rate + shares * (double)options->items) + 1;
    return options->events && (double)options->events < all ? options->events : (uint64_t)all;
}

static void print_summary(const struct request *request, const struct traffic_counts *counts, double seconds) {
    const bool busy = request->names.ndjson && strcmp(request->names.ndjson, "-") == 0;
    const double rate = seconds > 0 ? (double)counts->events / seconds : 0;
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES], d[HUMAN_BYTES];
    if (request->json) {
        struct json json = JSON_PRETTY(stdout);
        emit_object(&json, NULL);
        traffic_report_counts(&json, counts);
        emit_real(&json, "generation_seconds", seconds);
        emit_real(&json, "generated_per_second", rate);
        traffic_report_options(&json, &request->options);
        emit_object_end(&json);
    } else if (!request->quiet) {
        fprintf(busy ? stderr : stdout, "%s events of %s sessions over %.2f days, made in %s (%s)\n",
                human_count(a, counts->events), human_count(b, counts->sessions),
                (double)counts->last_us / (double)TRAFFIC_DAY_US, human_duration(c, seconds), human_rate(d, rate));
    }
}

static kith_status generate_all(const struct request *request, struct traffic *traffic, struct traffic_write *write,
                                kith_error *error) {
    static struct traffic_event events[GROUP];
    const uint64_t expected = expected_events(&request->options);
    struct progress progress;
    kith_status status = KITH_OK;
    progress_start(&progress, request->quiet);
    while (status == KITH_OK) {
        size_t got = 0;
        status = traffic_read(traffic, events, GROUP, &got, error);
        if (status != KITH_OK || !got) break;
        status = traffic_write_events(write, traffic, events, got, error);
        const uint64_t done = traffic_get_counts(traffic)->events;
        if (status == KITH_OK && progress_step(&progress, "generating", "events", done, expected))
            status = KITH_E_CANCELLED;
    }
    progress_end(&progress);
    return status;
}

static int generate(struct request *request) {
    struct traffic *traffic = NULL;
    struct traffic_write write = {.trace = NULL};
    kith_error error = {.status = KITH_OK};
    if (request->operand) return refuse(EXIT_USAGE, "generate takes no operand, and got \"%s\"", request->operand);
    if (request->svg) return refuse(EXIT_USAGE, "--svg belongs to describe");
    if (request->json && request->names.ndjson && strcmp(request->names.ndjson, "-") == 0)
        return refuse(EXIT_USAGE, "--json and --ndjson - both want standard output");
    const uint64_t start_ns = now_ns();
    kith_status status = traffic_create(&request->options, &traffic, &error);
    if (status == KITH_OK) status = traffic_write_open(&write, &request->names, &request->options, &error);
    if (status == KITH_OK) status = generate_all(request, traffic, &write, &error);
    if (status == KITH_OK) status = traffic_write_commit(&write, traffic_get_counts(traffic), &error);
    traffic_write_discard(&write);
    if (status == KITH_OK) print_summary(request, traffic_get_counts(traffic), (double)(now_ns() - start_ns) * 1e-9);
    traffic_destroy(traffic);
    return status == KITH_OK ? EXIT_OK : refuse_status(status, &error);
}

/* ---- describe ---------------------------------------------------------------------------------------------------- */

static int show_progress(void *context, uint64_t done, uint64_t total) {
    return progress_step(context, "reading", "events", done, total);
}

static int describe(const struct request *request) {
    struct traffic_description description;
    struct progress progress;
    kith_error error;
    if (!request->operand) return refuse(EXIT_USAGE, "describe needs the name of a trace");
    if (request->generation_options || request->names.trace || request->names.ndjson || request->names.vectors)
        return refuse(EXIT_USAGE, "describe takes --json, --svg and --quiet only; the trace knows its options");
    progress_start(&progress, request->quiet);
    kith_status status = traffic_describe(request->operand, show_progress, &progress, &description, &error);
    progress_end(&progress);
    if (status != KITH_OK) return refuse_status(status, &error);
    if (request->svg) status = traffic_report_svg(request->svg, &description, &error);
    if (status == KITH_OK && request->json) {
        traffic_report_json(stdout, &description);
    } else if (status == KITH_OK && !request->quiet) {
        traffic_report_text(stdout, &description);
    }
    traffic_description_free(&description);
    return status == KITH_OK ? EXIT_OK : refuse_status(status, &error);
}

static int run(char **argv) {
    struct request request = {.operand = NULL};
    traffic_options_default(&request.options);
    if (!argv[0] || !argv[1]) return refuse(EXIT_USAGE, "say generate or describe, or --help");
    const bool makes = strcmp(argv[1], "generate") == 0, tells = strcmp(argv[1], "describe") == 0;
    const int failed = parse(&request, argv + (makes || tells ? 2 : 1));
    if (failed) return failed;
    if (request.help) return print_help();
    if (makes) return generate(&request);
    if (tells) return describe(&request);
    return refuse(EXIT_USAGE, "there is no command \"%s\": say generate or describe, or --help", argv[1]);
}

int main(int argc, char **argv) {
    (void)argc;
    terminal_init();
    interrupt_install();
    const int exit_code = run(argv);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return refuse(EXIT_STORAGE, "standard output cannot be written: %s", strerror(errno ? errno : EIO));
    return exit_code;
}
