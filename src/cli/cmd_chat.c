/* cmd_chat.c - a conversation on the terminal. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/generate.h"
#include "cli/session.h"

static const char help[] =
    "usage: verdant chat MODEL [options]\n"
    "\n"
    "Talks with a model on the terminal. Ctrl-C ends an answer, Ctrl-D the conversation; /clear\n"
    "forgets what was said. Earlier turns are not computed again, and behind every answer stands\n"
    "what it cost.\n"
    "\n" VD_GENERATE_HELP
    "\n"
    "Example:\n"
    "  verdant chat smollm2 --system \"Answer in one sentence.\"\n";

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    interrupted = 1;
}

static json_t *fresh_messages(const vd_generate_args *a)
{
    if (a->system == NULL)
        return json_array();
    return json_pack("[{s:s,s:s}]", "role", "system", "content", a->system);
}

static vd_status say(json_t *messages, const char *role, const char *text, vd_err *err)
{
    json_t *message = json_pack("{s:s,s:s}", "role", role, "content", text);
    if (message == NULL || json_array_append_new(messages, message) != 0)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the conversation");
    return VD_OK;
}

static vd_status take_turn(vd_session *session, const vd_generate_args *a, json_t *messages,
                           vd_err *err)
{
    vd_reply reply = {0};
    interrupted = 0;
    vd_status st = vd_session_answer(session, messages, NULL, &a->sampling, a->max_tokens, stdout,
                                     &interrupted, &reply, err);
    if (st == VD_OK) {
        printf("\n");
        fflush(stdout);
        if (!a->quiet)
            vd_reply_print_cost(&reply);
        st = say(messages, "assistant", vd_buf_text(&reply.text), err);
    }
    if (st == VD_OK && ferror(stdout))
        st = VD_FAIL(err, VD_ERR_IO, "cannot write the output");
    vd_reply_done(&reply);
    return st;
}

/* *ret_end at the end of input. The line is one that may be said, without its newline. */
static vd_status read_line(char **line, size_t *capacity, bool *ret_end, vd_err *err)
{
    *ret_end = false;
    for (;;) {
        if (isatty(STDIN_FILENO)) {
            fputs("> ", stderr);
            fflush(stderr);
        }
        ssize_t n = getline(line, capacity, stdin);
        if (n < 0 && errno == EINTR && !feof(stdin)) {
            clearerr(stdin);
            fputs("\n(Ctrl-D ends the conversation)\n", stderr);
            continue;
        }
        if (n < 0 && feof(stdin)) {
            *ret_end = true;
            return VD_OK;
        }
        if (n < 0)
            return VD_FAIL(err, VD_ERR_IO, "cannot read what you say: %s", strerror(errno));
        if (n > 0 && (*line)[n - 1] == '\n')
            (*line)[--n] = '\0';
        if (strlen(*line) != (size_t)n || !vd_utf8_valid(*line, (size_t)n))
            fputs("(that line is not UTF-8 text and was not said)\n", stderr);
        else if (n > 0)
            return VD_OK;
    }
}

static vd_status converse(vd_session *session, const vd_generate_args *a, vd_err *err)
{
    json_t *messages = fresh_messages(a);
    char *line = NULL; /* getline's own memory */
    size_t capacity = 0;
    vd_status st = messages != NULL
                       ? VD_OK
                       : VD_FAIL(err, VD_ERR_ARG, "the system message is not valid UTF-8");
    while (st == VD_OK) {
        bool end = false;
        st = read_line(&line, &capacity, &end, err);
        if (st != VD_OK || end)
            break;
        if (strcmp(line, "/clear") == 0) {
            json_decref(messages);
            messages = fresh_messages(a);
            continue;
        }
        st = say(messages, "user", line, err);
        if (st == VD_OK)
            st = take_turn(session, a, messages, err);
        if (st == VD_ERR_CONTEXT) {
            fprintf(stderr, "%s. /clear begins anew.\n", err->message);
            json_array_remove(messages, json_array_size(messages) - 1);
            st = VD_OK;
        }
    }
    free(line);
    json_decref(messages);
    return st;
}

static int chat_main(int argc, char **argv)
{
    vd_generate_args a;
    vd_err err = {0};
    vd_session session = {0};
    if (!vd_generate_parse("chat", argc, argv, &a))
        return VD_EXIT_USAGE;
    if (a.n_rest > 0 || a.json || a.raw)
        return vd_cli_misuse("chat", "only a MODEL is expected; a single prompt is for `run`");
    vd_status st = vd_session_open(a.model, &a.engine, a.zone, &session, &err);
    if (st == VD_OK)
        st = vd_session_check_speech(&session, &err);
    if (st == VD_OK) {
        struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: getline returns */
        sigaction(SIGINT, &action, NULL);
        st = converse(&session, &a, &err);
    }
    vd_session_close(&session);
    return st == VD_OK ? VD_EXIT_OK : vd_cli_failed("chat", &err);
}

const vd_command vd_cmd_chat = {
    .name = "chat", .summary = "talk with a model on the terminal", .help = help,
    .main = chat_main};
