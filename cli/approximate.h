/* SPDX-License-Identifier: Apache-2.0
 *
 * The options of approximate search, which search and bench share. */
#ifndef KITH_CLI_APPROXIMATE_H
#define KITH_CLI_APPROXIMATE_H

#include "command.h"
#include "json.h"

/* Fill plan, target_recall, nprobe, rerank, effort and code. --nprobe and --rerank without --plan mean plan ivf. 0 or,
 * after a sentence on stderr, an exit code. */
int approximate_options(const struct arguments *arguments, kith_search_options *options);

/* Whether a plan has an effort, which stands in place of the lists of others. */
bool plan_walks(kith_plan plan);

/* What a plan that is approximate looks at, in words: "int8, 16 lists", "effort 300"; "" for exact ones. number: lists or
 * effort. */
enum { PLAN_WORDS = 64 };
const char *plan_words(char text[PLAN_WORDS], kith_plan plan, kith_scan_code code, size_t number);

/* Lines that tell what the index has besides vectors, codes and lists; and the same as members. */
void index_type_lines(FILE *stream, const kith_index_info *info);
void index_type_members(struct json *json, const kith_index_info *info);

/* A line that tells of near-duplicates, where a share of the vectors worth telling has some. */
void near_duplicates_line(FILE *stream, const kith_index_info *info);

#endif
