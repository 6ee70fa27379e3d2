"""The list of tiny models that the suites walk: name -> options of tiny_model.Config."""

import tiny_model

LLAMA = {
    "plain": {},
    "bpe-tied": {"vocab": "bpe", "tied": True},
    "one-kv-head": {"n_kv_head": 1},
    "all-kv-heads": {"n_kv_head": 4},
    "wide-heads": {"head_dim": 24},
    "linear": {"rope_scaling": "linear"},
    "llama3": {"rope_scaling": "llama3", "head_dim": 32},
    "yarn": {"rope_scaling": "yarn", "head_dim": 32},
    "yarn-attn-factor": {"rope_scaling": "yarn", "head_dim": 32, "attn_factor": 1.25},
    "yarn-keys-unread": {
        "rope_scaling": "yarn",
        "head_dim": 32,
        "rope_orig_ctx": 128,
        "rope_factor": 16.0,
        "ext_factor": 0.5,
        "beta_fast": 4.0,
    },
    "yarn-long": {
        "rope_scaling": "yarn",
        "head_dim": 32,
        "rope_orig_ctx": 128,
        "rope_factor": 16.0,
    },
}
GEMMA3 = {
    "plain": {},
    "one-kv-head": {"n_kv_head": 1, "head_dim": 32},
    "linear": {"rope_scaling": "linear", "rope_base": 1e4},
    "wide-window": {"window": 64},
    "softcap": {"softcap": 3.0},
    "full-ffn": {"ffn_share": 1.0},
}
# Not exact enough in llama.cpp (GELU by a table in half precision): held against NumPy alone.
NUMPY_ONLY = {"gemma3-full-ffn"}


def variants():
    """{name: options}; quantized types once per architecture, rope and shapes in F32."""
    out = {}
    for arch, table in (("llama", LLAMA), ("gemma3", GEMMA3)):
        for name, options in table.items():
            out[f"{arch}-{name}"] = {"arch": arch, **options}
        for kind in tiny_model.TYPES[1:]:
            if kind not in ("Q2_K", "Q3_K"):
                out[f"{arch}-{kind.lower()}"] = {"arch": arch, "type": kind, "seed": 7}
    return out
