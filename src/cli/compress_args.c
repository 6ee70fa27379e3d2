/* compress_args.c - see compress_args.h. An option is a row of a table and what reads its value. */
#include "cli/compress_args.h"

#include <getopt.h>
#include <string.h>

#include "base/checked.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "compress/calibrated.h"

const char vd_compress_help[] =
    "usage: verdant compress MODEL -o FILE.gguf [what to do] [options]\n"
    "\n"
    "Writes MODEL smaller, or with weights that are easier to make small. Done in this order, to\n"
    "the matrices of the layers; norms, biases, routers and embeddings are never clipped or\n"
    "pruned:\n"
    "\n"
    "  --clip T            magnitudes above T become T, the sign stays. T is a magnitude (0.25),\n"
    "                      a percentile of each matrix (p99.9), so many times its root mean\n"
    "                      square (4rms), or auto: where the error of --quant is least\n"
    "  --threshold T       weights of a magnitude below T become zero; T as above, not auto\n"
    "  --threshold-above T the other reading in use: those of a magnitude above T become zero\n"
    "  --prune METHOD:KEEP keep a share of each matrix, 1 all and 0 none; what goes is zero\n"
    "                        magnitude:0.5   the larger half of it\n"
    "                        magnitude:2:4   or 2:4: the 2 largest of every 4 in a row\n"
    "                      and with --calib, by what the matrix reads there:\n"
    "                        wanda:0.5       the larger half of each row, times its input's size\n"
    "                        sparsegpt:0.5   and what is left makes up for what goes\n"
    "                        obs:0.5         Wanda's choice, SparseGPT's repair\n"
    "                      each of them N:M too (wanda:2:4)\n"
    "  --calib FILE        a text like those that the model will be used on, not the one it is\n"
    "                      judged by\n"
    "  --calib-ctx N       tokens of a chunk, default 512\n"
    "  --calib-chunks N    so many chunks; by default all that the text has, at most 128\n"
    "  --quant TYPE        fewer bits. By falling size:\n"
    "                        F32 BF16 F16 Q8_0 Q6_K Q5_1 Q5_0 Q5_K_M Q5_K_S Q4_1 Q4_K_M Q4_K_S\n"
    "                        Q4_0 IQ4_NL IQ4_XS MXFP4_MOE Q3_K_L Q3_K_M IQ3_M IQ3_S Q3_K_S Q2_K\n"
    "                      and, for models trained with such weights:\n"
    "                        Q2_0 TQ2_0 TQ1_0 Q1_0\n"
    "                      Q3_K, Q4_K and Q5_K mean the _M mixtures. The types of single tensors\n"
    "                      are those that llama.cpp's quantizer chooses for the same TYPE, and\n"
    "                      Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 come out byte for byte as there.\n"
    "                      Without it every tensor keeps its type\n"
    "  --pure              no mixture: every matrix of the one type\n"
    "  --tensor-type P=TYPE\n"
    "                      matrices whose name holds the regular expression P get TYPE, a type of\n"
    "                      tensors (Q6_K, not Q4_K_M), whatever --quant says; may be repeated, the\n"
    "                      first P that matches counts: --tensor-type 'blk.[0-3].ffn_down=Q6_K'\n"
    "  --types FILE        such a type for each tensor that a JSON file names:\n"
    "                      {\"tensors\":{\"blk.0.attn_q.weight\":\"Q4_K\",...}}\n"
    "\n"
    "The file appears whole or not at all. Start from F32, F16 or BF16: a model that is quantized\n"
    "already loses a second time. Zeros alone make no file smaller; types with a minimum (Q4_1,\n"
    "Q4_K, ...) do not keep them all, which the table shows.\n"
    "\n"
    "  -o FILE             where to write; never over MODEL itself\n"
    "  -t, --threads N     default: one per core\n"
    "  --json              {\"quant\":...,\"before\":{\"F16\":{\"tensors\":...,\"bytes\":...}},\n"
    "                       \"after\":{...},\"file_bytes_before\":...,\"file_bytes_after\":...,\n"
    "                       \"bits_per_weight\":...,\"seconds\":...,\"energy\":{\"total_j\":...,\n"
    "                       \"method\":...,\"uncertainty_pct\":...},\"calib_tokens\":...,\n"
    "                       \"sparsity_edited\":...,\n"
    "                       \"edited\":[{\"tensor\":...,\"values\":...,\"sparsity_before\":...,\n"
    "                       \"sparsity_after\":...,\"clip\":...}]}\n"
    "\n"
    "Example:\n"
    "  verdant compress smollm2-f16.gguf -o smollm2-q4.gguf --quant Q4_K_M\n"
    "  verdant compress smollm2-f16.gguf -o half.gguf --prune magnitude:0.5 --quant Q8_0\n";

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
    const char *wrong = vd_prune_parse(text, &a->options.edit.prune);
    if (wrong != NULL)
        vd_cli_misuse("compress", "--prune is '%s': %s", text, wrong);
    return wrong == NULL;
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

static bool on_output(vd_compress_args *a, const char *text)
{
    a->target = text;
    return true;
}

static bool on_threads(vd_compress_args *a, const char *text)
{
    return vd_cli_parse_size("compress", "-t", text, 1, 256, &a->options.n_threads);
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
} option_row;

static const option_row rows[] = {
    {"clip", 0, true, on_clip},
    {"threshold", 0, true, on_below},
    {"threshold-above", 0, true, on_above},
    {"prune", 0, true, on_prune},
    {"calib", 0, true, on_calib},
    {"calib-ctx", 0, true, on_calib_ctx},
    {"calib-chunks", 0, true, on_calib_chunks},
    {"quant", 0, true, on_quant},
    {"pure", 0, false, on_pure},
    {"tensor-type", 0, true, on_tensor_type},
    {"types", 0, true, on_types},
    {"output", 'o', true, on_output},
    {"threads", 't', true, on_threads},
    {"json", 0, false, on_json},
};

enum { FIRST_ROW = 256 }; /* what getopt gives back for the first row's long name */

/* When all options are read. */
static bool check(int argc, const vd_compress_args *a)
{
    const vd_compress_options *o = &a->options;
    bool calibrated = vd_prune_is_calibrated(o->edit.prune.method);
    const char *wrong = NULL;
    if (optind + 1 != argc || a->target == NULL)
        wrong = "one MODEL and -o are needed";
    else if (o->type == NULL && o->mix.types == NULL && !vd_edit_wanted(&o->edit))
        wrong = "nothing is to be done: say --quant, --prune, --clip or a threshold";
    else if (o->type == NULL && o->mix.pure)
        wrong = "--pure says how to --quant";
    else if (o->edit.clip.kind == VD_CUT_AUTO &&
             (o->type == NULL || vd_dtype_get(o->type->dtype)->block == 1))
        wrong = "--clip auto needs --quant with a type of blocks: it is their error that it "
                "makes small";
    else if (calibrated && o->calib.path == NULL)
        wrong = "this way of pruning needs a text: --calib FILE";
    else if (!calibrated && (o->calib.path != NULL || o->calib.ctx != 0 || o->calib.n_chunks != 0))
        wrong = "nothing here is calibrated: --calib is for --prune wanda, sparsegpt or obs";
    if (wrong != NULL)
        vd_cli_misuse("compress", "%s", wrong);
    return wrong == NULL;
}

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
    vd_compress_args a = {0};
    bool good = true;
    int c;
    for (size_t i = 0; i < VD_COUNT(rows); i++)
        options[i] = (struct option){rows[i].name, rows[i].has_value ? required_argument
                                                                     : no_argument,
                                     NULL, FIRST_ROW + (int)i};
    while (good && (c = getopt_long(argc, argv, ":o:t:", options, NULL)) != -1) {
        const option_row *row = find_row(c);
        good = row != NULL ? row->read(&a, optarg)
                           : vd_cli_bad_option("compress", c, argv) == VD_EXIT_OK;
    }
    good = good && check(argc, &a);
    a.model = good ? argv[optind] : NULL;
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
}
