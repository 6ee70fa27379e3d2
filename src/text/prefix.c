/* prefix.c - see prefix.h. */
#include "text/prefix.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

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

vd_status vd_prefix_init(vd_prefix_table *table, vd_arena *arena, const vd_str *text,
                         const uint32_t *ids, uint32_t n, vd_err *err)
{
    *table = (vd_prefix_table){.text = text};
    vd_status st = vd_arena_array(arena, n, sizeof(*table->id), "token table", &table->id, err);
    if (st != VD_OK)
        return st;
    for (uint32_t i = 0; i < n; i++)
        if (text[ids[i]].n > 0)
            table->id[table->n++] = ids[i];
    qsort_r(table->id, table->n, sizeof(*table->id), compare_texts, (void *)text);
    for (uint32_t i = 0; i < table->n; i++)
        table->first[(unsigned char)text[table->id[i]].data[0] + 1]++;
    for (int b = 0; b < 256; b++)
        table->first[b + 1] += table->first[b];
    return VD_OK;
}

/* The first place in [low, high) whose text has at `depth` a byte of at least `byte`. All texts
 * there agree before `depth` and are longer than it. */
static uint32_t lower_bound(const vd_prefix_table *table, uint32_t low, uint32_t high, size_t depth,
                            unsigned byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((unsigned char)table->text[table->id[middle]].data[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t vd_prefix_longest(const vd_prefix_table *table, const char *text, size_t n,
                         uint32_t *ret_id)
{
    if (n == 0)
        return 0;
    unsigned char byte = (unsigned char)text[0];
    uint32_t low = table->first[byte], high = table->first[byte + 1];
    size_t longest = 0;
    for (size_t depth = 1; low < high; depth++) {
        /* Of those that agree in `depth` bytes, one of just that length stands first. */
        if (table->text[table->id[low]].n == depth) {
            longest = depth;
            *ret_id = table->id[low++];
        }
        if (depth == n)
            break;
        byte = (unsigned char)text[depth];
        low = lower_bound(table, low, high, depth, byte);
        high = lower_bound(table, low, high, depth, byte + 1u);
    }
    return longest;
}
