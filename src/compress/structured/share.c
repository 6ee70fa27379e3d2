/* share.c - see share.h. Greedy: the next step of every layer is compared each time. A cost is
 * taken to be no less than the one before it, so that no cheap unit hides behind a dear one. */
#include "compress/structured/share.h"

#include <math.h>

#include "base/alloc.h"
#include "base/checked.h"

static double next_cost(const vd_share_layer *layer, size_t step)
{
    double sum = 0;
    if (layer->n_gone + step > layer->n_most)
        return INFINITY;
    for (size_t i = 0; i < step; i++)
        sum += layer->cost[layer->n_gone + i];
    return layer->energy > 0 ? sum / layer->energy : sum;
}

vd_status vd_share_out(vd_share_layer *layer, size_t n_layer, size_t n_gone, size_t step,
                       vd_err *err)
{
    double *next = NULL;
    vd_status st = vd_alloc_array(n_layer, sizeof(*next), "layers", &next, err);
    if (st != VD_OK)
        return st;
    for (size_t i = 0; i < n_layer; i++) {
        for (size_t k = 1; k < layer[i].n_most; k++)
            layer[i].cost[k] = fmax(layer[i].cost[k], layer[i].cost[k - 1]);
        layer[i].n_gone = 0;
        next[i] = next_cost(&layer[i], step);
    }
    for (size_t gone = 0; gone + step <= n_gone; gone += step) {
        size_t best = 0;
        for (size_t i = 1; i < n_layer; i++)
            if (next[i] < next[best])
                best = i;
        if (isinf(next[best]))
            break;
        layer[best].n_gone += step;
        next[best] = next_cost(&layer[best], step);
    }
    vd_free(next);
    return VD_OK;
}
