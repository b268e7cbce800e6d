/* SPDX-License-Identifier: Apache-2.0 */
#include "approximate.h"

#include "table.h"

int approximate_options(const struct arguments *arguments, kith_search_options *options) {
    const double target = option_real(arguments, OPTION_TARGET_RECALL, 0);
    const bool parameters = option_given(arguments, OPTION_NPROBE) || option_given(arguments, OPTION_RERANK);
    if (option_given(arguments, OPTION_TARGET_RECALL) && !(target > 0 && target <= 1))
        return fail_usage(arguments->command, "--target-recall is \"%s\", but more than 0 and at most 1 was expected",
                          option_text(arguments, OPTION_TARGET_RECALL, ""));
    options->plan = (kith_plan)option_number(arguments, OPTION_PLAN, parameters ? KITH_PLAN_IVF : KITH_PLAN_AUTO);
    const bool walks = options->plan >= KITH_PLAN_GRAPH && options->plan <= KITH_PLAN_LSH;
    if (option_given(arguments, OPTION_EFFORT) && !walks)
        return fail_usage(arguments->command,
                          "--effort is an option of the plans graph, hnsw and lsh: name one by --plan");
    options->effort = (size_t)option_number(arguments, OPTION_EFFORT, 0);
    options->target_recall = target;
    options->nprobe = (size_t)option_number(arguments, OPTION_NPROBE, 0);
    options->rerank = (size_t)option_number(arguments, OPTION_RERANK, 0);
    options->code = (kith_scan_code)option_number(arguments, OPTION_CODE, KITH_SCAN_AUTO);
    return EXIT_OK;
}

void near_duplicates_line(FILE *stream, const kith_index_info *info) {
    const double told_from = 0.01;
    if (info->near_duplicates < told_from) return;
    pair_line(stream, "near-duplicates",
              "%.0f %% of the vectors have some: recall is promised to queries that have none",
              100 * info->near_duplicates);
}
