/* cmd_report.c - `verdant report`: two run records side by side, as a page and as JSON. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "cli/run_facts.h"
#include "report/compare.h"
#include "report/page.h"

static const char help[] =
    "usage: verdant report A.json B.json [EVAL.json ...] [options]\n"
    "\n"
    "Holds two run records (docs/report.md) against each other, A before and B after: quality,\n"
    "speed, joules per token and per answer, grams, water, SCI, a year at a stated load and when\n"
    "what making B took is saved. Records of `verdant eval --json` add quality to the side with\n"
    "the same model file. The summary is printed; a statement with an interval needs ten pairs of\n"
    "runs that were measured in turn (verdant bench A B -r 10 -o DIR).\n"
    "\n"
    "  -o, --output FILE       write the report as one HTML file, whole or not at all\n"
    "  --json FILE             write it as JSON; - prints it\n"
    "  --cost FILE             what verdant compress --json printed when B was made; may be given\n"
    "                          several times\n"
    "  --requests-per-day N    of the yearly projection; default 1000\n"
    "  --prompt-tokens N       read for one answer; default: as benched\n"
    "  --answer-tokens N       written for one answer; default: as benched\n"
    "  --zone CODE             the grid of both sides, such as DE; default: the records'\n"
    "  --pue X                 energy of the building over that of its machines; default 1\n"
    "  --wue-site X            litres of water per kWh on site\n"
    "  --wue-grid X            litres of water per kWh in power stations\n"
    "\n"
    "Example:\n"
    "  verdant report runs/q8.json runs/q4.json -o report.html --requests-per-day 50000\n";

enum { EVALS_MAX = 16, INPUTS_MAX = EVALS_MAX + 2 };

typedef struct args {
    const char *html, *json, *zone;
    const char *cost[VD_RUN_COSTS_MAX];
    size_t n_costs, prompt_tokens, answer_tokens;
    double requests_per_day, pue, wue_site, wue_grid;
    char *const *input; /* [n_inputs] */
    size_t n_inputs;
} args;

/* What was read: input[0..n) and, of these, the two measured ones. */
typedef struct inputs {
    vd_run run[INPUTS_MAX];
    size_t n;
    vd_run *side[2];
    vd_run_cost cost[VD_RUN_COSTS_MAX];
    json_t *cost_json[VD_RUN_COSTS_MAX];
    size_t n_costs;
    vd_run_facts facts; /* of --zone */
} inputs;

static bool parse(int argc, char **argv, args *a)
{
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"cost", required_argument, NULL, 'c'},
                                            {"requests-per-day", required_argument, NULL, 'r'},
                                            {"prompt-tokens", required_argument, NULL, 'p'},
                                            {"answer-tokens", required_argument, NULL, 'n'},
                                            {"zone", required_argument, NULL, 'z'},
                                            {"pue", required_argument, NULL, 'u'},
                                            {"wue-site", required_argument, NULL, 's'},
                                            {"wue-grid", required_argument, NULL, 'g'},
                                            {0}};
    bool good = true;
    int c;
    while (good && (c = getopt_long(argc, argv, ":o:", options, NULL)) != -1) {
        if (c == 'o')
            a->html = optarg;
        else if (c == 'j')
            a->json = optarg;
        else if (c == 'z')
            a->zone = optarg;
        else if (c == 'c' && a->n_costs < VD_RUN_COSTS_MAX)
            a->cost[a->n_costs++] = optarg;
        else if (c == 'c')
            good = vd_cli_misuse("report", "--cost can be given %d times", VD_RUN_COSTS_MAX) ==
                   VD_EXIT_OK;
        else if (c == 'r')
            good = vd_cli_parse_float("report", "--requests-per-day", optarg, 1e-3, 1e12,
                                      &a->requests_per_day);
        else if (c == 'p')
            good = vd_cli_parse_size("report", "--prompt-tokens", optarg, 1, 1 << 24,
                                     &a->prompt_tokens);
        else if (c == 'n')
            good = vd_cli_parse_size("report", "--answer-tokens", optarg, 1, 1 << 24,
                                     &a->answer_tokens);
        else if (c == 'u')
            good = vd_cli_parse_float("report", "--pue", optarg, 1, 10, &a->pue);
        else if (c == 's')
            good = vd_cli_parse_float("report", "--wue-site", optarg, 0, 1000, &a->wue_site);
        else if (c == 'g')
            good = vd_cli_parse_float("report", "--wue-grid", optarg, 0, 1000, &a->wue_grid);
        else
            good = vd_cli_bad_option("report", c, argv) == VD_EXIT_OK;
    }
    if (!good)
        return false;
    a->input = argv + optind;
    a->n_inputs = (size_t)(argc - optind);
    if (a->n_inputs < 2 || a->n_inputs > INPUTS_MAX)
        return vd_cli_misuse("report", a->n_inputs < 2 ? "two records are needed, A.json and B.json"
                                                       : "too many records") == VD_EXIT_OK;
    return true;
}

static vd_status read_inputs(const args *a, inputs *in, vd_err *err)
{
    size_t n_sides = 0;
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < a->n_inputs; i++) {
        vd_run *run = &in->run[in->n];
        st = vd_run_read(a->input[i], run, err);
        in->n += st == VD_OK;
        if (st != VD_OK || strcmp(run->kind, "eval") == 0)
            continue;
        if (n_sides == 2)
            return VD_FAIL(err, VD_ERR_ARG, "%s is a third measured record; a report holds two "
                           "(records of verdant eval may follow)", a->input[i]);
        in->side[n_sides++] = run;
    }
    if (st == VD_OK && n_sides < 2)
        return VD_FAIL(err, VD_ERR_ARG, "%s of the records %s measured; a report needs two records "
                       "of verdant bench or of a service", n_sides == 0 ? "none" : "only one",
                       n_sides == 0 ? "was" : "is");
    for (size_t i = 0; st == VD_OK && i < a->n_costs; i++) {
        st = vd_run_cost_read(a->cost[i], &in->cost[i], &in->cost_json[i], err);
        in->n_costs += st == VD_OK;
    }
    return st;
}

/* An eval record belongs to the side with its model; one that belongs nowhere is a mistake. */
static vd_status join_quality(const args *a, inputs *in, vd_err *err)
{
    for (size_t i = 0; i < in->n; i++) {
        bool joined = strcmp(in->run[i].kind, "eval") != 0;
        for (int side = 0; side < 2 && strcmp(in->run[i].kind, "eval") == 0; side++)
            if (vd_run_same_model(in->side[side], &in->run[i])) {
                vd_run_take_quality(in->side[side], &in->run[i]);
                joined = true;
            }
        if (!joined)
            return VD_FAIL(err, VD_ERR_ARG, "%s is of another model file than A and B (its "
                           "SHA-256 differs), so its quality is not theirs", a->input[i]);
    }
    return VD_OK;
}

/* What the command line says of grid and building goes for both sides. */
static vd_status override_carbon(const args *a, inputs *in, vd_err *err)
{
    for (int side = 0; side < 2; side++) {
        vd_run_carbon *c = &in->side[side]->carbon;
        if (a->zone != NULL) {
            vd_run_carbon kept = *c;
            vd_status st = vd_run_facts_carbon(a->zone, &in->facts, in->side[side], err);
            if (st != VD_OK)
                return st;
            c->pue = kept.pue;
            c->wue_site_l_per_kwh = kept.wue_site_l_per_kwh;
            c->wue_grid_l_per_kwh = kept.wue_grid_l_per_kwh;
            if (isfinite(kept.server_kg)) {
                c->server_kg = kept.server_kg;
                c->life_years = kept.life_years;
                c->reserved_share = kept.reserved_share;
            }
        }
        if (isfinite(a->pue))
            c->pue = a->pue;
        if (isfinite(a->wue_site))
            c->wue_site_l_per_kwh = a->wue_site;
        if (isfinite(a->wue_grid))
            c->wue_grid_l_per_kwh = a->wue_grid;
    }
    return VD_OK;
}

static vd_status write_file(const char *path, const char *text, size_t n, vd_err *err)
{
    vd_atomic_file file = {0};
    vd_status st = vd_atomic_file_open(path, &file, err);
    if (st == VD_OK && fwrite(text, 1, n, file.stream) != n)
        st = VD_FAIL(err, VD_ERR_IO, "cannot write %s", path);
    if (st == VD_OK)
        st = vd_atomic_file_commit(&file, err);
    vd_atomic_file_done(&file);
    return st;
}

static vd_status write_html(const args *a, const json_t *report, vd_err *err)
{
    vd_buf page;
    vd_buf_init(&page, VD_REPORT_PAGE_MAX);
    vd_report_page(report, &page);
    vd_status st = vd_buf_status(&page, "the report", err);
    if (st == VD_OK)
        st = write_file(a->html, vd_buf_text(&page), page.n, err);
    vd_buf_done(&page);
    return st;
}

static vd_status write_json(const args *a, const json_t *report, vd_err *err)
{
    char *text = vd_json_text(report);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the report");
    vd_status st = VD_OK;
    if (strcmp(a->json, "-") == 0)
        puts(text);
    else
        st = write_file(a->json, text, strlen(text), err);
    vd_free(text);
    return st;
}

static void print_list(const char *title, const json_t *list)
{
    if (json_array_size(list) > 0 && title != NULL)
        puts(title);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        fputs("- ", stdout);
        vd_cli_put_clean(stdout, text, strlen(text), SIZE_MAX);
        putchar('\n');
    }
}

/* Neither of the records may be written over. */
static vd_status check_outputs(const args *a, vd_err *err)
{
    const char *const output[] = {a->html, a->json};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < a->n_inputs + a->n_costs && output[k] != NULL; i++) {
            const char *input = i < a->n_inputs ? a->input[i] : a->cost[i - a->n_inputs];
            if (vd_file_same(output[k], input))
                return VD_FAIL(err, VD_ERR_ARG, "%s is read; write the report elsewhere", input);
        }
    if (a->html != NULL && a->json != NULL &&
        (strcmp(a->html, a->json) == 0 || vd_file_same(a->html, a->json)))
        return VD_FAIL(err, VD_ERR_ARG, "%s cannot be both the page and the JSON", a->html);
    return VD_OK;
}

static vd_status run(const args *a, inputs *in, vd_err *err)
{
    json_t *report = NULL;
    vd_status st = check_outputs(a, err);
    if (st == VD_OK)
        st = read_inputs(a, in, err);
    if (st == VD_OK)
        st = join_quality(a, in, err);
    if (st == VD_OK)
        st = override_carbon(a, in, err);
    vd_report_options options = {.requests_per_day = a->requests_per_day,
                                 .prompt_tokens = a->prompt_tokens,
                                 .answer_tokens = a->answer_tokens,
                                 .cost = in->cost,
                                 .n_costs = in->n_costs};
    if (st == VD_OK)
        st = vd_report_make(in->side[0], in->side[1], &options, &report, err);
    if (st == VD_OK && a->html != NULL)
        st = write_html(a, report, err);
    if (st == VD_OK && a->json != NULL)
        st = write_json(a, report, err);
    if (st == VD_OK && (a->json == NULL || strcmp(a->json, "-") != 0)) {
        print_list(NULL, json_object_get(report, "summary"));
        print_list(json_is_true(json_object_get(report, "paired_times"))
                       ? "No paired statement about energy is possible:"
                       : "No paired statement is possible:",
                   json_object_get(report, "reasons"));
    }
    json_decref(report);
    return st;
}

static int report_main(int argc, char **argv)
{
    args a = {.pue = NAN, .wue_site = NAN, .wue_grid = NAN};
    static inputs in;
    vd_err err = {0};
    if (!parse(argc, argv, &a))
        return VD_EXIT_USAGE;
    vd_status st = run(&a, &in, &err);
    for (size_t i = 0; i < in.n; i++)
        vd_run_done(&in.run[i]);
    for (size_t i = 0; i < in.n_costs; i++)
        json_decref(in.cost_json[i]);
    return st == VD_OK ? VD_EXIT_OK : vd_cli_failed("report", &err);
}

const vd_command vd_cmd_report = {
    .name = "report",
    .summary = "two runs side by side: before and after",
    .help = help,
    .main = report_main,
};
