/* SPDX-License-Identifier: Apache-2.0 */
#include "approximate.h"

#include "table.h"
#include "terminal.h"

int approximate_options(const struct arguments *arguments, kith_search_options *options) {
    const double target = option_real(arguments, OPTION_TARGET_RECALL, 0);
    const bool parameters = option_given(arguments, OPTION_NPROBE) || option_given(arguments, OPTION_RERANK);
    if (option_given(arguments, OPTION_TARGET_RECALL) && !(target > 0 && target <= 1))
        return fail_usage(arguments->command, "--target-recall is \"%s\", but more than 0 and at most 1 was expected",
                          option_text(arguments, OPTION_TARGET_RECALL, ""));
    options->plan = (kith_plan)option_number(arguments, OPTION_PLAN, parameters ? KITH_PLAN_IVF : KITH_PLAN_AUTO);
    if (option_given(arguments, OPTION_EFFORT) && !plan_walks(options->plan))
        return fail_usage(arguments->command,
                          "--effort is an option of the plans graph, hnsw and lsh: name one by --plan");
    options->effort = (size_t)option_number(arguments, OPTION_EFFORT, 0);
    options->target_recall = target;
    options->nprobe = (size_t)option_number(arguments, OPTION_NPROBE, 0);
    options->rerank = (size_t)option_number(arguments, OPTION_RERANK, 0);
    options->code = (kith_scan_code)option_number(arguments, OPTION_CODE, KITH_SCAN_AUTO);
    return EXIT_OK;
}

bool plan_walks(kith_plan plan) {
    return plan == KITH_PLAN_GRAPH || plan == KITH_PLAN_HNSW || plan == KITH_PLAN_LSH;
}

const char *plan_words(char text[PLAN_WORDS], kith_plan plan, kith_scan_code code, size_t number) {
    if (plan == KITH_PLAN_IVF)
        snprintf(text, PLAN_WORDS, "%s, %zu lists", kith_scan_code_name(code), number);
    else if (plan_walks(plan))
        snprintf(text, PLAN_WORDS, "effort %zu", number);
    else
        snprintf(text, PLAN_WORDS, "%s", plan == KITH_PLAN_PQ ? "second codes of all" : "");
    return text;
}

void index_type_lines(FILE *stream, const kith_index_info *info) {
    char text[HUMAN_BYTES];
    if (info->graph_degree && info->graph_bits)
        pair_line(stream, "graph", "%u neighbours of each vector, %u bit%s a dimension of an edge", info->graph_degree,
                  info->graph_bits, info->graph_bits == 1 ? "" : "s");
    else if (info->graph_degree)
        pair_line(stream, "graph", "%u neighbours of each vector, lean", info->graph_degree);
    if (info->hnsw_m) pair_line(stream, "hnsw", "m %u", info->hnsw_m);
    if (info->lsh_tables) pair_line(stream, "lsh", "%u tables", info->lsh_tables);
    if (info->hot_bytes) pair_line(stream, "hot", "%s in memory", human_bytes(text, info->hot_bytes));
}

void index_type_members(struct json *json, const kith_index_info *info) {
    emit_uint(json, "graph_degree", info->graph_degree);
    emit_uint(json, "graph_bits", info->graph_bits);
    emit_uint(json, "hnsw_m", info->hnsw_m);
    emit_uint(json, "lsh_tables", info->lsh_tables);
    emit_uint(json, "hot_bytes", info->hot_bytes);
}

void near_duplicates_line(FILE *stream, const kith_index_info *info) {
    const double told_from = 0.01;
    if (info->near_duplicates < told_from) return;
    pair_line(stream, "near-duplicates",
              "%.0f %% of the vectors have some: recall is promised to queries that have none",
              100 * info->near_duplicates);
}
