/* cmd_bench.c - `verdant bench`: its options. See bench.h. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/bench.h"
#include "cli/bench_child.h"
#include "cli/cli.h"
#include "model/store.h"

static const char help[] =
    "usage: verdant bench MODEL [MODEL ...] [options]\n"
    "       verdant bench MODEL --sweep [-o FILE.html] [options]\n"
    "       verdant bench MODEL --work FILE [options]\n"
    "       verdant bench MODEL --copies N --shared --trace poisson|FILE.csv [options]\n"
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
    "  -d, --depth N       both begin behind N tokens of context; default 0\n"
    "  -r N                repetitions; default 5, for several models 10\n"
    "  -o, --output DIR    write a record for each model to DIR/NAME.json (docs/report.md);\n"
    "                      of --sweep a page to the file of this name\n"
    "  -t, --threads N     default: one per core, in decoding fewer where that is faster\n"
    "  --zone CODE         the grid of the records, such as DE or US-CA; the world by default\n"
    "  --pue X             energy of the building over that of its machines, for the records\n"
    "  --wue-site X, --wue-grid X\n"
    "                      litres of water per kWh on site, in power stations, for the records\n"
    "  --meter SPEC        which energy meters to read (docs/meters.md); default auto\n"
    "  --precision WORD    exact (f32 activations; slow, the reference) or fast; default fast\n"
    "  --kv TYPE           keys and values as f16, bf16, f32, q8_0 or q4_0; default f16\n"
    VD_SPECULATE_HELP
    "  --json              {\"prefill\":{\"tok_s\":...},\"decode\":{\"tok_s\":...},\n"
    "                       \"j_per_tok\":...} and the record; of several models an array\n"
    "  --sweep             decode over threads (1 to -t) and 1, 2, 4, 8 and 16 sequences: speed,\n"
    "                      joules per token, the best of both; -o FILE.html draws it; -n is 64\n"
    "                      and -r 3 by default, --depth is the context of each sequence\n"
    "  --work FILE         lines \"prefill|decode N DEPTH BATCH\", measured as they come, a\n"
    "                      line of JSON for each; - reads standard input. \"room\" and such a\n"
    "                      line says before the first one that it will come\n"
    "\n"
    "Before and after a service: N private copies of the model and one server that all share\n"
    "answer the same trace of requests, in turn; metered is the whole machine from the first\n"
    "arrival to the last answer.\n"
    "\n"
    "  --copies N          N processes with weights of their own, each for its own clients\n"
    "  --shared            one process for all of them, batching; with --copies both, -r times in\n"
    "                      turn (default 10)\n"
    "  --trace T           poisson: made from --seed, prompts and answers log-normal around -p "
    "and\n"
    "                      -n (256, 64); or a CSV with TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "  --requests N        so many requests of the trace; default 32, of a file all\n"
    "  --rate X            arrivals per second of poisson; default 1\n"
    "  --speedup X         let them arrive X times as fast; default 1\n"
    "  --clients N         who asks; default: as many as copies\n"
    "  --seed N            of the trace and the prompts' tokens; default 1\n"
    "  --copy-threads N    threads of each copy; default: the cores shared out, at least 1\n"
    "\n"
    "Example:\n"
    "  verdant bench smollm2 -p 512 -n 128 -t 2\n"
    "  verdant bench smollm2 --sweep -o sweep.html\n"
    "  verdant bench q8.gguf q4.gguf -r 10 -o runs --zone DE\n"
    "  verdant bench smollm2 --copies 4 --shared --trace poisson --requests 24 -o runs\n";

enum { TRACE_OPTIONS = 256, FACTS_OPTIONS = 512 }; /* long options without a letter */

static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                        {"depth", required_argument, NULL, 'd'},
                                        {"output", required_argument, NULL, 'o'},
                                        {"zone", required_argument, NULL, 'z'},
                                        {"pue", required_argument, NULL, FACTS_OPTIONS + 0},
                                        {"wue-site", required_argument, NULL, FACTS_OPTIONS + 1},
                                        {"wue-grid", required_argument, NULL, FACTS_OPTIONS + 2},
                                        {"meter", required_argument, NULL, 'm'},
                                        {"precision", required_argument, NULL, 'e'},
                                        {"kv", required_argument, NULL, 'k'},
                                        {"speculate", required_argument, NULL, 's'},
                                        {"draft", required_argument, NULL, 'D'},
                                        {"draft-tokens", required_argument, NULL, 'T'},
                                        {"json", no_argument, NULL, 'j'},
                                        {"sweep", no_argument, NULL, 'S'},
                                        {"work", required_argument, NULL, 'w'},
                                        {"copies", required_argument, NULL, TRACE_OPTIONS + 0},
                                        {"shared", no_argument, NULL, TRACE_OPTIONS + 1},
                                        {"trace", required_argument, NULL, TRACE_OPTIONS + 2},
                                        {"requests", required_argument, NULL, TRACE_OPTIONS + 3},
                                        {"rate", required_argument, NULL, TRACE_OPTIONS + 4},
                                        {"speedup", required_argument, NULL, TRACE_OPTIONS + 5},
                                        {"clients", required_argument, NULL, TRACE_OPTIONS + 6},
                                        {"seed", required_argument, NULL, TRACE_OPTIONS + 7},
                                        {"copy-threads", required_argument, NULL,
                                         TRACE_OPTIONS + 8},
                                        {0}};

static bool parse_trace(int c, vd_bench_args *a)
{
    switch (c - TRACE_OPTIONS) {
    case 0:
        return vd_cli_parse_size("bench", "--copies", optarg, 1, VD_BENCH_COPIES_MAX,
                                 &a->n_copies);
    case 1:
        a->shared = true;
        return true;
    case 2:
        a->trace = optarg;
        return true;
    case 3:
        return vd_cli_parse_size("bench", "--requests", optarg, 1, VD_TRACE_REQUESTS_MAX,
                                 &a->n_requests);
    case 4:
        return vd_cli_parse_float("bench", "--rate", optarg, 1e-6, 1e6, &a->per_second);
    case 5:
        return vd_cli_parse_float("bench", "--speedup", optarg, 1e-6, 1e6, &a->speedup);
    case 6:
        return vd_cli_parse_size("bench", "--clients", optarg, 1, VD_TRACE_CLIENTS_MAX,
                                 &a->n_clients);
    case 7:
        return vd_cli_parse_size("bench", "--seed", optarg, 1, 1u << 31, &a->seed);
    default:
        return vd_cli_parse_size("bench", "--copy-threads", optarg, 1, 256, &a->copy_threads);
    }
}

static bool parse_facts(int c, vd_bench_args *a)
{
    switch (c - FACTS_OPTIONS) {
    case 0:
        return vd_cli_parse_float("bench", "--pue", optarg, 1, 10, &a->pue);
    case 1:
        return vd_cli_parse_float("bench", "--wue-site", optarg, 0, 1000, &a->wue_site);
    default:
        return vd_cli_parse_float("bench", "--wue-grid", optarg, 0, 1000, &a->wue_grid);
    }
}

static bool parse_one(int c, char **argv, vd_bench_args *a)
{
    switch (c) {
    case 'p':
        return vd_cli_parse_size("bench", "-p", optarg, 1, VD_BENCH_TOKENS_MAX, &a->n_prompt);
    case 'n':
        return vd_cli_parse_size("bench", "-n", optarg, 1, VD_BENCH_TOKENS_MAX, &a->n_answer);
    case 'b':
        return vd_cli_parse_size("bench", "-b", optarg, 1, VD_BENCH_BATCH_MAX, &a->n_batch);
    case 'd':
        return vd_cli_parse_size("bench", "--depth", optarg, 0, VD_BENCH_TOKENS_MAX, &a->n_depth);
    case 'r':
        return vd_cli_parse_size("bench", "-r", optarg, 1, VD_BENCH_RUNS_MAX, &a->n_runs);
    case 't':
        return vd_cli_parse_size("bench", "-t", optarg, 1, 256, &a->engine.n_threads);
    case 'o':
        a->folder = optarg;
        return true;
    case 'z':
        a->zone = optarg;
        return true;
    case 'm':
        vd_cli_use_meter(optarg);
        return true;
    case 's':
        return vd_cli_parse_speculate("bench", optarg, &a->engine);
    case 'D':
        return vd_cli_parse_draft("bench", optarg, &a->engine);
    case 'T':
        return vd_cli_parse_draft_tokens("bench", optarg, &a->engine);
    case 'k':
        return vd_cli_parse_kv("bench", "--kv", optarg, &a->engine.kv_type);
    case 'e':
        return vd_cli_parse_word("bench", "--precision", optarg, "fast", "exact",
                                 &a->engine.exact);
    case 'j':
        a->json = true;
        return true;
    case 'S':
        a->sweep = true;
        return true;
    case 'w':
        a->work = optarg;
        return true;
    default:
        return vd_cli_bad_option("bench", c, argv) == VD_EXIT_OK;
    }
}

/* What belongs to which way of benching. */
static bool check(const vd_bench_args *a, bool of_trace, bool of_phases, bool of_records)
{
    const char *wrong = NULL;
    if (a->trace == NULL && of_trace)
        wrong = "--copies, --shared and what follows them in the help need --trace";
    else if (a->trace != NULL && a->n_copies == 0 && !a->shared)
        wrong = "a trace needs --copies N, --shared or both";
    else if (a->trace != NULL && of_phases)
        wrong = "-b and -d are not for a trace: its arrivals say how much there is at once";
    else if (a->trace != NULL && a->n_models > 1)
        wrong = "a trace is answered by one MODEL";
    else if (a->work != NULL && (a->trace != NULL || of_phases || a->n_prompt > 0 ||
                                 a->n_answer > 0 || a->n_runs > 0))
        wrong = "--work is not for a trace; its lines say what -p, -n, -d, -b and -r say";
    else if (a->sweep && (a->trace != NULL || a->work != NULL || a->n_batch > 0))
        wrong = "--sweep is not for a trace or lines of work, and tries batch sizes of its own";
    else if (a->sweep && a->n_prompt > 0)
        wrong = "--sweep measures decode alone: no -p; --depth says how much stands before";
    else if (of_records && (a->work != NULL || a->sweep))
        wrong = "--zone, --pue, --wue-site and --wue-grid are for records, which --sweep and "
                "--work do not write";
    else if (a->work != NULL && a->folder != NULL)
        wrong = "--work writes to standard output, no -o";
    else if ((a->work != NULL || a->sweep) && a->n_models > 1)
        wrong = "--sweep and --work are for one MODEL";
    if (wrong != NULL)
        vd_cli_misuse("bench", "%s", wrong);
    return wrong == NULL;
}

static bool parse(int argc, char **argv, vd_bench_args *a)
{
    bool good = true, of_trace = false, of_phases = false, of_records = false;
    int c;
    while (good && (c = getopt_long(argc, argv, ":p:n:b:d:r:o:t:", options, NULL)) != -1) {
        of_trace |= c >= TRACE_OPTIONS && c < FACTS_OPTIONS;
        of_phases |= c == 'b' || c == 'd';
        of_records |= c == 'z' || c >= FACTS_OPTIONS;
        good = c >= FACTS_OPTIONS   ? parse_facts(c, a)
               : c >= TRACE_OPTIONS ? parse_trace(c, a)
                                    : parse_one(c, argv, a);
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
    if (!check(a, of_trace, of_phases, of_records) || !vd_cli_check_draft("bench", &a->engine))
        return false;
    bool paired = a->n_models > 1 || (a->n_copies > 0 && a->shared);
    if (a->n_runs == 0)
        a->n_runs = a->sweep ? 3 : paired ? 10 : 5;
    if (a->n_prompt == 0)
        a->n_prompt = a->trace != NULL ? 256 : 512;
    if (a->n_answer == 0)
        a->n_answer = a->trace != NULL || a->sweep ? 64 : 128;
    a->n_batch = a->n_batch > 0 ? a->n_batch : 1;
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

static int bench(const vd_bench_args *a)
{
    vd_err err = {0};
    if (a->sweep)
        return vd_bench_sweep(a);
    if (a->work != NULL)
        return vd_bench_work(a);
    if (a->trace != NULL)
        return vd_bench_trace(a);
    vd_bench b = {.args = a};
    vd_progress_init(&b.progress, "bench");
    vd_status st = vd_bench_models(&b, &err);
    int status = st == VD_OK ? vd_bench_print(&b) : vd_cli_failed("bench", &err);
    vd_bench_done(&b);
    return status;
}

static int bench_main(int argc, char **argv)
{
    vd_bench_args a = {.pue = NAN, .wue_site = NAN, .wue_grid = NAN};
    vd_err err = {0};
    char *draft = NULL;
    if (!parse(argc, argv, &a) || !check_zone(a.zone))
        return VD_EXIT_USAGE;
    /* Now, and not after an hour of measuring. */
    if (a.folder != NULL && !a.sweep && vd_make_dirs(a.folder, &err) != VD_OK)
        return vd_cli_failed("bench", &err);
    if (a.engine.draft_path != NULL && vd_store_resolve(a.engine.draft_path, &draft, &err) != VD_OK)
        return vd_cli_failed("bench", &err);
    a.engine.draft_path = draft;
    int status = bench(&a);
    vd_free(draft);
    return status;
}

const vd_command vd_cmd_bench = {
    .name = "bench", .summary = "speed and joules per token", .help = help, .main = bench_main};
