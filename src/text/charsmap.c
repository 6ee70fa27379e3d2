/*
 * charsmap.c - see charsmap.h. A trie made to hurt can only fail to match: places outside the
 * array end a match, and so does a length that no rule has.
 */
#include "text/charsmap.h"

#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

/* Far above what is in use: 18 bytes become at most 33 in NFKC. They bound the time of a lookup
 * and how much a text can grow. */
enum { FROM_BYTES_MAX = 256, TO_BYTES_MAX = 1024 };

static uint32_t little_endian(const unsigned char *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static vd_status check_replacements(const vd_charsmap *map, vd_err *err)
{
    if (map->text[map->n_text - 1] != '\0')
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.precompiled_charsmap: the last "
                       "replacement is not ended by a zero");
    for (size_t i = 0, n; i < map->n_text; i += n + 1) {
        n = strlen(map->text + i);
        if (n > TO_BYTES_MAX)
            return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.precompiled_charsmap: a replacement "
                           "of %zu bytes; at most %d are possible", n, TO_BYTES_MAX);
    }
    return VD_OK;
}

vd_status vd_charsmap_load(vd_charsmap *map, vd_arena *arena, const vd_gguf *gguf, vd_err *err)
{
    const vd_gguf_kv *kv = vd_gguf_find(gguf, "tokenizer.ggml.precompiled_charsmap");
    if (kv == NULL)
        return VD_OK;
    if (kv->type != VD_GGUF_TYPE_ARRAY ||
        (kv->item_type != VD_GGUF_TYPE_U8 && kv->item_type != VD_GGUF_TYPE_I8))
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.precompiled_charsmap must be an array "
                       "of bytes");
    if (kv->n_items == 0)
        return VD_OK;
    size_t n = (size_t)kv->n_items, trie = n < 4 ? 0 : little_endian(kv->data);
    if (n < 4 || trie % 4 != 0 || trie >= n - 4)
        return VD_FAIL(err, VD_ERR_FORMAT, "tokenizer.ggml.precompiled_charsmap: %zu bytes do not "
                       "hold a trie of %zu and its replacements", n, trie);
    map->n_text = n - 4 - trie;
    vd_status st = vd_arena_array(arena, trie / 4, sizeof(*map->unit), "normalization rules",
                                  &map->unit, err);
    if (st == VD_OK)
        st = vd_arena_array(arena, map->n_text, 1, "normalization rules", &map->text, err);
    if (st != VD_OK)
        return st;
    map->n_units = trie / 4;
    for (size_t i = 0; i < map->n_units; i++)
        map->unit[i] = little_endian(kv->data + 4 + 4 * i);
    memcpy(map->text, kv->data + 4 + trie, map->n_text);
    return check_replacements(map, err);
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

size_t vd_charsmap_longest(const vd_charsmap *map, const char *text, size_t n, vd_str *ret_to)
{
    if (map->n_units == 0)
        return 0;
    size_t longest = 0;
    uint32_t at = offset_of(map->unit[0]);
    for (size_t i = 0; i < VD_MIN(n, (size_t)FROM_BYTES_MAX); i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (byte == 0 || at >= map->n_units || (map->unit[at] & (1u << 31 | 0xFFu)) != byte)
            break;
        uint32_t unit = map->unit[at];
        at ^= offset_of(unit);
        if ((unit & 1u << 8) == 0)
            continue;
        if (at >= map->n_units || (map->unit[at] & INT32_MAX) >= map->n_text)
            break;
        const char *to = map->text + (map->unit[at] & INT32_MAX);
        *ret_to = (vd_str){to, strlen(to)};
        longest = i + 1;
    }
    return longest;
}
