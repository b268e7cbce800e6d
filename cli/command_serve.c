/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith serve` and `kith key`: options for the server, which does the rest. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "serve/serve.h"

/* A share that must lie within 0..1. 0 or an exit code. */
static int read_share(const struct arguments *arguments, enum option_id id, const char *name, double otherwise,
                      double *share) {
    *share = option_real(arguments, id, otherwise);
    if (*share >= 0 && *share <= 1) return EXIT_OK;
    return fail_usage(COMMAND_SERVE, "--%s is \"%s\", but 0 to 1 was expected", name, option_text(arguments, id, ""));
}

/* For a front 0 means its default, and below 0 none: the command's 0 is none. */
static int read_share_or_none(const struct arguments *arguments, enum option_id id, const char *name, double *share) {
    const int failed = read_share(arguments, id, name, 0, share);
    if (!failed && option_given(arguments, id) && !(*share > 0)) *share = -1;
    return failed;
}

/* A folder, or backends; and what belongs to the other is refused. */
static int check_front(const struct arguments *arguments) {
    static const struct {
        enum option_id id;
        const char *name;
    } of_folders[] = {{OPTION_KEYS, "keys"},
                      {OPTION_CREATE, "create"},
                      {OPTION_READ_ONLY, "read-only"},
                      {OPTION_DURABILITY, "durability"},
                      {OPTION_WORKERS, "workers"},
                      {OPTION_CACHE, "cache-bytes"},
                      {OPTION_RESIDENT, "resident-bytes"},
                      {OPTION_BUDGET, "budget"},
                      {OPTION_RECALL_SHARE, "recall-share"},
                      {OPTION_TARGET_RECALL, "target-recall"}},
      of_fronts[] = {{OPTION_WRITE_TO, "write-to"},
                     {OPTION_POLICY, "policy"},
                     {OPTION_RETRIES, "retries"},
                     {OPTION_HEDGES, "hedges"}};
    const int list = option_given(arguments, OPTION_BACKENDS), file = option_given(arguments, OPTION_BACKENDS_FILE);
    if (list && file) return fail_usage(COMMAND_SERVE, "--backends and --backends-file exclude each other");
    if ((list || file) && arguments->operand_count)
        return fail_usage(COMMAND_SERVE, "a server with --backends has no folder of its own");
    if (!list && !file && !arguments->operand_count)
        return fail_usage(COMMAND_SERVE, "serve needs a FOLDER, or --backends to forward to");
    if (list || file) {
        for (size_t i = 0; i < sizeof(of_folders) / sizeof(*of_folders); i++)
            if (option_given(arguments, of_folders[i].id))
                return fail_usage(COMMAND_SERVE, "--%s is for the backends, not for the server before them",
                                  of_folders[i].name);
    } else {
        for (size_t i = 0; i < sizeof(of_fronts) / sizeof(*of_fronts); i++)
            if (option_given(arguments, of_fronts[i].id))
                return fail_usage(COMMAND_SERVE, "--%s needs --backends", of_fronts[i].name);
    }
    return EXIT_OK;
}

/* Large replies are mapped, and given back when they were sent. Left to itself malloc() takes them from its heap once one
 * was freed, where smaller things keep it from giving them back: twice the bound on replies was resident at times. */
static void map_large(void) {
    enum { MAPPED_FROM = 4 << 20 };
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
}

int command_serve(const struct arguments *arguments) {
    kith_error error = {0};
    const uint64_t drain_ns = option_number(arguments, OPTION_DRAIN, 0);
    ks_serve_options options = {
        .path = arguments->operand_count ? arguments->operands[0] : NULL,
        .address = option_text(arguments, OPTION_ADDRESS, NULL),
        .port = (int)option_number(arguments, OPTION_PORT, KS_PORT),
        .loops = (unsigned)option_number(arguments, OPTION_LOOPS, 0),
        .workers = (unsigned)option_number(arguments, OPTION_WORKERS, 0),
        .keys_path = option_text(arguments, OPTION_KEYS, NULL),
        .certificate = option_text(arguments, OPTION_TLS_CERT, NULL),
        .private_key = option_text(arguments, OPTION_TLS_KEY, NULL),
        .insecure = option_given(arguments, OPTION_INSECURE),
        .read_only = option_given(arguments, OPTION_READ_ONLY),
        .create = option_given(arguments, OPTION_CREATE),
        .durability = (kith_durability)option_number(arguments, OPTION_DURABILITY, KITH_DURABILITY_FULL),
        .cache_bytes = option_number(arguments, OPTION_CACHE, UINT64_C(64) << 20),
        .resident_bytes = option_number(arguments, OPTION_RESIDENT, UINT64_C(1) << 30),
        .body_max = (size_t)option_number(arguments, OPTION_BODY_MAX, 0),
        .connections_max = (size_t)option_number(arguments, OPTION_CONNECTIONS_MAX, 0),
        .budget_ns = option_number(arguments, OPTION_BUDGET, 0),
        .drain_ms = drain_ns / 1000000,
        .unconfined = option_given(arguments, OPTION_UNCONFINED),
        .log_json = (int)option_number(arguments, OPTION_LOG, 0),
        .log_level = (int)option_number(arguments, OPTION_LOG_LEVEL, 2),
        .backends = option_text(arguments, OPTION_BACKENDS, NULL),
        .backends_path = option_text(arguments, OPTION_BACKENDS_FILE, NULL),
        .write_to = option_text(arguments, OPTION_WRITE_TO, NULL),
        .policy = (int)option_number(arguments, OPTION_POLICY, 2),
    };
    int failed = read_share(arguments, OPTION_RECALL_SHARE, "recall-share", 0.001, &options.recall_share);
    if (!failed) failed = read_share(arguments, OPTION_TARGET_RECALL, "target-recall", 0, &options.target_recall);
    if (!failed) failed = read_share_or_none(arguments, OPTION_RETRIES, "retries", &options.retry_share);
    if (!failed) failed = read_share_or_none(arguments, OPTION_HEDGES, "hedges", &options.hedge_share);
    if (!failed) failed = check_front(arguments);
    if (failed) return failed;
    if (!options.certificate != !options.private_key)
        return fail_usage(COMMAND_SERVE, "TLS takes both --tls-cert and --tls-key");
    map_large();
    const kith_status status = ks_serve(&options, &error);
    return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
}

int command_key(const struct arguments *arguments) {
    static const char *const roles[] = {NULL, "read", "write", "admin"};
    kith_error error = {0};
    char secret[KS_NEW_SECRET_BYTES];
    char *line = NULL;
    if (!option_given(arguments, OPTION_ROLE)) return fail_usage(COMMAND_KEY, "key needs --role read, write or admin");
    const ks_new_key key = {.name = arguments->operands[0],
                            .role = roles[option_number(arguments, OPTION_ROLE, 1)],
                            .segment = option_text(arguments, OPTION_SEGMENT, NULL),
                            .collection = option_text(arguments, OPTION_COLLECTION, NULL),
                            .path = option_text(arguments, OPTION_KEYS, NULL)};
    const kith_status status = ks_serve_key(&key, secret, &line, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    printf("%s\n", secret);
    if (!key.path) {
        printf("%s\n", line);
    } else {
        note("%s has the key of \"%s\" now; the secret is printed this once", key.path, key.name);
    }
    free(line);
    memset(secret, 0, sizeof(secret));
    return EXIT_OK;
}
