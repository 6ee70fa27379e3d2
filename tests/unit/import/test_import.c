/* test_import.c - a folder to a file: whole or nothing, whichever allocation fails. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "import/import.h"
#include "import/match.h"

static char directory[64], source[96], target[96];

static const char config[] =
    "{\"architectures\":[\"MixtralForCausalLM\"],\"hidden_size\":8,\"intermediate_size\":8,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_local_experts\":2,"
    "\"num_experts_per_tok\":1,\"max_position_embeddings\":16,\"rms_norm_eps\":1e-6,"
    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0}}";
static const char tokenizer[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\",\"b\"]]},"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}]}";
static const char tokenizer_config[] = "{\"bos_token\":\"<s>\",\"chat_template\":\"{{ 'x' }}\"}";

static const struct {
    const char *name;
    int rows; /* of 8 values; 0: a vector */
} tensors[] = {
    {"model.embed_tokens.weight", 6},
    {"model.norm.weight", 0},
    {"lm_head.weight", 6},
    {"model.layers.0.input_layernorm.weight", 0},
    {"model.layers.0.post_attention_layernorm.weight", 0},
    {"model.layers.0.self_attn.q_proj.weight", 8},
    {"model.layers.0.self_attn.k_proj.weight", 8},
    {"model.layers.0.self_attn.v_proj.weight", 8},
    {"model.layers.0.self_attn.o_proj.weight", 8},
    {"model.layers.0.block_sparse_moe.gate.weight", 2},
    {"model.layers.0.block_sparse_moe.experts.0.w1.weight", 8},
    {"model.layers.0.block_sparse_moe.experts.0.w2.weight", 8},
    {"model.layers.0.block_sparse_moe.experts.0.w3.weight", 8},
    {"model.layers.0.block_sparse_moe.experts.1.w1.weight", 8},
    {"model.layers.0.block_sparse_moe.experts.1.w2.weight", 8},
    {"model.layers.0.block_sparse_moe.experts.1.w3.weight", 8},
};
enum { N_TENSORS = sizeof(tensors) / sizeof(tensors[0]), WIDTH = 8 };

static FILE *create(const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", source, name);
    FILE *stream = fopen(path, "wbe");
    assert_non_null(stream);
    return stream;
}

static void write_text(const char *name, const char *text)
{
    FILE *stream = create(name);
    assert_true(fputs(text, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
}

static void write_tensors(void)
{
    char header[8192];
    size_t n = 0, end = 0;
    for (int i = 0; i < N_TENSORS; i++) {
        size_t rows = tensors[i].rows > 0 ? (size_t)tensors[i].rows : 1, begin = end;
        char first[16] = "";
        if (tensors[i].rows > 0)
            snprintf(first, sizeof(first), "%zu,", rows);
        end += rows * WIDTH * 4;
        n += (size_t)snprintf(header + n, sizeof(header) - n,
                              "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[%s%d],\"data_offsets\":[%zu,"
                              "%zu]}", i == 0 ? '{' : ',', tensors[i].name, first, WIDTH, begin,
                              end);
    }
    n += (size_t)snprintf(header + n, sizeof(header) - n, "}");
    FILE *stream = create("model.safetensors");
    uint64_t size = n;
    assert_int_equal(fwrite(&size, 8, 1, stream), 1);
    assert_int_equal(fwrite(header, 1, n, stream), n);
    for (size_t i = 0; i < end / 4; i++) {
        float value = (float)(i % 97) * 0.25f;
        assert_int_equal(fwrite(&value, 4, 1, stream), 1);
    }
    assert_int_equal(fclose(stream), 0);
}

static int make_folder(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/verdant-import-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(source, sizeof(source), "%s/tiny", directory);
    snprintf(target, sizeof(target), "%s/m.gguf", directory);
    if (mkdir(source, 0700) != 0)
        return 1;
    write_text("config.json", config);
    write_text("tokenizer.json", tokenizer);
    write_text("tokenizer_config.json", tokenizer_config);
    write_tensors();
    vd_json_init();
    return 0;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                        "model.safetensors"};
    char path[160];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", source, names[i]);
        unlink(path);
    }
    unlink(target);
    rmdir(source);
    return rmdir(directory);
}

/* Of the folder that holds the target. */
static int count_files(void)
{
    int n = 0;
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;)
        n += entry->d_name[0] != '.' && strcmp(entry->d_name, "tiny") != 0;
    closedir(stream);
    return n;
}

static vd_status run(vd_import_result *result, vd_err *err)
{
    const vd_import_options options = {.natural = true};
    vd_notes notes;
    vd_notes_init(&notes);
    vd_status st = vd_import_run(source, target, &options, &notes, result, err);
    vd_notes_done(&notes);
    return st;
}

static void a_folder_becomes_a_file(void **state)
{
    vd_import_result result;
    vd_err err = {0};
    if (run(&result, &err) != VD_OK)
        fail_msg("%s", err.message);
    assert_string_equal(result.arch, "llama");
    assert_int_equal(result.n_tokens, 6);
    assert_int_equal(result.type, VD_DTYPE_F32);
    vd_gguf *gguf = NULL;
    assert_int_equal(vd_gguf_open(target, NULL, &gguf, &err), VD_OK);
    const vd_gguf_tensor *experts = vd_gguf_find_tensor(gguf, "blk.0.ffn_up_exps.weight");
    assert_non_null(experts);
    assert_int_equal(experts->n_dims, 3);
    assert_int_equal(experts->dim[2], 2);
    assert_non_null(vd_gguf_find_tensor(gguf, "rope_freqs.weight"));
    vd_gguf_free(gguf);
    unlink(target);
}

static void each_allocation_may_fail(void **state)
{
    uint64_t live = vd_alloc_stats_get().n_live;
    for (uint64_t k = 1;; k++) {
        vd_import_result result;
        vd_err err = {0};
        vd_alloc_fail_at(k);
        vd_status st = run(&result, &err);
        vd_alloc_fail_at(0);
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        if (st == VD_OK) {
            assert_true(k > 50);
            break;
        }
        if (st != VD_ERR_NOMEM)
            fail_msg("allocation %llu: %s", (unsigned long long)k, err.message);
        assert_int_equal(count_files(), 0);
    }
    assert_int_equal(count_files(), 1);
    unlink(target);
}

static bool stop_at_once(void *ctx, uint64_t done, uint64_t total, const char *tensor)
{
    assert_true(done <= total && tensor[0] != '\0');
    return false;
}

static void what_is_stopped_leaves_nothing(void **state)
{
    const vd_import_options options = {.natural = true, .progress = stop_at_once};
    vd_import_result result;
    vd_notes notes;
    vd_err err = {0};
    vd_notes_init(&notes);
    assert_int_equal(vd_import_run(source, target, &options, &notes, &result, &err),
                     VD_ERR_CANCELLED);
    vd_notes_done(&notes);
    assert_int_equal(count_files(), 0);
}

static void names_are_found_whatever_stands_in_front(void **state)
{
    static const char *const same[] = {
        "model.layers.12.self_attn.q_proj.weight", "layers.12.self_attn.q_proj.weight",
        "language_model.model.layers.12.self_attn.q_proj.weight",
        "model.language_model.layers.12.self_attn.q_proj.weight"};
    static const char *const others[] = {
        "model.layers.x.self_attn.q_proj.weight",
        "model.layers.12.self_attn.q_proj.weightx", "model.layers..self_attn.q_proj.weight", "",
        "model.layers.12.self_attn.q_proj.bias.weight"};
    const vd_family *family = NULL;
    vd_match m;
    assert_int_equal(vd_family_find("LlamaForCausalLM", &family, NULL), VD_OK);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_true(vd_match_name(family, same[i], &m));
        assert_string_equal(m.rule->to, "attn_q");
        assert_int_equal(m.layer, 12);
        assert_string_equal(m.suffix, "weight");
    }
    assert_true(vd_match_name(family, "model.layers.3.mlp.up_proj.bias", &m));
    assert_string_equal(m.suffix, "bias");
    for (size_t i = 1; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(vd_match_name(family, others[i], &m));
    assert_int_equal(vd_family_find("Llama", &family, NULL), VD_ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_becomes_a_file),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(what_is_stopped_leaves_nothing),
        cmocka_unit_test(names_are_found_whatever_stands_in_front),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
