/* generate.c - see generate.h. */
#include "cli/generate.h"

#include <getopt.h>

#include "carbon/intensity.h"
#include "cli/args.h"
#include "cli/cli.h"

enum {
    OPT_SYSTEM = 256, OPT_TEMPERATURE, OPT_TOP_P, OPT_TOP_K, OPT_MIN_P, OPT_TYPICAL_P,
    OPT_REPETITION, OPT_FREQUENCY, OPT_PRESENCE, OPT_SEED, OPT_CTX, OPT_PRECISION, OPT_ZONE,
    OPT_METER, OPT_JSON, OPT_RAW, OPT_SPECULATE, OPT_DRAFT_TOKENS,
    OPT_DRAFT, OPT_KV
};

static const struct option options[] = {
    {"system", required_argument, NULL, OPT_SYSTEM},
    {"max-tokens", required_argument, NULL, 'n'},
    {"temperature", required_argument, NULL, OPT_TEMPERATURE},
    {"top-p", required_argument, NULL, OPT_TOP_P},
    {"top-k", required_argument, NULL, OPT_TOP_K},
    {"min-p", required_argument, NULL, OPT_MIN_P},
    {"typical-p", required_argument, NULL, OPT_TYPICAL_P},
    {"repetition-penalty", required_argument, NULL, OPT_REPETITION},
    {"frequency-penalty", required_argument, NULL, OPT_FREQUENCY},
    {"presence-penalty", required_argument, NULL, OPT_PRESENCE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"ctx", required_argument, NULL, OPT_CTX},
    {"threads", required_argument, NULL, 't'},
    {"precision", required_argument, NULL, OPT_PRECISION},
    {"kv", required_argument, NULL, OPT_KV},
    {"zone", required_argument, NULL, OPT_ZONE},
    {"meter", required_argument, NULL, OPT_METER},
    {"json", no_argument, NULL, OPT_JSON},
    {"raw", no_argument, NULL, OPT_RAW},
    {"speculate", required_argument, NULL, OPT_SPECULATE},
    {"draft", required_argument, NULL, OPT_DRAFT},
    {"draft-tokens", required_argument, NULL, OPT_DRAFT_TOKENS},
    {"quiet", no_argument, NULL, 'q'},
    {0},
};

static bool parse_real(const char *command, const char *name, double min, double max, float *ret)
{
    double value;
    if (!vd_cli_parse_float(command, name, optarg, min, max, &value))
        return false;
    *ret = (float)value;
    return true;
}

/* One option that takes a number or a word; false for a bad one. */
static bool parse_value(const char *command, int c, char **argv, vd_generate_args *a)
{
    size_t n = 0;
    vd_sampling *s = &a->sampling;
    switch (c) {
    case OPT_TEMPERATURE:
        return parse_real(command, "--temperature", 0, 2, &s->temperature);
    case OPT_TOP_P:
        return parse_real(command, "--top-p", 0, 1, &s->top_p);
    case OPT_MIN_P:
        return parse_real(command, "--min-p", 0, 1, &s->min_p);
    case OPT_TYPICAL_P:
        return parse_real(command, "--typical-p", 0, 1, &s->typical_p);
    case OPT_REPETITION:
        return parse_real(command, "--repetition-penalty", 0.01, 100, &s->repetition_penalty);
    case OPT_FREQUENCY:
        return parse_real(command, "--frequency-penalty", -2, 2, &s->frequency_penalty);
    case OPT_PRESENCE:
        return parse_real(command, "--presence-penalty", -2, 2, &s->presence_penalty);
    case OPT_TOP_K:
        if (!vd_cli_parse_size(command, "--top-k", optarg, 0, UINT32_MAX, &n))
            return false;
        s->top_k = (uint32_t)n;
        return true;
    case OPT_SEED:
        if (!vd_cli_parse_size(command, "--seed", optarg, 0, SIZE_MAX, &n))
            return false;
        s->seed = n;
        return true;
    case OPT_PRECISION:
        return vd_cli_parse_word(command, "--precision", optarg, "fast", "exact", &a->engine.exact);
    case OPT_SPECULATE:
        return vd_cli_parse_speculate(command, optarg, &a->engine);
    case OPT_DRAFT:
        return vd_cli_parse_draft(command, optarg, &a->engine);
    case OPT_DRAFT_TOKENS:
        return vd_cli_parse_draft_tokens(command, optarg, &a->engine);
    case OPT_CTX:
        return vd_cli_parse_size(command, "--ctx", optarg, 2, 1 << 24, &a->engine.ctx_tokens);
    case 'n':
        return vd_cli_parse_size(command, "--max-tokens", optarg, 1, 1 << 24, &a->max_tokens);
    case OPT_KV:
        return vd_cli_parse_kv(command, "--kv", optarg, &a->engine.kv_type);
    case 't':
        return vd_cli_parse_size(command, "--threads", optarg, 1, 256, &a->engine.n_threads);
    default:
        vd_cli_bad_option(command, c, argv);
        return false;
    }
}

bool vd_generate_parse(const char *command, int argc, char **argv, vd_generate_args *ret)
{
    vd_generate_args a = {.max_tokens = 512, .sampling = vd_sampling_default()};
    a.sampling.temperature = 0;
    a.engine.max_running = 1;
    const vd_zone *zone = NULL;
    vd_err err = {0};
    int c;
    while ((c = getopt_long(argc, argv, ":n:t:q", options, NULL)) != -1) {
        if (c == OPT_SYSTEM)
            a.system = optarg;
        else if (c == OPT_ZONE && vd_zone_find(optarg, &zone, &err) != VD_OK)
            return vd_cli_misuse(command, "%s", err.message) == VD_EXIT_OK;
        else if (c == OPT_ZONE)
            a.zone = optarg;
        else if (c == OPT_METER)
            vd_cli_use_meter(optarg);
        else if (c == OPT_JSON)
            a.json = true;
        else if (c == OPT_RAW)
            a.raw = true;
        else if (c == 'q')
            a.quiet = true;
        else if (!parse_value(command, c, argv, &a))
            return false;
    }
    if (!vd_cli_check_draft(command, &a.engine))
        return false;
    if (optind >= argc) {
        vd_cli_misuse(command, "a MODEL is needed");
        return false;
    }
    a.model = argv[optind];
    a.rest = (const char *const *)argv + optind + 1;
    a.n_rest = (size_t)(argc - optind - 1);
    *ret = a;
    return true;
}
