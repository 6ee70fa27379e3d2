/* cmd_show.c - `verdant show MODEL`: what a GGUF file holds, as a person or a program wants it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "cli/cli.h"
#include "cli/format.h"
#include "kernels/dtype.h"
#include "model/gguf.h"
#include "model/store.h"

enum { COLUMNS = 100, ITEMS_SHOWN = 6, JSON_ITEMS_MAX = 64 };

typedef struct show_options {
    const char *model;
    bool metadata_only, json, tensors;
} show_options;

/* What is known about the whole, from metadata every architecture shares. */
typedef struct summary {
    const char *path;
    vd_str architecture, name, vocabulary, pre_tokenizer;
    uint32_t context, layers, embedding, heads, kv_heads; /* 0 = not said */
    uint64_t n_vocabulary, n_values, tensor_bytes;
    bool has_template;
    uint64_t type_bytes[VD_DTYPE_LIMIT], type_count[VD_DTYPE_LIMIT];
} summary;

/* "ARCHITECTURE.suffix" as a number, or 0. */
static uint32_t arch_u32(const vd_gguf *gguf, vd_str arch, const char *suffix)
{
    char key[128];
    uint32_t value = 0;
    int n = snprintf(key, sizeof(key), "%.*s.%s", (int)VD_MIN(arch.n, (size_t)64), arch.data,
                     suffix);
    if (n > 0 && (size_t)n < sizeof(key))
        vd_gguf_get_u32(gguf, key, &value);
    return value;
}

static summary summarize(const vd_gguf *gguf, const char *path)
{
    summary s = {.path = path};
    vd_str chat_template;
    vd_gguf_get_str(gguf, "general.architecture", &s.architecture);
    vd_gguf_get_str(gguf, "general.name", &s.name);
    vd_gguf_get_str(gguf, "tokenizer.ggml.model", &s.vocabulary);
    vd_gguf_get_str(gguf, "tokenizer.ggml.pre", &s.pre_tokenizer);
    s.has_template = vd_gguf_get_str(gguf, "tokenizer.chat_template", &chat_template);
    if (s.architecture.data == NULL)
        s.architecture.data = "";
    s.context = arch_u32(gguf, s.architecture, "context_length");
    s.layers = arch_u32(gguf, s.architecture, "block_count");
    s.embedding = arch_u32(gguf, s.architecture, "embedding_length");
    s.heads = arch_u32(gguf, s.architecture, "attention.head_count");
    s.kv_heads = arch_u32(gguf, s.architecture, "attention.head_count_kv");
    const vd_gguf_kv *tokens = vd_gguf_find(gguf, "tokenizer.ggml.tokens");
    s.n_vocabulary = tokens != NULL ? tokens->n_items : 0;
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *tensor = vd_gguf_tensor_at(gguf, i);
        s.n_values += tensor->dim[0] * tensor->dim[1] * tensor->dim[2] * tensor->dim[3];
        s.tensor_bytes += tensor->n_bytes;
        s.type_bytes[tensor->dtype] += tensor->n_bytes;
        s.type_count[tensor->dtype]++;
    }
    return s;
}

static const char *vocabulary_kind(vd_str model)
{
    static const struct {
        const char *model, *kind;
    } known[] = {{"llama", "SPM"}, {"gpt2", "BPE"}, {"bert", "WordPiece"}, {"t5", "Unigram"},
                 {"rwkv", "RWKV"}, {"plamo2", "PLaMo-2"}};
    for (size_t i = 0; i < VD_COUNT(known); i++)
        if (strlen(known[i].model) == model.n && memcmp(known[i].model, model.data, model.n) == 0)
            return known[i].kind;
    return "unknown kind";
}

/* The type after `previous` (-1 first) by falling share of bytes; -1 when there is none left. */
static int next_type(const summary *s, int previous)
{
    int best = -1;
    for (int i = 0; i < VD_DTYPE_LIMIT; i++) {
        if (s->type_count[i] == 0)
            continue;
        bool after = previous < 0 || s->type_bytes[i] < s->type_bytes[previous] ||
                     (s->type_bytes[i] == s->type_bytes[previous] && i > previous);
        if (after && (best < 0 || s->type_bytes[i] > s->type_bytes[best]))
            best = i;
    }
    return best;
}

static void label(const char *text)
{
    printf("%-15s", text);
}

static void put_str_line(const char *name, vd_str value)
{
    if (value.n == 0)
        return;
    label(name);
    vd_cli_put_clean(stdout, value.data, value.n, COLUMNS - 15);
    putchar('\n');
}

static void put_types(const summary *s)
{
    label("weights");
    const char *separator = "";
    for (int i = next_type(s, -1); i >= 0; i = next_type(s, i)) {
        double share = s->tensor_bytes > 0
                           ? 100.0 * (double)s->type_bytes[i] / (double)s->tensor_bytes : 0;
        printf("%s%s %.1f %% (%" PRIu64 ")", separator, vd_dtype_name((uint32_t)i), share,
               s->type_count[i]);
        separator = ", ";
    }
    printf("%s\n", separator[0] == '\0' ? "none (vocabulary only)" : " of bytes (tensors)");
}

static void put_summary(const vd_gguf *gguf, const summary *s)
{
    label("file");
    vd_cli_put_clean(stdout, s->path, strlen(s->path), 4096);
    putchar('\n');
    put_str_line("name", s->name);
    put_str_line("architecture", s->architecture);
    label("parameters");
    printf("%s (%" PRIu64 ")\n", vd_cli_count(s->n_values).text, s->n_values);
    label("size");
    printf("%s (%" PRIu64 " bytes)\n", vd_cli_size(vd_gguf_file_bytes(gguf)).text,
           vd_gguf_file_bytes(gguf));
    put_types(s);
    if (s->layers > 0) {
        label("shape");
        printf("%u layers, %u wide", s->layers, s->embedding);
        if (s->heads > 0)
            printf(", %u heads", s->heads);
        if (s->kv_heads > 0)
            printf(", %u for keys and values", s->kv_heads);
        putchar('\n');
    }
    if (s->context > 0) {
        label("context");
        printf("%u tokens\n", s->context);
    }
    label("vocabulary");
    if (s->vocabulary.n > 0) {
        printf("%s (", vocabulary_kind(s->vocabulary));
        vd_cli_put_clean(stdout, s->vocabulary.data, s->vocabulary.n, 40);
        if (s->pre_tokenizer.n > 0) {
            fputs(", ", stdout);
            vd_cli_put_clean(stdout, s->pre_tokenizer.data, s->pre_tokenizer.n, 40);
        }
        printf("), %" PRIu64 " tokens\n", s->n_vocabulary);
    } else {
        puts("none");
    }
    label("chat template");
    puts(s->has_template ? "yes" : "no");
    label("format");
    printf("GGUF v%" PRIu32 ", alignment %" PRIu64 ", %zu metadata keys, %zu tensors\n",
           vd_gguf_version(gguf), vd_gguf_alignment(gguf), vd_gguf_n_kv(gguf),
           vd_gguf_n_tensors(gguf));
}

/* One item that is no string, as text. */
static vd_cli_text item_text(const vd_gguf_kv *kv, uint64_t i)
{
    vd_cli_text out = {"?"};
    uint64_t u64;
    int64_t i64;
    double f64;
    if (kv->item_type == VD_GGUF_TYPE_BOOL && vd_gguf_item_u64(kv, i, &u64))
        snprintf(out.text, sizeof(out.text), "%s", u64 != 0 ? "true" : "false");
    else if (vd_gguf_item_u64(kv, i, &u64))
        snprintf(out.text, sizeof(out.text), "%" PRIu64, u64);
    else if (vd_gguf_item_i64(kv, i, &i64))
        snprintf(out.text, sizeof(out.text), "%" PRId64, i64);
    else if (vd_gguf_item_f64(kv, i, &f64))
        out = vd_cli_real(f64, kv->item_type == VD_GGUF_TYPE_F32);
    return out;
}

static void put_value(const vd_gguf_kv *kv, size_t columns)
{
    const unsigned char *cursor = kv->data;
    bool array = kv->type == VD_GGUF_TYPE_ARRAY;
    if (!array && kv->type == VD_GGUF_TYPE_STRING) {
        vd_str text = vd_gguf_next_str(&cursor);
        vd_cli_put_clean(stdout, text.data, text.n, columns);
        return;
    }
    uint64_t n = VD_MIN(kv->n_items, (uint64_t)ITEMS_SHOWN);
    for (uint64_t i = 0; i < n; i++) {
        if (i > 0)
            fputs(", ", stdout);
        if (kv->item_type == VD_GGUF_TYPE_STRING) {
            vd_str text = vd_gguf_next_str(&cursor);
            vd_cli_put_clean(stdout, text.data, text.n, 12);
        } else {
            fputs(item_text(kv, i).text, stdout);
        }
    }
    if (n < kv->n_items)
        printf(", \xe2\x80\xa6");
}

static void put_metadata(const vd_gguf *gguf)
{
    size_t width = 3;
    for (size_t i = 0; i < vd_gguf_n_kv(gguf); i++)
        width = VD_MAX(width, VD_MIN(vd_gguf_kv_at(gguf, i)->key.n, (size_t)48));
    if (vd_gguf_n_kv(gguf) > 0)
        printf("\n%-*s  %-16s value\n", (int)width, "key", "type");
    for (size_t i = 0; i < vd_gguf_n_kv(gguf); i++) {
        const vd_gguf_kv *kv = vd_gguf_kv_at(gguf, i);
        char type[40];
        size_t used = vd_cli_put_clean(stdout, kv->key.data, kv->key.n, 48);
        if (kv->type == VD_GGUF_TYPE_ARRAY)
            snprintf(type, sizeof(type), "%s[%" PRIu64 "]", vd_gguf_type_name(kv->item_type),
                     kv->n_items);
        else
            snprintf(type, sizeof(type), "%s", vd_gguf_type_name(kv->type));
        printf("%*s  %-16s ", (int)(width > used ? width - used : 0), "", type);
        put_value(kv, COLUMNS > width + 19 ? COLUMNS - width - 19 : 40);
        putchar('\n');
    }
}

static void put_tensors(const vd_gguf *gguf)
{
    size_t width = 6;
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++)
        width = VD_MAX(width, vd_gguf_tensor_at(gguf, i)->name.n);
    printf("\n%-*s  %-8s %14s %14s  dimensions\n", (int)width, "tensor", "type", "bytes", "offset");
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++) {
        const vd_gguf_tensor *tensor = vd_gguf_tensor_at(gguf, i);
        size_t used = vd_cli_put_clean(stdout, tensor->name.data, tensor->name.n, 64);
        printf("%*s  %-8s %14" PRIu64 " %14" PRIu64 " ", (int)(width > used ? width - used : 0), "",
               vd_dtype_name(tensor->dtype), tensor->n_bytes, tensor->offset);
        for (uint32_t k = 0; k < tensor->n_dims; k++)
            printf("%s %" PRIu64, k > 0 ? " x" : "", tensor->dim[k]);
        puts(tensor->is_sparse ? ", sparse" : "");
    }
}

static json_t *json_item(const vd_gguf_kv *kv, uint64_t i, const unsigned char **cursor)
{
    uint64_t u64 = 0;
    int64_t i64;
    double f64;
    if (kv->item_type == VD_GGUF_TYPE_STRING) {
        vd_str text = vd_gguf_next_str(cursor);
        return vd_cli_json_string(text.data, text.n);
    }
    if (kv->item_type == VD_GGUF_TYPE_BOOL)
        return json_boolean(vd_gguf_item_u64(kv, i, &u64) && u64 != 0);
    if (vd_gguf_item_i64(kv, i, &i64))
        return json_integer(i64);
    bool is_f32 = kv->item_type == VD_GGUF_TYPE_F32;
    if ((is_f32 || kv->item_type == VD_GGUF_TYPE_F64) && vd_gguf_item_f64(kv, i, &f64) &&
        f64 - f64 == 0)
        return json_real(strtod(vd_cli_real(f64, is_f32).text, NULL));
    return json_string(item_text(kv, i).text); /* what JSON numbers cannot say: 2^63.., NaN */
}

static json_t *json_kv(const vd_gguf_kv *kv)
{
    const unsigned char *cursor = kv->data;
    json_t *object = json_object();
    json_object_set_new(object, "key", vd_cli_json_string(kv->key.data, kv->key.n));
    json_object_set_new(object, "type", json_string(vd_gguf_type_name(kv->type)));
    if (kv->type != VD_GGUF_TYPE_ARRAY) {
        json_object_set_new(object, "value", json_item(kv, 0, &cursor));
        return object;
    }
    json_t *items = json_array();
    for (uint64_t i = 0; i < VD_MIN(kv->n_items, (uint64_t)JSON_ITEMS_MAX); i++)
        json_array_append_new(items, json_item(kv, i, &cursor));
    json_object_set_new(object, "item_type", json_string(vd_gguf_type_name(kv->item_type)));
    json_object_set_new(object, "n_items", json_integer((json_int_t)kv->n_items));
    json_object_set_new(object, kv->n_items > JSON_ITEMS_MAX ? "first_items" : "value", items);
    return object;
}

static json_t *json_tensor(const vd_gguf_tensor *tensor)
{
    json_t *dims = json_array();
    for (uint32_t k = 0; k < tensor->n_dims; k++)
        json_array_append_new(dims, json_integer((json_int_t)tensor->dim[k]));
    return json_pack("{s:o, s:s, s:o, s:I, s:I, s:i, s:b}", "name",
                     vd_cli_json_string(tensor->name.data, tensor->name.n), "type",
                     vd_dtype_name(tensor->dtype), "dimensions", dims, "bytes",
                     (json_int_t)tensor->n_bytes, "offset", (json_int_t)tensor->offset, "shard",
                     (int)tensor->shard, "sparse", tensor->is_sparse);
}

static json_t *json_or_null(vd_str text)
{
    return text.n > 0 ? vd_cli_json_string(text.data, text.n) : json_null();
}

static json_t *number_or_null(uint64_t n)
{
    return n > 0 ? json_integer((json_int_t)n) : json_null();
}

static json_t *json_model(const vd_gguf *gguf, const summary *s, bool with_tensors)
{
    json_t *weights = json_array(), *metadata = json_array(), *root;
    for (int i = next_type(s, -1); i >= 0; i = next_type(s, i))
        json_array_append_new(weights, json_pack("{s:s, s:I, s:I}", "type",
                                                 vd_dtype_name((uint32_t)i), "tensors",
                                                 (json_int_t)s->type_count[i], "bytes",
                                                 (json_int_t)s->type_bytes[i]));
    for (size_t i = 0; i < vd_gguf_n_kv(gguf); i++)
        json_array_append_new(metadata, json_kv(vd_gguf_kv_at(gguf, i)));
    root = json_pack(
        "{s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:b, s:i, s:I, s:I, s:o}", "file",
        vd_cli_json_string(s->path, strlen(s->path)), "name", json_or_null(s->name),
        "architecture", json_or_null(s->architecture), "parameters", (json_int_t)s->n_values,
        "bytes", (json_int_t)vd_gguf_file_bytes(gguf), "weights", weights, "layers",
        number_or_null(s->layers), "context_length", number_or_null(s->context), "vocabulary",
        json_or_null(s->vocabulary), "vocabulary_size", number_or_null(s->n_vocabulary),
        "chat_template", s->has_template, "gguf_version", (int)vd_gguf_version(gguf), "alignment",
        (json_int_t)vd_gguf_alignment(gguf), "n_tensors", (json_int_t)vd_gguf_n_tensors(gguf),
        "metadata", metadata);
    if (!with_tensors)
        return root;
    json_t *tensors = json_array();
    for (size_t i = 0; i < vd_gguf_n_tensors(gguf); i++)
        json_array_append_new(tensors, json_tensor(vd_gguf_tensor_at(gguf, i)));
    if (json_object_set_new(root, "tensors", tensors) != 0) {
        json_decref(root);
        return NULL;
    }
    return root;
}

static int show_main(int argc, char **argv)
{
    show_options options = {0};
    char *path = NULL;
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--metadata") == 0)
            options.metadata_only = true;
        else if (strcmp(argv[i], "--json") == 0)
            options.json = true;
        else if (strcmp(argv[i], "--tensors") == 0)
            options.tensors = true;
        else if (argv[i][0] == '-' && argv[i][1] != '\0')
            return vd_cli_misuse("show", "there is no option %s", argv[i]);
        else if (options.model != NULL)
            return vd_cli_misuse("show", "one model at a time, and '%s' is the second", argv[i]);
        else
            options.model = argv[i];
    }
    if (options.model == NULL)
        return vd_cli_misuse("show", "name a model or a file");
    int status = VD_EXIT_OK;
    if (vd_store_resolve(options.model, &path, &err) != VD_OK ||
        vd_gguf_open(path, &(vd_gguf_options){.metadata_only = options.metadata_only}, &gguf,
                     &err) != VD_OK) {
        status = vd_cli_failed("show", &err);
        goto out;
    }
    summary s = summarize(gguf, path);
    if (options.json) {
        status = vd_cli_put_json("show", json_model(gguf, &s, options.tensors));
        goto out;
    }
    put_summary(gguf, &s);
    put_metadata(gguf);
    if (options.tensors)
        put_tensors(gguf);
out:
    vd_gguf_free(gguf);
    vd_free(path);
    return status;
}

const vd_command vd_cmd_show = {
    .name = "show",
    .summary = "what a model file holds",
    .help = "usage: verdant show MODEL [--metadata] [--tensors] [--json]\n"
            "\n"
            "Checks the whole file and prints what it holds: architecture, size, types of the\n"
            "weights, context length, vocabulary, chat template, and all metadata. MODEL is a\n"
            "GGUF file (of shards the first one) or the name of a stored model. Works for every\n"
            "architecture, also without weights. Exit status 1 and a message with field and byte\n"
            "offset when the file is malformed.\n"
            "\n"
            "  --metadata   leave out the data section: it may be absent or cut short\n"
            "  --tensors    also list every tensor\n"
            "  --json       as JSON; of an array longer than 64 the first 64 items\n"
            "\n"
            "Example:\n"
            "  verdant show smollm2 --tensors\n",
    .main = show_main,
};
