/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/second.h"

#include <stdio.h>

#include "base/status.h"
#include "quant/pq.h"
#include "quant/rabitq.h"
#include "quant/second_model.h"

/* A decimal number of at most seven digits without sign or leading zero; moves *text past it. 0: there is none. */
static unsigned take_number(const char **text) {
    unsigned value = 0;
    if (**text == '0') return 0;
    for (int digits = 0; **text >= '0' && **text <= '9' && digits < 7; digits++, (*text)++)
        value = value * 10 + (unsigned)(**text - '0');
    return value;
}

/* Moves *text past `word` if it begins so. */
static int take_word(const char **text, const char *word) {
    const size_t length = strlen(word);
    if (strncmp(*text, word, length) != 0) return 0;
    *text += length;
    return 1;
}

static int parse_text(const char *text, ki_second_spec *spec) {
    *spec = (ki_second_spec){.kind = KI_SECOND_NONE};
    if (take_word(&text, "rabitq:")) {
        spec->kind = KI_SECOND_RABITQ;
    } else {
        spec->rotated = take_word(&text, "o");
        if (!take_word(&text, "pq:")) return 0;
        spec->kind = KI_SECOND_PQ;
        spec->m = take_number(&text);
        if (spec->m == 0 || !take_word(&text, "x")) return 0;
    }
    spec->bits = take_number(&text);
    return spec->bits != 0 && *text == '\0';
}

static kith_status check(const ki_second_spec *spec, size_t dim, kith_error *error) {
    return spec->kind == KI_SECOND_PQ ? ki_pq_check(spec, dim, error) : ki_rabitq_check(spec, dim, error);
}

kith_status ki_second_parse(const char *text, size_t dim, ki_second_spec *spec, kith_error *error) {
    ki_second_spec parsed;
    if (!parse_text(text, &parsed))
        return ki_fail(error, KITH_E_ARG,
                       "code \"%.40s\" is none that there is: expected \"pq:MxB\", \"opq:MxB\" (M parts of B bits) or "
                       "\"rabitq:B\" (B bits a dimension)",
                       text);
    const kith_status status = check(&parsed, dim, error);
    if (status == KITH_OK) *spec = parsed;
    return status;
}

void ki_second_text(const ki_second_spec *spec, char text[32]) {
    if (spec->kind == KI_SECOND_PQ)
        snprintf(text, 32, "%spq:%ux%u", spec->rotated ? "o" : "", spec->m, spec->bits);
    else if (spec->kind == KI_SECOND_RABITQ)
        snprintf(text, 32, "rabitq:%u", spec->bits);
    else
        text[0] = '\0';
}

/* pq of 4 bits, whose scan is five times as fast as that of 8 and more. Text embeddings (115,659 x 384): parts of four
 * dimensions find .979 of the ten nearest among forty candidates, at twice the speed of parts of two, which find .9997.
 * Vectors of few dimensions have less to lose. Parts are as near to that as they can be equal. */
void ki_second_default(size_t dim, char text[32]) {
    enum { WIDE_FROM = 256 };
    static const unsigned char wide[] = {4, 5, 3, 6, 2, 1}, narrow[] = {2, 3, 1};
    const unsigned char *const parts = dim < WIDE_FROM ? narrow : wide;
    const size_t choices = dim < WIDE_FROM ? sizeof(narrow) : sizeof(wide);
    size_t part = 0;
    for (size_t i = 0; i < choices && !part; i++)
        if (dim % parts[i] == 0 && dim / parts[i] <= KI_PQ_PARTS_MAX) part = parts[i];
    for (size_t longer = choices + 1; !part; longer++) /* so many dimensions that none of these will do */
        if (dim % longer == 0 && dim / longer <= KI_PQ_PARTS_MAX) part = longer;
    const ki_second_spec spec = {.kind = KI_SECOND_PQ, .m = (unsigned)(dim / part), .bits = 4};
    ki_second_text(&spec, text);
}

size_t ki_second_sample(const ki_second_spec *spec) {
    return spec->kind == KI_SECOND_PQ ? ki_pq_sample(spec) : ki_rabitq_sample(spec);
}

kith_status ki_second_train(const ki_second_spec *spec, const float *residuals, size_t count, size_t dim, uint64_t seed,
                            kith_pool *pool, kith_progress_fn progress, void *progress_context, void **model,
                            size_t *model_bytes) {
    return (spec->kind == KI_SECOND_PQ ? ki_pq_train : ki_rabitq_train)(spec, residuals, count, dim, seed, pool,
                                                                        progress, progress_context, model, model_bytes);
}

int ki_second_view(const void *model, size_t bytes, size_t dim, ki_second *second) {
    const uint8_t *at = model;
    if (bytes < KI_SECOND_HEADER || (uintptr_t)model % sizeof(float) != 0) return 0;
    if (memcmp(at, "KI2C", 4) != 0 || ki_load_u32(at + 8) != dim || ki_load_u64(at + 24) != bytes) return 0;
    const uint32_t kind = ki_load_u32(at + 4), rotated = ki_load_u32(at + 20);
    if ((kind != KI_SECOND_PQ && kind != KI_SECOND_RABITQ) || rotated > 1) return 0;
    ki_second view = {.spec = {.kind = (ki_second_kind)kind,
                               .m = ki_load_u32(at + 12),
                               .bits = ki_load_u32(at + 16),
                               .rotated = (int)rotated},
                      .dim = dim,
                      .model = model,
                      .model_bytes = bytes};
    if (check(&view.spec, dim, NULL) != KITH_OK) return 0;
    if (!(kind == KI_SECOND_PQ ? ki_pq_view : ki_rabitq_view)(&view)) return 0;
    *second = view;
    return 1;
}

size_t ki_second_encode_bytes(const ki_second *second) {
    return second->spec.kind == KI_SECOND_PQ ? ki_pq_encode_bytes(second) : ki_rabitq_encode_bytes(second);
}

void ki_second_encode(const ki_second *second, const float *residuals, unsigned count, const float *bias, void *work,
                      uint8_t *block, float *factors) {
    (second->spec.kind == KI_SECOND_PQ ? ki_pq_encode : ki_rabitq_encode)(second, residuals, count, bias, work, block,
                                                                          factors);
}

void ki_second_prepare(const ki_second *second, const float *query, float *work, void *prepared) {
    (second->spec.kind == KI_SECOND_PQ ? ki_pq_prepare : ki_rabitq_prepare)(second, query, work, prepared);
}

size_t ki_second_score(const ki_second *second, const uint8_t *codes, const float *factors, size_t first, size_t end,
                       const void *const *prepared, const float *need, unsigned count, void *work, ki_tile_hit *hits,
                       float (*scores)[KI_BLOCK], size_t capacity, size_t *used) {
    return (second->spec.kind == KI_SECOND_PQ ? ki_pq_score : ki_rabitq_score)(
        second, codes, factors, first, end, prepared, need, count, work, hits, scores, capacity, used);
}
