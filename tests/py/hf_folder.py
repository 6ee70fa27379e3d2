"""A small Llama as a folder of Hugging Face, made without torch; tests then break it."""
import json

import numpy as np
from oracles import hf_models
from safetensors.numpy import save_file

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "vocab_size": 272,
    "tie_word_embeddings": True,
}


def tensors(seed=1, n_layers=2, c=32, f=48, vocab=272):
    rng = np.random.default_rng(seed)
    shapes = {"model.embed_tokens.weight": (vocab, c), "model.norm.weight": (c,)}
    for i in range(n_layers):
        at = f"model.layers.{i}."
        shapes |= {
            at + "input_layernorm.weight": (c,),
            at + "post_attention_layernorm.weight": (c,),
            at + "self_attn.q_proj.weight": (c, c),
            at + "self_attn.k_proj.weight": (c // 2, c),
            at + "self_attn.v_proj.weight": (c // 2, c),
            at + "self_attn.o_proj.weight": (c, c),
            at + "mlp.gate_proj.weight": (f, c),
            at + "mlp.up_proj.weight": (f, c),
            at + "mlp.down_proj.weight": (c, f),
        }
    return {n: rng.standard_normal(s, np.float32) / s[-1] ** 0.5 for n, s in shapes.items()}


def write(folder, values=None, config=None, tokenizer=True):
    """The folder; `config` changes single fields, None removes one."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {k: v for k, v in (CONFIG | (config or {})).items() if v is not None}
    (folder / "config.json").write_text(json.dumps(said))
    save_file(tensors() if values is None else values, folder / "model.safetensors")
    if tokenizer:
        hf_models.write_tokenizer(folder)
    return folder


def shard(folder, values=None):
    """The same in two files with their index."""
    values = tensors() if values is None else values
    names = sorted(values)
    files = {"model-00001-of-00002.safetensors": names[::2],
             "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in files.items():
        save_file({n: values[n] for n in own}, folder / file)
    index = {"metadata": {}, "weight_map": {n: f for f, own in files.items() for n in own}}
    (folder / "model.safetensors").unlink(missing_ok=True)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return index
