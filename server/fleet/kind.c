/* SPDX-License-Identifier: Apache-2.0
 *
 * What a request does, by its method and path. */
#include "fleet/kind.h"

#include <string.h>

static int begins(const char *path, const char *with) {
    return strncmp(path, with, strlen(with)) == 0;
}

/* Whether a part of the path, or several with a slash between, stands at its end. */
static int ends(const char *path, size_t count, const char *with) {
    const size_t length = strlen(with);
    return count >= length && memcmp(path + count - length, with, length) == 0;
}

/* What stands behind the name of a collection, with its slash; "" where there is none. */
static const char *behind_name(const char *path) {
    const char *name = begins(path, "/v1/collections/") ? path + 16 : begins(path, "/collections/") ? path + 13 : "";
    const char *rest = strchr(name, '/');
    return rest ? rest : "";
}

/* What is kept by the server that did it, and by no other. */
static int is_own(const char *path) {
    const char *rest = behind_name(path);
    return begins(path, "/v1/jobs") || begins(path, "/snapshots") || begins(rest, "/snapshots") ||
           begins(rest, "/profiles") || begins(rest, "/generations");
}

ks_kind ks_kind_of(ks_method method, const char *path) {
    static const char *const reads[] = {"/query",
                                        "/query/batch",
                                        "/query/groups",
                                        "/search",
                                        "/search/batch",
                                        "/search/groups",
                                        "/recommend",
                                        "/recommend/batch",
                                        "/recommend/groups",
                                        "/discover",
                                        "/discover/batch",
                                        "/scroll",
                                        "/count",
                                        "/get",
                                        "/exists",
                                        "/facet",
                                        "/search/matrix/pairs",
                                        "/search/matrix/offsets"};
    size_t count = strlen(path);
    while (count > 1 && path[count - 1] == '/') count--;
    if (method == KS_GET || method == KS_OPTIONS) return is_own(path) ? KS_KIND_OWN : KS_KIND_READ;
    if (method != KS_POST) return KS_KIND_WRITE;
    const char *rest = behind_name(path);
    const size_t left = count > (size_t)(rest - path) ? count - (size_t)(rest - path) : 0;

    /* Qdrant asks for points by their ids with a POST to where a PUT writes them; in /v1 this POST writes. */
    if (!begins(path, "/v1/") && left == 7 && begins(rest, "/points")) return KS_KIND_READ;
    for (size_t i = 0; i < sizeof(reads) / sizeof(*reads); i++)
        if (ends(rest, left, reads[i])) return is_own(path) ? KS_KIND_OWN : KS_KIND_READ;
    return KS_KIND_WRITE;
}
