/* prefix.c - see prefix.h. */
#include "text/prefix.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"

static int compare_texts(const void *a, const void *b, void *context)
{
    const vd_str *text = context;
    const vd_str *x = &text[*(const uint32_t *)a], *y = &text[*(const uint32_t *)b];
    size_t n = VD_MIN(x->n, y->n);
    int order = memcmp(x->data, y->data, n);
    if (order != 0)
        return order;
    return x->n < y->n ? -1 : x->n > y->n;
}

/* The texts of one node: sorted[low..high), which agree in their first `depth` bytes. */
typedef struct range {
    uint32_t low, high;
    size_t depth;
} range;

/* Distinct beginnings of the sorted texts, the empty one too: the nodes of their trie. */
static size_t count_nodes(const vd_str *text, const uint32_t *sorted, uint32_t n)
{
    size_t nodes = 1;
    for (uint32_t i = 0; i < n; i++) {
        vd_str one = text[sorted[i]];
        size_t shared = 0;
        if (i > 0) {
            vd_str before = text[sorted[i - 1]];
            while (shared < VD_MIN(one.n, before.n) && one.data[shared] == before.data[shared])
                shared++;
        }
        nodes += one.n - shared; /* no overflow: all texts lie in one file */
    }
    return nodes;
}

/* Breadth first: `at` holds a range for each node that has been numbered. */
static void fill(vd_prefix_table *table, const vd_str *text, const uint32_t *sorted, range *at)
{
    uint32_t n_numbered = 1;
    at[0] = (range){0, table->n, 0};
    for (uint32_t node = 0; node < table->n_nodes; node++) {
        range here = at[node];
        table->id[node] = VD_PREFIX_NO_ID;
        /* Of those that agree in `depth` bytes, one of just that length stands first. */
        if (here.depth > 0 && text[sorted[here.low]].n == here.depth)
            table->id[node] = sorted[here.low++];
        table->first[node] = n_numbered;
        for (uint32_t i = here.low, end; i < here.high; i = end) {
            char byte = text[sorted[i]].data[here.depth];
            end = i + 1;
            while (end < here.high && text[sorted[end]].data[here.depth] == byte)
                end++;
            table->byte[n_numbered] = (unsigned char)byte;
            at[n_numbered++] = (range){i, end, here.depth + 1};
        }
    }
    table->first[table->n_nodes] = n_numbered;
}

vd_status vd_prefix_init(vd_prefix_table *table, vd_arena *arena, const vd_str *text,
                         const uint32_t *ids, uint32_t n, vd_err *err)
{
    *table = (vd_prefix_table){0};
    uint32_t *sorted = NULL;
    range *at = NULL;
    vd_status st = vd_alloc_array(n, sizeof(*sorted), "a token table", &sorted, err);
    if (st != VD_OK)
        return st;
    for (uint32_t i = 0; i < n; i++)
        if (text[ids[i]].n > 0)
            sorted[table->n++] = ids[i];
    if (table->n == 0)
        goto out;
    qsort_r(sorted, table->n, sizeof(*sorted), compare_texts, (void *)text);
    size_t n_nodes = count_nodes(text, sorted, table->n);
    if (n_nodes >= UINT32_MAX) {
        st = VD_FAIL(err, VD_ERR_LIMIT, "the tokens' texts are too long for a table: %zu bytes "
                     "that differ", n_nodes);
        goto out;
    }
    table->n_nodes = (uint32_t)n_nodes;
    st = vd_alloc_array(n_nodes, sizeof(*at), "a token table", &at, err);
    if (st == VD_OK)
        st = vd_arena_array(arena, n_nodes + 1, sizeof(*table->first), "a token table",
                            &table->first, err);
    if (st == VD_OK)
        st = vd_arena_array(arena, n_nodes, sizeof(*table->id), "a token table", &table->id, err);
    if (st == VD_OK)
        st = vd_arena_array(arena, n_nodes, 1, "a token table", &table->byte, err);
    if (st == VD_OK)
        fill(table, text, sorted, at);
out:
    vd_free(at);
    vd_free(sorted);
    if (st != VD_OK)
        *table = (vd_prefix_table){0};
    return st;
}

bool vd_prefix_step(const vd_prefix_table *table, uint32_t *node, unsigned char byte)
{
    if (table->n_nodes == 0)
        return false;
    uint32_t low = table->first[*node], end = table->first[*node + 1], high = end;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->byte[middle] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == end || table->byte[low] != byte)
        return false;
    *node = low;
    return true;
}

size_t vd_prefix_longest(const vd_prefix_table *table, const char *text, size_t n,
                         uint32_t *ret_id)
{
    size_t longest = 0;
    uint32_t node = VD_PREFIX_ROOT;
    for (size_t i = 0; i < n && vd_prefix_step(table, &node, (unsigned char)text[i]); i++) {
        if (table->id[node] == VD_PREFIX_NO_ID)
            continue;
        longest = i + 1;
        *ret_id = table->id[node];
    }
    return longest;
}
