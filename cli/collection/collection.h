/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands about collections share: opening one, ids as people write them, items as lines of JSON. Every
 * function that returns int returns 0, or an exit code after a sentence on stderr. */
#ifndef KITH_CLI_COLLECTION_COLLECTION_H
#define KITH_CLI_COLLECTION_COLLECTION_H

#include "command.h"
#include "json.h"

/* A collection that a command has open. */
struct shop {
    const char *path;
    kith_collection *collection;
    kith_collection_info info;
    uint32_t generation; /* that the command is about: of --generation or --user, else the current one when it began */
    kith_result *result;
};

/* Whether the path is a folder: then it is a collection, or nothing that kith knows. */
bool shop_is_folder(const char *path);
int shop_open(const struct arguments *arguments, bool read_only, struct shop *shop);
/* To write, without background work: what a call brings about is done when it returns. */
int shop_open_alone(const struct arguments *arguments, struct shop *shop);
void shop_close(struct shop *shop); /* fine on a zeroed one */

/* Vector number `at` of that generation; false behind the last one. */
bool shop_spec(const struct shop *shop, size_t at, kith_vector_spec *spec);

/* Ids as a collection takes them, of texts: numbers where its ids are numbers. */
struct shop_ids {
    kith_ids ids;
    uint64_t *numbers, *ends;
    char *bytes;
};
int shop_ids_parse(const struct shop *shop, const char *const *texts, size_t count, struct shop_ids *ids);
void shop_ids_free(struct shop_ids *ids); /* fine on a zeroed one */

/* The named vector that --vector asks for. */
int shop_vector(const struct arguments *arguments, const struct shop *shop, kith_vector_spec *spec);

/* Print item number `at` of the hits as one JSON object of a line: id, and what came with it. */
void shop_item_json(struct json *json, const struct shop *shop, const kith_hits *hits, size_t at);
void shop_id_json(struct json *json, const char *name, const struct shop *shop, const kith_hits *hits, size_t at);
/* The vectors of item number `at`, as the member "vector", or "vectors" where several are named. */
void shop_vectors_json(struct json *json, const struct shop *shop, size_t at);
/* A payload of the hits; bytes 0 without. */
const char *shop_payload(const kith_hits *hits, size_t at, size_t *bytes);

/* The words "name:type" or "name:dim:type:metric", separated by commas, of --fields and --vectors. */
int shop_fields_parse(enum command_id command, const char *text, kith_field **fields, size_t *count, char **memory);
int shop_vectors_parse(enum command_id command, const char *text, kith_vector_spec **specs, size_t *count,
                       char **memory);

/* `kith info` of a folder. */
int shop_info(const struct arguments *arguments);

#endif
