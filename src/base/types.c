/* SPDX-License-Identifier: Apache-2.0
 *
 * Words for element types and metrics, and the size of a row. Pure functions: any thread. */
#include "kith.h"

#include <stdbool.h>

typedef struct word {
    const char *text;
    int value;
} word;

/* The first word of a value is the one that is printed. */
static const word dtype_words[] = {
    {"f32", KITH_F32},  {"f16", KITH_F16},     {"bf16", KITH_BF16},     {"i8", KITH_I8},   {"u8", KITH_U8},
    {"b1", KITH_B1},    {"float32", KITH_F32}, {"float", KITH_F32},     {"f4", KITH_F32},  {"float16", KITH_F16},
    {"half", KITH_F16}, {"f2", KITH_F16},      {"bfloat16", KITH_BF16}, {"int8", KITH_I8}, {"i1", KITH_I8},
    {"uint8", KITH_U8}, {"u1", KITH_U8},       {"bit", KITH_B1},        {"bits", KITH_B1}, {"binary", KITH_B1},
};

static const word metric_words[] = {
    {"l2", KITH_L2SQ},          {"ip", KITH_IP},
    {"cosine", KITH_COSINE},    {"hamming", KITH_HAMMING},
    {"jaccard", KITH_JACCARD},  {"l2sq", KITH_L2SQ},
    {"euclidean", KITH_L2SQ},   {"sqeuclidean", KITH_L2SQ},
    {"dot", KITH_IP},           {"inner", KITH_IP},
    {"inner_product", KITH_IP}, {"dot_product", KITH_IP},
    {"cos", KITH_COSINE},       {"angular", KITH_COSINE},
    {"tanimoto", KITH_JACCARD}, {"squared_euclidean", KITH_L2SQ},
    {"squared_l2", KITH_L2SQ},  {"l2_squared", KITH_L2SQ},
    {"mips", KITH_IP},          {"cosine_similarity", KITH_COSINE},
    {"euclid", KITH_L2SQ},      {"cosine_distance", KITH_COSINE},
};

static const char *text_of(const word *words, size_t count, int value) {
    for (size_t i = 0; i < count; i++)
        if (words[i].value == value) return words[i].text;
    return "?";
}

/* The next letter that counts, small; its place moves behind it. ASCII only, whatever the locale. */
static char next_letter(const char **text) {
    while (**text == '-' || **text == '_' || **text == ' ') (*text)++;
    const char c = **text;
    if (c) (*text)++;
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same_word(const char *a, const char *b) {
    for (;;) {
        const char letter = next_letter(&a);
        if (letter != next_letter(&b)) return false;
        if (!letter) return true;
    }
}

static int value_of(const word *words, size_t count, const char *text) {
    for (size_t i = 0; text && i < count; i++)
        if (same_word(words[i].text, text)) return words[i].value;
    return 0;
}

const char *kith_dtype_name(kith_dtype dtype) {
    return text_of(dtype_words, sizeof(dtype_words) / sizeof(*dtype_words), (int)dtype);
}

const char *kith_metric_name(kith_metric metric) {
    return text_of(metric_words, sizeof(metric_words) / sizeof(*metric_words), (int)metric);
}

kith_dtype kith_dtype_parse(const char *text) {
    return (kith_dtype)value_of(dtype_words, sizeof(dtype_words) / sizeof(*dtype_words), text);
}

kith_metric kith_metric_parse(const char *text) {
    return (kith_metric)value_of(metric_words, sizeof(metric_words) / sizeof(*metric_words), text);
}

size_t kith_row_bytes(kith_dtype dtype, size_t dim) {
    if (dim == 0 || dim > KITH_DIM_MAX) return 0;
    switch (dtype) {
    case KITH_F32:
        return dim * 4;
    case KITH_F16:
    case KITH_BF16:
        return dim * 2;
    case KITH_I8:
    case KITH_U8:
        return dim;
    case KITH_B1:
        return dim % 8 ? 0 : dim / 8;
    default:
        return 0;
    }
}
