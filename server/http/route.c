/* SPDX-License-Identifier: Apache-2.0
 *
 * The router: all families' routes in one table, ordered so that the first one that fits is the right one.
 *
 * 1. Of two patterns that fit a path, the one with a literal part where the other has a {} comes first; so
 *    "/points/get" is never taken for the point "get".
 * 2. A {} stands for one part that is not empty. */
#include "http/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/wire.h"

typedef struct entry {
    const ks_route *route;
    const ks_family *family;
    size_t count; /* parts */
    struct {
        const char *text; /* NULL: {} */
        size_t bytes;
    } parts[KS_SEGMENTS_MAX];
} entry;

struct ks_router {
    const ks_family *families;
    size_t family_count, entry_count;
    size_t first[KS_SEGMENTS_MAX + 2]; /* entries with n parts begin at first[n] */
    entry *entries;
};

static int compile(const ks_family *family, const ks_route *route, entry *to) {
    size_t holes = 0;
    *to = (entry){.route = route, .family = family};
    const char *at = route->pattern;
    if (at[0] != '/') return -1;
    while (*at) {
        at++;
        const size_t length = strcspn(at, "/");
        if (to->count == KS_SEGMENTS_MAX) return -1;
        const int hole = length == 2 && memcmp(at, "{}", 2) == 0;
        holes += (size_t)hole;
        to->parts[to->count].text = hole ? NULL : at;
        to->parts[to->count++].bytes = length;
        at += length;
    }
    return holes <= KS_PARTS_MAX ? 0 : -1;
}

/* By number of parts, then literals before holes, then literals by their bytes: equal patterns are neighbours. */
static int compare_patterns(const entry *a, const entry *b) {
    if (a->count != b->count) return a->count < b->count ? -1 : 1;
    for (size_t i = 0; i < a->count; i++) {
        if (!a->parts[i].text != !b->parts[i].text) return a->parts[i].text ? -1 : 1;
        if (!a->parts[i].text) continue;
        const size_t less = a->parts[i].bytes < b->parts[i].bytes ? a->parts[i].bytes : b->parts[i].bytes;
        const int order = memcmp(a->parts[i].text, b->parts[i].text, less);
        if (order) return order;
        if (a->parts[i].bytes != b->parts[i].bytes) return a->parts[i].bytes < b->parts[i].bytes ? -1 : 1;
    }
    return 0;
}

static int compare(const void *left, const void *right) {
    const entry *a = left, *b = right;
    const int order = compare_patterns(a, b);
    return order ? order : (int)a->route->method - (int)b->route->method;
}

static kith_status refuse(const ks_route *route, const char *why, kith_error *error) {
    if (error) {
        error->status = KITH_E_ARG;
        snprintf(error->text, sizeof(error->text), "the route \"%s\" (%s) %s", route->pattern, route->op, why);
    }
    return KITH_E_ARG;
}

static kith_status fill(ks_router *router, kith_error *error) {
    size_t used = 0;
    for (size_t f = 0; f < router->family_count; f++)
        for (size_t i = 0; i < router->families[f].count; i++) {
            const ks_route *route = &router->families[f].routes[i];
            if (compile(&router->families[f], route, &router->entries[used++]) != 0)
                return refuse(route, "does not begin with a slash or has too many parts", error);
        }
    qsort(router->entries, used, sizeof(*router->entries), compare);
    for (size_t i = 1; i < used; i++)
        if (compare(&router->entries[i - 1], &router->entries[i]) == 0)
            return refuse(router->entries[i].route, "is there twice", error);
    for (size_t n = 0, i = 0; n <= KS_SEGMENTS_MAX + 1; n++) {
        while (i < used && router->entries[i].count < n) i++;
        router->first[n] = i;
    }
    return KITH_OK;
}

kith_status ks_router_create(const ks_family *families, size_t count, ks_router **router, kith_error *error) {
    ks_router *made = calloc(1, sizeof(*made));
    size_t entries = 0;
    for (size_t i = 0; i < count; i++) entries += families[i].count;
    if (made) made->entries = calloc(entries ? entries : 1, sizeof(*made->entries));
    if (!made || !made->entries) {
        ks_router_destroy(made);
        if (error) *error = (kith_error){.status = KITH_E_NOMEM, .text = "there is no memory for the table of routes"};
        return KITH_E_NOMEM;
    }
    made->families = families;
    made->family_count = count;
    made->entry_count = entries;
    const kith_status status = fill(made, error);
    if (status == KITH_OK) {
        *router = made;
    } else {
        ks_router_destroy(made);
    }
    return status;
}

void ks_router_destroy(ks_router *router) {
    if (!router) return;
    free(router->entries);
    free(router);
}

/* Whose errors a path gets: the family with the longest prefix that ends at a slash or with the path. */
static ks_fail_fn *whose(const ks_router *router, const char *path) {
    ks_fail_fn *fail = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < router->family_count; i++) {
        const char *prefix = router->families[i].prefix;
        const size_t length = strlen(prefix);
        if (strncmp(path, prefix, length) != 0) continue;
        if (length && path[length] && path[length] != '/') continue;
        if (fail && length <= longest) continue;
        fail = router->families[i].fail;
        longest = length;
    }
    return fail;
}

static int fits(const entry *row, const char *const *segments) {
    for (size_t i = 0; i < row->count; i++) {
        if (!row->parts[i].text) {
            if (!segments[i][0]) return 0;
        } else if (strncmp(segments[i], row->parts[i].text, row->parts[i].bytes) != 0 ||
                   segments[i][row->parts[i].bytes]) {
            return 0;
        }
    }
    return 1;
}

/* What may be done at the place of an entry that fits the path but not the method. */
static const char *allowed(const ks_router *router, ks_call *call, const char *const *segments, size_t count) {
    static const char *const names[] = {"", "GET, HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    unsigned seen = 0;
    char text[64] = "";
    for (size_t i = router->first[count]; i < router->first[count + 1]; i++)
        if (fits(&router->entries[i], segments)) seen |= 1u << router->entries[i].route->method;
    for (unsigned method = KS_GET; method <= KS_OPTIONS; method++) {
        if (!(seen >> method & 1)) continue;
        if (text[0]) strcat(text, ", ");
        strcat(text, names[method]);
    }
    return text[0] ? ks_call_copy(call, text, strlen(text)) : NULL;
}

static void take(ks_call *call, const entry *row, const char *const *segments) {
    size_t used = 0;
    for (size_t i = 0; i < row->count; i++)
        if (!row->parts[i].text) call->parts[used++] = segments[i];
    call->route = row->route;
    call->fail = row->family->fail;
}

int ks_router_find(const ks_router *router, ks_call *call) {
    const char *segments[KS_SEGMENTS_MAX];
    size_t count = 0;
    call->fail = whose(router, call->path);
    const int split = ks_split(call, segments, &count);
    if (split != 200) return split;
    for (size_t i = router->first[count]; i < router->first[count + 1]; i++) {
        const entry *row = &router->entries[i];
        if (row->route->method != call->method || !fits(row, segments)) continue;
        take(call, row, segments);
        return 200;
    }
    call->reply.allow = allowed(router, call, segments, count);
    return call->reply.allow ? 405 : 404;
}
