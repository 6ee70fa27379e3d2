/* cmd_template.c - `verdant template`: messages to the text that the model would read. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <verdant/template.h>
#include <verdant/tokenizer.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "model/gguf.h"
#include "model/store.h"
#include "text/chat.h"

enum { INPUT_BYTES_MAX = 64 << 20 };

typedef struct arguments {
    const char *model, *messages, *tools;
    bool add_generation_prompt;
    int64_t now_unix;
    json_t *vars; /* an object, owned */
} arguments;

/* What is rendered with; all owned. */
typedef struct source {
    char *path, *text;
    size_t n_text;
    vd_gguf *gguf;
    vd_tokenizer *tokenizer; /* NULL for a template file */
    vd_template *tmpl;
} source;

static void source_done(source *s)
{
    vd_template_free(s->tmpl);
    vd_tokenizer_free(s->tokenizer);
    vd_gguf_free(s->gguf);
    vd_free(s->text);
    vd_free(s->path);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

static vd_status open_model(const char *model, source *s, vd_err *err)
{
    static const vd_gguf_options options = {.metadata_only = true};
    vd_str chat = {0};
    vd_status st = vd_store_resolve(model, &s->path, err);
    if (st == VD_OK)
        st = vd_gguf_open(s->path, &options, &s->gguf, err);
    if (st == VD_OK)
        st = vd_tokenizer_open(s->path, &s->tokenizer, err);
    if (st != VD_OK)
        return st;
    if (vd_gguf_get_str(s->gguf, "tokenizer.chat_template", &chat))
        return vd_template_parse(chat.data, chat.n, &s->tmpl, err);
    fprintf(stderr, "verdant template: the model brings no template, a plain one is used\n");
    const char *plain = vd_chat_fallback(s->tokenizer);
    return vd_template_parse(plain, strlen(plain), &s->tmpl, err);
}

static vd_status open_source(const char *model, source *s, vd_err *err)
{
    if (!ends_with(model, ".jinja") && !ends_with(model, ".j2"))
        return open_model(model, s, err);
    vd_status st = vd_file_read(model, INPUT_BYTES_MAX, &s->text, &s->n_text, err);
    return st == VD_OK ? vd_template_parse(s->text, s->n_text, &s->tmpl, err) : st;
}

static vd_status read_json(const char *path, json_t **ret, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    vd_status st = vd_file_read(path, INPUT_BYTES_MAX, &text, &n, err);
    if (st == VD_OK)
        st = vd_json_parse(text, n, ret, err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s", path);
    vd_free(text);
    return st;
}

static vd_status render(const arguments *args, vd_err *err)
{
    source s = {0};
    json_t *messages = NULL, *tools = NULL;
    char *text = NULL;
    size_t n = 0;
    const vd_render_options options = {.now_unix = args->now_unix};
    vd_status st = open_source(args->model, &s, err);
    if (st == VD_OK)
        st = read_json(args->messages, &messages, err);
    if (st == VD_OK && args->tools != NULL)
        st = read_json(args->tools, &tools, err);
    if (st == VD_OK)
        st = vd_chat_render(s.tmpl, s.tokenizer, messages, tools, args->add_generation_prompt,
                            args->vars, &options, &text, &n, err);
    if (st == VD_OK)
        fwrite(text, 1, n, stdout);
    vd_text_free(text);
    json_decref(tools);
    json_decref(messages);
    source_done(&s);
    return st;
}

/* KEY=JSON; a value that is no JSON is taken as a text, so that --var date=today works. */
static vd_status add_var(json_t *vars, const char *pair, vd_err *err)
{
    json_t *value = NULL;
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair)
        return VD_FAIL(err, VD_ERR_ARG, "--var takes KEY=JSON, not '%.60s'", pair);
    vd_status st = vd_json_parse(equals + 1, strlen(equals + 1), &value, NULL);
    if (st == VD_ERR_FORMAT)
        value = json_string(equals + 1);
    char *key = vd_strndup(pair, (size_t)(equals - pair));
    bool added = key != NULL && value != NULL && json_object_set(vars, key, value) == 0;
    vd_free(key);
    json_decref(value);
    return added ? VD_OK : VD_FAIL(err, VD_ERR_ARG, "--var %.60s is not UTF-8", pair);
}

/* 2026-03-09T10:11:12, read as UTC. */
static vd_status parse_now(const char *text, int64_t *ret, vd_err *err)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (end == NULL || (*end != '\0' && strcmp(end, "Z") != 0))
        return VD_FAIL(err, VD_ERR_ARG, "--now takes 2026-03-09T10:11:12, not '%.60s'", text);
    time_t now = timegm(&tm);
    *ret = now != 0 ? (int64_t)now : 1; /* 0 would mean the clock */
    return VD_OK;
}

/* False after saying what is wrong. */
static bool parse_arguments(int argc, char **argv, arguments *args)
{
    enum { MESSAGES = 256, TOOLS, PROMPT, VAR, NOW };
    static const struct option options[] = {
        {"messages", required_argument, NULL, MESSAGES},
        {"tools", required_argument, NULL, TOOLS},
        {"add-generation-prompt", no_argument, NULL, PROMPT},
        {"var", required_argument, NULL, VAR},
        {"now", required_argument, NULL, NOW},
        {0},
    };
    vd_status st = VD_OK;
    vd_err err = {0};
    for (int c; st == VD_OK && (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        if (c == MESSAGES)
            args->messages = optarg;
        else if (c == TOOLS)
            args->tools = optarg;
        else if (c == PROMPT)
            args->add_generation_prompt = true;
        else if (c == VAR)
            st = add_var(args->vars, optarg, &err);
        else if (c == NOW)
            st = parse_now(optarg, &args->now_unix, &err);
        else {
            vd_cli_bad_option("template", c, argv);
            return false;
        }
    }
    if (st == VD_OK && optind + 1 != argc)
        st = VD_FAIL(&err, VD_ERR_ARG, "expects one MODEL or FILE.jinja");
    else if (st == VD_OK && args->messages == NULL)
        st = VD_FAIL(&err, VD_ERR_ARG, "expects --messages FILE.json");
    if (st != VD_OK) {
        vd_cli_misuse("template", "%s", err.message);
        return false;
    }
    args->model = argv[optind];
    return true;
}

static int template_main(int argc, char **argv)
{
    arguments args = {.vars = json_object()};
    vd_err err = {0};
    int status = VD_EXIT_OK;
    if (args.vars == NULL) {
        (void)VD_FAIL(&err, VD_ERR_NOMEM, "no memory for the arguments");
        return vd_cli_failed("template", &err);
    }
    if (!parse_arguments(argc, argv, &args))
        status = VD_EXIT_USAGE;
    else if (render(&args, &err) != VD_OK)
        status = vd_cli_failed("template", &err);
    json_decref(args.vars);
    return status;
}

const vd_command vd_cmd_template = {
    .name = "template",
    .summary = "show the prompt that a model's chat template makes of messages",
    .help =
        "usage: verdant template (MODEL | FILE.jinja) --messages FILE.json [--tools FILE.json]\n"
        "                        [--add-generation-prompt] [--var KEY=JSON]... [--now TIME]\n"
        "\n"
        "Prints what the model would read, byte for byte, with no newline added. MODEL is a name\n"
        "from `verdant list` or a GGUF file, and its own template is used; a FILE.jinja is\n"
        "rendered without a vocabulary (bos_token and eos_token are empty unless given by --var).\n"
        "A FILE.json of - reads standard input.\n"
        "\n"
        "  --messages FILE.json      an array of {\"role\", \"content\", ...}\n"
        "  --tools FILE.json         an array of tools, as in the OpenAI API\n"
        "  --add-generation-prompt   end where the assistant begins\n"
        "  --var KEY=JSON            a further variable, e.g. enable_thinking=false\n"
        "  --now TIME                what strftime_now sees, as 2026-03-09T10:11:12 (UTC)\n"
        "\n"
        "Example:\n"
        "  echo '[{\"role\":\"user\",\"content\":\"Hi\"}]' |\n"
        "    verdant template smollm2 --messages - --add-generation-prompt\n",
    .main = template_main,
};
