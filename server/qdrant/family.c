/* SPDX-License-Identifier: Apache-2.0
 *
 * The routes of Qdrant's REST. What is not offered has a route too, which says so by its name. */
#include "qdrant/qdrant.h"
#include "qdrant/query.h"

/* Of clients' newest minor version, which warn when it is more than one away. */
static const char version[] = "1.20.0";

/* Clients look here for a version, people for the page. */
static void handle_root(ks_call *call) {
    if (ks_call_accepts(call, "text/html")) {
        call->reply.status = 302;
        call->reply.location = "ui/";
        ks_call_done(call);
        return;
    }
    ks_json json = KS_JSON(&call->reply.body);
    ks_json_object(&json, NULL);
    ks_json_text(&json, "title", "kith - vector search engine, as qdrant");
    ks_json_text(&json, "version", version);
    ks_json_text(&json, "kith", kith_version());
    ks_json_object_end(&json);
    if (json.text->failed) ks_call_no_memory(call);
    ks_call_done(call);
}

static void handle_cluster(ks_call *call) {
    ks_json json = ks_qd_reply(call);
    ks_json_object(&json, "result");
    ks_json_text(&json, "status", "disabled");
    ks_json_object_end(&json);
    ks_qd_reply_end(call, &json);
    ks_call_done(call);
}

/* ---- By workers */

#define BY_WORKER(name_, how_, work_)                                                                                  \
    static void name_(ks_call *call) {                                                                                 \
        how_(ks_app_of(call)->run, call, work_, NULL);                                                                 \
    }

BY_WORKER(handle_collections, ks_run_work, ks_qd_collections)
BY_WORKER(handle_exists, ks_run_work, ks_qd_collection_exists)
BY_WORKER(handle_get, ks_run_work, ks_qd_collection_get)
BY_WORKER(handle_create, ks_run_write, ks_qd_collection_create)
BY_WORKER(handle_update, ks_run_write, ks_qd_collection_update)
BY_WORKER(handle_drop, ks_run_write, ks_qd_collection_drop)
BY_WORKER(handle_index_create, ks_run_write, ks_qd_index_create)
BY_WORKER(handle_index_drop, ks_run_write, ks_qd_index_drop)
BY_WORKER(handle_aliases, ks_run_work, ks_qd_aliases)
BY_WORKER(handle_collection_aliases, ks_run_work, ks_qd_collection_aliases)
BY_WORKER(handle_change_aliases, ks_run_write, ks_qd_change_aliases)
BY_WORKER(handle_retrieve, ks_run_work, ks_qd_retrieve)
BY_WORKER(handle_retrieve_one, ks_run_work, ks_qd_retrieve_one)
BY_WORKER(handle_scroll, ks_run_work, ks_qd_scroll)
BY_WORKER(handle_count, ks_run_work, ks_qd_count)
BY_WORKER(handle_facet, ks_run_work, ks_qd_facet)
BY_WORKER(handle_upsert, ks_run_write, ks_qd_upsert)
BY_WORKER(handle_delete, ks_run_write, ks_qd_delete)
BY_WORKER(handle_update_vectors, ks_run_write, ks_qd_update_vectors)
BY_WORKER(handle_delete_vectors, ks_run_write, ks_qd_delete_vectors)
BY_WORKER(handle_set_payload, ks_run_write, ks_qd_set_payload)
BY_WORKER(handle_overwrite_payload, ks_run_write, ks_qd_overwrite_payload)
BY_WORKER(handle_delete_payload, ks_run_write, ks_qd_delete_payload)
BY_WORKER(handle_clear_payload, ks_run_write, ks_qd_clear_payload)
BY_WORKER(handle_batch_update, ks_run_write, ks_qd_batch_update)

/* ---- Not offered */

#define NOT_OFFERED(name_, what_)                                                                                      \
    static void name_(ks_call *call) {                                                                                 \
        ks_qd_not_offered(call, what_);                                                                                \
        ks_call_done(call);                                                                                            \
    }

NOT_OFFERED(no_cluster, "Qdrant's cluster administration: several servers stand behind `kith serve --backends`")
NOT_OFFERED(no_shards, "shards and shard keys: a field declared as the segment field parts tenants")
NOT_OFFERED(no_snapshots, "Qdrant's snapshots: POST /v1/collections/{name}/snapshots makes kith's")
NOT_OFFERED(no_telemetry, "Qdrant's telemetry and quotas: /metrics and /v1/stats have kith's figures")
NOT_OFFERED(no_optimizations, "Qdrant's list of optimizations: /v1/collections/{name} tells background work")
NOT_OFFERED(no_vector_names, "adding and removing named vectors of a collection that is there")
NOT_OFFERED(no_discover, "discovery and context search: nearest and recommend are")
NOT_OFFERED(no_matrix, "distance matrices: /v1/collections/{name}/join finds the neighbours of all items")
NOT_OFFERED(no_old_groups, "the old groups: POST /collections/{name}/points/query/groups makes them")

#define C  "/collections/{}"
#define P  C "/points"
#define SS C "/shards/{}/snapshots"

static const ks_route routes[] = {
    {KS_GET, "/", KS_NOBODY, "root", handle_root},
    {KS_GET, "/collections", KS_READ, "collections", handle_collections},
    {KS_GET, C, KS_READ, "collection", handle_get},
    {KS_GET, C "/exists", KS_READ, "collection", handle_exists},
    {KS_PUT, C, KS_ADMIN, "collection_create", handle_create},
    {KS_PATCH, C, KS_ADMIN, "collection_update", handle_update},
    {KS_DELETE, C, KS_ADMIN, "collection_drop", handle_drop},
    {KS_PUT, C "/index", KS_WRITE, "declare", handle_index_create},
    {KS_DELETE, C "/index/{}", KS_WRITE, "declare", handle_index_drop},
    {KS_GET, "/aliases", KS_READ, "aliases", handle_aliases},
    {KS_GET, C "/aliases", KS_READ, "aliases", handle_collection_aliases},
    {KS_POST, "/collections/aliases", KS_ADMIN, "aliases_change", handle_change_aliases},
    {KS_PUT, P, KS_WRITE, "upsert", handle_upsert},
    {KS_POST, P, KS_READ, "get", handle_retrieve},
    {KS_GET, P "/{}", KS_READ, "get", handle_retrieve_one},
    {KS_POST, P "/delete", KS_WRITE, "delete", handle_delete},
    {KS_PUT, P "/vectors", KS_WRITE, "update", handle_update_vectors},
    {KS_POST, P "/vectors/delete", KS_WRITE, "update", handle_delete_vectors},
    {KS_POST, P "/payload", KS_WRITE, "update", handle_set_payload},
    {KS_PUT, P "/payload", KS_WRITE, "update", handle_overwrite_payload},
    {KS_POST, P "/payload/delete", KS_WRITE, "update", handle_delete_payload},
    {KS_POST, P "/payload/clear", KS_WRITE, "update", handle_clear_payload},
    {KS_POST, P "/batch", KS_WRITE, "update", handle_batch_update},
    {KS_POST, P "/scroll", KS_READ, "scroll", handle_scroll},
    {KS_POST, P "/count", KS_READ, "count", handle_count},
    {KS_POST, C "/facet", KS_READ, "facet", handle_facet},
    {KS_POST, P "/query", KS_READ, "query", ks_qd_query_points},
    {KS_POST, P "/query/batch", KS_READ, "query", ks_qd_query_batch},
    {KS_POST, P "/query/groups", KS_READ, "query_groups", ks_qd_query_groups},
    {KS_POST, P "/search", KS_READ, "query", ks_qd_search_points},
    {KS_POST, P "/search/batch", KS_READ, "query", ks_qd_search_batch},
    {KS_POST, P "/recommend", KS_READ, "query", ks_qd_recommend_points},
    {KS_POST, P "/recommend/batch", KS_READ, "query", ks_qd_recommend_batch},
    {KS_GET, "/cluster", KS_READ, "cluster", handle_cluster},

    {KS_POST, P "/search/groups", KS_READ, "not_offered", no_old_groups},
    {KS_POST, P "/recommend/groups", KS_READ, "not_offered", no_old_groups},
    {KS_POST, P "/discover", KS_READ, "not_offered", no_discover},
    {KS_POST, P "/discover/batch", KS_READ, "not_offered", no_discover},
    {KS_POST, P "/search/matrix/pairs", KS_READ, "not_offered", no_matrix},
    {KS_POST, P "/search/matrix/offsets", KS_READ, "not_offered", no_matrix},
    {KS_PUT, C "/vectors/{}", KS_ADMIN, "not_offered", no_vector_names},
    {KS_DELETE, C "/vectors/{}", KS_ADMIN, "not_offered", no_vector_names},
    {KS_GET, C "/optimizations", KS_READ, "not_offered", no_optimizations},
    {KS_GET, C "/cluster", KS_READ, "not_offered", no_cluster},
    {KS_POST, C "/cluster", KS_ADMIN, "not_offered", no_cluster},
    {KS_GET, "/cluster/telemetry", KS_READ, "not_offered", no_telemetry},
    {KS_POST, "/cluster/recover", KS_ADMIN, "not_offered", no_cluster},
    {KS_DELETE, "/cluster/peer/{}", KS_ADMIN, "not_offered", no_cluster},
    {KS_GET, C "/shards", KS_READ, "not_offered", no_shards},
    {KS_PUT, C "/shards", KS_ADMIN, "not_offered", no_shards},
    {KS_POST, C "/shards/delete", KS_ADMIN, "not_offered", no_shards},
    {KS_GET, C "/snapshots", KS_READ, "not_offered", no_snapshots},
    {KS_POST, C "/snapshots", KS_ADMIN, "not_offered", no_snapshots},
    {KS_PUT, C "/snapshots/recover", KS_ADMIN, "not_offered", no_snapshots},
    {KS_POST, C "/snapshots/upload", KS_ADMIN, "not_offered", no_snapshots},
    {KS_GET, C "/snapshots/{}", KS_READ, "not_offered", no_snapshots},
    {KS_DELETE, C "/snapshots/{}", KS_ADMIN, "not_offered", no_snapshots},
    {KS_GET, SS, KS_READ, "not_offered", no_snapshots},
    {KS_POST, SS, KS_ADMIN, "not_offered", no_snapshots},
    {KS_PUT, SS "/recover", KS_ADMIN, "not_offered", no_snapshots},
    {KS_POST, SS "/upload", KS_ADMIN, "not_offered", no_snapshots},
    {KS_GET, SS "/{}", KS_READ, "not_offered", no_snapshots},
    {KS_DELETE, SS "/{}", KS_ADMIN, "not_offered", no_snapshots},
    {KS_GET, "/snapshots", KS_READ, "not_offered", no_snapshots},
    {KS_POST, "/snapshots", KS_ADMIN, "not_offered", no_snapshots},
    {KS_GET, "/snapshots/{}", KS_READ, "not_offered", no_snapshots},
    {KS_DELETE, "/snapshots/{}", KS_ADMIN, "not_offered", no_snapshots},
    {KS_GET, "/telemetry", KS_READ, "not_offered", no_telemetry},
    {KS_GET, "/quotas", KS_READ, "not_offered", no_telemetry},
    {KS_GET, "/issues", KS_READ, "not_offered", no_telemetry},
    {KS_DELETE, "/issues", KS_ADMIN, "not_offered", no_telemetry},
};

const ks_family ks_qdrant_family = {
    .prefix = "/collections", .fail = ks_qd_fail, .routes = routes, .count = sizeof routes / sizeof routes[0]};
