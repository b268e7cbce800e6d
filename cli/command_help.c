/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith help` and `kith version`. */
#include "help.h"

#include <string.h>

#include "suggest.h"
#include "terminal.h"

#define HELP_COLUMN 26 /* where the explanations of options begin */

const struct exit_code_meaning exit_code_meanings[] = {
    {EXIT_OK, "done"},
    {EXIT_OTHER, "out of memory, or an internal error"},
    {EXIT_USAGE, "the command line is not understood"},
    {EXIT_INPUT, "an input file, or a value in it, is refused"},
    {EXIT_INDEX, "an index file is damaged, or needs a newer kith"},
    {EXIT_ABSENT, "no such file, id or name"},
    {EXIT_STORAGE, "the system refused a file operation, or the disk is full"},
    {EXIT_STOPPED, "the time was up"},
    {EXIT_INTERRUPTED, "interrupted (SIGINT); 143: terminated (SIGTERM)"},
    {0, NULL},
};

static int page_width(FILE *stream) {
    const int width = terminal_width(stream);
    return width < 50 ? 50 : width > 100 ? 100 : width;
}

/* Text broken at blanks, every line after the first indented; the cursor stands at `column` when it begins. An empty
 * line between paragraphs is kept. */
static void print_wrapped(FILE *stream, const char *text, int indent, int column) {
    const int width = page_width(stream);
    bool first = true;
    while (*text) {
        if (*text == '\n') {
            fprintf(stream, "\n%s", text[1] == '\n' ? "\n" : "");
            text += text[1] == '\n' ? 2 : 1;
            fprintf(stream, "%*s", indent, "");
            column = indent;
            first = true;
            continue;
        }
        const int bytes = (int)strcspn(text, " \n");
        if (!first && column + 1 + bytes > width) {
            fprintf(stream, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        fprintf(stream, "%s%.*s", first ? "" : " ", bytes, text);
        column += bytes + !first;
        first = false;
        text += bytes;
        if (*text == ' ') text++;
    }
    putc('\n', stream);
}

static void heading(FILE *stream, const char *text) {
    fprintf(stream, "\n%s%s%s\n", terminal_style(stream, STYLE_BOLD), text, terminal_style(stream, STYLE_PLAIN));
}

static void print_words(char *text, size_t room, const struct option *option) {
    size_t used = 0;
    text[0] = 0;
    for (const struct option_word *word = option->words; word && word->word && used < room; word++)
        used += (size_t)snprintf(text + used, room - used, "%s%s", used ? "|" : "", word->word);
}

static void print_option(FILE *stream, const struct option *option) {
    char left[160], words[128], help[512];
    print_words(words, sizeof(words), option);
    const int letter = option->letter ? option->letter : ' ';
    const int used = snprintf(left, sizeof(left), "  %c%c%c --%s%s%s", option->letter ? '-' : ' ', letter,
                              option->letter ? ',' : ' ', option->name, option->argument ? " " : "",
                              option->argument ? option->argument : "");
    fputs(left, stream);
    if (used >= HELP_COLUMN) {
        fprintf(stream, "\n%*s", HELP_COLUMN, "");
    } else {
        fprintf(stream, "%*s", HELP_COLUMN - used, "");
    }
    snprintf(help, sizeof(help), "%s%s%s%s", option->help, *words ? " [" : "", words, *words ? "]" : "");
    print_wrapped(stream, help, HELP_COLUMN, HELP_COLUMN);
}

void help_command(FILE *stream, const struct command *command) {
    fprintf(stream, "kith %s: %s\n", command->name, command->summary);
    heading(stream, "Usage");
    fprintf(stream, "  kith %s%s%s [OPTIONS]\n\n", command->name, *command->operands ? " " : "", command->operands);
    print_wrapped(stream, command->description, 0, 0);
    heading(stream, "Options");
    for (size_t i = 0; i < option_table_count; i++)
        if (option_table[i].commands >> command->id & 1 && !option_table[i].hidden)
            print_option(stream, &option_table[i]);
    heading(stream, "Examples");
    const size_t most = sizeof(command->examples) / sizeof(*command->examples);
    for (size_t i = 0; i < most && command->examples[i].line; i++)
        fprintf(stream, "  %s\n      %s\n", command->examples[i].line, command->examples[i].meaning);
    heading(stream, "Exit codes");
    for (const struct exit_code_meaning *code = exit_code_meanings; code->meaning; code++)
        fprintf(stream, "  %-4d%s\n", code->code, code->meaning);
}

void help_overview(FILE *stream) {
    fprintf(stream, "kith %s: exact nearest neighbours of vectors\n", kith_version());
    heading(stream, "Usage");
    fprintf(stream, "  kith COMMAND [OPTIONS]\n");
    heading(stream, "Commands");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(stream, "  %s%-10s%s %s\n", terminal_style(stream, STYLE_CYAN), command_table[i].name,
                terminal_style(stream, STYLE_PLAIN), command_table[i].summary);
    heading(stream, "First steps");
    fprintf(stream, "  kith build items.npy                      makes items.kith\n"
                    "  kith search items.kith queries.npy -k 5   five neighbours of each query\n"
                    "  kith help search                          the page of one command\n");
    heading(stream, "Exit codes");
    for (const struct exit_code_meaning *code = exit_code_meanings; code->meaning; code++)
        fprintf(stream, "  %-4d%s\n", code->code, code->meaning);
}

int command_help(const struct arguments *arguments) {
    if (option_given(arguments, OPTION_MAN)) {
        help_man(stdout);
        return EXIT_OK;
    }
    if (option_given(arguments, OPTION_COMPLETION)) {
        help_completion(stdout, (enum shell)option_number(arguments, OPTION_COMPLETION, 0));
        return EXIT_OK;
    }
    if (arguments->operand_count == 0) {
        help_overview(stdout);
        return EXIT_OK;
    }
    const char *name = arguments->operands[0];
    const struct command *command = command_find(name);
    if (command) {
        help_command(stdout, command);
        return EXIT_OK;
    }
    struct suggestion near;
    suggest_start(&near, name, strlen(name));
    for (size_t i = 0; i < COMMANDS; i++) suggest_offer(&near, command_table[i].name);
    if (near.best) return fail_usage(COMMANDS, "there is no command \"%s\"; did you mean \"%s\"?", name, near.best);
    return fail_usage(COMMANDS, "there is no command \"%s\"", name);
}

int command_version(const struct arguments *arguments) {
    (void)arguments;
    printf("kith %s\n", kith_version());
    return EXIT_OK;
}
