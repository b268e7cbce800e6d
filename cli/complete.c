/* SPDX-License-Identifier: Apache-2.0
 *
 * The man page as scdoc source, and the completions of three shells. Everything comes from the tables; nothing here
 * names an option. */
#include <string.h>

#include "help.h"

static bool visible(const struct option *option, enum command_id command) {
    return option->commands >> command & 1 && !option->hidden;
}

static bool takes_files(const struct command *command) {
    return command->operands_max > 0 && command->id != COMMAND_HELP;
}

/* ---- Man page ---------------------------------------------------------------------------------------------------- */

/* scdoc reads _ and * as markup, and # and others at the start of a line; a backslash makes them text. */
static void print_escaped(FILE *stream, const char *text) {
    for (; *text; text++) {
        if (strchr("\\_*#[]<~`", *text)) putc('\\', stream);
        putc(*text, stream);
    }
}

static void man_option(FILE *stream, const struct option *option) {
    if (option->letter) fprintf(stream, "*-%c*, ", option->letter);
    fputs("*--", stream);
    print_escaped(stream, option->name);
    fputs("*", stream);
    if (option->argument) {
        fputs(" _", stream);
        print_escaped(stream, option->argument);
        fputs("_", stream);
    }
    fputs("\n\t", stream);
    print_escaped(stream, option->help);
    for (const struct option_word *word = option->words; word && word->word; word++) {
        fputs(word == option->words ? ". One of " : word[1].word ? ", " : " and ", stream);
        fprintf(stream, "*%s*", word->word);
    }
    fputs(".\n\n", stream);
}

static void man_command(FILE *stream, const struct command *command) {
    fprintf(stream, "## kith %s", command->name);
    if (*command->operands) {
        putc(' ', stream);
        print_escaped(stream, command->operands);
    }
    fputs("\n\nTo ", stream);
    print_escaped(stream, command->summary);
    fputs(".\n\n", stream);
    print_escaped(stream, command->description);
    fputs("\n\n", stream);
    for (size_t i = 0; i < option_table_count; i++)
        if (visible(&option_table[i], command->id)) man_option(stream, &option_table[i]);
}

static void man_examples(FILE *stream) {
    fputs("# EXAMPLES\n\n", stream);
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *command = &command_table[i];
        const size_t most = sizeof(command->examples) / sizeof(*command->examples);
        for (size_t j = 0; j < most && command->examples[j].line; j++) {
            fputs("*", stream);
            print_escaped(stream, command->examples[j].line);
            fputs("*\n\t", stream);
            print_escaped(stream, command->examples[j].meaning);
            fputs(".\n\n", stream);
        }
    }
}

void help_man(FILE *stream) {
    fputs("kith(1)\n\n# NAME\n\nkith - exact nearest neighbours of vectors\n\n# SYNOPSIS\n\n", stream);
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(stream, "*kith %s*", command_table[i].name);
        if (*command_table[i].operands) {
            fputs(" _", stream);
            print_escaped(stream, command_table[i].operands);
            fputs("_", stream);
        }
        fputs(i + 1 < COMMANDS ? " [options...]++\n" : " [options...]\n\n", stream);
    }
    fputs(
        "# DESCRIPTION\n\n"
        "kith makes one index file from a file of vectors and finds, for each query, the stored vectors nearest to it. "
        "Answers are exact and the same on every machine. Errors are one sentence on stderr, with the file, row or "
        "byte, and an exit code.\n\n# COMMANDS\n\n",
        stream);
    for (size_t i = 0; i < COMMANDS; i++) man_command(stream, &command_table[i]);
    fputs("# EXIT STATUS\n\n", stream);
    for (const struct exit_code_meaning *code = exit_code_meanings; code->meaning; code++)
        fprintf(stream, "*%d*\n\t%s.\n\n", code->code, code->meaning);
    fputs("# ENVIRONMENT\n\n"
          "*KITH\\_CPU*\n\tLowers the tier of kernels: scalar, avx2, avx512, amx or neon, then optional -feature words "
          "after commas.\n\n"
          "*KITH\\_DEVICE\\_PATH*\n\tThe folder of libkith\\_opencl.so, where it does not lie beside the command.\n\n"
          "*KITH\\_OPENCL*\n\tThe OpenCL loader (default: libOpenCL.so.1).\n\n"
          "*KITH\\_PYTHON*\n\tThe Python whose package kith reads Parquet, Arrow and HDF5 files (default: python3).\n\n"
          "*NO\\_COLOR*\n\tIf not empty, no colors unless *--color always* asks for them.\n\n",
          stream);
    man_examples(stream);
}

/* ---- Completions ------------------------------------------------------------------------------------------------- */

static void print_words(FILE *stream, const struct option *option) {
    for (const struct option_word *word = option->words; word->word; word++)
        fprintf(stream, "%s%s", word == option->words ? "" : " ", word->word);
}

static void bash_values(FILE *stream, const struct command *command) {
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *option = &option_table[i];
        if (!visible(option, command->id) || !option->argument) continue;
        fprintf(stream, "        %s:--%s", command->name, option->name);
        if (option->letter) fprintf(stream, "|%s:-%c", command->name, option->letter);
        fputs(") ", stream);
        if (option->kind == OPTION_KIND_WORD) {
            fputs("COMPREPLY=($(compgen -W \"", stream);
            print_words(stream, option);
            fputs("\" -- \"$word\"))", stream);
        } else if (option->kind == OPTION_KIND_FILE || option->kind == OPTION_KIND_FOLDER) {
            fprintf(stream, "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -%c -- \"$word\")",
                    option->kind == OPTION_KIND_FILE ? 'f' : 'd');
        } else {
            fputs("COMPREPLY=()", stream);
        }
        fputs("; return ;;\n", stream);
    }
}

static void bash_completion(FILE *stream) {
    fputs("# bash completion for kith\n_kith() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
          "    COMPREPLY=()\n"
          "    if ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W \"",
          stream);
    for (size_t i = 0; i < COMMANDS; i++) fprintf(stream, "%s ", command_table[i].name);
    fputs("--help --version\" -- \"$word\"))\n        return\n    fi\n    case $command:$before in\n", stream);
    for (size_t i = 0; i < COMMANDS; i++) bash_values(stream, &command_table[i]);
    fputs("    esac\n    case $command:$word in\n", stream);
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(stream, "        %s:-*) COMPREPLY=($(compgen -W \"", command_table[i].name);
        const char *between = "";
        for (size_t j = 0; j < option_table_count; j++) {
            if (!visible(&option_table[j], command_table[i].id)) continue;
            fprintf(stream, "%s--%s", between, option_table[j].name);
            between = " ";
        }
        fputs("\" -- \"$word\")) ;;\n", stream);
    }
    fputs("        help:*) COMPREPLY=($(compgen -W \"", stream);
    for (size_t i = 0; i < COMMANDS; i++) fprintf(stream, "%s%s", i ? " " : "", command_table[i].name);
    fputs("\" -- \"$word\")) ;;\n"
          "        *) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
          "    esac\n}\ncomplete -F _kith kith\n",
          stream);
}

/* Text inside single quotes of a zsh argument specification, where also brackets and colons mean something. */
static void print_zsh_text(FILE *stream, const char *text) {
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", stream);
            continue;
        }
        if (*text == '[' || *text == ']' || *text == ':' || *text == '\\') putc('\\', stream);
        putc(*text, stream);
    }
}

static void zsh_option(FILE *stream, const struct option *option) {
    if (option->letter) {
        fprintf(stream, "                '(-%c --%s)'{-%c%s,--%s%s}'[", option->letter, option->name, option->letter,
                option->argument ? "+" : "", option->name, option->argument ? "=" : "");
    } else {
        fprintf(stream, "                '--%s%s[", option->name, option->argument ? "=" : "");
    }
    print_zsh_text(stream, option->help);
    putc(']', stream);
    if (option->argument) {
        putc(':', stream);
        print_zsh_text(stream, option->argument);
        putc(':', stream);
        if (option->kind == OPTION_KIND_WORD) {
            putc('(', stream);
            print_words(stream, option);
            putc(')', stream);
        } else if (option->kind == OPTION_KIND_FILE || option->kind == OPTION_KIND_FOLDER) {
            fputs(option->kind == OPTION_KIND_FILE ? "_files" : "_files -/", stream);
        }
    }
    fputs("' \\\n", stream);
}

static void zsh_completion(FILE *stream) {
    fputs("#compdef kith\n# zsh completion for kith\n_kith() {\n    local -a commands\n    commands=(\n", stream);
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(stream, "        '%s:", command_table[i].name);
        print_zsh_text(stream, command_table[i].summary);
        fputs("'\n", stream);
    }
    fputs("    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n"
          "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n    case $command in\n",
          stream);
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(stream, "        %s)\n            _arguments -s \\\n", command_table[i].name);
        for (size_t j = 0; j < option_table_count; j++)
            if (visible(&option_table[j], command_table[i].id)) zsh_option(stream, &option_table[j]);
        if (takes_files(&command_table[i])) {
            fputs("                '*:file:_files'\n", stream);
        } else if (command_table[i].id == COMMAND_HELP) {
            fputs("                '1:command:{_describe command commands}'\n", stream);
        } else {
            fputs("                '*: :'\n", stream);
        }
        fputs("            ;;\n", stream);
    }
    fputs("    esac\n}\nif [ \"$funcstack[1]\" = _kith ]; then\n    _kith \"$@\"\nelse\n    compdef _kith kith\nfi\n",
          stream);
}

static void print_fish_text(FILE *stream, const char *text) {
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') putc('\\', stream);
        putc(*text, stream);
    }
}

static void fish_option(FILE *stream, const struct command *command, const struct option *option) {
    fprintf(stream, "complete -c kith -n '__fish_seen_subcommand_from %s' -l %s", command->name, option->name);
    if (option->letter) fprintf(stream, " -s %c", option->letter);
    if (option->kind == OPTION_KIND_WORD) {
        fputs(" -x -a '", stream);
        print_words(stream, option);
        fputs("'", stream);
    } else if (option->kind == OPTION_KIND_FILE) {
        fputs(" -r -F", stream);
    } else if (option->kind == OPTION_KIND_FOLDER) {
        fputs(" -x -a '(__fish_complete_directories)'", stream);
    } else if (option->argument) {
        fputs(" -x", stream);
    }
    fputs(" -d '", stream);
    print_fish_text(stream, option->help);
    fputs("'\n", stream);
}

static void fish_completion(FILE *stream) {
    fputs("# fish completion for kith\n", stream);
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *command = &command_table[i];
        fprintf(stream, "complete -c kith -n __fish_use_subcommand -f -a %s -d '", command->name);
        print_fish_text(stream, command->summary);
        fputs("'\n", stream);
        if (!takes_files(command))
            fprintf(stream, "complete -c kith -n '__fish_seen_subcommand_from %s' -f\n", command->name);
        for (size_t j = 0; j < option_table_count; j++)
            if (visible(&option_table[j], command->id)) fish_option(stream, command, &option_table[j]);
    }
}

void help_completion(FILE *stream, enum shell shell) {
    switch (shell) {
    case SHELL_BASH:
        bash_completion(stream);
        break;
    case SHELL_ZSH:
        zsh_completion(stream);
        break;
    case SHELL_FISH:
        fish_completion(stream);
        break;
    }
}
