/* cmd_bench.c - how fast a model reads and writes, and what a token costs. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "energy/meter.h"
#include "model/store.h"
#include <verdant/engine.h>

static const char help[] =
    "usage: verdant bench MODEL [options]\n"
    "\n"
    "Measures prefill (reading a prompt of -p tokens) and decode (writing -n tokens in -b\n"
    "sequences at once), each -r times after one warm-up, and prints medians. Joules are the\n"
    "machine's while it ran, idle power included, by the meter that `verdant doctor` names.\n"
    "\n"
    "  -p N                prompt tokens; default 512\n"
    "  -n N                answer tokens; default 128\n"
    "  -b N                sequences at once; default 1\n"
    "  -r N                repetitions; default 5\n"
    "  -t, --threads N     default: one per core\n"
    "  --precision WORD    exact (f32 activations; slow, the reference) or fast; default fast\n"
    "  --kv TYPE           f16 or f32; default f16\n"
    "  --json              {\"prefill\":{\"tok_s\":...},\"decode\":{\"tok_s\":...},\n"
    "                       \"j_per_tok\":...}\n"
    "\n"
    "Example:\n"
    "  verdant bench smollm2 -p 512 -n 128 -t 2\n";

enum { RUNS_MAX = 100, TOKENS_MAX = 1 << 20, BATCH_MAX = 256, SHORT_PROMPT = 16 };

typedef struct args {
    const char *model;
    size_t n_prompt, n_answer, n_batch, n_runs;
    bool json, kv_f32;
    vd_engine_options engine;
} args;

/* One phase over all its runs. */
typedef struct phase {
    size_t n_tokens; /* per run */
    double seconds[RUNS_MAX], joules[RUNS_MAX];
    double tok_s, min_tok_s, max_tok_s, j_per_tok;
} phase;

typedef struct bench {
    const args *args;
    vd_engine *engine;
    vd_meter *meter;
    vd_progress progress;
    size_t n_done, n_total;
    size_t n_alive, n_first; /* requests running; those that gave a token */
    vd_status failed;
} bench;

static void on_event(void *ctx, const vd_event *event)
{
    bench *b = ctx;
    if (event->finish == VD_FINISH_NONE) {
        b->n_first++;
        return;
    }
    b->n_alive--;
    if (event->finish == VD_FINISH_ERROR)
        b->failed = event->status;
}

/* Different tokens in every sequence and run, so that nothing is shared or cached. */
static vd_status submit(bench *b, size_t n_prompt, size_t n_answer, uint64_t salt, vd_err *err)
{
    size_t n_vocab = vd_engine_info_get(b->engine).n_vocab;
    int32_t *prompt = NULL;
    uint64_t id, x = salt * 0x9e3779b97f4a7c15u + 1;
    vd_status st = vd_alloc_array(n_prompt, sizeof(*prompt), "a prompt", &prompt, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n_prompt; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        prompt[i] = (int32_t)((x >> 33) % n_vocab);
    }
    vd_request_options options = {.prompt = prompt,
                                  .n_prompt = n_prompt,
                                  .max_tokens = n_answer,
                                  .sampling = vd_sampling_default(),
                                  .ignore_end = true,
                                  .on_event = on_event,
                                  .ctx = b};
    options.sampling.temperature = 0;
    st = vd_engine_submit(b->engine, &options, &id, err);
    if (st == VD_OK)
        b->n_alive++;
    vd_free(prompt);
    return st;
}

/* Steps until `n_first` tokens have come or nobody is left. */
static vd_status step_until(bench *b, size_t n_first, vd_err *err)
{
    vd_status st = VD_OK;
    while (st == VD_OK && b->n_alive > 0 && b->n_first < n_first) {
        bool worked = false;
        st = vd_engine_step(b->engine, &worked, err);
    }
    if (st == VD_OK && b->failed != VD_OK)
        st = VD_FAIL(err, b->failed, "a request failed: %s", vd_finish_message(b->failed));
    return st;
}

static double joules_between(const vd_reading *from, const vd_reading *to)
{
    double uj = 0;
    for (int i = 0; i < VD_PART_N; i++)
        uj += (double)(to->uj[i] - from->uj[i]);
    return uj * 1e-6;
}

/* One run: n_batch sequences; measured is either the prompt or what follows the first tokens. */
static vd_status run_once(bench *b, phase *p, size_t n_prompt, size_t n_answer, bool prefill,
                          size_t run, vd_err *err)
{
    vd_status st = VD_OK;
    vd_reading from, to;
    size_t n_batch = b->args->n_batch;
    b->n_first = 0;
    for (size_t i = 0; st == VD_OK && i < n_batch; i++)
        st = submit(b, n_prompt, n_answer, (run * 2 + prefill) * BATCH_MAX + i, err);
    if (st == VD_OK && !prefill)
        st = step_until(b, n_batch, err);
    vd_meter_read(b->meter, &from);
    uint64_t begin = vd_now_ns();
    if (st == VD_OK)
        st = step_until(b, SIZE_MAX, err);
    uint64_t end = vd_now_ns();
    vd_meter_read(b->meter, &to);
    if (st == VD_OK && run > 0) { /* run 0 is the warm-up */
        p->seconds[run - 1] = (double)(end - begin) * 1e-9;
        p->joules[run - 1] = joules_between(&from, &to);
    }
    vd_progress_update(&b->progress, ++b->n_done, b->n_total, prefill ? "prefill" : "decode");
    return st;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void summarize(phase *p, size_t n_runs)
{
    p->tok_s = (double)p->n_tokens / median(p->seconds, n_runs); /* sorts */
    p->max_tok_s = (double)p->n_tokens / p->seconds[0];
    p->min_tok_s = (double)p->n_tokens / p->seconds[n_runs - 1];
    p->j_per_tok = median(p->joules, n_runs) / (double)p->n_tokens;
}

static vd_status measure(bench *b, phase *prefill, phase *decode, vd_err *err)
{
    const args *a = b->args;
    vd_status st = VD_OK;
    prefill->n_tokens = a->n_prompt * a->n_batch;
    decode->n_tokens = a->n_answer * a->n_batch;
    b->n_total = 2 * (a->n_runs + 1);
    /* The two phases alternate, so that both see the machine's good and bad moments. */
    for (size_t run = 0; st == VD_OK && run <= a->n_runs; run++) {
        st = run_once(b, prefill, a->n_prompt, 1, true, run, err);
        if (st == VD_OK)
            st = run_once(b, decode, SHORT_PROMPT, a->n_answer + 1, false, run, err);
    }
    vd_progress_done(&b->progress);
    if (st == VD_OK) {
        summarize(prefill, a->n_runs);
        summarize(decode, a->n_runs);
    }
    return st;
}

static json_t *phase_json(const phase *p)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:I}", "tok_s", p->tok_s, "tok_s_min", p->min_tok_s,
                     "tok_s_max", p->max_tok_s, "j_per_tok", p->j_per_tok, "n_tokens",
                     (json_int_t)p->n_tokens);
}

static int print(const args *a, const bench *b, const phase *prefill, const phase *decode)
{
    vd_engine_info info = vd_engine_info_get(b->engine);
    vd_meter_info meter;
    struct rusage usage = {0};
    vd_meter_info_get(b->meter, &meter);
    getrusage(RUSAGE_SELF, &usage);
    uint64_t peak = (uint64_t)usage.ru_maxrss * 1024;
    if (a->json)
        return vd_cli_put_json(
            "bench",
            json_pack("{s:o,s:o,s:f,s:s,s:f,s:I,s:I,s:s,s:I,s:I,s:I}", "prefill",
                      phase_json(prefill), "decode", phase_json(decode), "j_per_tok",
                      decode->j_per_tok, "energy_method", meter.method, "uncertainty_pct",
                      meter.uncertainty_pct, "threads", (json_int_t)info.n_threads, "batch",
                      (json_int_t)a->n_batch, "kernels", info.kernels, "runs",
                      (json_int_t)a->n_runs, "weight_bytes", (json_int_t)info.weight_bytes,
                      "peak_rss_bytes", (json_int_t)peak));
    printf("%s, %zu threads, kernels %s, %zu sequence%s, median of %zu runs (min .. max)\n\n",
           a->model, info.n_threads, info.kernels, a->n_batch, a->n_batch == 1 ? "" : "s",
           a->n_runs);
    printf("         tokens   tokens/s                      J/token\n");
    printf("prefill  %6zu   %8.1f (%.1f .. %.1f)   %.5f\n", prefill->n_tokens, prefill->tok_s,
           prefill->min_tok_s, prefill->max_tok_s, prefill->j_per_tok);
    printf("decode   %6zu   %8.1f (%.1f .. %.1f)   %.5f\n\n", decode->n_tokens, decode->tok_s,
           decode->min_tok_s, decode->max_tok_s, decode->j_per_tok);
    printf("weights %s, peak memory %s; energy by %s, +-%.0f %%\n",
           vd_cli_size(info.weight_bytes).text, vd_cli_size(peak).text, meter.method,
           meter.uncertainty_pct);
    return VD_EXIT_OK;
}

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                            {"precision", required_argument, NULL, 'e'},
                                            {"kv", required_argument, NULL, 'k'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":p:n:b:r:t:", options, NULL)) != -1) {
        if (c == 'p')
            good = vd_cli_parse_size("bench", "-p", optarg, 1, TOKENS_MAX, &a->n_prompt);
        else if (c == 'n')
            good = vd_cli_parse_size("bench", "-n", optarg, 1, TOKENS_MAX, &a->n_answer);
        else if (c == 'b')
            good = vd_cli_parse_size("bench", "-b", optarg, 1, BATCH_MAX, &a->n_batch);
        else if (c == 'r')
            good = vd_cli_parse_size("bench", "-r", optarg, 1, RUNS_MAX, &a->n_runs);
        else if (c == 't')
            good = vd_cli_parse_size("bench", "-t", optarg, 1, 256, &a->engine.n_threads);
        else if (c == 'k')
            good = vd_cli_parse_word("bench", "--kv", optarg, "f16", "f32", &a->engine.kv_f32);
        else if (c == 'e')
            good = vd_cli_parse_word("bench", "--precision", optarg, "fast", "exact",
                                     &a->engine.exact);
        else if (c == 'j')
            a->json = true;
        else
            good = vd_cli_bad_option("bench", c, argv) == VD_EXIT_OK;
    }
    if (good && optind + 1 != argc)
        good = vd_cli_misuse("bench", "one MODEL is needed") == VD_EXIT_OK;
    if (good)
        a->model = argv[optind];
    return good;
}

static int bench_main(int argc, char **argv)
{
    args a = {.n_prompt = 512, .n_answer = 128, .n_batch = 1, .n_runs = 5};
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    vd_err err = {0};
    char *path = NULL;
    bench b = {.args = &a};
    static phase prefill, decode;
    size_t longest = VD_MAX(a.n_prompt + 2, SHORT_PROMPT + a.n_answer + 2);
    a.engine.ctx_tokens = longest;
    a.engine.kv_tokens = (longest + 16) * a.n_batch;
    a.engine.max_running = a.n_batch;
    a.engine.no_prefix_cache = true;
    int status = VD_EXIT_OK;
    vd_progress_init(&b.progress, "bench");
    vd_status st = vd_store_resolve(a.model, &path, &err);
    if (st == VD_OK)
        st = vd_engine_open(path, &a.engine, &b.engine, &err);
    if (st == VD_OK)
        st = vd_meter_open(NULL, &b.meter, &err);
    if (st == VD_OK)
        st = measure(&b, &prefill, &decode, &err);
    status = st == VD_OK ? print(&a, &b, &prefill, &decode) : vd_cli_failed("bench", &err);
    vd_engine_free(b.engine);
    vd_meter_close(b.meter);
    vd_free(path);
    return status;
}

const vd_command vd_cmd_bench = {
    .name = "bench", .summary = "speed and joules per token", .help = help, .main = bench_main};
