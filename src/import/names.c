/* names.c - the names of tensors, there and here; see family.h. */
#include "import/family.h"

#define LAYER "layers.%."
#define ATTN LAYER "self_attn."
#define MLP LAYER "mlp."

const vd_rule vd_names_llama[] = {
    {"embed_tokens", "token_embd", 0},
    {"norm", "output_norm", 0},
    {"lm_head", "output", 0},
    {LAYER "input_layernorm", "attn_norm", 0},
    {LAYER "post_attention_layernorm", "ffn_norm", 0},
    {ATTN "q_proj", "attn_q", VD_RULE_Q},
    {ATTN "k_proj", "attn_k", VD_RULE_K},
    {ATTN "v_proj", "attn_v", 0},
    {ATTN "qkv_proj", "attn_qkv", 0}, /* Phi-3 */
    {ATTN "o_proj", "attn_output", 0},
    {ATTN "q_norm", "attn_q_norm", 0},
    {ATTN "k_norm", "attn_k_norm", 0},
    {MLP "gate_proj", "ffn_gate", 0},
    {MLP "up_proj", "ffn_up", 0},
    {MLP "down_proj", "ffn_down", 0},
    {MLP "gate_up_proj", "ffn_up", 0}, /* Phi-3 */
    {MLP "c_fc", "ffn_up", 0},         /* StarCoder2 */
    {MLP "c_proj", "ffn_down", 0},
    {ATTN "rotary_emb.inv_freq", NULL, VD_RULE_DROP},
    {"rotary_emb.inv_freq", NULL, VD_RULE_DROP},
    /* What a model sees and hears with: the text alone is imported. */
    {"vision_tower.*", NULL, VD_RULE_DROP},
    {"multi_modal_projector.*", NULL, VD_RULE_DROP},
    {NULL, NULL, 0},
};

const vd_rule vd_names_experts[] = {
    {LAYER "block_sparse_moe.gate", "ffn_gate_inp", 0}, /* Mixtral */
    {LAYER "block_sparse_moe.experts.@.w1", "ffn_gate_exps", 0},
    {LAYER "block_sparse_moe.experts.@.w2", "ffn_down_exps", 0},
    {LAYER "block_sparse_moe.experts.@.w3", "ffn_up_exps", 0},
    {MLP "gate", "ffn_gate_inp", 0},
    {MLP "experts.@.gate_proj", "ffn_gate_exps", 0},
    {MLP "experts.@.down_proj", "ffn_down_exps", 0},
    {MLP "experts.@.up_proj", "ffn_up_exps", 0},
    {MLP "experts.gate_up_proj", "ffn_gate_exps", VD_RULE_GATE_UP}, /* transformers 5 */
    {MLP "experts.down_proj", "ffn_down_exps", 0},
    {MLP "shared_expert.gate_proj", "ffn_gate_shexp", 0}, /* Qwen2-MoE */
    {MLP "shared_expert.up_proj", "ffn_up_shexp", 0},
    {MLP "shared_expert.down_proj", "ffn_down_shexp", 0},
    {MLP "shared_expert_gate", "ffn_gate_inp_shexp", 0},
    {NULL, NULL, 0},
};

const vd_rule vd_names_gemma[] = {
    {LAYER "post_attention_layernorm", "post_attention_norm", 0},
    {LAYER "pre_feedforward_layernorm", "ffn_norm", 0},
    {LAYER "post_feedforward_layernorm", "post_ffw_norm", 0},
    {NULL, NULL, 0},
};

const vd_rule vd_names_olmo2[] = {
    {LAYER "post_attention_layernorm", "post_attention_norm", 0},
    {LAYER "post_feedforward_layernorm", "post_ffw_norm", 0},
    {NULL, NULL, 0},
};

const vd_rule vd_names_gpt2[] = {
    {"wte", "token_embd", 0},
    {"wpe", "position_embd", 0},
    {"ln_f", "output_norm", 0},
    {"lm_head", "output", 0},
    {"h.%.ln_1", "attn_norm", 0},
    {"h.%.ln_2", "ffn_norm", 0},
    {"h.%.attn.c_attn", "attn_qkv", VD_RULE_TRANSPOSE},
    {"h.%.attn.c_proj", "attn_output", VD_RULE_TRANSPOSE},
    {"h.%.mlp.c_fc", "ffn_up", VD_RULE_TRANSPOSE},
    {"h.%.mlp.c_proj", "ffn_down", VD_RULE_TRANSPOSE},
    {"h.%.attn", NULL, VD_RULE_DROP}, /* .bias: the causal mask */
    {"h.%.attn.masked_bias", NULL, VD_RULE_DROP},
    {NULL, NULL, 0},
};

#define BERT "encoder.layer.%."

const vd_rule vd_names_bert[] = {
    {"embeddings.word_embeddings", "token_embd", 0},
    {"embeddings.position_embeddings", "position_embd", 0},
    {"embeddings.token_type_embeddings", "token_types", 0},
    {"embeddings.LayerNorm", "token_embd_norm", 0},
    {BERT "attention.self.query", "attn_q", 0},
    {BERT "attention.self.key", "attn_k", 0},
    {BERT "attention.self.value", "attn_v", 0},
    {BERT "attention.output.dense", "attn_output", 0},
    {BERT "attention.output.LayerNorm", "attn_output_norm", 0},
    {BERT "intermediate.dense", "ffn_up", 0},
    {BERT "output.dense", "ffn_down", 0},
    {BERT "output.LayerNorm", "layer_output_norm", 0},
    /* Of training alone. */
    {"embeddings.position_ids", NULL, VD_RULE_DROP},
    {"pooler.*", NULL, VD_RULE_DROP},
    {"cls.*", NULL, VD_RULE_DROP},
    {NULL, NULL, 0},
};

#define NOMIC "encoder.layers.%."

const vd_rule vd_names_nomic[] = {
    {"embeddings.word_embeddings", "token_embd", 0},
    {"embeddings.token_type_embeddings", "token_types", 0},
    {"emb_ln", "token_embd_norm", 0},
    {NOMIC "attn.Wqkv", "attn_qkv", 0},
    {NOMIC "attn.out_proj", "attn_output", 0},
    {NOMIC "norm1", "attn_output_norm", 0},
    {NOMIC "norm2", "layer_output_norm", 0},
    {NOMIC "mlp.fc11", "ffn_up", 0},
    {NOMIC "mlp.fc12", "ffn_gate", 0},
    {NOMIC "mlp.fc2", "ffn_down", 0},
    {"embeddings.position_ids", NULL, VD_RULE_DROP},
    {"pooler.*", NULL, VD_RULE_DROP},
    {"cls.*", NULL, VD_RULE_DROP},
    {NULL, NULL, 0},
};
