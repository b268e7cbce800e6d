/* SPDX-License-Identifier: Apache-2.0
 *
 * What `kith generation` and `kith flip` share. Functions return 0, or an exit code after a sentence on stderr. */
#ifndef KITH_CLI_COLLECTION_GENERATION_H
#define KITH_CLI_COLLECTION_GENERATION_H

#include "collection/collection.h"

/* The number of a generation, an operand of the command. */
int generation_parse(enum command_id command, const char *text, uint32_t *number);
/* --sample, --k, --target-recall and --seed: how a generation is checked. */
int generation_check_options_of(enum command_id command, const struct arguments *arguments,
                                kith_generation_check_options *options);
/* An option that is a share, 0 to 1. */
int generation_share(enum command_id command, const struct arguments *arguments, enum option_id id, const char *name,
                     double otherwise, double *share);

/* `kith generation shop check N` (command_flip.c). */
int generation_check(const struct arguments *arguments, struct shop *shop, uint32_t number);

#endif
