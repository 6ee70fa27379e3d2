/*
 * specials.c - which tokens begin, end and separate texts.
 *
 * Names come from tokenizer_config.json (or special_tokens_map.json), ids from config.json, and
 * what is put around a text from the post_processor of tokenizer.json and the add_..._token
 * switches beside the names.
 */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "import/folder.h"
#include "import/vocabulary.h"

static const char *const names[VD_SPECIAL_EOT] = {"bos", "eos", "unk", "sep", "pad", "cls",
                                                  "mask"};

/* "<s>" or {"content": "<s>"}; NULL. */
static const char *content(const json_t *entry)
{
    const char *text = json_string_value(entry);
    return text != NULL ? text : json_string_value(json_object_get(entry, "content"));
}

static int32_t find_id(const vd_vocabulary *v, const char *text)
{
    return text != NULL ? vd_vocabulary_find(v, text, strlen(text)) : -1;
}

/* config["bos_token"] */
static const json_t *token_of(const json_t *config, const char *name)
{
    char key[32];
    snprintf(key, sizeof(key), "%s_token", name);
    return json_object_get(config, key);
}

static void take_names(vd_vocabulary *v, const json_t *config)
{
    for (size_t i = 0; i < VD_SPECIAL_EOT; i++)
        if (v->special[i] < 0 || i == VD_SPECIAL_UNK) {
            int32_t id = find_id(v, content(token_of(config, names[i])));
            v->special[i] = id >= 0 ? id : v->special[i];
        }
}

/* The first of a list: models may end in several ways. */
static int32_t first_id(const vd_vocabulary *v, const json_t *value)
{
    const json_t *id = json_is_array(value) ? json_array_get(value, 0) : value;
    json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
    return n >= 0 && n < (json_int_t)v->n ? (int32_t)n : -1;
}

static void take_ids(vd_vocabulary *v, const vd_config *config)
{
    static const char *const keys[VD_SPECIAL_EOT] = {
        "bos_token_id", "eos_token_id", "unk_token_id", "sep_token_id", "pad_token_id",
        "cls_token_id", "mask_token_id"};
    for (size_t i = 0; i < VD_SPECIAL_EOT; i++)
        if (v->special[i] < 0)
            v->special[i] = first_id(v, vd_config_find(config, keys[i]));
}

static vd_said said(const json_t *value, vd_said otherwise)
{
    return json_is_boolean(value) ? json_is_true(value) ? VD_YES : VD_NO : otherwise;
}

/* TemplateProcessing: {"single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": ...}, ...]} */
static void take_template(vd_vocabulary *v, const json_t *processor)
{
    const json_t *single = json_object_get(processor, "single");
    size_t n = json_array_size(single);
    const char *ends[2] = {NULL, NULL};
    for (size_t i = 0; n > 1 && i < 2; i++)
        ends[i] = json_string_value(json_object_get(
            json_object_get(json_array_get(single, i == 0 ? 0 : n - 1), "SpecialToken"), "id"));
    int32_t first = find_id(v, ends[0]), last = find_id(v, ends[1]);
    v->add_bos = first >= 0 ? VD_YES : VD_NO;
    v->add_eos = last >= 0 ? VD_YES : VD_NO;
    if (first >= 0)
        v->special[VD_SPECIAL_BOS] = first; /* what is put in front is what begins a text */
    /* What the tokenizer ends texts with is their end; what else ends a turn has a place too. */
    if (last >= 0 && last != v->special[VD_SPECIAL_EOS]) {
        v->special[VD_SPECIAL_EOT] = v->special[VD_SPECIAL_EOS];
        v->special[VD_SPECIAL_EOS] = last;
    }
}

static void take_processor(vd_vocabulary *v, const json_t *processor, int depth)
{
    const char *type = json_string_value(json_object_get(processor, "type"));
    if (type == NULL || depth > 8)
        return;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(processor, "processors");
        for (size_t i = 0; i < json_array_size(list); i++)
            take_processor(v, json_array_get(list, i), depth + 1);
    } else if (strcmp(type, "TemplateProcessing") == 0) {
        take_template(v, processor);
    } else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        v->add_bos = v->add_eos = VD_YES;
        int32_t cls = find_id(v, json_string_value(json_array_get(
                                     json_object_get(processor, "cls"), 0)));
        int32_t sep = find_id(v, json_string_value(json_array_get(
                                     json_object_get(processor, "sep"), 0)));
        v->special[VD_SPECIAL_CLS] = cls >= 0 ? cls : v->special[VD_SPECIAL_CLS];
        v->special[VD_SPECIAL_SEP] = sep >= 0 ? sep : v->special[VD_SPECIAL_SEP];
    }
}

/* generation_config.json may name more ends than one. */
static void take_ends(vd_vocabulary *v, const json_t *generation)
{
    const json_t *ends = json_object_get(generation, "eos_token_id");
    int32_t *eos = &v->special[VD_SPECIAL_EOS], *eot = &v->special[VD_SPECIAL_EOT];
    if (*eos < 0)
        *eos = first_id(v, ends);
    if (v->special[VD_SPECIAL_BOS] < 0)
        v->special[VD_SPECIAL_BOS] = first_id(v, json_object_get(generation, "bos_token_id"));
    for (size_t i = 0; i < json_array_size(ends); i++) {
        int32_t id = first_id(v, json_array_get(ends, i));
        if (id >= 0 && id != *eos && *eot < 0)
            *eot = id;
    }
}

/* BERT's names for what begins and ends a text. */
static void take_bert(vd_vocabulary *v)
{
    if (v->special[VD_SPECIAL_BOS] < 0)
        v->special[VD_SPECIAL_BOS] = v->special[VD_SPECIAL_CLS];
    if (v->special[VD_SPECIAL_EOS] < 0)
        v->special[VD_SPECIAL_EOS] = v->special[VD_SPECIAL_SEP];
    if (strcmp(v->model, "bert") != 0)
        return;
    /* The end of a text is its separator there: once is enough. */
    v->add_bos = v->add_sep = VD_YES;
    v->add_eos = VD_UNSAID;
    v->special[VD_SPECIAL_EOT] = -1;
}

vd_status vd_vocabulary_specials(vd_vocabulary *v, const char *folder, const vd_config *config,
                                 const json_t *tokenizer, const json_t *tokenizer_config,
                                 vd_err *err)
{
    json_t *map = NULL, *generation = NULL;
    vd_status st = vd_folder_json(folder, "special_tokens_map.json", &map, err);
    if (st == VD_OK)
        st = vd_folder_json(folder, "generation_config.json", &generation, err);
    if (st != VD_OK)
        goto out;
    take_names(v, tokenizer_config);
    take_names(v, map);
    take_bert(v);
    take_ids(v, config);
    if (tokenizer != NULL) { /* it says all of it: what it does not add is not added */
        v->add_bos = v->add_eos = VD_NO;
        take_processor(v, json_object_get(tokenizer, "post_processor"), 0);
    }
    v->add_bos = said(json_object_get(tokenizer_config, "add_bos_token"), v->add_bos);
    v->add_eos = said(json_object_get(tokenizer_config, "add_eos_token"), v->add_eos);
    take_ends(v, generation);
    take_bert(v);
    if (v->special[VD_SPECIAL_BOS] < 0 && v->add_bos == VD_YES)
        v->add_bos = VD_NO;
    if (v->special[VD_SPECIAL_EOS] < 0 && v->add_eos == VD_YES)
        v->add_eos = VD_NO;
out:
    json_decref(map);
    json_decref(generation);
    return st;
}
