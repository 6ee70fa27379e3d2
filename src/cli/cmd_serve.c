/* cmd_serve.c - the server: configuration and options to a service, which it runs. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "model/store.h"
#include "serve/config.h"
#include "serve/listen.h"
#include "serve/service.h"

static const char help[] =
    "usage: verdant serve [--config F] [--model NAME=REF]... [options]\n"
    "\n"
    "Serves models through the OpenAI API (/v1/models, /v1/chat/completions, /v1/completions,\n"
    "/v1/embeddings), with the joules and grams of CO2e of every answer in its `usage`.\n"
    "/metrics is for Prometheus, /healthz and /readyz for who watches. SIGTERM finishes what\n"
    "runs; a second one cuts it short.\n"
    "\n"
    "  --model NAME=REF    clients call it NAME; REF is a path or a stored name. REF alone is\n"
    "                      called like its file. May be repeated\n"
    "  --listen HOST:PORT  default 127.0.0.1:8080; port 0 takes a free one\n"
    "  --zone CODE         grid for the grams of CO2e, e.g. DE, US-CA or aws:eu-west-1; default\n"
    "                      the world\n"
    "  --meter SPEC        which energy meters to read (docs/meters.md), e.g. rapl,nvml;\n"
    "                      default auto: the best for each component\n"
    VD_SPECULATE_HELP
    "  --ctx N             context of each model in tokens; default its own, at most 8192\n"
    "  -t, --threads N     default: one per core, in decoding fewer where that is faster\n"
    "  --log-level LEVEL   error, warn, info or debug; default info\n"
    "  --config F          YAML; examples/verdant.yaml explains every key. Options go before it\n"
    "\n"
    "Example:\n"
    "  verdant serve --model smollm2=smollm2 --listen 127.0.0.1:8080 --zone DE\n"
    "  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' \\\n"
    "       -d '{\"model\":\"smollm2\",\"prompt\":\"The capital of France is\"}'\n";

typedef struct args {
    const char *config, *listen, *zone, *log_level, *meter;
    const char *models[VD_MODELS_MAX]; /* NAME=REF */
    size_t n_models;
    size_t ctx_tokens, n_threads;
    bool speculate_given;
    vd_engine_options engine; /* speculate, draft_tokens */
} args;

/* All that has to live as long as the service. */
typedef struct setup {
    vd_config *config;
    char *host;
    char *names[VD_MODELS_MAX], *paths[VD_MODELS_MAX], *drafts[VD_MODELS_MAX];
    vd_service_options options;
} setup;

/* What is wrong in an option is misuse; the same in the file is named there. */
static bool check_values(const args *a)
{
    vd_log_level level;
    const vd_zone *zone = NULL;
    char *host = NULL;
    uint16_t port = 0;
    vd_err err = {0};
    bool good = true;
    if (a->log_level != NULL && !vd_log_level_parse(a->log_level, &level))
        return vd_cli_misuse("serve", "--log-level is '%s', expected error, warn, info or debug",
                             a->log_level) == VD_EXIT_OK;
    if ((a->zone != NULL && vd_zone_find(a->zone, &zone, &err) != VD_OK) ||
        (a->listen != NULL && vd_config_address(a->listen, &host, &port, &err) != VD_OK))
        good = vd_cli_misuse("serve", "%s", err.message) == VD_EXIT_OK;
    vd_free(host);
    return good;
}

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"listen", required_argument, NULL, 'l'},
                                            {"zone", required_argument, NULL, 'z'},
                                            {"meter", required_argument, NULL, 'e'},
                                            {"ctx", required_argument, NULL, 'x'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"speculate", required_argument, NULL, 's'},
                                            {"draft", required_argument, NULL, 'D'},
                                            {"draft-tokens", required_argument, NULL, 'd'},
                                            {"log-level", required_argument, NULL, 'v'},
                                            {0}};
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":t:", options, NULL)) != -1) {
        if (c == 'c')
            a->config = optarg;
        else if (c == 'l')
            a->listen = optarg;
        else if (c == 'z')
            a->zone = optarg;
        else if (c == 'v')
            a->log_level = optarg;
        else if (c == 'e')
            a->meter = optarg;
        else if (c == 's')
            good = a->speculate_given = vd_cli_parse_speculate("serve", optarg, &a->engine);
        else if (c == 'D')
            good = a->speculate_given = vd_cli_parse_draft("serve", optarg, &a->engine);
        else if (c == 'd')
            good = vd_cli_parse_draft_tokens("serve", optarg, &a->engine);
        else if (c == 'x')
            good = vd_cli_parse_size("serve", "--ctx", optarg, 2, 1 << 24, &a->ctx_tokens);
        else if (c == 't')
            good = vd_cli_parse_size("serve", "-t", optarg, 1, 256, &a->n_threads);
        else if (c == 'm' && a->n_models < VD_MODELS_MAX)
            a->models[a->n_models++] = optarg;
        else if (c == 'm')
            good = vd_cli_misuse("serve", "more than %d models", VD_MODELS_MAX) == VD_EXIT_OK;
        else
            good = vd_cli_bad_option("serve", c, argv) == VD_EXIT_OK;
    }
    if (good && optind != argc)
        good = vd_cli_misuse("serve", "'%s' is no option; a model is given as --model NAME=REF",
                             argv[optind]) == VD_EXIT_OK;
    return good && check_values(a);
}

/* "dir/SmolLM2.gguf" is called "SmolLM2". */
static char *name_of(const char *ref)
{
    const char *slash = strrchr(ref, '/');
    const char *base = slash != NULL ? slash + 1 : ref;
    size_t n = strlen(base);
    if (n > 5 && strcmp(base + n - 5, ".gguf") == 0)
        n -= 5;
    return vd_strndup(base, n);
}

static vd_status add_model(setup *s, const char *name, size_t n_name, const char *ref,
                           const vd_engine_options *engine, vd_err *err)
{
    size_t i = s->options.n_models;
    if (i == VD_MODELS_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "more than %d models", VD_MODELS_MAX);
    s->names[i] = name != NULL ? vd_strndup(name, n_name) : name_of(ref);
    if (s->names[i] == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a model's name");
    vd_status st = vd_model_name_check(s->names[i], err);
    for (size_t k = 0; k < i && st == VD_OK; k++)
        if (strcmp(s->names[k], s->names[i]) == 0)
            st = VD_FAIL(err, VD_ERR_EXISTS, "two models are named '%s'; write --model NAME=REF",
                         s->names[i]);
    if (st == VD_OK)
        st = vd_store_resolve(ref, &s->paths[i], err);
    if (st == VD_OK && engine->draft_path != NULL)
        st = vd_store_resolve(engine->draft_path, &s->drafts[i], err);
    if (st != VD_OK)
        return st;
    s->options.models[i] =
        (vd_service_model){.name = s->names[i], .path = s->paths[i], .engine = *engine};
    s->options.models[i].engine.draft_path = s->drafts[i];
    s->options.n_models++;
    return VD_OK;
}

/* Those of the command line, or else those of the file. */
static vd_status add_models(setup *s, const args *a, vd_err *err)
{
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < a->n_models; i++) {
        const char *equals = strchr(a->models[i], '=');
        const char *ref = equals != NULL ? equals + 1 : a->models[i];
        vd_engine_options engine = a->engine;
        engine.n_threads = a->n_threads;
        engine.ctx_tokens = a->ctx_tokens;
        st = add_model(s, equals != NULL ? a->models[i] : NULL,
                       equals != NULL ? (size_t)(equals - a->models[i]) : 0, ref, &engine, err);
    }
    for (size_t i = 0; st == VD_OK && a->n_models == 0 && s->config != NULL &&
                       i < s->config->n_models; i++) {
        const vd_config_model *m = &s->config->models[i];
        vd_engine_options engine = vd_config_engine(m);
        if (a->n_threads != 0)
            engine.n_threads = a->n_threads;
        if (a->ctx_tokens != 0)
            engine.ctx_tokens = a->ctx_tokens;
        if (a->speculate_given) {
            engine.speculate = a->engine.speculate;
            engine.draft_path = a->engine.draft_path;
        }
        if (a->engine.draft_tokens != 0)
            engine.draft_tokens = a->engine.draft_tokens;
        st = add_model(s, m->name, strlen(m->name), m->ref, &engine, err);
        size_t n = s->options.n_models; /* where it was to go */
        bool ref_found = st != VD_OK && n < VD_MODELS_MAX && s->paths[n] != NULL;
        if (ref_found && engine.draft_path == m->draft)
            vd_err_prefix(err, "%s:%u: models[%zu].draft", a->config, m->draft_line, i);
        else if (st != VD_OK)
            vd_err_prefix(err, "%s:%u: models[%zu].ref", a->config, m->ref_line, i);
    }
    if (st == VD_OK && s->options.n_models == 0)
        st = VD_FAIL(err, VD_ERR_ARG, "no model to serve; try --model smollm2 (after `verdant pull "
                     "smollm2`)");
    return st;
}

/* An option of the command line, else the file's, else the default. */
static const char *choose(const char *option, const char *configured, const char *otherwise)
{
    return option != NULL ? option : configured != NULL ? configured : otherwise;
}

static vd_status prepare(setup *s, const args *a, vd_err *err)
{
    vd_config none = {0};
    vd_status st = a->config != NULL ? vd_config_load(a->config, &s->config, err) : VD_OK;
    if (st != VD_OK)
        return st;
    const vd_config *c = s->config != NULL ? s->config : &none;
    vd_log_level level = VD_LOG_INFO; /* options and file were looked at: it is one of the words */
    (void)vd_log_level_parse(choose(a->log_level, c->log_level, "info"), &level);
    vd_log_set_level(level);
    vd_config_limits_to(c, &s->options);
    s->options.meter = choose(a->meter, c->energy.meter, NULL);
    st = vd_config_address(choose(a->listen, c->listen, "127.0.0.1:8080"), &s->host,
                           &s->options.server.port, err);
    if (st == VD_OK)
        st = vd_config_zone(c, a->zone, &s->options.zone, err);
    if (a->zone != NULL && c->carbon.zone == NULL)
        s->options.carbon.zone = a->zone;
    if (st == VD_OK)
        st = add_models(s, a, err);
    s->options.server.host = s->host;
    return st;
}

static void setup_done(setup *s)
{
    for (size_t i = 0; i < VD_MODELS_MAX; i++) {
        vd_free(s->names[i]);
        vd_free(s->paths[i]);
        vd_free(s->drafts[i]);
    }
    vd_free(s->host);
    vd_config_free(s->config);
}

static vd_status serve(const setup *s, vd_err *err)
{
    vd_service *service = NULL;
    vd_status st = vd_service_open(&s->options, &service, err);
    if (st != VD_OK)
        return st;
    bool v6 = strchr(s->host, ':') != NULL;
    printf("listening on http://%s%s%s:%u\n", v6 ? "[" : "", s->host, v6 ? "]" : "",
           vd_service_port(service));
    fflush(stdout);
    if (!vd_listen_is_loopback(s->host))
        vd_log(VD_LOG_WARN, "serve", "there are no keys yet: whoever reaches this address may use "
               "it host=%s", s->host);
    st = vd_service_load(service, err);
    if (st == VD_OK)
        vd_service_run(service);
    else if (st == VD_ERR_CANCELLED)
        st = VD_OK;
    vd_service_close(service);
    return st;
}

static int serve_main(int argc, char **argv)
{
    args a = {0};
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    vd_err err = {0};
    setup s = {0};
    vd_service_block_signals();
    vd_status st = prepare(&s, &a, &err);
    if (st == VD_OK)
        st = serve(&s, &err);
    setup_done(&s);
    return st == VD_OK ? VD_EXIT_OK : vd_cli_failed("serve", &err);
}

const vd_command vd_cmd_serve = {
    .name = "serve", .summary = "models through the OpenAI API", .help = help, .main = serve_main};
