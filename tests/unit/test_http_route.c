/* SPDX-License-Identifier: Apache-2.0
 *
 * The router and what paths may be: tables of encodings, which route wins, which families say an error, tables that are
 * refused.
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the four above */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/http/route.h"
#include "../../server/http/wire.h"

static void nothing(ks_call *call) {
    (void)call;
}

static void say_v1(ks_call *call, int status, const char *sentence) {
    (void)call, (void)status, (void)sentence;
}

static void say_rest(ks_call *call, int status, const char *sentence) {
    (void)call, (void)status, (void)sentence;
}

static const ks_route v1[] = {{KS_GET, "/v1/{}/points/{}", KS_READ, "get", nothing},
                              {KS_POST, "/v1/{}/points/get", KS_READ, "many", nothing},
                              {KS_GET, "/v1/{}/points/near", KS_READ, "near", nothing},
                              {KS_GET, "/v1", KS_READ, "root", nothing},
                              {KS_DELETE, "/v1/{}/points/{}", KS_WRITE, "drop", nothing}};
static const ks_route rest[] = {{KS_GET, "/", KS_READ, "top", nothing},
                                {KS_GET, "/ui/", KS_NOBODY, "page", nothing},
                                {KS_GET, "/a/{}/{}/{}/{}/{}/{}", KS_READ, "six", nothing}};
static const ks_family families[] = {{"/v1", say_v1, v1, sizeof(v1) / sizeof(*v1)},
                                     {"", say_rest, rest, sizeof(rest) / sizeof(*rest)}};

static struct ks_wire *make_wire(ks_method method, const char *path) {
    struct ks_wire *wire = calloc(1, sizeof(*wire));
    assert_non_null(wire);
    wire->at = wire->first;
    wire->end = wire->first + sizeof(wire->first);
    wire->call.wire = wire;
    wire->call.method = method;
    wire->call.path = path;
    return wire;
}

static void free_wire(struct ks_wire *wire) {
    while (wire->chunks) {
        ks_chunk *next = wire->chunks->next;
        free(wire->chunks);
        wire->chunks = next;
    }
    free(wire);
}

static ks_router *router;

static void leads_where_it_says(void **state) {
    static const struct {
        ks_method method;
        const char *path;
        int found;
        const char *op, *part0, *part1, *allow;
        ks_fail_fn *fail;
    } rows[] = {
        {KS_GET, "/v1", 200, "root", NULL, NULL, NULL, say_v1},
        {KS_GET, "/", 200, "top", NULL, NULL, NULL, say_rest},
        {KS_GET, "/ui/", 200, "page", NULL, NULL, NULL, say_rest},
        {KS_GET, "/ui", 404, NULL, NULL, NULL, NULL, say_rest},
        {KS_GET, "/v1/", 404, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1x", 404, NULL, NULL, NULL, NULL, say_rest},
        {KS_GET, "/v1/shop/points/7", 200, "get", "shop", "7", NULL, say_v1},
        {KS_DELETE, "/v1/shop/points/7", 200, "drop", "shop", "7", NULL, say_v1},
        {KS_GET, "/v1/shop/points/near", 200, "near", "shop", NULL, NULL, say_v1},
        {KS_GET, "/v1/shop/points/get", 200, "get", "shop", "get", NULL, say_v1},
        {KS_POST, "/v1/shop/points/get", 200, "many", "shop", NULL, NULL, say_v1},
        {KS_PUT, "/v1/shop/points/get", 405, NULL, NULL, NULL, "GET, HEAD, POST, DELETE", say_v1},
        {KS_PUT, "/v1/shop/points/7", 405, NULL, NULL, NULL, "GET, HEAD, DELETE", say_v1},
        {KS_GET, "/v1//points/7", 404, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/shop/points/", 404, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/Gr%C3%B6%C3%9fe/points/%F0%9F%91%97", 200, "get",
         "Gr\xc3\xb6\xc3\x9f"
         "e",
         "\xf0\x9f\x91\x97", NULL, say_v1},
        {KS_GET, "/v1/a+b/points/a%2Bb%20c%3f%23", 200, "get", "a+b", "a+b c?#", NULL, say_v1},
        {KS_GET, "/v1/s/points/https%3A%2F%2Fa%2Fb", 200, "get", "s", "https://a/b", NULL, say_v1},
        {KS_GET, "/v1/s/points/..a", 200, "get", "s", "..a", NULL, say_v1},
        {KS_GET, "/v1/s/points/...", 200, "get", "s", "...", NULL, say_v1},
        {KS_GET, "/v1/%2e/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/%2E%2E/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/.%2e/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/a%2f../points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/a%2f%2e%2e%2fb/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/a%5c%2e%2e/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/..%5ca/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/a%/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/a%f/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/a%fg/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/a%7f/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/a%1f/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "/v1/%c0%ae%c0%ae/points/7", 400, NULL, NULL, NULL, NULL, say_v1}, /* ".." overlong */
        {KS_GET, "/v1/%ed%a0%80/points/7", 400, NULL, NULL, NULL, NULL, say_v1},    /* a surrogate */
        {KS_GET, "/v1/%f4%90%80%80/points/7", 400, NULL, NULL, NULL, NULL, say_v1}, /* beyond Unicode */
        {KS_GET, "/v1/%c3/points/7", 400, NULL, NULL, NULL, NULL, say_v1},
        {KS_GET, "v1", 400, NULL, NULL, NULL, NULL, say_rest},
        {KS_GET, "/a/1/2/3/4/5/6", 200, "six", "1", "2", NULL, say_rest},
        {KS_GET, "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", 404, NULL, NULL, NULL, NULL, say_rest},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct ks_wire *wire = make_wire(rows[i].method, rows[i].path);
        ks_call *call = &wire->call;
        const int found = ks_router_find(router, call);
        if (found != rows[i].found) fail_msg("%s: %d in place of %d", rows[i].path, found, rows[i].found);
        assert_ptr_equal(call->fail, rows[i].fail);
        if (rows[i].op) assert_string_equal(call->route->op, rows[i].op);
        if (rows[i].part0) assert_string_equal(call->parts[0], rows[i].part0);
        if (rows[i].part1) assert_string_equal(call->parts[1], rows[i].part1);
        if (rows[i].allow) assert_string_equal(call->reply.allow, rows[i].allow);
        if (!rows[i].op) assert_null(call->route);
        free_wire(wire);
    }
}

static void reads_arguments(void **state) {
    (void)state;
    struct ks_wire *wire = make_wire(KS_GET, "/");
    assert_int_equal(ks_arguments_read(wire, "k=10&filter=a+%3C%203&&empty=&bare&k=11&%6b2=%C3%A9=x"), 200);
    assert_string_equal(ks_call_argument(&wire->call, "k"), "10");
    assert_string_equal(ks_call_argument(&wire->call, "filter"), "a < 3");
    assert_string_equal(ks_call_argument(&wire->call, "empty"), "");
    assert_string_equal(ks_call_argument(&wire->call, "bare"), "");
    assert_string_equal(ks_call_argument(&wire->call, "k2"), "\xc3\xa9=x");
    assert_null(ks_call_argument(&wire->call, "K"));
    free_wire(wire);
    static const char *const wrong[] = {"a=%", "a=%1", "%zz=1", "a=%00", "a=%ff", "a=1&b=%0d"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        wire = make_wire(KS_GET, "/");
        assert_int_equal(ks_arguments_read(wire, wrong[i]), 400);
        free_wire(wire);
    }
    char many[2 * KS_ARGUMENTS_MAX + 3] = "";
    for (int i = 0; i <= KS_ARGUMENTS_MAX; i++) strcat(many, "a&");
    wire = make_wire(KS_GET, "/");
    assert_int_equal(ks_arguments_read(wire, many), 400);
    free_wire(wire);
}

static void refuses_tables(void **state) {
    static const ks_route bare[] = {{KS_GET, "v1", KS_READ, "bare", nothing}};
    static const ks_route holes[] = {{KS_GET, "/{}/{}/{}/{}/{}/{}/{}", KS_READ, "holes", nothing}};
    static const ks_route again[] = {{KS_GET, "/v1/{}/points/{}", KS_READ, "again", nothing}};
    const ks_family wrong[][2] = {
        {families[0], {"", NULL, bare, 1}}, {families[0], {"", NULL, holes, 1}}, {families[0], {"", NULL, again, 1}}};
    static const char *const says[] = {"\"v1\" (bare)", "(holes)", "is there twice"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        ks_router *made = NULL;
        kith_error error = {0};
        assert_int_equal(ks_router_create(wrong[i], 2, &made, &error), KITH_E_ARG);
        assert_null(made);
        assert_non_null(strstr(error.text, says[i]));
    }
    ks_router_destroy(NULL);
}

static int create(void **state) {
    (void)state;
    return ks_router_create(families, 2, &router, NULL) == KITH_OK ? 0 : -1;
}

static int destroy(void **state) {
    (void)state;
    ks_router_destroy(router);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(leads_where_it_says), cmocka_unit_test(reads_arguments),
                                       cmocka_unit_test(refuses_tables)};
    return cmocka_run_group_tests(tests, create, destroy);
}
