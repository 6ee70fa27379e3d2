"""What the blocks of each architecture are made of, as the generator writes them and the NumPy pass
computes them. Written from the papers and from the names that PyPI's gguf gives tensors and keys;
llama.cpp is the referee (tests/py/test_oracles.py)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Arch:
    models: str  # published under this name
    norm: str = "rms"  # rms, layer
    norm_bias: bool = False
    norm_at: tuple = ("input",)  # input, output, sum
    qk_norm: str = ""  # head, heads, width
    rotation: str = "adjacent"  # adjacent, halves, ""
    bias: str = ""  # products that always have one: q (queries, keys, values), o, f (feed-forward)
    maybe_bias: str = ""  # those that some files have
    ffn: str = "silu"  # silu or gelu with a gate, "gelu alone" without
    fused_qkv: bool = False
    gate_in_up: bool = False  # ffn_up holds the gate, then its own rows
    positions: bool = False  # learned ones
    token_types: bool = False
    embed_norm: bool = False
    encoder: bool = False  # every token sees the whole sequence; embeddings instead of logits
    no_rope_period: int = 0  # every n-th layer has no rotation
    experts: tuple = ()  # (how many, chosen for each token) where it always has experts
    expert_sum: bool = False  # the weights of the chosen ones are divided by their sum
    shared_expert: bool = False
    parallel: bool = False
    uneven: bool = False  # layers may differ in heads and neurons
    tied: bool = False  # no output.weight
    window_pattern: int = 0  # every n-th layer sees everything, the others a window; 0: all do
    window_optional: bool = False  # a file without attention.sliding_window has none
    embed_scaled: bool = False  # embeddings times sqrt(C)
    scaled: bool = False  # embeddings, attention, residuals and logits, by keys of the file
    softcaps: tuple = ()  # of attention's logits and of the model's, where the file says nothing
    rope_base: float = 1e4
    eps: float = 1e-5


ARCHS = {
    "llama": Arch(
        "Llama, Mistral, Mixtral, SmolLM2, TinyLlama", maybe_bias="qof", expert_sum=True
    ),
    "deci": Arch(
        "DeciLM, Nemotron-NAS, Llamas with parts cut out", maybe_bias="qof", uneven=True
    ),
    "gemma2": Arch(
        "Gemma 2",
        norm_at=("input", "output"),
        rotation="halves",
        ffn="gelu",
        tied=True,
        window_pattern=2,
        embed_scaled=True,
        softcaps=(50.0, 30.0),
        eps=1e-6,
    ),
    "gemma3": Arch(
        "Gemma 3",
        norm_at=("input", "output"),
        qk_norm="head",
        rotation="halves",
        ffn="gelu",
        tied=True,
        window_pattern=6,
        embed_scaled=True,
        rope_base=1e6,
        eps=1e-6,
    ),
    "gpt2": Arch(
        "GPT-2",
        norm="layer",
        norm_bias=True,
        rotation="",
        bias="qof",
        ffn="gelu alone",
        fused_qkv=True,
        positions=True,
    ),
    "starcoder2": Arch(
        "StarCoder2",
        norm="layer",
        norm_bias=True,
        rotation="halves",
        bias="of",
        maybe_bias="q",
        ffn="gelu alone",
        rope_base=1e5,
    ),
    "command-r": Arch(
        "Command R, Command R+",
        norm="layer",
        maybe_bias="q",
        parallel=True,
        tied=True,
        rope_base=8e6,
    ),
    "granite": Arch("Granite 3", maybe_bias="qof", scaled=True),
    "smollm3": Arch("SmolLM3", maybe_bias="q", no_rope_period=4, rope_base=5e6, eps=1e-6),
    "phi3": Arch("Phi-3, Phi-4", rotation="halves", fused_qkv=True, gate_in_up=True),
    "qwen2moe": Arch(
        "Qwen1.5-MoE, Qwen2-MoE",
        bias="q",
        rotation="halves",
        experts=(12, 4),
        shared_expert=True,
        rope_base=1e6,
        eps=1e-6,
    ),
    "qwen3moe": Arch(
        "Qwen3-MoE",
        qk_norm="head",
        rotation="halves",
        experts=(20, 3),
        expert_sum=True,
        rope_base=1e6,
        eps=1e-6,
    ),
    "olmoe": Arch("OLMoE", qk_norm="width", rotation="halves", experts=(8, 3)),
    "bert": Arch(
        "BERT, MiniLM, BGE, E5",
        norm="layer",
        norm_bias=True,
        norm_at=("sum",),
        rotation="",
        maybe_bias="qof",
        ffn="gelu alone",
        positions=True,
        token_types=True,
        embed_norm=True,
        encoder=True,
        eps=1e-12,
    ),
    "nomic-bert": Arch(
        "Nomic Embed",
        norm="layer",
        norm_bias=True,
        norm_at=("sum",),
        rotation="halves",
        maybe_bias="qo",
        fused_qkv=True,
        token_types=True,
        embed_norm=True,
        encoder=True,
        rope_base=1e3,
        eps=1e-12,
    ),
    "olmo2": Arch(
        "OLMo 2, OLMo 3",
        norm_at=("output",),
        qk_norm="width",
        rotation="halves",
        window_pattern=4,
        window_optional=True,
        rope_base=5e5,
        eps=1e-6,
    ),
    "qwen2": Arch("Qwen2, Qwen2.5", bias="q", rotation="halves", rope_base=1e6, eps=1e-6),
    "qwen3": Arch("Qwen3", qk_norm="head", rotation="halves", rope_base=1e6, eps=1e-6),
}
