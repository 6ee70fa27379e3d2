/* cmd_run.c - one answer from a model. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "cli/generate.h"
#include "cli/session.h"

static const char help[] =
    "usage: verdant run MODEL [PROMPT] [options]\n"
    "\n"
    "Prints one answer, then (on stderr) what it cost in joules and grams of CO2e. Without a\n"
    "PROMPT the prompt is read from standard input.\n"
    "\n" VD_GENERATE_HELP
    "  --raw               continue the PROMPT as it is, without the chat template\n"
    "  --json              the answer, usage and energy as one JSON object\n"
    "\n"
    "Example:\n"
    "  verdant run smollm2 \"Why is the sky blue?\" --max-tokens 64 --zone DE\n";

enum { PROMPT_MAX = 16 << 20 };

static vd_status read_prompt(const vd_generate_args *a, char **ret_prompt, vd_err *err)
{
    if (a->n_rest > 0) {
        *ret_prompt = vd_strdup(a->rest[0]);
        return *ret_prompt != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory");
    }
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "Type the prompt, then Ctrl-D.\n");
    char *prompt = NULL;
    size_t n = 0;
    vd_status st = vd_file_read("-", PROMPT_MAX, &prompt, &n, err);
    if (st != VD_OK)
        return st;
    if (strlen(prompt) != n) {
        st = VD_FAIL(err, VD_ERR_ARG, "the prompt has a NUL byte at place %zu: that is no text",
                     strlen(prompt));
        vd_free(prompt);
        return st;
    }
    *ret_prompt = prompt;
    return VD_OK;
}

/* The conversation of one question. */
static vd_status make_messages(const vd_generate_args *a, const char *prompt, json_t **ret,
                               vd_err *err)
{
    json_t *messages = a->system != NULL
                           ? json_pack("[{s:s,s:s},{s:s,s:s}]", "role", "system", "content",
                                       a->system, "role", "user", "content", prompt)
                           : json_pack("[{s:s,s:s}]", "role", "user", "content", prompt);
    if (messages == NULL)
        return VD_FAIL(err, VD_ERR_ARG, "the prompt or the system message is not valid UTF-8");
    *ret = messages;
    return VD_OK;
}

static vd_status run(const vd_generate_args *a, vd_err *err)
{
    vd_session session = {0};
    vd_reply reply = {0};
    char *prompt = NULL;
    json_t *messages = NULL;
    vd_status st = read_prompt(a, &prompt, err);
    if (st == VD_OK)
        st = vd_session_open(a->model, &a->engine, a->zone, &session, err);
    if (st == VD_OK && !a->raw)
        st = make_messages(a, prompt, &messages, err);
    if (st == VD_OK)
        st = vd_session_answer(&session, messages, prompt, &a->sampling, a->max_tokens,
                               a->json ? NULL : stdout, NULL, &reply, err);
    if (st != VD_OK)
        goto out;
    if (a->json) {
        if (vd_cli_put_json("run", vd_reply_json(&reply)) != VD_EXIT_OK)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for the result");
    } else {
        putchar('\n');
        fflush(stdout);
        if (!a->quiet)
            vd_reply_print_cost(&reply);
    }
out:
    vd_reply_done(&reply);
    vd_session_close(&session);
    json_decref(messages);
    vd_free(prompt);
    return st;
}

static int run_main(int argc, char **argv)
{
    vd_generate_args a;
    vd_err err = {0};
    if (!vd_generate_parse("run", argc, argv, &a))
        return VD_EXIT_USAGE;
    if (a.n_rest > 1)
        return vd_cli_misuse("run", "one PROMPT is expected; put it in quotes");
    return run(&a, &err) == VD_OK ? VD_EXIT_OK : vd_cli_failed("run", &err);
}

const vd_command vd_cmd_run = {
    .name = "run", .summary = "one answer from a model", .help = help, .main = run_main};
