/* SPDX-License-Identifier: Apache-2.0
 *
 * The web page: files that lie in the program, served under /ui/. What they show comes from /v1, with the key that the
 * page asks for; so the files themselves need none.
 *
 * 1. Names are looked up in the table of what was embedded, and nowhere else: no path of a request reaches a disk.
 * 2. A browser asks again each time, and is told by the hash whether anything changed: a new server never runs with an
 *    old page.
 * 3. The page has its content security policy inside (index.html). */
#include "page/page.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "page/files.h"

static const char *type_of(const char *name) {
    static const struct {
        const char *ending, *type;
    } types[] = {{".html", "text/html; charset=utf-8"},
                 {".css", "text/css; charset=utf-8"},
                 {".js", "text/javascript; charset=utf-8"},
                 {".svg", "image/svg+xml"}};
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < sizeof(types) / sizeof(*types); i++)
        if (strcmp(ending, types[i].ending) == 0) return types[i].type;
    return "application/octet-stream";
}

static const char *etag_of(ks_call *call, const ks_page_file *file) {
    enum { ETAG_BYTES = 19 }; /* 64 bits in quotes */
    char *etag = ks_call_alloc(call, ETAG_BYTES);
    if (etag) snprintf(etag, ETAG_BYTES, "\"%016llx\"", (unsigned long long)XXH3_64bits(file->bytes, *file->count));
    return etag; /* without memory, none is said */
}

static void give(ks_call *call, const char *name) {
    const ks_page_file *file = ks_page_files;
    while (file->name && strcmp(file->name, name) != 0) file++;
    if (file->name) {
        call->reply.type = type_of(name);
        call->reply.etag = etag_of(call, file);
        call->reply.cache_control = "no-cache";
        ks_text_add(&call->reply.body, file->bytes, *file->count);
    } else {
        ks_call_fail(call, 404, "The page has no file \"%s\": it begins at /ui/.", name);
    }
    ks_call_done(call);
}

static void page(ks_call *call) {
    give(call, "index.html");
}

static void file(ks_call *call) {
    give(call, call->parts[0]);
}

/* What the page names is relative to /ui/, so that it works behind a proxy that puts it elsewhere. */
static void redirect(ks_call *call) {
    call->reply.status = 308;
    call->reply.location = "ui/";
    call->reply.type = "text/plain; charset=utf-8";
    ks_text_add_line(&call->reply.body, "The page is at /ui/.\n");
    ks_call_done(call);
}

static void fail(ks_call *call, int status, const char *sentence) {
    call->reply.status = status;
    call->reply.type = "text/plain; charset=utf-8";
    ks_text_clear(&call->reply.body);
    ks_text_add_line(&call->reply.body, sentence);
    ks_text_add_line(&call->reply.body, "\n");
}

static const ks_route routes[] = {
    {KS_GET, "/ui", KS_NOBODY, "page", redirect},
    {KS_GET, "/ui/", KS_NOBODY, "page", page},
    {KS_GET, "/ui/{}", KS_NOBODY, "page", file},
};

const ks_family ks_page_family = {"/ui", fail, routes, sizeof(routes) / sizeof(*routes)};
