/* search.c - see search.h: from a target to a point of the front. */
#include "compress/search/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/sha256.h"
#include "compress/search/search_internal.h"

enum { MEASURED_CHUNKS = 2, FRONT_POINTS = 24, BISECTIONS = 5 };

/* What a journal must be of. Of each tensor only the beginning and the end are read. */
static void describe(const vd_search *s, char *ret_text, size_t n_text)
{
    enum { SOME = 1 << 12 };
    const vd_gguf *gguf = vd_probe_gguf(s->probe);
    const vd_search_options *o = s->options;
    char model[VD_SHA256_HEX + 1], text[VD_SHA256_HEX + 1];
    size_t n_tokens;
    const int32_t *tokens = vd_probe_tokens(s->probe, &n_tokens);
    vd_sha256 sha;
    vd_sha256_init(&sha);
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *t = vd_gguf_tensor_at(gguf, i);
        size_t n = (size_t)VD_MIN(t->n_bytes, SOME);
        vd_sha256_add(&sha, t->name.data, t->name.n);
        vd_sha256_add(&sha, &t->dtype, sizeof(t->dtype));
        vd_sha256_add(&sha, t->dim, sizeof(t->dim));
        vd_sha256_add(&sha, t->data, n);
        vd_sha256_add(&sha, t->data + t->n_bytes - n, n);
    }
    vd_sha256_end(&sha, model);
    vd_sha256_init(&sha);
    vd_sha256_add(&sha, tokens, n_tokens * sizeof(*tokens));
    vd_sha256_end(&sha, text);
    snprintf(ret_text, n_text, "1 model %s text %s chunks of %zu, %zu measured", model, text,
             o->calib.ctx, o->n_measured);
}

/* The target's name with something behind it; vd_free. */
static vd_status name_beside(const vd_search *s, const char *end, char **ret_path, vd_err *err)
{
    vd_buf buf;
    vd_buf_init(&buf, 1 << 16);
    vd_buf_printf(&buf, "%s%s", s->target, end);
    vd_status st = vd_buf_status(&buf, "a name", err);
    *ret_path = vd_buf_take(&buf);
    vd_buf_done(&buf);
    return st;
}

static vd_status open_search(vd_search *s, vd_search_result *result, vd_err *err)
{
    const vd_search_options *o = s->options;
    vd_probe_options probe = {.calib = o->calib,
                              .n_measured = o->n_measured != 0 ? o->n_measured
                                                               : (size_t)MEASURED_CHUNKS};
    char about[256], *path = NULL;
    vd_status st = vd_pool_create(o->n_threads, &s->pool, err);
    if (st == VD_OK)
        st = vd_search_tell(s, (vd_str){"the text", 8}, err);
    if (st == VD_OK)
        st = vd_probe_open(s->source, &probe, s->pool, &s->probe, err);
    if (st == VD_OK && vd_gguf_is_file(vd_probe_gguf(s->probe), s->target))
        st = VD_FAIL(err, VD_ERR_ARG, "%s is the model itself; write to another file", s->target);
    if (st == VD_OK)
        st = name_beside(s, ".search", &path, err);
    if (st == VD_OK && o->save_imatrix != NULL) {
        s->imatrix = vd_strdup(o->save_imatrix);
        st = s->imatrix != NULL ? VD_OK : VD_FAIL(err, VD_ERR_NOMEM, "no memory for a name");
    } else if (st == VD_OK) {
        st = name_beside(s, ".search.imatrix", &s->imatrix, err);
    }
    if (st == VD_OK)
        st = vd_probe_save_squares(s->probe, s->imatrix, err);
    if (st == VD_OK) {
        describe(s, about, sizeof(about));
        st = vd_journal_open(path, about, &s->journal, err);
    }
    vd_free(path);
    if (st == VD_OK) {
        result->n_resumed = vd_journal_n(s->journal);
        result->began_anew = vd_journal_was_other(s->journal);
        st = vd_search_list(s, err);
    }
    return st;
}

/* ---- points -----------------------------------------------------------------------------------*/

static uint64_t sum_of(const vd_search *s, bool largest)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += s->subject[i].choice[largest ? s->subject[i].n - 1 : 0].bytes;
    return sum;
}

/* The best within a budget for the subjects. */
static vd_status solve(const vd_search *s, uint64_t budget, vd_pick *pick, vd_err *err)
{
    return vd_knapsack_solve(s->item, s->n, budget, pick, err);
}

/* The front at even steps of bytes, most first. */
static vd_status make_front(vd_search *s, vd_pick *pick, vd_search_result *result, vd_err *err)
{
    uint64_t most = sum_of(s, true), least = sum_of(s, false);
    vd_status st = vd_alloc_array(FRONT_POINTS, sizeof(*result->point), "the front",
                                  &result->point, err);
    for (size_t i = 0; st == VD_OK && i < FRONT_POINTS; i++) {
        double part = (double)(FRONT_POINTS - 1 - i) / (FRONT_POINTS - 1);
        /* Closer together where files are small: bytes by ratio, not by difference. */
        double bytes = (double)least * pow((double)most / (double)least, part);
        st = solve(s, i + 1 < FRONT_POINTS ? VD_MAX((uint64_t)bytes, least) : least, pick, err);
        vd_search_point point = vd_search_point_of(s, pick);
        bool news = result->n_points == 0 ||
                    point.file_bytes < result->point[result->n_points - 1].file_bytes;
        if (st == VD_OK && news)
            result->point[result->n_points++] = point;
    }
    return st;
}

static vd_status measure(vd_search *s, const vd_pick *pick, vd_search_point *point, vd_err *err)
{
    vd_probe_result r;
    vd_status st = vd_search_measure_point(s, pick->choice, &r, err);
    if (st == VD_OK) {
        point->kl = r.kl;
        point->loss = r.loss;
    }
    return st;
}

/* Built beside the target, timed, and gone again. */
static vd_status time_point(vd_search *s, const vd_pick *pick, vd_search_point *point, vd_err *err)
{
    char *path = NULL;
    vd_status st = name_beside(s, ".search.gguf", &path, err);
    if (st == VD_OK)
        st = vd_search_build(s, pick->choice, path, err);
    if (st == VD_OK) {
        st = vd_search_time(s, path, point, err);
        unlink(path);
    }
    vd_free(path);
    return st;
}

static bool is_fast(const vd_target *t, const vd_search_point *point)
{
    return (t->tps == 0 || point->tps >= t->tps) && (t->jpt == 0 || point->jpt <= t->jpt);
}

/* What of a target needs a file that is small. */
typedef vd_status (*point_fn)(vd_search *s, const vd_pick *pick, vd_search_point *point,
                              vd_err *err);

/* The largest budget up to `most` (of the subjects' bytes) whose point is fast enough, or with
 * `upwards` the smallest that loses little enough. `pick` and `point` become it; where none is, the
 * nearest. */
typedef struct bisection {
    point_fn fn;
    bool (*good)(const vd_target *target, const vd_search_point *point);
    uint64_t least, most;
    bool upwards;
} bisection;

static vd_status try_point(vd_search *s, const bisection *b, uint64_t bytes, vd_pick *pick,
                           vd_search_point *point, bool *ret_good, vd_err *err)
{
    vd_status st = solve(s, bytes, pick, err);
    *point = vd_search_point_of(s, pick);
    if (st == VD_OK)
        st = b->fn(s, pick, point, err);
    *ret_good = st == VD_OK && b->good(&s->options->target, point);
    return st;
}

static vd_status bisect(vd_search *s, const bisection *b, vd_pick *pick, vd_search_point *point,
                        bool *ret_good, vd_err *err)
{
    uint64_t best = b->upwards ? b->least : b->most, worst = b->upwards ? b->most : b->least;
    bool good;
    vd_status st = try_point(s, b, best, pick, point, ret_good, err);
    if (st != VD_OK || *ret_good)
        return st;
    st = try_point(s, b, worst, pick, point, ret_good, err);
    if (st != VD_OK || !*ret_good)
        return st; /* not even there */
    uint64_t found = worst, bad = best;
    for (size_t i = 0; st == VD_OK && i < BISECTIONS; i++) {
        uint64_t middle = found / 2 + bad / 2;
        st = try_point(s, b, middle, pick, point, &good, err);
        if (good)
            found = middle;
        else
            bad = middle;
    }
    return st == VD_OK ? try_point(s, b, found, pick, point, ret_good, err) : st;
}

static bool loses_little(const vd_target *t, const vd_search_point *point)
{
    return point->loss <= t->loss;
}

static vd_status unreachable(const vd_search *s, const vd_search_point *point, vd_err *err)
{
    const vd_target *t = &s->options->target;
    if (t->tps != 0 && !(point->tps >= t->tps))
        return VD_FAIL(err, VD_ERR_LIMIT, "%g tokens per second cannot be had: the smallest file "
                       "(%llu bytes) gives %.4g; nothing was written", t->tps,
                       (unsigned long long)point->file_bytes, point->tps);
    return VD_FAIL(err, VD_ERR_LIMIT, "%g joules per token cannot be had: the smallest file "
                   "(%llu bytes) takes %.4g; nothing was written", t->jpt,
                   (unsigned long long)point->file_bytes, point->jpt);
}

/* The budget for the subjects that bytes and bpw leave. */
static vd_status budget_of(const vd_search *s, uint64_t *ret, vd_err *err)
{
    const vd_target *t = &s->options->target;
    uint64_t budget = sum_of(s, true), least = sum_of(s, false);
    if (t->bytes != 0)
        budget = VD_MIN(budget, t->bytes > s->fixed_bytes ? t->bytes - s->fixed_bytes : 0);
    if (t->bpw != 0) {
        double all = t->bpw * (double)s->n_values / 8 - (double)s->fixed_tensor_bytes;
        budget = VD_MIN(budget, all > 0 ? (uint64_t)VD_MIN(all, 1e18) : 0);
    }
    if (budget < least)
        return VD_FAIL(err, VD_ERR_LIMIT, "so few bytes cannot be had: the smallest file is %llu "
                       "bytes, %.3f bits per weight; nothing was written",
                       (unsigned long long)(s->fixed_bytes + least),
                       8 * (double)(s->fixed_tensor_bytes + least) / (double)s->n_values);
    *ret = budget;
    return VD_OK;
}

/* The point that the target asks for. */
static vd_status choose(vd_search *s, vd_pick *pick, vd_search_point *point, vd_err *err)
{
    const vd_target *t = &s->options->target;
    uint64_t budget = 0;
    bool good = true;
    vd_status st = budget_of(s, &budget, err);
    bisection b = {.least = sum_of(s, false)};
    if (st == VD_OK && t->jpt != 0 && s->options->joules == NULL)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "joules per token are not measured here: there is no "
                     "meter");
    if (st == VD_OK && (t->tps != 0 || t->jpt != 0)) {
        b = (bisection){time_point, is_fast, b.least, budget, false};
        st = bisect(s, &b, pick, point, &good, err);
        if (st == VD_OK && !good)
            st = unreachable(s, point, err);
        budget = st == VD_OK ? pick->bytes : budget;
    }
    if (st == VD_OK && t->loss != 0) {
        double tps = point->tps, jpt = point->jpt;
        b = (bisection){measure, loses_little, b.least, budget, true};
        st = bisect(s, &b, pick, point, &good, err);
        if (st == VD_OK && !good)
            st = VD_FAIL(err, VD_ERR_LIMIT, "a loss of %g %% cannot be had within the rest of the "
                         "target: the nearest is %.3g %% with %llu bytes; nothing was written",
                         100 * t->loss, 100 * point->loss, (unsigned long long)point->file_bytes);
        if (st == VD_OK && pick->bytes == budget) {
            point->tps = tps;
            point->jpt = jpt;
        }
    } else if (st == VD_OK) {
        double tps = point->tps, jpt = point->jpt;
        vd_probe_result r = {0};
        st = solve(s, budget, pick, err);
        if (st == VD_OK)
            st = vd_search_measure_point(s, pick->choice, &r, err);
        *point = vd_search_point_of(s, pick);
        point->kl = r.kl;
        point->loss = r.loss;
        point->tps = t->tps != 0 || t->jpt != 0 ? tps : NAN;
        point->jpt = t->tps != 0 || t->jpt != 0 ? jpt : NAN;
    }
    return st;
}

static vd_status name_types(const vd_search *s, const vd_pick *pick, vd_search_result *result,
                            vd_err *err)
{
    vd_status st = vd_alloc_array(s->n, sizeof(*result->type), "the types", &result->type, err);
    for (size_t i = 0; st == VD_OK && i < s->n; i++) {
        vd_str name = s->subject[i].tensor->name;
        result->type[i] = (vd_search_tensor_type){vd_strndup(name.data, name.n),
                                                  s->subject[i].dtype[pick->choice[i]]};
        result->n_types++;
        if (result->type[i].name == NULL)
            st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a name");
    }
    return st;
}

static void close_search(vd_search *s)
{
    if (s->imatrix != NULL && s->options->save_imatrix == NULL)
        unlink(s->imatrix);
    vd_free(s->imatrix);
    vd_journal_free(s->journal);
    vd_probe_free(s->probe);
    vd_pool_free(s->pool);
    vd_free(s->subject);
    vd_free(s->item);
}

vd_status vd_search_run(const char *source, const char *target, const vd_search_options *options,
                        vd_search_result *ret_result, vd_err *err)
{
    vd_search s = {.options = options, .source = source, .target = target};
    vd_search_result result = {0};
    vd_pick pick = {0};
    vd_search_point chosen = {.tps = NAN, .jpt = NAN};
    vd_status st = open_search(&s, &result, err);
    if (st == VD_OK)
        st = vd_alloc_array(s.n, sizeof(*pick.choice), "a point", &pick.choice, err);
    if (st == VD_OK)
        st = vd_search_measure_costs(&s, err);
    if (st == VD_OK)
        st = make_front(&s, &pick, &result, err);
    if (st == VD_OK)
        st = choose(&s, &pick, &chosen, err);
    if (st == VD_OK)
        st = name_types(&s, &pick, &result, err);
    if (st == VD_OK)
        st = vd_search_build(&s, pick.choice, target, err);
    if (st == VD_OK) {
        result.source_bytes = vd_gguf_file_bytes(vd_probe_gguf(s.probe));
        result.source_ppl = vd_probe_ppl(s.probe);
        result.n_values = s.n_values;
        result.n_scored = vd_probe_n_scored(s.probe);
        (void)vd_probe_tokens(s.probe, &result.n_tokens);
        result.chosen = chosen;
        vd_journal_remove(s.journal);
        *ret_result = result;
        result = (vd_search_result){0};
    }
    vd_search_result_done(&result);
    vd_free(pick.choice);
    close_search(&s);
    return st;
}

void vd_search_result_done(vd_search_result *result)
{
    for (size_t i = 0; i < result->n_types; i++)
        vd_free(result->type[i].name);
    vd_free(result->type);
    vd_free(result->point);
    *result = (vd_search_result){0};
}
