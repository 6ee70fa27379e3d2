/* cmd_embed.c - `verdant embed`: a vector per text. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/embed.h"
#include "cli/format.h"
#include "energy/energy_json.h"

static const char help[] =
    "usage: verdant embed MODEL [TEXT... | --file LINES | -] [options]\n"
    "\n"
    "Prints a vector per text, of length 1: how alike two texts are is the sum of the products\n"
    "of their vectors (the cosine). Without a TEXT each line of standard input is one. Then, on\n"
    "stderr, what it cost in joules and grams of CO2e.\n"
    "\n"
    "  --file LINES        each line of the file is a text; - is standard input\n"
    "  --pooling P         mean, cls, last, or none (a vector per token); default what the\n"
    "                      model's metadata says, else mean for encoders and last for others\n"
    "  --no-normalize      vectors keep their length\n"
    "  --json              vectors, usage and energy as one JSON object, as the API gives them\n"
    "  --ctx N             longest text in tokens; default the model's, at most 8192\n"
    "  -t, --threads N     default: one per core\n"
    "  --precision WORD    exact (f32 activations; slow, the reference) or fast; default fast\n"
    "  --zone CODE         grid for the grams of CO2e, e.g. DE, FR, US-CA; default the world\n"
    "  -q, --quiet         no line about tokens, joules and grams\n"
    "\n"
    "Example:\n"
    "  verdant embed minilm.gguf \"Why is the sky blue?\" \"Rayleigh scattering\" --json\n"
    "  verdant embed minilm.gguf --file lines.txt --zone DE > vectors.txt\n";

enum { INPUT_BYTES_MAX = 1 << 30 };

typedef struct args {
    const char *model, *file, *zone; /* file "-": standard input */
    char *const *text;
    size_t n_text;
    vd_pooling pooling;
    bool json, raw, quiet;
    vd_engine_options engine;
} args;

/* One option that takes a value; false for a bad one. */
static bool parse_value(int c, char **argv, args *a)
{
    const vd_zone *zone = NULL;
    vd_err err = {0};
    switch (c) {
    case 'f':
        a->file = optarg;
        return true;
    case 'o':
        if (vd_pooling_parse(optarg, &a->pooling))
            return true;
        return vd_cli_misuse("embed", "--pooling is '%s', expected none, mean, cls or last",
                             optarg) == VD_EXIT_OK;
    case 'z':
        a->zone = optarg;
        if (vd_zone_find(optarg, &zone, &err) == VD_OK)
            return true;
        return vd_cli_misuse("embed", "%s", err.message) == VD_EXIT_OK;
    case 'p':
        return vd_cli_parse_word("embed", "--precision", optarg, "fast", "exact",
                                 &a->engine.exact);
    case 'x':
        return vd_cli_parse_size("embed", "--ctx", optarg, 2, 1 << 24, &a->engine.ctx_tokens);
    case 't':
        return vd_cli_parse_size("embed", "--threads", optarg, 1, 256, &a->engine.n_threads);
    default:
        vd_cli_bad_option("embed", c, argv);
        return false;
    }
}

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"file", required_argument, NULL, 'f'},
                                            {"pooling", required_argument, NULL, 'o'},
                                            {"no-normalize", no_argument, NULL, 'n'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"ctx", required_argument, NULL, 'x'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"precision", required_argument, NULL, 'p'},
                                            {"zone", required_argument, NULL, 'z'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {0}};
    int c;
    while ((c = getopt_long(argc, argv, ":t:q", options, NULL)) != -1) {
        if (c == 'j')
            a->json = true;
        else if (c == 'n')
            a->raw = true;
        else if (c == 'q')
            a->quiet = true;
        else if (!parse_value(c, argv, a))
            return false;
    }
    if (optind >= argc) {
        vd_cli_misuse("embed", "a MODEL is needed");
        return false;
    }
    a->model = argv[optind];
    a->text = argv + optind + 1;
    a->n_text = (size_t)(argc - optind - 1);
    if (a->file != NULL && a->n_text > 0)
        return vd_cli_misuse("embed", "both --file and '%s': one of the two", a->text[0]) ==
               VD_EXIT_OK;
    if (a->n_text == 0 && a->file == NULL)
        a->file = "-";
    if (a->n_text == 1 && strcmp(a->text[0], "-") == 0)
        a->file = "-";
    return true;
}

/* ---- what goes in ----------------------------------------------------------------------------*/

typedef struct texts {
    vd_embed_text *text;
    size_t n;
} texts;

static void texts_done(texts *t)
{
    for (size_t i = 0; i < t->n; i++)
        vd_ids_free(t->text[i].ids);
    vd_free(t->text);
}

static vd_status add_lines(vd_session *session, const char *data, size_t size, texts *t,
                           vd_err *err)
{
    size_t n_lines = size > 0 && data[size - 1] != '\n' ? 1 : 0;
    for (size_t i = 0; i < size; i++)
        n_lines += data[i] == '\n';
    if (n_lines == 0)
        return VD_FAIL(err, VD_ERR_ARG, "there is no line to embed");
    vd_status st = vd_alloc_array(n_lines, sizeof(*t->text), "the texts", &t->text, err);
    for (const char *at = data; st == VD_OK && t->n < n_lines;) {
        const char *end = memchr(at, '\n', size - (size_t)(at - data));
        size_t n = (end != NULL ? (size_t)(end - data) : size) - (size_t)(at - data);
        size_t n_text = n > 0 && at[n - 1] == '\r' ? n - 1 : n;
        st = vd_embed_tokenize(session, "line", t->n, at, n_text, &t->text[t->n], err);
        t->n += st == VD_OK;
        at += n + 1;
    }
    return st;
}

static vd_status read_texts(const args *a, vd_session *session, texts *t, vd_err *err)
{
    char *data = NULL;
    size_t n = 0;
    if (a->file != NULL) {
        if (strcmp(a->file, "-") == 0 && isatty(STDIN_FILENO))
            fprintf(stderr, "Type a text per line, then Ctrl-D.\n");
        vd_status st = vd_file_read(a->file, INPUT_BYTES_MAX, &data, &n, err);
        if (st == VD_OK)
            st = add_lines(session, data, n, t, err);
        vd_free(data);
        return st;
    }
    vd_status st = vd_alloc_array(a->n_text, sizeof(*t->text), "the texts", &t->text, err);
    while (st == VD_OK && t->n < a->n_text) {
        const char *text = a->text[t->n];
        st = vd_embed_tokenize(session, "text", t->n, text, strlen(text), &t->text[t->n], err);
        t->n += st == VD_OK;
    }
    return st;
}

/* ---- what comes out --------------------------------------------------------------------------*/

typedef struct writer {
    bool json, per_token;
} writer;

static void put_row(const float *x, size_t n, char between)
{
    for (size_t k = 0; k < n; k++) {
        if (k > 0)
            putchar(between);
        fputs(vd_cli_real((double)x[k], 1).text, stdout);
    }
}

static vd_status put_vector(void *ctx, size_t i, const float *vector, size_t n_rows, size_t n,
                            vd_err *err)
{
    const writer *w = ctx;
    if (w->json && i == 0) /* not before: of what fails at once nothing is printed */
        fputs("{\"object\":\"list\",\"data\":[", stdout);
    if (w->json)
        printf("%s\n {\"object\":\"embedding\",\"index\":%zu,\"embedding\":%s", i > 0 ? "," : "", i,
               w->per_token ? "[" : "");
    else if (w->per_token && i > 0)
        putchar('\n');
    for (size_t row = 0; row < n_rows; row++) {
        if (w->json)
            fputs(row > 0 ? ",[" : "[", stdout);
        put_row(vector + row * n, n, w->json ? ',' : ' ');
        fputs(w->json ? "]" : "\n", stdout);
    }
    if (w->json)
        fputs(w->per_token ? "]}" : "}", stdout);
    if (fflush(stdout) != 0 || ferror(stdout))
        return VD_FAIL(err, VD_ERR_IO, "cannot write the output");
    return VD_OK;
}

/* What stands behind the vectors in JSON. */
static vd_status put_tail(const args *a, vd_pooling pooling, const vd_embed_cost *cost, vd_err *err)
{
    json_t *energy = vd_energy_json(&cost->energy, vd_carbon_json(&cost->carbon, cost->n_tokens));
    json_t *tail = json_pack("{s:o,s:s,s:b,s:{s:I,s:I,s:o}}", "model",
                             vd_cli_json_string(a->model, strlen(a->model)), "pooling",
                             vd_pooling_name(pooling), "normalized", !a->raw, "usage",
                             "prompt_tokens", (json_int_t)cost->n_tokens, "total_tokens",
                             (json_int_t)cost->n_tokens, "energy", energy);
    char *text = vd_json_text(tail);
    json_decref(tail);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the result");
    printf("],%s\n", text + 1); /* its members, and the brace that closes the whole */
    vd_free(text);
    return VD_OK;
}

static void put_cost(const vd_embed_cost *c, size_t n_texts)
{
    fprintf(stderr,
            "[%zu text%s, %zu tokens, %.2f J, %.6f g CO2e (%s; energy by %s, +-%.0f %%)]\n",
            n_texts, n_texts == 1 ? "" : "s", c->n_tokens, (double)c->energy.total_uj * 1e-6,
            c->carbon.operational_g + c->carbon.embodied_g, c->carbon.intensity.zone,
            c->energy.method,
            c->energy.uncertainty_pct);
}

static vd_status embed(const args *a, vd_err *err)
{
    vd_session session = {0};
    texts t = {0};
    vd_embed_cost cost = {0};
    vd_status st = vd_session_open(a->model, &a->engine, a->zone, &session, err);
    if (st == VD_OK)
        st = read_texts(a, &session, &t, err);
    if (st != VD_OK)
        goto out;
    vd_engine_info info = vd_engine_info_get(session.engine);
    vd_pooling pooling = a->pooling != VD_POOLING_MODEL ? a->pooling : info.pooling;
    if (pooling == VD_POOLING_RANK) {
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s: its pooling is rank: it scores pairs of texts, "
                     "which we lack; --pooling cls takes its vectors all the same", a->model);
        goto out;
    }
    if (a->pooling == VD_POOLING_MODEL && !info.pooling_known && !a->quiet)
        fprintf(stderr, "verdant embed: the model's metadata names no pooling; %s is taken "
                "(--pooling)\n", vd_pooling_name(pooling));
    writer w = {.json = a->json, .per_token = pooling == VD_POOLING_NONE};
    st = vd_embed_run(&session, t.text, t.n, pooling, a->raw, put_vector, &w, &cost, err);
    if (st == VD_OK && a->json)
        st = put_tail(a, pooling, &cost, err);
    if (st == VD_OK && !a->json && !a->quiet)
        put_cost(&cost, t.n);
out:
    texts_done(&t);
    vd_session_close(&session);
    return st;
}

static int embed_main(int argc, char **argv)
{
    args a = {0};
    vd_err err = {0};
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    return embed(&a, &err) == VD_OK ? VD_EXIT_OK : vd_cli_failed("embed", &err);
}

const vd_command vd_cmd_embed = {
    .name = "embed", .summary = "a vector per text", .help = help, .main = embed_main};
