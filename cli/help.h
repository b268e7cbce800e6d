/* SPDX-License-Identifier: Apache-2.0
 *
 * Help pages, man page and completions, all printed from the tables of commands and options. */
#ifndef KITH_CLI_HELP_H
#define KITH_CLI_HELP_H

#include <stdio.h>

#include "command.h"

struct exit_code_meaning {
    int code;
    const char *meaning;
};

extern const struct exit_code_meaning exit_code_meanings[]; /* ends in a NULL meaning */

void help_overview(FILE *stream);
void help_command(FILE *stream, const struct command *command);

void help_man(FILE *stream); /* scdoc source of kith.1 */
enum shell { SHELL_BASH, SHELL_ZSH, SHELL_FISH };
void help_completion(FILE *stream, enum shell shell);

#endif
