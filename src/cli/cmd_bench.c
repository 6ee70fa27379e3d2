/* cmd_bench.c - `verdant bench`: its options. See bench.h. */
#include <getopt.h>
#include <stdio.h>

#include "cli/args.h"
#include "cli/bench.h"
#include "cli/cli.h"

static const char help[] =
    "usage: verdant bench MODEL [MODEL ...] [options]\n"
    "\n"
    "Measures prefill (reading a prompt of -p tokens) and decode (writing -n tokens in -b\n"
    "sequences at once), each -r times after one warm-up, and prints medians. Joules are the\n"
    "machine's while it ran, idle power included, by the meter that `verdant doctor` names.\n"
    "Several models run in turn, A B, B A, A B, ...: their records are pairs, which `verdant\n"
    "report` compares (ten runs at least).\n"
    "\n"
    "  -p N                prompt tokens; default 512\n"
    "  -n N                answer tokens; default 128\n"
    "  -b N                sequences at once; default 1\n"
    "  -r N                repetitions; default 5, for several models 10\n"
    "  -o, --output DIR    write a record for each model to DIR/NAME.json (docs/report.md)\n"
    "  -t, --threads N     default: one per core\n"
    "  --zone CODE         the grid of the records, such as DE or US-CA; the world by default\n"
    "  --meter SPEC        which energy meters to read (docs/meters.md); default auto\n"
    "  --precision WORD    exact (f32 activations; slow, the reference) or fast; default fast\n"
    "  --kv TYPE           f16 or f32; default f16\n"
    "  --json              {\"prefill\":{\"tok_s\":...},\"decode\":{\"tok_s\":...},\n"
    "                       \"j_per_tok\":...} and the record; of several models an array\n"
    "\n"
    "Example:\n"
    "  verdant bench smollm2 -p 512 -n 128 -t 2\n"
    "  verdant bench q8.gguf q4.gguf -r 10 -o runs --zone DE\n";

static bool parse(int argc, char **argv, vd_bench_args *a)
{
    static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"zone", required_argument, NULL, 'z'},
                                            {"meter", required_argument, NULL, 'm'},
                                            {"precision", required_argument, NULL, 'e'},
                                            {"kv", required_argument, NULL, 'k'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":p:n:b:r:o:t:", options, NULL)) != -1) {
        if (c == 'p')
            good = vd_cli_parse_size("bench", "-p", optarg, 1, VD_BENCH_TOKENS_MAX, &a->n_prompt);
        else if (c == 'n')
            good = vd_cli_parse_size("bench", "-n", optarg, 1, VD_BENCH_TOKENS_MAX, &a->n_answer);
        else if (c == 'b')
            good = vd_cli_parse_size("bench", "-b", optarg, 1, VD_BENCH_BATCH_MAX, &a->n_batch);
        else if (c == 'r')
            good = vd_cli_parse_size("bench", "-r", optarg, 1, VD_BENCH_RUNS_MAX, &a->n_runs);
        else if (c == 't')
            good = vd_cli_parse_size("bench", "-t", optarg, 1, 256, &a->engine.n_threads);
        else if (c == 'o')
            a->folder = optarg;
        else if (c == 'z')
            a->zone = optarg;
        else if (c == 'm')
            vd_cli_use_meter(optarg);
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
    if (!good)
        return false;
    if (optind == argc || argc - optind > VD_BENCH_MODELS_MAX) {
        vd_cli_misuse("bench", optind == argc ? "one MODEL is needed" : "at most %d models",
                      VD_BENCH_MODELS_MAX);
        return false;
    }
    a->n_models = (size_t)(argc - optind);
    a->model = (const char *const *)argv + optind;
    if (a->n_runs == 0)
        a->n_runs = a->n_models > 1 ? 10 : 5;
    return true;
}

static bool check_zone(const char *zone)
{
    vd_run_facts facts = {0};
    vd_run run = {0};
    vd_err err = {0};
    if (vd_run_facts_carbon(zone, &facts, &run, &err) == VD_OK)
        return true;
    vd_cli_misuse("bench", "%s", err.message);
    return false;
}

static int bench_main(int argc, char **argv)
{
    vd_bench_args a = {.n_prompt = 512, .n_answer = 128, .n_batch = 1};
    if (!parse(argc, argv, &a) || !check_zone(a.zone))
        return VD_EXIT_USAGE;
    vd_err err = {0};
    vd_bench b = {.args = &a};
    vd_progress_init(&b.progress, "bench");
    vd_status st = vd_bench_models(&b, &err);
    int status = st == VD_OK ? vd_bench_print(&b) : vd_cli_failed("bench", &err);
    vd_bench_done(&b);
    return status;
}

const vd_command vd_cmd_bench = {
    .name = "bench", .summary = "speed and joules per token", .help = help, .main = bench_main};
