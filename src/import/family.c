/* family.c - the architectures, one row each. */
#include "import/family.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

#define TANH_GELU "gelu_pytorch_tanh gelu_new gelu_fast"

static const vd_family families[] = {
    {"LlamaForCausalLM LLaMAForCausalLM MistralForCausalLM LlamaModel MistralModel", "llama",
     "silu", VD_FAMILY_PERMUTED, {vd_names_llama}, vd_extra_llama},
    {"MixtralForCausalLM", "llama", "silu", VD_FAMILY_PERMUTED,
     {vd_names_experts, vd_names_llama}, vd_extra_llama},
    {"Gemma2ForCausalLM", "gemma2", TANH_GELU, VD_FAMILY_NORM_PLUS_ONE | VD_FAMILY_TIED,
     {vd_names_gemma, vd_names_llama}, vd_extra_gemma2},
    {"Gemma3ForCausalLM Gemma3ForConditionalGeneration", "gemma3", TANH_GELU,
     VD_FAMILY_NORM_PLUS_ONE | VD_FAMILY_TIED, {vd_names_gemma, vd_names_llama},
     vd_extra_gemma3},
    {"Qwen2ForCausalLM Qwen2Model", "qwen2", "silu", 0, {vd_names_llama}, vd_extra_qwen},
    {"Qwen3ForCausalLM Qwen3Model", "qwen3", "silu", 0, {vd_names_llama}, vd_extra_qwen},
    {"Phi3ForCausalLM", "phi3", "silu", 0, {vd_names_llama}, vd_extra_phi3},
    {"GPT2LMHeadModel GPT2Model", "gpt2", TANH_GELU, VD_FAMILY_TIED, {vd_names_gpt2},
     vd_extra_gpt2},
    {"Olmo2ForCausalLM Olmo3ForCausalLM", "olmo2", "silu", 0, {vd_names_olmo2, vd_names_llama},
     vd_extra_olmo2},
    {"Starcoder2ForCausalLM", "starcoder2", TANH_GELU, VD_FAMILY_TIED, {vd_names_llama}, NULL},
    {"CohereForCausalLM", "command-r", "silu", VD_FAMILY_TIED, {vd_names_llama},
     vd_extra_command_r},
    {"GraniteForCausalLM", "granite", "silu", VD_FAMILY_PERMUTED, {vd_names_llama},
     vd_extra_granite},
    {"SmolLM3ForCausalLM", "smollm3", "silu", VD_FAMILY_PERMUTED | VD_FAMILY_TIED,
     {vd_names_llama}, vd_extra_smollm3},
    {"Qwen2MoeForCausalLM", "qwen2moe", "silu", 0, {vd_names_experts, vd_names_llama},
     vd_extra_qwen2moe},
    {"Qwen3MoeForCausalLM", "qwen3moe", "silu", 0, {vd_names_experts, vd_names_llama},
     vd_extra_qwen3moe},
    {"OlmoeForCausalLM", "olmoe", "silu", 0, {vd_names_experts, vd_names_llama},
     vd_extra_olmoe},
    {"BertModel BertForMaskedLM", "bert", "gelu", VD_FAMILY_ENCODER, {vd_names_bert},
     vd_extra_bert},
    {"NomicBertModel", "nomic-bert", "swiglu silu", VD_FAMILY_ENCODER, {vd_names_nomic},
     vd_extra_nomic},
};

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = words; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (length == n && memcmp(at, word, n) == 0)
            return true;
        at += length + strspn(at + length, " ");
    }
    return false;
}

vd_status vd_family_find(const char *name, const vd_family **ret_family, vd_err *err)
{
    char ours[384] = "";
    size_t n = 0;
    for (size_t i = 0; i < VD_COUNT(families); i++) {
        const char *names = families[i].names;
        if (has_word(names, name)) {
            *ret_family = &families[i];
            return VD_OK;
        }
        int length = (int)strcspn(names, " ");
        if (n < sizeof(ours))
            n += (size_t)snprintf(ours + n, sizeof(ours) - n, "%s%.*s", i > 0 ? ", " : "", length,
                                  names);
    }
    return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                   "architecture '%.64s' (config.json) is not supported; we import: %s", name,
                   ours);
}

static vd_status check_act(const vd_family *family, const vd_meta *m, vd_err *err)
{
    const char *act = json_string_value(
        vd_config_find(m->config, "hidden_activation hidden_act activation_function"));
    if (act == NULL || has_word(family->act, act))
        return VD_OK;
    return VD_FAIL(err, VD_ERR_UNSUPPORTED,
                   "config.json: the activation is '%.32s', but %s in GGUF means %.*s", act,
                   family->arch, (int)strcspn(family->act, " "), family->act);
}

/* Numbers that nearly all have. */
static vd_status write_common(const vd_meta *m, vd_err *err)
{
    static const struct {
        const char *names, *suffix;
        bool is_float;
    } numbers[] = {
        {"model_max_length max_trained_positions max_position_embeddings n_ctx n_positions",
         "context_length", false},
        {"hidden_size n_embd", "embedding_length", false},
        {"intermediate_size n_inner", "feed_forward_length", false},
        {"num_attention_heads n_head", "attention.head_count", false},
        {"num_key_value_heads", "attention.head_count_kv", false},
        {"rms_norm_eps", "attention.layer_norm_rms_epsilon", true},
        {"layer_norm_eps layer_norm_epsilon norm_epsilon", "attention.layer_norm_epsilon", true},
        {"num_local_experts num_experts", "expert_count", false},
        {"num_experts_per_tok", "expert_used_count", false},
    };
    uint32_t n_layer = 0;
    vd_status st = vd_config_need(m->config, "num_hidden_layers n_layer", &n_layer, err);
    if (st == VD_OK)
        vd_meta_u32(m, "block_count", n_layer);
    for (size_t i = 0; st == VD_OK && i < VD_COUNT(numbers); i++)
        st = numbers[i].is_float
                 ? vd_meta_copy_f32(m, numbers[i].names, numbers[i].suffix, err)
                 : vd_meta_copy_u32(m, numbers[i].names, numbers[i].suffix, err);
    return st;
}

vd_status vd_meta_write(const vd_family *family, const vd_meta *m, vd_err *err)
{
    vd_status st = check_act(family, m, err);
    if (st == VD_OK)
        st = write_common(m, err);
    if (st == VD_OK && family->extra != NULL)
        st = family->extra(m, err);
    else if (st == VD_OK)
        st = vd_meta_rope(m, err);
    return st;
}
