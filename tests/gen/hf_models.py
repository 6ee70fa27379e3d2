"""Folders as Hugging Face has them: tiny models with random weights, made by transformers itself.

Each row of MODELS is an architecture in one of its shapes: (configuration class, its arguments).
"""

import copy
import json

VOCAB = 320
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
GPT2 = {"vocab_size": VOCAB, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}
BERT = SIZES | {"num_key_value_heads": None, "pad_token_id": 0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [1.0 + 0.5 * i for i in range(8)],
    "short_factor": [1.0 + 0.1 * i for i in range(8)],
    "original_max_position_embeddings": 512,  # llama.cpp's contexts have 256 positions at least
}
GRANITE = {
    "attention_multiplier": 0.3,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.6,
    "logits_scaling": 2.0,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}

MODELS = {
    "llama": ("Llama", SIZES | {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
    "llama-3": ("Llama", SIZES | {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama-biases": ("Llama", SIZES | {"attention_bias": True, "mlp_bias": True}),
    "llama-wide": ("Llama", SIZES | {"head_dim": 32}),
    "llama-linear": (
        "Llama",
        SIZES | {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    ),
    "mistral": ("Mistral", SIZES | {"sliding_window": None, "head_dim": 16}),
    "mixtral": (
        "Mixtral",
        SIZES
        | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    ),
    "gemma2": (
        "Gemma2",
        SIZES
        | {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16,
           "num_hidden_layers": 4},
    ),
    "gemma3": (
        "Gemma3Text",
        SIZES
        | {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16,
           "num_hidden_layers": 7},
    ),
    "qwen2": ("Qwen2", SIZES | {"tie_word_embeddings": True}),
    "qwen2-yarn": ("Qwen2", SIZES | {"rope_parameters": YARN}),
    "qwen3": ("Qwen3", SIZES | {"head_dim": 32}),
    "qwen2moe": (
        "Qwen2Moe",
        SIZES | EXPERTS | {"shared_expert_intermediate_size": 80, "norm_topk_prob": False},
    ),
    "qwen3moe": ("Qwen3Moe", SIZES | EXPERTS | {"norm_topk_prob": True, "head_dim": 16}),
    "olmoe": (
        "Olmoe",
        SIZES | {"num_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 4},
    ),
    "phi3": ("Phi3", SIZES | {"original_max_position_embeddings": 128}),
    "phi3-longrope": (
        "Phi3",
        SIZES
        | {"rope_parameters": LONGROPE, "max_position_embeddings": 2048,
           "original_max_position_embeddings": 512},
    ),
    "gpt2": ("GPT2", GPT2),
    "olmo2": ("Olmo2", SIZES),
    "olmo3": ("Olmo3", SIZES | {"sliding_window": 16, "num_hidden_layers": 4}),
    "starcoder2": ("Starcoder2", SIZES | {"sliding_window": None, "use_bias": True}),
    "command-r": ("Cohere", SIZES | {"logit_scale": 0.25}),
    "command-r-plus": ("Cohere", SIZES | {"logit_scale": 0.25, "use_qk_norm": True}),
    "granite": ("Granite", SIZES | GRANITE),
    "smollm3": ("SmolLM3", SIZES | {"num_hidden_layers": 4}),
}
ENCODERS = {"bert": ("Bert", BERT)}


def class_of(kind):
    """Names of the classes that transformers has for a kind."""
    model = "Gemma3" if kind == "Gemma3Text" else kind
    if kind == "GPT2":
        return "GPT2LMHeadModel"
    return "BertModel" if kind == "Bert" else f"{model}ForCausalLM"


def randomize(model, seed):
    """Weights that make logits of some size, norms and biases that matter."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim < 2 or "norm" in name:
                centre = 0 if "bias" in name or name.startswith("gemma") else p.mean().round()
                p.copy_(centre + 0.2 * noise)
            else:
                p.copy_(noise / p.shape[-1] ** 0.5)


def make(name, seed=7, **changes):
    """The model of a row, with random weights."""
    import torch
    import transformers

    kind, arguments = {**MODELS, **ENCODERS}[name]
    config = getattr(transformers, f"{kind}Config")(**copy.deepcopy(arguments | changes))
    torch.manual_seed(seed)
    model = getattr(transformers, class_of(kind))(config).eval()
    randomize(model, seed)
    return model


def write_tokenizer(folder, **config):
    """A byte-level tokenizer of 262 tokens: the rows above them are holes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=262,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the other thing"] * 9, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>"} | config
    (folder / "tokenizer_config.json").write_text(json.dumps(named), encoding="utf-8")


def save(model, folder, dtype=None, tokenizer=True, **how):
    """The folder that transformers writes."""
    if dtype is not None:
        model = copy.deepcopy(model).to(dtype)
    model.save_pretrained(folder, **how)
    if tokenizer:
        write_tokenizer(folder)
    return folder


def logits(model, ids):
    """float32 [n_tokens, n_vocab]"""
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()
