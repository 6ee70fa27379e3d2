/* extra_encoder.c - the metadata of encoders; see family.h. Pooling is of the folder: import.c. */
#include "base/fail.h"
#include "import/family.h"

vd_status vd_extra_bert(const vd_meta *m, vd_err *err)
{
    uint32_t n_types = 1;
    const char *positions =
        json_string_value(vd_config_find(m->config, "position_embedding_type"));
    if (positions != NULL && positions[0] != 'a') /* absolute */
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: position_embedding_type is '%.32s'; "
                       "bert in GGUF has absolute ones", positions);
    vd_status st = vd_config_u32(m->config, "type_vocab_size", &n_types, err);
    if (st != VD_OK)
        return st;
    vd_meta_bool(m, "attention.causal", false);
    vd_gguf_out_u32(m->out, "tokenizer.ggml.token_type_count", n_types);
    return VD_OK;
}

vd_status vd_extra_nomic(const vd_meta *m, vd_err *err)
{
    static const struct {
        const char *name;
        bool value;
    } needed[] = {{"causal", false},         {"qkv_proj_bias", false}, {"mlp_fc1_bias", false},
                  {"mlp_fc2_bias", false},   {"prenorm", false},
                  {"rotary_emb_interleaved", false}};
    float part = 1, base = 10000;
    vd_status st = VD_OK;
    if (vd_config_find(m->config, "moe_every_n_layers") != NULL)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: moe_every_n_layers: nomic-bert with "
                       "experts is not supported");
    for (size_t i = 0; st == VD_OK && i < sizeof(needed) / sizeof(needed[0]); i++)
        st = vd_meta_expect(m, needed[i].name, needed[i].value, needed[i].value, err);
    if (st == VD_OK)
        st = vd_config_f32(m->config, "rotary_emb_fraction", &part, err);
    if (st == VD_OK && part != 1)
        st = VD_FAIL(err, VD_ERR_UNSUPPORTED, "config.json: rotary_emb_fraction is %g; nomic-bert "
                     "in GGUF rotates whole heads", (double)part);
    if (st == VD_OK)
        st = vd_config_f32(m->config, "rotary_emb_base", &base, err);
    if (st == VD_OK)
        st = vd_extra_bert(m, err);
    if (st == VD_OK)
        vd_meta_f32(m, "rope.freq_base", base);
    return st;
}
