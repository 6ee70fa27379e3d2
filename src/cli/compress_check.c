/*
 * compress_check.c - whether the options of `compress` make sense together. What would be ignored
 * is refused: who says it expects something of it.
 */
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "cli/cli.h"
#include "cli/compress_args.h"
#include "compress/calibrated.h"

/* How many of the cuts are of this kind. */
static size_t n_cuts_of(const vd_stage_options *stage, vd_structured_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < stage->n_cuts; i++)
        n += stage->cut[i].kind == kind;
    return n;
}

/* What is wrong with a search's options; NULL: nothing. */
static const char *check_search(const vd_compress_args *a)
{
    const vd_compress_options *o = &a->options;
    bool any = a->search.n_measured != 0 || a->search.n_keeps != 0 || a->picture != NULL;
    for (size_t i = 0; i < VD_DTYPE_LIMIT; i++)
        any = any || a->search.type[i];
    if (!a->searches)
        return any ? "--search-... and --picture say how to search for a --target" : NULL;
    if (o->type != NULL || o->mix.types != NULL || vd_edit_wanted(&o->edit))
        return "--target chooses the types: no --quant, --types or --tensor-type; nothing clipped "
               "or pruned beside it, but parts may be cut out";
    if (o->awq || o->mix.pure)
        return "--target takes no --awq or --pure; keep what its --json prints and give that file "
               "to --types, with --calib and --awq";
    if (a->recover != NULL)
        return "--target takes no --recover; prune and recover first, and search in what that "
               "writes";
    if (a->stage.n_cuts > 0 && o->calib.path == NULL)
        return "parts are cut out by a text: --calib FILE";
    if (a->stage.n_cuts > 0 && o->save_imatrix != NULL)
        return "--save-imatrix is of MODEL and not of what cuts leave of it";
    if (a->search.n_keeps != 0 && !a->stage.sparse)
        return "--search-keeps are for weights that the file holds sparse: --sparse";
    if (o->calib.path == NULL && o->imatrix == NULL)
        return "--target needs a text on which answers are compared: --calib FILE, or --imatrix "
               "FILE to go by errors of weights alone";
    if (o->calib.path == NULL && a->search.target.loss != 0)
        return "a loss is measured on a text: --calib FILE";
    if (o->calib.path == NULL && a->search.n_measured != 0)
        return "--search-chunks are of the text: --calib FILE";
    return NULL;
}

/* Options that say how to cut. */
static const char *check_cuts(const vd_compress_args *a)
{
    const vd_stage_options *stage = &a->stage;
    size_t n_ranked = n_cuts_of(stage, VD_STRUCTURED_NEURONS) +
                      n_cuts_of(stage, VD_STRUCTURED_HEADS),
           n_layers = n_cuts_of(stage, VD_STRUCTURED_LAYERS);
    bool by_output = stage->score_said && stage->score == VD_UNIT_SCORE_OUTPUT;
    if (stage->n_cuts == 0)
        return stage->score_said || stage->multiple != 0 || stage->uniform
                   ? "--score, --multiple and --uniform say how to cut: --prune neurons or heads"
                   : NULL;
    if (by_output && n_layers < stage->n_cuts)
        return "--score output is for --prune layers";
    if (stage->score_said && !by_output && n_ranked == 0)
        return "--score obs and activation are for --prune neurons and heads; layers go by how "
               "much they change or by --score output, width by what its channels add";
    if (stage->multiple != 0 && n_layers == stage->n_cuts)
        return "--multiple is for --prune neurons, heads and width";
    return NULL; /* --uniform with other cuts says what they do anyway */
}

/* A type that no matrix of a layer has as Q8_0, nor falls back to it. */
static bool is_never_q8_0(const vd_filetype *type)
{
    enum { SUPER_BLOCK = 256 };
    return type != NULL && type->dtype != VD_DTYPE_Q8_0 && type->dtype != VD_DTYPE_MXFP4 &&
           vd_dtype_get(type->dtype)->block < SUPER_BLOCK;
}

/* Options that say how to quantize. */
static const char *check_quant(const vd_compress_args *a)
{
    const vd_compress_options *o = &a->options;
    bool has_text = o->calib.path != NULL, quants = o->type != NULL || o->mix.types != NULL;
    if (a->stage.sparse && a->target == NULL)
        return "--sparse says how to write a file: -o";
    if (a->stage.sparse && is_never_q8_0(o->type) && o->mix.types == NULL)
        return "--sparse is for matrices in Q8_0: --quant Q8_0";
    if (o->type == NULL && o->mix.pure)
        return "--pure says how to --quant";
    if (o->edit.clip.kind == VD_CUT_AUTO &&
        (o->type == NULL || vd_dtype_get(o->type->dtype)->block == 1))
        return "--clip auto needs --quant with a type of blocks: it is their error that it makes "
               "small";
    if (o->gptq && (!has_text || (!quants && !a->searches)))
        return "--gptq is a way to --quant and needs a text: --calib FILE";
    if (o->awq && ((!has_text && o->imatrix == NULL) || !quants))
        return "--awq is a way to --quant and needs --calib or --imatrix";
    return NULL;
}

/* Options that say what is known of the inputs. */
static const char *check_calibration(const vd_compress_args *a)
{
    const vd_compress_options *o = &a->options;
    const vd_stage_options *stage = &a->stage;
    bool cut = stage->n_cuts > 0, has_text = o->calib.path != NULL;
    bool gram = vd_prune_needs_gram(o->edit.prune.method);
    bool prunes = vd_prune_is_calibrated(o->edit.prune.method);
    bool kept = o->type != NULL || o->mix.types != NULL || o->save_imatrix != NULL || prunes;
    if ((prunes || cut) && !has_text && (cut || o->imatrix == NULL || gram))
        return "this way of pruning needs a text: --calib FILE";
    if (!cut && !kept && !a->searches && (has_text || o->imatrix != NULL))
        return "nothing here is calibrated: --calib and --imatrix are for --quant, and --prune "
               "wanda, sparsegpt, obs, neurons, heads, layers or width";
    if (!isnan(o->drift) && !o->gptq && !gram && n_cuts_of(stage, VD_STRUCTURED_NEURONS) == 0 &&
        n_cuts_of(stage, VD_STRUCTURED_HEADS) == 0)
        return "--drift is for --gptq, --prune obs, sparsegpt, neurons and heads";
    if (!has_text && (o->calib.ctx != 0 || o->calib.n_chunks != 0))
        return "--calib-ctx and --calib-chunks say how to read a text: --calib FILE";
    if (a->keep_every_said && a->searches)
        return "--keep-every is not for --target, which keeps every measurement";
    if (a->keep_every_said && (!has_text || !kept))
        return "--keep-every is for --quant, --save-imatrix and --prune wanda, sparsegpt and obs "
               "with a text: --calib FILE";
    return NULL;
}

/* A device or a pipe. */
static bool is_special(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode);
}

/* /dev/null swallows both. */
static bool goes_to_stdout(const char *path)
{
    struct stat one, two;
    return stat(path, &one) == 0 && fstat(STDOUT_FILENO, &two) == 0 &&
           one.st_dev == two.st_dev && one.st_ino == two.st_ino && !S_ISCHR(one.st_mode);
}

/* Two names of one file, which need not be there yet. */
static bool is_same(const char *a, const char *b)
{
    struct stat one, two;
    if (a == NULL || b == NULL)
        return false;
    if (stat(a, &one) != 0)
        return strcmp(a, b) == 0;
    return S_ISREG(one.st_mode) && stat(b, &two) == 0 && one.st_dev == two.st_dev &&
           one.st_ino == two.st_ino;
}

/* Whether what is written would replace what is read, or the other file that is written. */
static bool overwrites(const vd_compress_args *a)
{
    const vd_compress_options *o = &a->options;
    const char *read[] = {o->calib.path, o->imatrix, a->compare.text, a->compare.task};
    bool any = is_same(a->target, o->save_imatrix);
    for (size_t i = 0; i < VD_COUNT(read); i++)
        any = any || is_same(a->target, read[i]) || is_same(o->save_imatrix, read[i]);
    return any;
}

static const char *check_compare(const vd_compress_args *a)
{
    const vd_compare_options *c = &a->compare;
    if (c->text == NULL)
        return c->task != NULL || c->ctx != 0 || c->n_chunks != 0 || c->n_tasks != 0
                   ? "--compare-... say how to --compare"
                   : NULL;
    if (a->target == NULL)
        return "there is nothing to --compare: no -o";
    if (is_special(a->target))
        return "--compare needs a file to read again, and -o is none";
    if (c->ctx % 2 != 0)
        return "--compare-ctx is odd; the second half of each chunk is scored";
    if (c->n_tasks != 0 && c->task == NULL)
        return "--compare-limit is for --compare-task";
    if (is_same(c->text, a->options.calib.path))
        return "--compare reads the text of --calib, to which the model is fitted: give another, "
               "such as another part of it";
    return NULL;
}

/* What there is to do, and where it goes. */
static const char *check_work(const vd_compress_args *a, int n_models)
{
    const vd_compress_options *o = &a->options;
    bool cut = a->stage.n_cuts > 0, edits = vd_edit_wanted(&o->edit);
    bool does = o->type != NULL || o->mix.types != NULL || edits || a->stage.sparse || cut ||
                a->searches;
    bool imatrix_alone = o->save_imatrix != NULL && !does && a->target == NULL;
    if (n_models != 1 || (a->target == NULL && !imatrix_alone))
        return "one MODEL and -o are needed";
    const char *wrong = check_search(a);
    if (wrong != NULL)
        return wrong;
    if (o->save_imatrix != NULL && o->calib.path == NULL)
        return "--save-imatrix needs a text: --calib FILE";
    if (o->imatrix != NULL && o->calib.path != NULL)
        return "--imatrix is what a text would tell: not both it and --calib";
    if (!does && !imatrix_alone)
        return "nothing is to be done: say --quant, --prune, --clip or a threshold";
    if (a->recover != NULL && !cut && !edits)
        return "--recover trains what was cut or pruned: say --prune, a threshold or --clip";
    if (a->recover != NULL && o->edit.clip.kind == VD_CUT_AUTO)
        return "--clip auto is for the type of --quant, which a model has only behind --recover";
    if (a->target != NULL && goes_to_stdout(a->target))
        return "-o is where standard output goes, and so does the table; write to a file";
    return NULL;
}

bool vd_compress_args_check(const vd_compress_args *a, int n_models)
{
    const char *wrong = check_work(a, n_models);
    if (wrong == NULL)
        wrong = check_cuts(a);
    if (wrong == NULL)
        wrong = check_quant(a);
    if (wrong == NULL)
        wrong = check_calibration(a);
    if (wrong == NULL)
        wrong = check_compare(a);
    if (wrong == NULL && overwrites(a))
        wrong = "-o or --save-imatrix would replace another file of this command";
    if (wrong != NULL)
        vd_cli_misuse("compress", "%s", wrong);
    return wrong == NULL;
}
