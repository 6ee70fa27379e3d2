"""The oracles themselves: generated models are deterministic, NumPy agrees with llama.cpp, and a
mistake in the forward pass would show in the logits."""

import hashlib

import numpy as np
import oracles
import pytest
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize
from oracles import archs, llama_cpp, metrics, numpy_forward, tiny_model, variants

pytestmark = pytest.mark.slow  # quick trusts the oracles, and holds ours against them
NAMES = sorted(set(variants.variants()) - variants.NUMPY_ONLY)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return oracles.TinyModels(tmp_path_factory.mktemp("oracles"))


@pytest.mark.parametrize("kind", tiny_model.TYPES)
def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path, kind):
    digests = []
    for i, seed in enumerate((1, 1, 2)):
        path = tmp_path / f"{i}.gguf"
        tiny_model.write_model(path, type=kind, seed=seed)
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", oracles.params(NAMES))
def test_numpy_agrees_with_llama_cpp(models, name):
    oracles.need_peer()
    _, ids, want = models.get(name)
    with llama_cpp.Peer(models.in_f32(name), n_ctx=64, threads=1) as peer:
        got = peer.logits(ids)
    gelu = "gelu" in archs.ARCHS[variants.variants()[name]["arch"]].ffn
    limit = 1e-3 if gelu else 5e-5  # llama.cpp looks GELU up in a table of half precision
    assert np.abs(got - want).max() < limit


@pytest.mark.parametrize("kind", ["Q1_0", "Q2_0"])
def test_the_decoders_added_to_the_gguf_package_are_llama_cpps(kind):
    oracles.need_peer()
    number = Type[kind]
    assert llama_cpp.type_name(number) == kind
    assert llama_cpp.type_shape(number) == GGML_QUANT_SIZES[number]
    raw = np.random.default_rng(1).integers(0, 256, (512, GGML_QUANT_SIZES[number][1]), np.uint8)
    with np.errstate(all="ignore"):
        ours, theirs = dequantize(raw, number).ravel(), llama_cpp.decode_blocks(number, raw)
    assert np.array_equal(ours, theirs, equal_nan=True)


def drop(model, ending):
    """Leaves out the tensors of all layers whose names end so."""
    for name in [n for n in model.w if n.endswith(ending)]:
        del model.w[name]


MISTAKES = {
    "llama-linear": lambda m: setattr(m, "rope", numpy_forward.Rope(m.head_dim, 1e4)),
    "llama-llama3": lambda m: setattr(m, "rope", numpy_forward.Rope(m.head_dim, 1e4)),
    "llama-yarn": lambda m: setattr(m, "rope", numpy_forward.Rope(m.head_dim, 1e4, "linear", 4.0)),
    "llama-yarn-attn-factor": lambda m: setattr(m.rope, "length", 1.0),
    "llama-one-kv-head": lambda m: setattr(m, "n_head", 1),
    "qwen2-plain": lambda m: drop(m, "attn_k.bias"),
    "qwen3-plain": lambda m: drop(m, "attn_q_norm.weight"),
    "gpt2-plain": lambda m: setattr(m, "embed", lambda ids: m.w["token_embd.weight"][ids]),
    "starcoder2-plain": lambda m: drop(m, "ffn_up.bias"),
    "command-r-plain": lambda m: setattr(m, "logit_scale", 1.0),
    "command-r-plus": lambda m: drop(m, "attn_k_norm.weight"),
    "granite-plain": lambda m: setattr(m, "residual_scale", 1.0),
    "granite-no-positions": lambda m: setattr(m, "rotated", True),
    "smollm3-plain": lambda m: setattr(m, "no_rope_period", 0),
    "phi3-longrope-within": lambda m: setattr(m, "rope", m.rope_long),
    "phi3-longrope": lambda m: setattr(m, "rope_long", None),
    "llama-experts": lambda m: setattr(m, "expert_sum", False),
    "qwen3moe-plain": lambda m: setattr(m, "expert_sum", False),
    "olmoe-plain": lambda m: setattr(m, "expert_sum", True),
    "qwen2moe-plain": lambda m: m.w.update(
        {n: 0 * v for n, v in m.w.items() if n.endswith("ffn_gate_inp_shexp.weight")}
    ),
    "gemma2-plain": lambda m: setattr(m, "window_pattern", 3),
    "gemma2-softcaps": lambda m: setattr(m, "attn_softcap", 0.0),
    "olmo2-windows": lambda m: setattr(m, "window", 0),
    "olmo2-windows-yarn": lambda m: setattr(m, "local_rope", m.rope),
    "gemma3-plain": lambda m: setattr(m, "window", m.window + 1),
    "gemma3-wide-window": lambda m: setattr(m, "local_rope", m.rope),
    "gemma3-linear": lambda m: setattr(m, "rope", numpy_forward.Rope(m.head_dim, 1e4)),
    "gemma3-softcap": lambda m: setattr(m, "softcap", 0.0),
}


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_a_mistake_moves_the_logits(models, name):
    path, ids, want = models.get(name)
    model = numpy_forward.Model(path)
    MISTAKES[name](model)
    if name == "llama-one-kv-head":  # one head of queries instead of four: shapes must still fit
        for i in range(model.n_layer):
            at = f"blk.{i}.attn_"
            model.w[at + "q.weight"] = model.w[at + "q.weight"][: model.head_dim]
            model.w[at + "output.weight"] = model.w[at + "output.weight"][:, : model.head_dim]
    assert np.abs(model.logits(ids) - want).max() > 0.1


def test_metrics_know_the_perplexity_of_a_uniform_model():
    score = metrics.Score()
    score.add(np.zeros((10, 50), np.float32), np.arange(10), np.zeros((10, 50), np.float32))
    result = score.result()
    assert result["ppl"] == pytest.approx(50)
    assert result["kl_mean"] == pytest.approx(0)
    assert result["top1_agreement"] == 1


def test_chunks_put_bos_first_and_drop_the_rest():
    assert list(metrics.chunks_of(list(range(10)), 4, bos=99)) == [[99, 1, 2, 3], [99, 5, 6, 7]]
    assert list(metrics.chunks_of(list(range(10)), 4, 1)) == [[0, 1, 2, 3]]
    with pytest.raises(ValueError):
        list(metrics.chunks_of([1, 2], 4))
