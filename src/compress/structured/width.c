/*
 * width.c - channels of the residual stream cut out, the same in all layers, as Minitron does by
 * activations (Muralidharan et al. 2024). A channel is rated by what it adds to the products that
 * read it, over all layers: |x_j|^2 |W_j|^2, each matrix by its own total. One pass over the text
 * chooses, a second repairs: every matrix that reads the stream is fitted by least squares to what
 * the whole one gave (units.h), which takes over what the channels that go had in common with those
 * that stay.
 *
 * An RMS norm over fewer channels has another mean. Its weights are multiplied by
 * sqrt(n / n_kept * E[share of the squares that stays]), which makes up for it on average.
 *
 * Our difference: both passes see the whole model and not the cut one, whose stream has another
 * width; errors of the layers before are not made up for.
 */
#include "compress/structured/width.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

enum { READERS = 6 }; /* of a layer: q, k, v or all in one; gate, up */
static const char *const readers[READERS] = {"attn_q", "attn_k", "attn_v", "attn_qkv", "ffn_gate",
                                             "ffn_up"};

typedef struct width_cut {
    vd_cut_session *s;
    size_t n;
    double *rating;    /* [n] */
    double *head_gram; /* [n, n] of what the output matrix reads; the lower triangle */
    double *normed;    /* [ctx, n] */
    size_t ctx_max;
    float *output_norm; /* [n] */
    uint64_t n_tokens;
} width_cut;

static vd_status check(const vd_cut_plan *p, vd_err *err)
{
    static const char *const fit[] = {"llama", "deci", "granite", "qwen3", "smollm3"};
    bool known = false;
    for (size_t i = 0; i < VD_COUNT(fit); i++)
        known = known || strcmp(p->arch->name, fit[i]) == 0;
    if (!known || p->hp.moe.n_experts > 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "the width of %s%s is not cut", p->arch->name,
                       p->hp.moe.n_experts > 0 ? " with experts" : "");
    return VD_OK;
}

static vd_status floats_of(const vd_cut_plan *p, const vd_gguf_tensor *t, float **ret, vd_err *err)
{
    if (t == NULL || t->dim[0] != p->width.n_all || !vd_dtype_decodable(t->dtype))
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "a norm is missing; the width is not cut");
    vd_status st = vd_alloc_array(p->width.n_all, sizeof(float), "a norm", ret, err);
    if (st == VD_OK)
        vd_dtype_decode((vd_dtype)t->dtype, t->data, *ret, p->width.n_all);
    return st;
}

/* ---- the first pass: which channels -----------------------------------------------------------*/

/* What leaves the last layer, normed: what the output matrix reads. */
static void add_head(void *ctx, size_t layer, const float *in, const float *out, size_t n_tokens)
{
    width_cut *c = ctx;
    if (layer + 1 != c->s->plan.n_layer || n_tokens > c->ctx_max)
        return;
    for (size_t t = 0; t < n_tokens; t++) {
        const float *x = out + t * c->n;
        double sum = 0;
        for (size_t i = 0; i < c->n; i++)
            sum += (double)x[i] * (double)x[i];
        double scale = 1 / sqrt(sum / (double)c->n + (double)c->s->plan.hp.norm_eps);
        for (size_t i = 0; i < c->n; i++)
            c->normed[t * c->n + i] = (double)x[i] * scale * (double)c->output_norm[i];
    }
    vd_linalg_gram(c->s->linalg, c->head_gram, c->n, c->normed, n_tokens);
    c->n_tokens += n_tokens;
}

/* What a matrix loses of its output with each channel, as shares of it all. */
static vd_status rate_reader(width_cut *c, const vd_gguf_tensor *t, const double *square,
                             size_t stride, vd_err *err)
{
    double *w = NULL, *own = NULL, total = 0;
    vd_status st = vd_session_values(t, &w, err);
    if (st == VD_OK)
        st = vd_alloc_array(c->n, sizeof(*own), "channels", &own, err);
    for (size_t r = 0; st == VD_OK && r < (size_t)t->dim[1]; r++)
        for (size_t i = 0; i < c->n; i++)
            own[i] += w[r * c->n + i] * w[r * c->n + i];
    for (size_t i = 0; st == VD_OK && i < c->n; i++)
        total += own[i] *= square[i * stride];
    for (size_t i = 0; st == VD_OK && i < c->n && total > 0; i++)
        c->rating[i] += own[i] / total;
    vd_free(w);
    vd_free(own);
    return st;
}

static vd_status rate_channels(width_cut *c, vd_walk *walk, vd_err *err)
{
    const vd_cut_plan *p = &c->s->plan;
    const vd_gguf_tensor *head = vd_gguf_find_tensor(p->gguf, "output.weight");
    vd_status st = VD_OK;
    for (size_t i = 0; st == VD_OK && i < p->n_layer; i++) {
        st = vd_walk_gather(walk, err);
        for (size_t k = 0; st == VD_OK && k < READERS; k++) {
            const vd_gguf_tensor *t = vd_cut_plan_tensor(p, i, readers[k]);
            vd_moments *m = t != NULL ? vd_walk_moments(walk, t->name, 0) : NULL;
            if (m != NULL && m->n == c->n)
                st = rate_reader(c, t, m->square, 1, err);
        }
        if (st == VD_OK)
            st = vd_walk_next(walk, err);
    }
    if (head == NULL)
        head = vd_gguf_find_tensor(p->gguf, "token_embd.weight");
    if (st == VD_OK)
        st = rate_reader(c, head, c->head_gram, c->n + 1, err);
    return st;
}

typedef struct channel {
    double rating;
    size_t index;
} channel;

static int by_rating(const void *a, const void *b)
{
    const channel *x = a, *y = b;
    if (x->rating != y->rating)
        return x->rating < y->rating ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static vd_status choose(width_cut *c, size_t n_kept, vd_err *err)
{
    channel *all = NULL;
    size_t *gone = NULL, n_gone = c->n - n_kept;
    vd_status st = vd_alloc_array(c->n, sizeof(*all), "channels", &all, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_gone, sizeof(*gone), "channels", &gone, err);
    if (st == VD_OK) {
        for (size_t i = 0; i < c->n; i++)
            all[i] = (channel){c->rating[i], i};
        qsort(all, c->n, sizeof(*all), by_rating);
        for (size_t i = 0; i < n_gone; i++)
            gone[i] = all[i].index;
        st = vd_kept_all_but(&c->s->plan.width, gone, n_gone, err);
    }
    vd_free(all);
    vd_free(gone);
    return st;
}

/* ---- the second pass: repairs -----------------------------------------------------------------*/

/* A norm's weights for the channels that stay. square: of its outputs, `stride` apart. */
static void scale_norm(const width_cut *c, const float *weight, const double *square,
                       size_t stride, float *ret)
{
    const vd_kept *kept = &c->s->plan.width;
    double all = 0, stays = 0;
    for (size_t i = 0, k = 0; i < c->n; i++) {
        bool is_kept = k < kept->n && kept->index[k] == i;
        double w = (double)weight[i], x = w != 0 ? square[i * stride] / (w * w) : 0;
        all += x;
        stays += is_kept ? x : 0;
        k += is_kept;
    }
    double scale = sqrt((double)c->n / (double)kept->n * (all > 0 ? stays / all : 1));
    for (size_t k = 0; k < kept->n; k++)
        ret[k] = (float)((double)weight[kept->index[k]] * scale);
}

/* A matrix that reads the stream, for the channels that stay; gram with both triangles. */
static vd_status repair_reader(width_cut *c, const vd_gguf_tensor *t, const double *gram,
                               float **ret, vd_err *err)
{
    const vd_kept *kept = &c->s->plan.width;
    size_t n_rows = (size_t)t->dim[1], n_values = n_rows * kept->n;
    double *w = NULL, *out = NULL;
    float *values = NULL;
    vd_status st = vd_session_values(t, &w, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(*out), "a matrix", &out, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_values, sizeof(*values), "a matrix", &values, err);
    vd_units units = {.linalg = c->s->linalg, .pool = c->s->pool, .gram = gram, .w = w, .n = c->n,
                      .n_rows = n_rows, .size = 1};
    if (st == VD_OK)
        st = vd_units_repair(&units, kept->index, kept->n, out, err);
    for (size_t i = 0; st == VD_OK && i < n_values; i++)
        values[i] = (float)out[i];
    vd_free(w);
    vd_free(out);
    if (st == VD_OK)
        *ret = values;
    else
        vd_free(values);
    return st;
}

static vd_status add_norm(width_cut *c, size_t layer, const char *base, const vd_moments *m,
                          vd_shrink_values *value, vd_err *err)
{
    float *weight = NULL, *values = NULL;
    const vd_gguf_tensor *t = vd_cut_plan_tensor(&c->s->plan, layer, base);
    vd_status st = floats_of(&c->s->plan, t, &weight, err);
    if (st == VD_OK)
        st = vd_alloc_array(c->s->plan.width.n, sizeof(*values), "a norm", &values, err);
    if (st == VD_OK) {
        scale_norm(c, weight, m->square, 1, values);
        *value = (vd_shrink_values){t, values};
    }
    vd_free(weight);
    return st;
}

static vd_status cut_layer(width_cut *c, vd_walk *walk, size_t layer, vd_err *err)
{
    vd_shrink_values value[READERS + 2] = {{0}};
    const vd_moments *last = NULL;
    size_t n = 0;
    vd_status st = vd_walk_gather(walk, err);
    for (size_t k = 0; st == VD_OK && k < READERS; k++) {
        const vd_gguf_tensor *t = vd_cut_plan_tensor(&c->s->plan, layer, readers[k]);
        vd_moments *m = t != NULL ? vd_walk_moments(walk, t->name, 0) : NULL;
        if (m == NULL || m->gram == NULL || m->n != c->n)
            continue;
        if (m != last) {
            vd_linalg_mirror(m->gram, c->n);
            st = add_norm(c, layer, k < 4 ? "attn_norm" : "ffn_norm", m, &value[n], err);
            n += st == VD_OK;
        }
        last = m;
        float *values = NULL;
        if (st == VD_OK)
            st = repair_reader(c, t, m->gram, &values, err);
        if (st == VD_OK)
            value[n++] = (vd_shrink_values){t, values};
        else
            vd_err_prefix(err, "tensor %.*s", (int)t->name.n, t->name.data);
    }
    if (st == VD_OK)
        st = vd_shrink_layer(c->s->shrink, layer, value, n, err);
    for (size_t k = 0; k < n; k++)
        vd_free((void *)value[k].values);
    return st == VD_OK ? vd_walk_next(walk, err) : st;
}

/* What is in no layer: the output's norm and, where it is not the embeddings, its matrix. */
static vd_status begin(width_cut *c, vd_err *err)
{
    const vd_cut_plan *p = &c->s->plan;
    const vd_gguf_tensor *head = vd_gguf_find_tensor(p->gguf, "output.weight");
    float *norm = NULL, *matrix = NULL;
    vd_shrink_values value[2];
    size_t n = 0;
    vd_linalg_mirror(c->head_gram, c->n);
    vd_status st = vd_alloc_array(p->width.n, sizeof(*norm), "a norm", &norm, err);
    if (st == VD_OK) {
        scale_norm(c, c->output_norm, c->head_gram, c->n + 1, norm);
        value[n++] = (vd_shrink_values){vd_gguf_find_tensor(p->gguf, "output_norm.weight"), norm};
    }
    if (st == VD_OK && head != NULL) {
        st = repair_reader(c, head, c->head_gram, &matrix, err);
        value[n++] = (vd_shrink_values){head, matrix};
    }
    if (st == VD_OK)
        st = vd_shrink_begin(c->s->shrink, value, n, err);
    vd_free(norm);
    vd_free(matrix);
    return st;
}

static vd_status take(width_cut *c, vd_err *err)
{
    size_t n_normed;
    c->ctx_max = c->s->options->calib.ctx != 0 ? c->s->options->calib.ctx : (size_t)VD_CALIB_CTX;
    if (!vd_mul_size(c->ctx_max, c->n, &n_normed))
        return VD_FAIL(err, VD_ERR_LIMIT, "chunks of %zu tokens are too long", c->ctx_max);
    vd_status st = vd_alloc_array(c->n, sizeof(double), "channels", &c->rating, err);
    if (st == VD_OK)
        st = vd_alloc_array(c->n * c->n, sizeof(double), "moments", &c->head_gram, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_normed, sizeof(double), "a chunk", &c->normed, err);
    if (st == VD_OK)
        st = floats_of(&c->s->plan, vd_gguf_find_tensor(c->s->plan.gguf, "output_norm.weight"),
                       &c->output_norm, err);
    return st;
}

vd_status vd_width_run(vd_cut_session *s, vd_err *err)
{
    width_cut c = {.s = s, .n = s->plan.width.n_all};
    size_t n_kept = vd_cut_plan_n_kept(c.n, s->cut->keep, s->options->multiple);
    vd_walk *walk = NULL;
    vd_status st = check(&s->plan, err);
    if (st == VD_OK && n_kept == c.n)
        st = VD_FAIL(err, VD_ERR_ARG, "--prune width:%g would leave everything: of %zu channels a "
                     "multiple of %zu stays. Keep less, or say a smaller --multiple",
                     s->cut->keep, c.n,
                     vd_cut_plan_multiple(c.n, s->cut->keep, s->options->multiple));
    s->n_passes = 2;
    if (st == VD_OK)
        st = take(&c, err);
    if (st == VD_OK)
        st = vd_session_walk(s, (vd_session_ear){true, add_head, &c}, &walk, err);
    if (st == VD_OK)
        st = rate_channels(&c, walk, err);
    vd_walk_free(walk);
    walk = NULL;
    if (st == VD_OK)
        st = choose(&c, n_kept, err);
    if (st == VD_OK)
        st = begin(&c, err);
    s->pass = 1;
    if (st == VD_OK)
        st = vd_session_walk(s, (vd_session_ear){.gram = true}, &walk, err);
    for (size_t i = 0; st == VD_OK && i < s->plan.n_layer; i++)
        st = cut_layer(&c, walk, i, err);
    vd_walk_free(walk);
    vd_free(c.rating);
    vd_free(c.head_gram);
    vd_free(c.normed);
    vd_free(c.output_norm);
    return st;
}
