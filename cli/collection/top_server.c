/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith top URL`: asks a server once a second. On a terminal the screen is drawn anew each time; elsewhere the figures
 * are printed once, or as often as --limit says. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "collection/top.h"
#include "command.h"
#include "http_get.h"
#include "terminal.h"

struct top {
    const struct arguments *arguments;
    const char *url;
    struct http_target target;
    bool live; /* the screen is ours */
    bool keys; /* stdin is a terminal that gives single keys: `before` puts it back */
    struct termios before;
};

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

/* What a server that refuses says, cleaned, or why there is nothing to say. */
static int fail_answer(const struct top *top, const struct http_answer *answer, const json_t *said) {
    const char *message = json_string_value(json_object_get(json_object_get(said, "error"), "message"));
    char clean[512];
    if (!message) message = "it is no server of kith's, or an older one";
    text_clean(clean, sizeof(clean), message, strlen(message));
    return fail(answer->status == 404 ? EXIT_ABSENT : EXIT_OTHER, "%s answers with status %d: %s", top->url,
                answer->status, clean);
}

static int ask(const struct top *top, json_t **stats) {
    struct http_answer answer = {0};
    json_error_t error;
    const int failed = http_get(&top->target, "/v1/stats", &answer);
    if (failed) return failed;
    json_t *said = json_loadb(answer.body, answer.body_bytes, JSON_REJECT_DUPLICATES, &error);
    free(answer.body);
    if (answer.status == 200 && json_is_object(said) && json_is_array(json_object_get(said, "collections"))) {
        *stats = said;
        return 0;
    }
    const int why = fail_answer(top, &answer, said);
    json_decref(said);
    return why;
}

/* ---- The terminal ------------------------------------------------------------------------------------------------ */

static void take_terminal(struct top *top) {
    struct termios single;
    if (!top->live) return;
    fputs("\033[2J\033[?25l", stdout); /* an empty screen, without a cursor */
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &top->before) != 0) return;
    single = top->before;
    single.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    top->keys = tcsetattr(STDIN_FILENO, TCSANOW, &single) == 0;
}

static void give_terminal_back(struct top *top) {
    if (top->keys) tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
    if (top->live) fputs("\033[?25h", stdout);
    if (top->live) fflush(stdout);
    top->live = top->keys = false;
}

static size_t terminal_lines(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : 24;
}

/* Let time pass. Whether it was long enough: false when somebody wants to end. */
static bool rest(const struct top *top, double seconds) {
    const uint64_t until = now_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t now; (now = now_ns()) < until && !interrupt_asked(NULL);) {
        struct pollfd key = {.fd = top->keys ? STDIN_FILENO : -1, .events = POLLIN};
        char byte = 0;
        if (poll(&key, 1, (int)((until - now) / 1000000 + 1)) != 1) continue;
        const ssize_t count = read(STDIN_FILENO, &byte, 1);
        if (count == 0 || (count == 1 && (byte == 'q' || byte == 'Q'))) return false;
    }
    return !interrupt_asked(NULL);
}

/* ---- Showing ----------------------------------------------------------------------------------------------------- */

static int show(const struct top *top, const json_t *stats) {
    if (top->live) {
        /* Between the two outer escapes terminals that know them show nothing, so that the empty screen is not seen. */
        fputs("\033[?2026h\033[H\033[J", stdout);
        top_screen(stdout, top->url, stats, terminal_lines());
        fputs("\033[?2026l", stdout);
    } else if (option_given(top->arguments, OPTION_JSON)) {
        char *line = json_dumps(stats, JSON_COMPACT | JSON_REAL_PRECISION(9));
        if (!line) return fail(EXIT_OTHER, "there is no memory for the figures");
        puts(line);
        free(line);
    } else if (!top_table(stdout, stats)) {
        return fail(EXIT_OTHER, "there is no memory for the figures");
    }
    fflush(stdout);
    return ferror(stdout) ? EXIT_BROKEN : 0;
}

int top_server(const struct arguments *arguments) {
    struct top top = {.arguments = arguments, .url = arguments->operands[0]};
    const char *key_file = option_text(arguments, OPTION_KEY_FILE, NULL);
    const bool terminal = terminal_is(stdout) && !option_given(arguments, OPTION_JSON);
    const double interval = option_real(arguments, OPTION_SECONDS, 1);
    uint64_t left = option_number(arguments, OPTION_LIMIT, terminal ? UINT64_MAX : 1);
    int failed = http_target_parse(top.url, &top.target);
    if (!failed && key_file) failed = http_secret_read(key_file, &top.target);
    top.target.ca = option_text(arguments, OPTION_CA, NULL);
    if (!failed && *top.target.secret && !top.target.tls && !http_is_local(&top.target))
        note("the key goes to %s unencrypted: https:// would hide it", top.target.host);
    for (bool first = true; !failed && left; left--, first = false) {
        json_t *stats = NULL;
        if (!first && !rest(&top, interval)) break;
        failed = ask(&top, &stats);
        if (!failed && first && terminal && left > 1) {
            top.live = true;
            take_terminal(&top);
        }
        if (failed) give_terminal_back(&top);
        if (!failed) failed = show(&top, stats);
        json_decref(stats);
    }
    give_terminal_back(&top);
    return failed;
}
