/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes what a front reads of backends' answers. The first byte says in pieces of which size the rest comes, and whether
 * the connection ends behind it; in pieces it must come to the same as at once, within the bounds that were set. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/fleet/answer.h"

enum { BODY_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t feed(ks_answer *answer, const char *bytes, size_t count, size_t piece) {
    size_t at = 0;
    ks_answer_begin(answer);
    while (at < count && answer->part != KS_ANSWER_WHOLE && answer->part != KS_ANSWER_BAD) {
        const size_t some = count - at < piece ? count - at : piece;
        at += ks_answer_feed(answer, bytes + at, some);
    }
    return at;
}

static void check(const ks_answer *answer) {
    size_t count = 0;
    if (answer->body.used > BODY_MAX || answer->head.used > KS_HEAD_BYTES_MAX || answer->line.used > KS_CHUNK_LINE_MAX)
        abort();
    if ((answer->part == KS_ANSWER_BAD) != (answer->wrong != NULL)) abort();
    if (answer->part == KS_ANSWER_WHOLE && (answer->status < 200 || answer->status > 999)) abort();
    if (answer->part == KS_ANSWER_HEAD) return;
    const char *type = ks_answer_header(answer, "Content-Type", &count);
    if (type && (type < answer->head.bytes || type + count > answer->head.bytes + answer->head.used)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    ks_answer once = {.body_max = BODY_MAX}, pieces = {.body_max = BODY_MAX};
    const char *bytes = (const char *)data + 1;
    const size_t used = feed(&once, bytes, size - 1, size);
    const size_t again = feed(&pieces, bytes, size - 1, 1 + (data[0] >> 1));
    if (data[0] & 1) {
        ks_answer_end(&once);
        ks_answer_end(&pieces);
    }
    check(&once);
    check(&pieces);
    if (once.part != pieces.part || once.status != pieces.status || once.keeps_alive != pieces.keeps_alive) abort();
    if (once.part == KS_ANSWER_WHOLE) {
        if (used != again || once.body.used != pieces.body.used) abort();
        if (once.body.used && memcmp(once.body.bytes, pieces.body.bytes, once.body.used) != 0) abort();
    }
    ks_answer_free(&once);
    ks_answer_free(&pieces);
    return 0;
}
