/* compress_args.c - see compress_args.h. An option is a row of a table and what reads its value. */
#include "cli/compress_args.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "cli/args.h"
#include "cli/cli.h"

/* ---- values -----------------------------------------------------------------------------------*/

static bool read_cut(const char *option, const char *text, bool allow_auto, vd_cut *ret)
{
    if (vd_cut_parse(text, allow_auto, ret))
        return true;
    vd_cli_misuse("compress", "%s is '%s', expected a magnitude such as 0.25, a percentile such "
                  "as p99.9%s a multiple of the root mean square such as 3rms%s", option, text,
                  allow_auto ? "," : " or", allow_auto ? " or auto" : "");
    return false;
}

static bool on_clip(vd_compress_args *a, const char *text)
{
    return read_cut("--clip", text, true, &a->options.edit.clip);
}

static bool on_below(vd_compress_args *a, const char *text)
{
    return read_cut("--threshold", text, false, &a->options.edit.below);
}

static bool on_above(vd_compress_args *a, const char *text)
{
    return read_cut("--threshold-above", text, false, &a->options.edit.above);
}

static bool on_prune(vd_compress_args *a, const char *text)
{
    vd_stage_options *stage = &a->stage;
    vd_structured cut = {0};
    const char *wrong = NULL;
    if (!vd_structured_parse(text, &cut, &wrong))
        wrong = a->options.edit.prune.method != VD_PRUNE_NONE
                    ? "weights are set to zero one way already; only cuts may follow each other"
                    : vd_prune_parse(text, &a->options.edit.prune);
    else if (wrong == NULL && stage->n_cuts == VD_STAGE_CUTS_MAX)
        wrong = "that is one cut too many";
    else if (wrong == NULL)
        stage->cut[stage->n_cuts++] = cut;
    if (wrong != NULL)
        vd_cli_misuse("compress", "--prune is '%s': %s", text, wrong);
    return wrong == NULL;
}

static bool on_score(vd_compress_args *a, const char *text)
{
    static const char *const words[] = {[VD_UNIT_SCORE_OBS] = "obs",
                                        [VD_UNIT_SCORE_ACTIVATION] = "activation",
                                        [VD_UNIT_SCORE_OUTPUT] = "output"};
    bool good = false;
    for (size_t i = 0; i < VD_COUNT(words); i++)
        if (strcmp(text, words[i]) == 0) {
            a->stage.score = (vd_unit_score)i;
            good = true;
        }
    if (!good)
        vd_cli_misuse("compress", "--score is '%s', expected obs, activation or output", text);
    a->stage.score_said = true;
    return good;
}

static bool on_multiple(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "--multiple", text, 1, 1 << 20, &a->stage.multiple);
}

static bool on_uniform(vd_compress_args *a, const char *text)
{
    a->stage.uniform = true;
    return true;
}

static bool on_calib(vd_compress_args *a, const char *text)
{
    a->options.calib.path = text;
    return true;
}

static bool on_calib_ctx(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "--calib-ctx", text, 16, VD_CALIB_CTX_MAX,
                             &a->options.calib.ctx);
}

static bool on_calib_chunks(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "--calib-chunks", text, 1, 1 << 20,
                             &a->options.calib.n_chunks);
}

static bool on_imatrix(vd_compress_args *a, const char *text)
{
    a->options.imatrix = text;
    return true;
}

static bool on_save_imatrix(vd_compress_args *a, const char *text)
{
    a->options.save_imatrix = text;
    return true;
}

static bool on_awq(vd_compress_args *a, const char *text)
{
    double alpha = -1;
    char *end = NULL;
    a->options.awq = true;
    if (strcmp(text, "auto") != 0) {
        alpha = strtod(text, &end);
        if (end == text || *end != '\0' || !(alpha >= 0 && alpha <= 1)) {
            vd_cli_misuse("compress", "--awq is '%s', expected auto or 0 to 1", text);
            return false;
        }
    }
    a->options.awq_alpha = alpha;
    return true;
}

static bool on_gptq(vd_compress_args *a, const char *text)
{
    a->options.gptq = true;
    return true;
}

static bool on_quant(vd_compress_args *a, const char *text)
{
    a->options.type = vd_filetype_find(text);
    if (a->options.type == NULL)
        vd_cli_misuse("compress", "there is no type '%s' to compress to", text);
    return a->options.type != NULL;
}

static bool on_pure(vd_compress_args *a, const char *text)
{
    a->options.mix.pure = true;
    return true;
}

static bool add_types(vd_compress_args *a, const char *text,
                      vd_status (*add)(vd_types *types, const char *text, vd_err *err))
{
    vd_types **types = &a->options.mix.types;
    vd_err err = {0};
    vd_status st = *types == NULL ? vd_types_create(types, &err) : VD_OK;
    if (st == VD_OK)
        st = add(*types, text, &err);
    if (st != VD_OK)
        vd_cli_misuse("compress", "%s", err.message);
    return st == VD_OK;
}

static bool on_tensor_type(vd_compress_args *a, const char *text)
{
    return add_types(a, text, vd_types_add_pattern);
}

static bool on_types(vd_compress_args *a, const char *text)
{
    return add_types(a, text, vd_types_add_file);
}

static bool on_sparse(vd_compress_args *a, const char *text)
{
    a->stage.sparse = true;
    return true;
}

static bool on_target(vd_compress_args *a, const char *text)
{
    const char *wrong = vd_target_parse(text, &a->search.target);
    a->searches = wrong == NULL;
    if (wrong != NULL)
        vd_cli_misuse("compress", "--target is '%s': %s", text, wrong);
    return wrong == NULL;
}

static bool on_search_types(vd_compress_args *a, const char *text)
{
    char name[32];
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        vd_dtype dtype;
        snprintf(name, sizeof(name), "%.*s", (int)VD_MIN(n, sizeof(name) - 1), at);
        if (!vd_types_parse_dtype(name, &dtype)) {
            vd_cli_misuse("compress", "--search-types: '%s' is no tensor type that can be written",
                          name);
            return false;
        }
        a->search.type[dtype] = true;
        at += n;
        if (*at == '\0')
            return true;
    }
}

static bool on_search_keeps(vd_compress_args *a, const char *text)
{
    const char *at = text;
    a->search.n_keeps = 0;
    for (;; at++) {
        char *end = NULL;
        double keep = *at >= '0' && *at <= '9' ? strtod(at, &end) : 0;
        if (!(keep > 0 && keep < 1) || (*end != ',' && *end != '\0')) {
            vd_cli_misuse("compress", "--search-keeps is '%s', expected shares of the weights "
                          "between 0 and 1 such as 0.7,0.5", text);
            return false;
        }
        if (a->search.n_keeps == VD_SEARCH_KEEPS) {
            vd_cli_misuse("compress", "--search-keeps: more than %d", VD_SEARCH_KEEPS);
            return false;
        }
        a->search.keep[a->search.n_keeps++] = keep;
        at = end;
        if (*at == '\0')
            return true;
    }
}

static bool on_search_chunks(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "--search-chunks", text, 1, 1 << 20,
                             &a->search.n_measured);
}

static bool on_picture(vd_compress_args *a, const char *text)
{
    a->picture = text;
    return true;
}

static bool on_output(vd_compress_args *a, const char *text)
{
    a->target = text;
    return true;
}

static bool on_threads(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "-t", text, 1, 256, &a->options.n_threads);
}

static bool on_compare(vd_compress_args *a, const char *text)
{
    a->compare.text = text;
    return true;
}

static bool on_compare_task(vd_compress_args *a, const char *text)
{
    a->compare.task = text;
    return true;
}

static bool on_compare_ctx(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "--compare-ctx", text, 4, VD_CALIB_CTX_MAX,
                             &a->compare.ctx);
}

static bool on_compare_chunks(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "--compare-chunks", text, 1, SIZE_MAX,
                             &a->compare.n_chunks);
}

static bool on_compare_limit(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "--compare-limit", text, 1, SIZE_MAX,
                             &a->compare.n_tasks);
}

static bool on_drift(vd_compress_args *a, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    bool good = end != text && *end == '\0' && value >= 0 && value <= 1;
    if (!good)
        vd_cli_misuse("compress", "--drift is '%s', expected a number from 0 to 1", text);
    a->options.drift = value;
    return good;
}

static bool on_keep_every(vd_compress_args *a, const char *text)
{
    size_t seconds = 0;
    bool good = vd_cli_parse_size("compress", "--keep-every", text, 0, 1 << 20, &seconds);
    a->options.keep_every_s = (double)seconds;
    a->keep_every_said = true;
    return good;
}

static bool on_recover(vd_compress_args *a, const char *text)
{
    a->recover = text;
    return true;
}

static bool on_json(vd_compress_args *a, const char *text)
{
    a->json = true;
    return true;
}

/* ---- the table --------------------------------------------------------------------------------*/

typedef struct option_row {
    const char *name;
    char letter; /* 0: it has a long name only */
    bool has_value;
    bool (*read)(vd_compress_args *args, const char *text);
    bool beside; /* what is written does not depend on it */
} option_row;

static const option_row rows[] = {
    {"clip", 0, true, on_clip},
    {"threshold", 0, true, on_below},
    {"threshold-above", 0, true, on_above},
    {"prune", 0, true, on_prune},
    {"score", 0, true, on_score},
    {"multiple", 0, true, on_multiple},
    {"uniform", 0, false, on_uniform},
    {"calib", 0, true, on_calib},
    {"calib-ctx", 0, true, on_calib_ctx},
    {"calib-chunks", 0, true, on_calib_chunks},
    {"imatrix", 0, true, on_imatrix},
    {"save-imatrix", 0, true, on_save_imatrix},
    {"quant", 0, true, on_quant},
    {"awq", 0, true, on_awq},
    {"gptq", 0, false, on_gptq},
    {"pure", 0, false, on_pure},
    {"tensor-type", 0, true, on_tensor_type},
    {"types", 0, true, on_types},
    {"sparse", 0, false, on_sparse},
    {"target", 0, true, on_target},
    {"search-types", 0, true, on_search_types},
    {"search-keeps", 0, true, on_search_keeps},
    {"search-chunks", 0, true, on_search_chunks},
    {"picture", 0, true, on_picture, true},
    {"recover", 0, true, on_recover},
    {"compare", 0, true, on_compare, true},
    {"compare-task", 0, true, on_compare_task, true},
    {"compare-ctx", 0, true, on_compare_ctx, true},
    {"compare-chunks", 0, true, on_compare_chunks, true},
    {"compare-limit", 0, true, on_compare_limit, true},
    {"output", 'o', true, on_output, true},
    {"threads", 't', true, on_threads, true},
    {"drift", 0, true, on_drift},
    {"keep-every", 0, true, on_keep_every, true},
    {"json", 0, false, on_json, true},
};

enum { KEEP_EVERY_S = 30, WORK_MAX = 1 << 20 };
enum { FIRST_ROW = 256 }; /* what getopt gives back for the first row's long name */

static const option_row *find_row(int c)
{
    if (c >= FIRST_ROW)
        return &rows[c - FIRST_ROW];
    for (size_t i = 0; i < VD_COUNT(rows); i++)
        if (rows[i].letter != 0 && rows[i].letter == c)
            return &rows[i];
    return NULL;
}

bool vd_compress_args_parse(int argc, char **argv, vd_compress_args *ret_args)
{
    struct option options[VD_COUNT(rows) + 1] = {{0}};
    vd_compress_args a = {.options = {.keep_every_s = KEEP_EVERY_S, .drift = NAN}};
    bool good = true;
    int c;
    vd_buf_init(&a.work, WORK_MAX);
    for (size_t i = 0; i < VD_COUNT(rows); i++)
        options[i] = (struct option){rows[i].name, rows[i].has_value ? required_argument
                                                                     : no_argument,
                                     NULL, FIRST_ROW + (int)i};
    while (good && (c = getopt_long(argc, argv, ":o:t:", options, NULL)) != -1) {
        const option_row *row = find_row(c);
        good = row != NULL ? row->read(&a, optarg)
                           : vd_cli_bad_option("compress", c, argv) == VD_EXIT_OK;
        if (row != NULL && !row->beside)
            vd_buf_printf(&a.work, "--%s=%s\n", row->name, optarg != NULL ? optarg : "");
    }
    good = good && vd_compress_args_check(&a, argc - optind);
    if (isnan(a.options.drift))
        a.options.drift = 0;
    a.model = good ? argv[optind] : NULL;
    if (good && vd_buf_status(&a.work, "the command line", NULL) == VD_OK)
        a.options.work = vd_buf_text(&a.work); /* of the heap, where it stays */
    if (good)
        *ret_args = a;
    else
        vd_compress_args_done(&a);
    return good;
}

void vd_compress_args_done(vd_compress_args *a)
{
    vd_types_free(a->options.mix.types);
    a->options.mix.types = NULL;
    vd_buf_done(&a->work);
}
