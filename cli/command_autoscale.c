/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith autoscale`: how many servers there should be, once or again and again, told to people or to whoever starts
 * servers. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <time.h>

#include "autoscale.h"
#include "json.h"
#include "table.h"
#include "terminal.h"

enum { SERVERS_BYTES = 16384, KEY_BYTES = 1024 };

static int read_scale(const struct arguments *arguments, ks_scale_options *scale) {
    *scale = ks_scale_defaults();
    scale->min = (unsigned)option_number(arguments, OPTION_MIN, scale->min);
    scale->max = (unsigned)option_number(arguments, OPTION_MAX, scale->min > scale->max ? scale->min : scale->max);
    scale->busy = option_real(arguments, OPTION_BUSY, scale->busy);
    scale->p99_ms = (double)option_number(arguments, OPTION_P99, 0) / 1e6;
    scale->queue = (double)option_number(arguments, OPTION_QUEUE, (uint64_t)scale->queue);
    scale->steady_s = (double)option_number(arguments, OPTION_STEADY, (uint64_t)(scale->steady_s * 1e9)) / 1e9;
    const char *wrong = ks_scale_check(scale);
    return wrong ? fail_usage(COMMAND_AUTOSCALE, "%s", wrong) : EXIT_OK;
}

/* All operands as one list. */
static int read_servers(const struct arguments *arguments, char servers[SERVERS_BYTES]) {
    size_t used = 0;
    servers[0] = 0;
    for (size_t i = 0; i < arguments->operand_count; i++) {
        const int more = snprintf(servers + used, SERVERS_BYTES - used, "%s%s", i ? "," : "", arguments->operands[i]);
        if (more < 0 || (size_t)more >= SERVERS_BYTES - used)
            return fail_usage(COMMAND_AUTOSCALE, "these are more addresses than can be looked at");
        used += (size_t)more;
    }
    return EXIT_OK;
}

/* The first line of a file. */
static int read_key(const char *path, char key[KEY_BYTES]) {
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(errno == ENOENT ? EXIT_ABSENT : EXIT_STORAGE, "%s cannot be opened: %s", path, strerror(errno));
    const bool got = fgets(key, KEY_BYTES, file) != NULL;
    fclose(file);
    if (got) key[strcspn(key, "\r\n")] = 0;
    for (const char *at = key; got && *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 127) return fail(EXIT_INPUT, "%s holds no key in its first line", path);
    return got && *key ? EXIT_OK : fail(EXIT_INPUT, "%s holds no key in its first line", path);
}

static void tell(const struct arguments *arguments, const ks_told *told) {
    if (option_given(arguments, OPTION_JSON)) {
        struct json json = JSON_LINES(stdout);
        emit_object(&json, NULL);
        emit_uint(&json, "desired", told->desired);
        emit_text(&json, "reason", ks_scale_reason_text(told->reason));
        emit_uint(&json, "servers", told->servers);
        emit_uint(&json, "asked", told->asked);
        emit_real(&json, "busy", told->sample.busy);
        emit_real(&json, "p99_ms", told->sample.p99_ms);
        emit_real(&json, "queue", told->sample.queue);
        emit_object_end(&json);
    } else {
        char p99[HUMAN_BYTES];
        printf("%u  %s (%u of %u answer, busy %.0f %%, %.0f waiting, p99 %s)\n", told->desired,
               ks_scale_reason_text(told->reason), told->servers, told->asked, 100 * told->sample.busy,
               told->sample.queue, human_duration(p99, told->sample.p99_ms / 1e3));
    }
    fflush(stdout);
}

/* What one look alone says: there is nothing to be patient with. */
static int once(const struct arguments *arguments, const ks_look *look, ks_scale *scale) {
    kith_error error = {0};
    char silent[KITH_ERROR_TEXT_BYTES];
    ks_told told = {0};
    const kith_status status = ks_look_at(look, 0, &told.sample, &told.asked, silent, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    if (*silent) note("%s", silent);
    if (!told.sample.servers) return fail(EXIT_ABSENT, "no server answers, so nothing can be said");
    scale->late = 2;
    told.servers = told.sample.servers;
    told.desired = ks_scale_wish(scale, &told.sample, &told.reason);
    tell(arguments, &told);
    return EXIT_OK;
}

static int again_and_again(const struct arguments *arguments, const ks_look *look, ks_scale *scale, ks_teller *teller,
                           double interval_s) {
    const struct timespec pause = {(time_t)interval_s, (long)((interval_s - (double)(time_t)interval_s) * 1e9)};
    ks_told told = {0};
    char said[KITH_ERROR_TEXT_BYTES] = "";
    while (!interrupt_asked(NULL)) {
        kith_error error = {0};
        char silent[KITH_ERROR_TEXT_BYTES];
        const kith_status status = ks_look_at(look, (double)now_ns() / 1e9, &told.sample, &told.asked, silent, &error);
        if (status != KITH_OK) return fail_status(status, &error);
        /* Once, until something else is wrong. */
        if (*silent && strcmp(silent, said) != 0) note("%s", silent);
        memcpy(said, silent, sizeof(said));
        if (!told.looks && told.sample.servers) ks_scale_start(scale, &scale->options, told.sample.servers);
        told.servers = told.sample.servers;
        told.desired = ks_scale_next(scale, &told.sample, &told.reason);
        /* Until a server answered there is no figure: the least would stop those that are there. */
        if (told.looks || told.servers) {
            told.looks++;
            ks_teller_tell(teller, &told);
            tell(arguments, &told);
        }
        if (ferror(stdout)) return EXIT_BROKEN;
        if (!interrupt_asked(NULL)) nanosleep(&pause, NULL);
    }
    return EXIT_OK;
}

static int serve(const struct arguments *arguments, const ks_look *look, ks_scale *scale, double interval_s) {
    kith_error error = {0};
    ks_teller *teller = NULL;
    const char *address = option_text(arguments, OPTION_ADDRESS, "127.0.0.1");
    const kith_status status =
        ks_teller_start(address, (uint16_t)option_number(arguments, OPTION_PORT, 0), &teller, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    note("the figure is told at port %u of %s, to whoever asks", (unsigned)ks_teller_port(teller), address);
    const int failed = again_and_again(arguments, look, scale, teller, interval_s);
    ks_teller_stop(teller);
    return failed;
}

int command_autoscale(const struct arguments *arguments) {
    static char servers[SERVERS_BYTES], key[KEY_BYTES];
    ks_scale_options options;
    ks_scale scale;
    const double interval_s = (double)option_number(arguments, OPTION_INTERVAL, UINT64_C(15000000000)) / 1e9;
    const char *key_file = option_text(arguments, OPTION_KEY_FILE, NULL);
    int failed = read_scale(arguments, &options);
    if (failed) return failed;
    if (option_given(arguments, OPTION_SIMULATE)) {
        if (arguments->operand_count)
            return fail_usage(COMMAND_AUTOSCALE, "--simulate looks at a file, not at servers");
        return autoscale_simulate(arguments, &options, interval_s);
    }
    if (!arguments->operand_count)
        return fail_usage(COMMAND_AUTOSCALE, "autoscale needs the URLs of servers, or --simulate TRACE");
    failed = read_servers(arguments, servers);
    if (!failed && key_file) failed = read_key(key_file, key);
    if (failed) return failed;
    const ks_look look = {.servers = servers, .key = key_file ? key : NULL, .timeout_ms = 2000};
    ks_scale_start(&scale, &options, options.min);
    failed = option_given(arguments, OPTION_PORT) ? serve(arguments, &look, &scale, interval_s)
                                                  : once(arguments, &look, &scale);
    memset(key, 0, sizeof(key));
    return failed;
}
