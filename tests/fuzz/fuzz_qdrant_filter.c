/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile filters of Qdrant's. What is translated must be a filter of kith's that parses, but for what only kith can
 * judge (values and names, and its own bounds): it must be whole JSON in any case. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/qdrant/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int right) {
    if (!right) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *tree = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
    for (int texts = 0; tree && texts < 2; texts++) {
        const ks_qd_filter_rules rules = {.id_kind = texts ? KITH_ID_STRING : KITH_ID_U64, .depth_max = 32};
        ks_text text = {0};
        kith_error error = {0};
        const kith_status status = ks_qd_filter(tree, &rules, &text, &error);
        if (status == KITH_OK) {
            json_t *again = json_loadb(text.bytes, text.used, 0, NULL);
            check(json_is_object(again));
            json_decref(again);
        } else {
            check(status == error.status && error.text[0] != '\0');
            check(status == KITH_E_ARG || status == KITH_E_UNSUPPORTED || status == KITH_E_LIMIT);
        }
        ks_text_free(&text);
    }
    json_decref(tree);
    return 0;
}
