"""Activations block by block: of a trained GPT-2 against those its authors recorded, and of tiny
models against NumPy, however the tokens are cut."""

import base64
import json

import activations
import numpy as np
import oracles
import pytest
from gguf import GGUFWriter
from oracles import numpy_forward, tiny_model

LEVELS = ["c", "avx2", "avx512", "avx512-bf16"]
NANO = "models/gpt-nano-sort/gpt-nano-sort-"
RENAMED = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def arrays_of(path):
    """{name: float32 array} of a file of llm-viz."""
    return {
        name: np.frombuffer(base64.b64decode(t["data"]), "<f4").reshape(t["shape"])
        for name, t in json.loads(path.read_text()).items()
        if isinstance(t, dict) and "data" in t
    }


def write_gpt2(path, config, weights):
    """The GGUF of a minGPT model."""
    w = GGUFWriter(str(path), "gpt2")
    w.add_context_length(config["block_size"])
    w.add_embedding_length(config["n_embd"])
    w.add_block_count(config["n_layer"])
    w.add_feed_forward_length(4 * config["n_embd"])
    w.add_head_count(config["n_head"])
    w.add_layer_norm_eps(1e-5)
    ends = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
    for name, data in weights.items():
        parts = name.removeprefix("transformer.").split(".")
        if name == "lm_head.weight":
            w.add_tensor("output.weight", data)
        elif parts[0] in ends:
            w.add_tensor(f"{ends[parts[0]]}.{parts[1]}", data)
        elif not name.endswith(".attn.bias"):  # the causal mask
            base = RENAMED[".".join(parts[2:-1])]
            w.add_tensor(f"blk.{parts[1]}.{base}.{parts[-1]}", data)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


@pytest.mark.parametrize("level", LEVELS)
def test_gpt_nano_sort_computes_what_its_authors_recorded(build, data, tmp_path, level):
    path = tmp_path / "nano.gguf"
    config = json.loads(open(f"{data / NANO}model.json").read())["config"]
    write_gpt2(path, config, arrays_of(data / f"{NANO}model.json"))
    want = arrays_of(data / f"{NANO}t0-partials.json")
    for b, ids in enumerate(want["idx"].astype(int)):
        got = activations.run(
            build, path, ids, tmp_path / "out.npz", n_layer=3, n_embd=48, n_vocab=3, cpu=level
        )
        stream = got["stream"]
        pairs = {
            "x": stream[0],
            "attnResid": stream[1],
            "mlpResid": stream[2],
            "block0": stream[2],
            "block1": stream[4],
            "block2": stream[6],
            "ln_f": got["embeddings"],
            "lm_head": got["logits"],
        }
        for name, array in pairs.items():
            assert np.abs(array - want[name][b]).max() < 1e-4, name


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["llama", "gemma2", "command-r", "olmo2", "qwen2moe"])
def test_blocks_are_those_of_numpy_however_tokens_are_cut(build, tmp_path, arch):
    path = tmp_path / "tiny.gguf"
    config = tiny_model.write_model(path, arch=arch, seed=3)
    n_vocab = tiny_model.n_vocab(config.vocab)
    ids = tiny_model.random_ids(3, 20, n_vocab)
    model = numpy_forward.Model(path)
    want = [model.embed(ids)]
    for layer in range(config.n_layer):
        want.append(model.block(want[-1], layer))
    whole = None
    for chunk in (20, 1, 7):
        got = activations.run(
            build, path, ids, tmp_path / "out.npz", config.n_layer, config.n_embd, n_vocab, chunk
        )
        for layer, rows in enumerate(want):
            assert np.abs(got["stream"][2 * layer] - rows).max() < 1e-4, (layer, chunk)
        assert np.abs(got["embeddings"] - model.norm(want[-1], "output_norm")).max() < 1e-4
        whole = got["logits"] if whole is None else whole
        assert np.abs(got["logits"] - whole).max() < 1e-4
