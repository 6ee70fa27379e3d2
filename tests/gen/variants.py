"""The list of tiny models that the suites walk: name -> options of tiny_model.Config."""

import tiny_model
from archs import ARCHS

VARIANTS = {
    "llama": {
        "plain": {},
        "biases": {"bias": True},
        "fused-qkv": {"bias": True, "fused_qkv": True},
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
        "longrope": {"rope_scaling": "longrope", "rope_factor": 2.0},
        "experts": {"n_expert": 8, "n_expert_used": 2},
        "experts-q4_k": {"n_expert": 4, "n_expert_used": 3, "type": "Q4_K"},
    },
    "deci": {
        "plain": {},
        "uneven": {"layer_ff": [96, 32, 160], "layer_groups": [2, 1, 3]},
        "uneven-biases": {"layer_ff": [64, 96], "bias": True, "tied": True},
        "uneven-fused": {"layer_groups": [1, 2], "fused_qkv": True},
    },
    "gemma3": {
        "plain": {},
        "one-kv-head": {"n_kv_head": 1, "head_dim": 32},
        "linear": {"rope_scaling": "linear", "rope_base": 1e4},
        "wide-window": {"window": 64},
        "softcap": {"softcap": 3.0},
        "full-ffn": {"ffn_share": 1.0},
        "pattern": {"window_pattern": 3},
    },
    "gemma2": {
        "plain": {},
        "softcaps": {"attn_softcap": 1.0, "softcap": 2.0},
        "linear": {"rope_scaling": "linear", "n_kv_head": 1},
        "pattern": {"window_pattern": 3, "head_dim": 32},
    },
    "gpt2": {
        "plain": {"vocab": "bpe"},
        "tied": {"tied": True},
    },
    "starcoder2": {
        "plain": {"bias": True},
        "no-qkv-bias": {"tied": True, "n_kv_head": 1},
    },
    "command-r": {
        "plain": {},
        "plus": {"head_norms": True, "n_layer": 64},
        "biases": {"bias": True, "n_kv_head": 4},
    },
    "granite": {
        "plain": {},
        "biases": {"bias": True, "tied": True},
        "no-positions": {"unrotated": True},
        "llama3": {"rope_scaling": "llama3", "head_dim": 32},
    },
    "smollm3": {
        "plain": {},
        "biases": {"bias": True, "tied": True},
        "yarn": {"rope_scaling": "yarn"},
    },
    "phi3": {
        "plain": {},
        "tied": {"tied": True, "n_kv_head": 4, "window": 8},
        "longrope": {"rope_scaling": "longrope", "rope_untyped": True, "attn_factor": 1.2},
        "longrope-typed": {"rope_scaling": "longrope", "attn_factor": 1.2},
        "longrope-within": {
            "rope_scaling": "longrope",
            "rope_untyped": True,
            "rope_orig_ctx": 256,  # llama.cpp rounds a context of 64 up to that
            "attn_factor": 1.2,
        },
    },
    "qwen2moe": {
        "plain": {},
        "all-chosen": {"n_expert": 3, "n_expert_used": 3},
    },
    "qwen3moe": {
        "plain": {"head_dim": 24},
        "tied-yarn": {"tied": True, "rope_scaling": "yarn", "n_expert": 5, "n_expert_used": 1},
    },
    "olmoe": {
        "plain": {},
        "linear": {"rope_scaling": "linear"},
    },
    "bert": {
        "plain": {"bias": True},
        "fused-no-bias": {"fused_qkv": True},
    },
    "nomic-bert": {
        "plain": {},
        "biases": {"bias": True},
        "linear": {"rope_scaling": "linear"},
    },
    "olmo2": {
        "plain": {"window": 0},
        "windows": {},
        "windows-yarn": {"rope_scaling": "yarn", "attn_factor": 1.25, "n_kv_head": 1},
        "windows-listed": {"window_pattern": [True, False, True, True]},
    },
    "qwen2": {
        "plain": {},
        "tied-yarn": {"tied": True, "rope_scaling": "yarn"},
    },
    "qwen3": {
        "plain": {},
        "wide-heads": {"head_dim": 24, "tied": True},
        "linear": {"rope_scaling": "linear"},
    },
}
# Types held against NumPy and llama.cpp in models of an architecture; Q8_0 where nothing is said.
TYPES = {
    "llama": tiny_model.TYPES[1:],
    "gemma3": "F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K".split(),
}
# Not exact enough in llama.cpp (GELU by a table in half precision): held against NumPy alone.
NUMPY_ONLY = {"gemma3-full-ffn"}
# What ./check quick looks at: of each architecture the plain one in Q8_0, of gemma3 two more, of
# llama F32 and one of each family of types.
QUICK = {"gemma3-plain", "gemma3-q4_0"}
QUICK |= {f"llama-{kind}" for kind in "plain q4_1 q4_k iq2_xs iq4_nl tq1_0 mxfp4".split()}


def is_quick(name):
    return name in QUICK or name.endswith("-q8_0")


def variants():
    """{name: options} of decoders; rope and shapes in F32, every type in a llama, the older in a
    gemma3."""
    return {n: o for n, o in everything().items() if not ARCHS[o["arch"]].encoder}


def encoders():
    """{name: options}: those that give embeddings instead of logits."""
    return {n: o for n, o in everything().items() if ARCHS[o["arch"]].encoder}


def everything():
    out = {}
    for arch, table in VARIANTS.items():
        for name, options in table.items():
            out[f"{arch}-{name}"] = {"arch": arch, **options}
        for kind in TYPES.get(arch, ["Q8_0"]):
            out[f"{arch}-{kind.lower()}"] = {"arch": arch, "type": kind, "seed": 7}
    return out
