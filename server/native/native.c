/* SPDX-License-Identifier: Apache-2.0
 *
 * The routes of /v1, and how it says that something went wrong: {"error": {"status": 404, "message": "..."}}.
 * openapi.json describes them; tests/e2e/test_openapi.py holds the two against each other. */
#include "native/native.h"

#include "native/inner.h"

#define V1         "/v1"
#define COLLECTION V1 "/collections/{}"

static const ks_route routes[] = {
    {KS_GET, V1, KS_READ, "root", ks_v1_root},
    {KS_GET, V1 "/openapi.json", KS_NOBODY, "openapi", ks_v1_openapi},
    {KS_GET, V1 "/stats", KS_READ, "stats", ks_v1_stats},
    {KS_GET, V1 "/jobs", KS_ADMIN, "jobs", ks_v1_jobs},
    {KS_GET, V1 "/jobs/{}", KS_ADMIN, "jobs", ks_v1_job},
    {KS_DELETE, V1 "/jobs/{}", KS_ADMIN, "jobs", ks_v1_job_cancel},
    {KS_GET, V1 "/collections", KS_READ, "collections", ks_v1_collections},
    {KS_PUT, COLLECTION, KS_ADMIN, "create", ks_v1_collection_create},
    {KS_GET, COLLECTION, KS_READ, "info", ks_v1_collection_get},
    {KS_DELETE, COLLECTION, KS_ADMIN, "drop", ks_v1_collection_drop},
    {KS_POST, COLLECTION "/query", KS_READ, "query", ks_v1_query},
    {KS_POST, COLLECTION "/points", KS_WRITE, "write", ks_v1_points_write},
    {KS_GET, COLLECTION "/points/{}", KS_READ, "get", ks_v1_point_get},
    {KS_POST, COLLECTION "/points/get", KS_READ, "get", ks_v1_points_get},
    {KS_POST, COLLECTION "/points/exists", KS_READ, "exists", ks_v1_points_exists},
    {KS_POST, COLLECTION "/points/delete", KS_WRITE, "delete", ks_v1_points_delete},
    {KS_POST, COLLECTION "/points/count", KS_READ, "count", ks_v1_points_count},
    {KS_POST, COLLECTION "/points/scroll", KS_READ, "scroll", ks_v1_points_scroll},
    {KS_POST, COLLECTION "/fields", KS_ADMIN, "declare", ks_v1_field},
    {KS_POST, COLLECTION "/profiles/{}/events", KS_WRITE, "event", ks_v1_profile_events},
    {KS_GET, COLLECTION "/profiles/{}", KS_READ, "profile", ks_v1_profile_get},
    {KS_DELETE, COLLECTION "/profiles/{}", KS_WRITE, "profile", ks_v1_profile_delete},
    {KS_POST, COLLECTION "/profiles/rebuild", KS_ADMIN, "rebuild", ks_v1_profiles_rebuild},
    {KS_POST, COLLECTION "/warm", KS_READ, "warm", ks_v1_warm},
    {KS_GET, COLLECTION "/generations", KS_READ, "generations", ks_v1_generations},
    {KS_POST, COLLECTION "/generations", KS_ADMIN, "generations", ks_v1_generation_begin},
    {KS_POST, COLLECTION "/generations/{}/check", KS_ADMIN, "check", ks_v1_generation_check},
    {KS_POST, COLLECTION "/generations/{}/canary", KS_ADMIN, "canary", ks_v1_generation_canary},
    {KS_DELETE, COLLECTION "/generations/{}", KS_ADMIN, "generations", ks_v1_generation_drop},
    {KS_POST, COLLECTION "/flip", KS_ADMIN, "flip", ks_v1_flip},
    {KS_POST, COLLECTION "/compact", KS_ADMIN, "compact", ks_v1_compact},
    {KS_POST, COLLECTION "/tune", KS_ADMIN, "tune", ks_v1_tune},
    {KS_POST, COLLECTION "/join", KS_ADMIN, "join", ks_v1_join},
    {KS_POST, COLLECTION "/snapshots", KS_ADMIN, "snapshot", ks_v1_snapshot},
    {KS_GET, COLLECTION "/snapshots", KS_ADMIN, "snapshots", ks_v1_snapshots},
};

/* What the library refused by, for clients that raise what a program without a server between would: their 400 alone
 * does not tell a wrong argument from wrong data. NULL: it was not the library. */
const char *ks_v1_kind(kith_status status) {
    static const char *const words[] = {[KITH_E_ARG] = "argument",
                                        [KITH_E_IO] = "io",
                                        [KITH_E_NOSPACE] = "nospace",
                                        [KITH_E_NOTFOUND] = "notfound",
                                        [KITH_E_FORMAT] = "format",
                                        [KITH_E_DATA] = "data",
                                        [KITH_E_CORRUPT] = "corrupt",
                                        [KITH_E_VERSION] = "version",
                                        [KITH_E_LIMIT] = "limit",
                                        [KITH_E_BUSY] = "busy",
                                        [KITH_E_CANCELLED] = "cancelled",
                                        [KITH_E_DEADLINE] = "deadline",
                                        [KITH_E_UNSUPPORTED] = "unsupported"};
    return (size_t)status < sizeof(words) / sizeof(*words) ? words[status] : NULL;
}

static void say(ks_call *call, int status, const char *sentence) {
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_object(&json, "error");
    ks_json_int(&json, "status", status);
    ks_json_text(&json, "message", sentence);
    if (ks_v1_kind(call->refused)) ks_json_text(&json, "kind", ks_v1_kind(call->refused));
    ks_json_object_end(&json);
    ks_json_object_end(&json);
    call->reply.status = status;
    if (call->reply.body.failed) ks_call_no_memory(call);
}

const ks_family ks_native_family = {
    .prefix = V1, .fail = say, .routes = routes, .count = sizeof routes / sizeof *routes};
