/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids of points: what comes becomes texts or numbers, and back. */
#include "qdrant/id.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Whether a hyphen stands before this one of the 32 digits. */
static int is_cut(size_t digit) {
    return digit == 8 || digit == 12 || digit == 16 || digit == 20;
}

int ks_qd_uuid(const char *text, size_t bytes, char uuid[KS_QD_UUID_BYTES + 1]) {
    static const char urn[] = "urn:uuid:", digits[] = "0123456789abcdef";
    if (bytes == KS_QD_UUID_BYTES + sizeof urn - 1 && memcmp(text, urn, sizeof urn - 1) == 0) {
        text += sizeof urn - 1;
        bytes = KS_QD_UUID_BYTES;
    }
    if (bytes != 32 && bytes != KS_QD_UUID_BYTES) return 0;
    const int hyphens = bytes == KS_QD_UUID_BYTES;
    size_t at = 0;
    for (size_t digit = 0; digit < 32; digit++) {
        if (is_cut(digit)) {
            uuid[at++] = '-';
            if (hyphens && *text++ != '-') return 0;
        }
        const int value = hex(*text++);
        if (value < 0) return 0;
        uuid[at++] = digits[value];
    }
    uuid[at] = '\0';
    return 1;
}

int ks_qd_is_number(const char *text, size_t bytes) {
    static const char most[] = "18446744073709551615";
    if (bytes == 0 || bytes > sizeof most - 1 || (text[0] == '0' && bytes > 1)) return 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
    }
    return bytes < sizeof most - 1 || memcmp(text, most, bytes) <= 0;
}

static void set_number(ks_qd_id *id, uint64_t number) {
    id->is_number = 1;
    id->number = number;
    id->bytes = (size_t)snprintf(id->made, sizeof id->made, "%" PRIu64, number);
    id->text = id->made;
}

static int set_text(ks_qd_id *id, const char *text, size_t bytes, const char **why) {
    id->is_number = 0;
    id->number = 0;
    id->text = text;
    id->bytes = bytes;
    if (bytes == 0 || bytes > KITH_STRING_MAX) {
        *why = "an id that is a text has 1 to 4096 bytes";
        return -1;
    }
    if (ks_qd_uuid(text, bytes, id->made)) {
        id->text = id->made;
        id->bytes = KS_QD_UUID_BYTES;
    }
    return 0;
}

int ks_qd_id_of(const json_t *value, ks_qd_id *id, const char **why) {
    uint64_t number;
    if (ks_uint(value, &number)) {
        set_number(id, number);
        return 0;
    }
    if (json_is_string(value) && !ks_is_numbers(value))
        return set_text(id, json_string_value(value), json_string_length(value), why);
    *why = "a point's id is an unsigned integer, a UUID or another text";
    return -1;
}

int ks_qd_id_of_text(const char *text, ks_qd_id *id, const char **why) {
    const size_t bytes = strlen(text);
    if (!ks_qd_is_number(text, bytes)) return set_text(id, text, bytes, why);
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++) number = number * 10 + (uint64_t)(text[i] - '0');
    set_number(id, number);
    return 0;
}

void ks_qd_id_write(ks_json *json, const char *name, const char *text, size_t bytes) {
    if (ks_qd_is_number(text, bytes))
        ks_json_verbatim(json, name, text, bytes);
    else
        ks_json_bytes(json, name, text, bytes);
}
