/* SPDX-License-Identifier: Apache-2.0
 *
 * The kith command. Finds the command, parses its options, runs it, and sees to it that what was printed arrived. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "help.h"
#include "suggest.h"
#include "terminal.h"

/* With a standard stream closed, the next file opened would take its number and receive what is printed. */
static void fill_standard_streams(void) {
    for (;;) {
        const int fd = open("/dev/null", O_RDONLY);
        if (fd < 0) return;
        if (fd > STDERR_FILENO) {
            close(fd);
            return;
        }
    }
}

static int unknown_command(const char *name) {
    struct suggestion near;
    suggest_start(&near, name, strlen(name));
    for (size_t i = 0; i < COMMANDS; i++) suggest_offer(&near, command_table[i].name);
    const char *kind = name[0] == '-' ? "option" : "command";
    if (near.best) return fail_usage(COMMANDS, "there is no command \"%s\"; did you mean \"%s\"?", name, near.best);
    return fail_usage(COMMANDS, "there is no %s \"%s\"", kind, name);
}

static int run_command(const struct command *command, int argc, char **argv) {
    struct arguments arguments;
    const int failed = options_parse(command->id, argc, argv, &arguments);
    if (failed) return failed;
    if (option_given(&arguments, OPTION_COLOR))
        terminal_set_color((enum color_choice)option_number(&arguments, OPTION_COLOR, COLOR_AUTO));
    if (option_given(&arguments, OPTION_HELP)) {
        help_command(stdout, command);
        return EXIT_OK;
    }
    return command->run(&arguments);
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    const struct command *command = command_find(name);
    return command ? run_command(command, argc - 2, argv + 2) : unknown_command(name);
}

/* A reader that went away (kith search ... | head) ends the program quietly; any other failure is told. */
static int close_stdout(int exit_code) {
    errno = 0;
    const int flushed = fflush(stdout);
    const int number = errno;
    if (flushed == 0 && !ferror(stdout)) return exit_code;
    struct pollfd reader = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (number == EPIPE || (poll(&reader, 1, 0) > 0 && reader.revents & POLLERR))
        return exit_code == EXIT_BROKEN ? EXIT_OK : exit_code;
    return fail(EXIT_STORAGE, "stdout cannot be written: %s", number ? strerror(number) : "the system gave no reason");
}

int main(int argc, char **argv) {
    fill_standard_streams();
    terminal_init();
    interrupt_install();
    options_fill();
    return close_stdout(run(argc, argv));
}
