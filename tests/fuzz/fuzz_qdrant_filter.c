/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile filters as Qdrant's clients send them: the first byte says what kind of ids the collection has. What is
 * translated must be JSON, and a filter to kith; what is not must say why. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/qdrant/filter.h"
#include "filter/filter.h"
#include "support/calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int right) {
    if (!right) abort();
}

static void translate(ks_call *call, const json_t *tree, kith_id_kind kind) {
    const ks_qd_filter_rules rules = {.call = call, .id_kind = kind, .depth_max = 32};
    kith_error error = {0};
    ks_text text = {0};
    ki_filter *filter = NULL;
    if (ks_qd_filter(tree, &rules, &text, &error) == KITH_OK) {
        json_t *again = json_loadb(text.bytes, text.used, JSON_REJECT_DUPLICATES, NULL);
        check(!text.failed && json_is_object(again));
        json_decref(again);
        kith_error why = {0};
        /* kith may still refuse it (a range of a text, too many conditions), and says why. */
        if (ki_filter_parse(text.bytes, text.used, &filter, &why) != KITH_OK) check(why.text[0] != 0);
        ki_filter_free(filter);
    } else {
        check(error.status != KITH_OK && error.text[0]);
    }
    ks_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    const size_t bytes = size - 1;
    /* A copy of just its length and the zero behind a body. */
    char *text = malloc(bytes + 1);
    check(text != NULL);
    memcpy(text, data + 1, bytes);
    text[bytes] = 0;
    ks_call call;
    struct ks_wire wire;
    calls_begin(&call, &wire, text, bytes);
    kith_error error = {0};
    const json_t *tree = ks_parse(&call, text, bytes, &error);
    if (tree && json_is_object(tree)) translate(&call, tree, data[0] & 1 ? KITH_ID_STRING : KITH_ID_U64);
    calls_end(&call);
    free(text);
    return 0;
}
