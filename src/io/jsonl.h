/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of a .jsonl: what the caller asked for, else what the first line has.
 *
 * K1. The vector is "vector", else the only one there is of "embedding", "embeddings", "values", "emb", "vec" and
 *     "features". Two of these without "vector" are refused: the caller says which.
 * K2. The id is "id", else the only key that is "id" in upper or lower case, else "_id". The name likewise, "name".
 *
 * One owner at a time. */
#ifndef KI_IO_JSONL_H
#define KI_IO_JSONL_H

#include "io/json.h"
#include "io/lines.h"

typedef struct ki_jsonl_keys {
    char *vector, *id, *name;
} ki_jsonl_keys;

/* From the first line, which is left as it is. */
kith_status ki_jsonl_keys_find(ki_jsonl_keys *keys, const kith_reader_options *options, const ki_lines *lines,
                               const char *line, size_t bytes, kith_error *error);
void ki_jsonl_keys_free(ki_jsonl_keys *keys);

/* Say where a line is no JSON, or not what was expected. */
kith_status ki_jsonl_error(const ki_lines *lines, const ki_json *json, kith_error *error);

#endif
