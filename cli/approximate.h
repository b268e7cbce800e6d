/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of approximate search, which search and bench share. */
#ifndef KITH_CLI_APPROXIMATE_H
#define KITH_CLI_APPROXIMATE_H

#include "command.h"

/* Fill plan, target_recall, nprobe, rerank, effort and code. --nprobe and --rerank without --plan mean plan ivf. 0 or,
 * after a sentence on stderr, an exit code. */
int approximate_options(const struct arguments *arguments, kith_search_options *options);

/* A line that tells of near-duplicates, where a share of the vectors worth telling has some. */
void near_duplicates_line(FILE *stream, const kith_index_info *info);

#endif
