/* plan.c - see plan.h. */
#include "compress/structured/plan.h"

#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

const vd_gguf_tensor *vd_cut_plan_tensor(const vd_cut_plan *plan, size_t layer, const char *base)
{
    char name[96];
    snprintf(name, sizeof(name), "blk.%zu.%s.weight", layer, base);
    return vd_gguf_find_tensor(plan->gguf, name);
}

/* Heads and neurons of a layer, as its tensors have them: the loader checks that they agree. */
static vd_status measure_layer(vd_cut_plan *p, size_t i, vd_err *err)
{
    const vd_gguf_tensor *k = vd_cut_plan_tensor(p, i, "attn_k"),
                         *o = vd_cut_plan_tensor(p, i, "attn_output"),
                         *qkv = vd_cut_plan_tensor(p, i, "attn_qkv"),
                         *down = vd_cut_plan_tensor(p, i, "ffn_down");
    size_t d = p->hp.head_dim, q = o != NULL ? (size_t)o->dim[0] : 0, kv = 0;
    if (k != NULL)
        kv = (size_t)k->dim[1];
    else if (qkv != NULL && qkv->dim[1] > q)
        kv = (size_t)(qkv->dim[1] - q) / 2;
    if (kv == 0 || kv % d != 0 || q % kv != 0 || q == 0)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "layer %zu has no attention as it is known here; "
                       "the model cannot be cut", i);
    p->groups[i] = (vd_kept){.n_all = kv / d, .n = kv / d};
    p->group[i] = q / kv;
    size_t neurons = down != NULL ? (size_t)down->dim[0] : p->hp.n_ff; /* of experts: not cut */
    p->neurons[i] = (vd_kept){.n_all = neurons, .n = neurons};
    p->new_layer[i] = i;
    return VD_OK;
}

vd_status vd_cut_plan_open(const char *path, vd_cut_plan *ret_plan, vd_err *err)
{
    vd_cut_plan p = {0};
    vd_status st = vd_gguf_open(path, NULL, &p.gguf, err);
    if (st == VD_OK)
        st = vd_arch_find(p.gguf, &p.arch, err);
    if (st == VD_OK)
        st = vd_arch_read(p.arch, p.gguf, &p.hp, err);
    if (st == VD_OK && p.hp.block.encoder)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s is an encoder; only models that write text are "
                     "cut", p.arch->name);
    size_t n = p.n_layer = p.n_layer_new = p.hp.n_layer;
    p.width = (vd_kept){.n_all = p.hp.n_embd, .n = p.hp.n_embd};
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*p.neurons), "layers", &p.neurons, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*p.groups), "layers", &p.groups, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*p.group), "layers", &p.group, err);
    if (st == VD_OK)
        st = vd_alloc_array(n, sizeof(*p.new_layer), "layers", &p.new_layer, err);
    for (size_t i = 0; st == VD_OK && i < vd_gguf_n_tensors(p.gguf); i++)
        if (vd_gguf_tensor_at(p.gguf, i)->is_sparse)
            st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s has sparse matrices; cut the model that it "
                         "was made of", path);
    for (size_t i = 0; st == VD_OK && i < n; i++)
        st = measure_layer(&p, i, err);
    if (st == VD_OK) {
        *ret_plan = p;
        return VD_OK;
    }
    vd_cut_plan_done(&p);
    return st;
}

void vd_cut_plan_done(vd_cut_plan *p)
{
    for (size_t i = 0; i < p->n_layer; i++) {
        if (p->neurons != NULL)
            vd_free(p->neurons[i].index);
        if (p->groups != NULL)
            vd_free(p->groups[i].index);
    }
    vd_free(p->width.index);
    vd_free(p->neurons);
    vd_free(p->groups);
    vd_free(p->group);
    vd_free(p->new_layer);
    vd_gguf_free(p->gguf);
    *p = (vd_cut_plan){0};
}

static size_t round_to(double value, size_t multiple, size_t n)
{
    double rounded = floor(value / (double)multiple + 0.5) * (double)multiple;
    return VD_MIN(VD_MAX((size_t)rounded, VD_MIN(multiple, n)), n);
}

size_t vd_cut_plan_multiple(size_t n, double keep, size_t multiple)
{
    if (multiple != 0)
        return multiple;
    double wanted = keep * (double)n;
    for (multiple = 256; multiple > 32; multiple /= 2)
        if (n % multiple == 0 &&
            fabs((double)round_to(wanted, multiple, n) - wanted) <= (double)n / 32)
            return multiple;
    return n % 32 == 0 ? 32 : 1;
}

size_t vd_cut_plan_n_kept(size_t n, double keep, size_t multiple)
{
    return round_to(keep * (double)n, vd_cut_plan_multiple(n, keep, multiple), n);
}

vd_status vd_kept_all_but(vd_kept *kept, const size_t *gone, size_t n_gone, vd_err *err)
{
    bool *goes = NULL;
    size_t *index = NULL, n = 0;
    vd_status st = vd_alloc_array(kept->n_all, sizeof(*goes), "units", &goes, err);
    if (st == VD_OK)
        st = vd_alloc_array(kept->n_all - n_gone, sizeof(*index), "units", &index, err);
    if (st == VD_OK) {
        for (size_t i = 0; i < n_gone; i++)
            goes[gone[i]] = true;
        for (size_t i = 0; i < kept->n_all; i++)
            if (!goes[i])
                index[n++] = i;
        vd_free(kept->index);
        kept->index = index;
        kept->n = n;
    }
    vd_free(goes);
    return st;
}

bool vd_cut_plan_is_uneven(const vd_cut_plan *p)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < p->n_layer; i++) {
        if (p->new_layer[i] == SIZE_MAX)
            continue;
        if (first == SIZE_MAX)
            first = i;
        if (p->neurons[i].n != p->neurons[first].n || p->groups[i].n != p->groups[first].n ||
            p->group[i] != p->group[first])
            return true;
    }
    return false;
}
