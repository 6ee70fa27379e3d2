"""Encoders: embeddings of every token against NumPy in float64 and against llama.cpp."""

import dataclasses

import activations
import numpy as np
import oracles
import pytest
from oracles import llama_cpp, numpy_forward, tiny_model, variants

NAMES = sorted(variants.encoders())
LEVELS = ["c", "avx2", "avx512", "avx512-bf16"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return oracles.TinyModels(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="module")
def ours(build, tmp_path_factory):
    """ours(name, path, ids, **options): float32 [n, C]"""
    out = tmp_path_factory.mktemp("ours") / "out.npz"

    def run(name, path, ids, **options):
        config = tiny_model.Config(**variants.encoders()[name])
        return activations.run(
            build, path, ids, out, config.n_layer, config.n_embd, n_vocab=0, **options
        )["embeddings"]

    return run


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_agree_with_numpy(models, ours, name):
    path, ids, want = models.get(name)
    assert np.abs(ours(name, path, ids) - want).max() < 1e-4


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["bert-plain", "nomic-bert-plain"])
def test_embeddings_agree_at_every_cpu_level(models, ours, name, level):
    path, ids, want = models.get(name)
    assert np.abs(ours(name, path, ids, cpu=level) - want).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_agree_with_llama_cpp_on_the_same_weights_in_f32(models, ours, name):
    oracles.need_peer()
    path, ids, want = models.get(name)
    with llama_cpp.Peer(models.in_f32(name), n_ctx=64, threads=1, embeddings=True) as peer:
        theirs = peer.encode(ids)
    assert np.abs(theirs - want).max() < 1e-3
    assert np.abs(ours(name, path, ids) - theirs).max() < 1e-3


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [n for n in NAMES if n.endswith("q8_0")])
def test_the_fast_path_strays_no_further_than_llama_cpps(models, ours, name, level):
    oracles.need_peer()
    path, ids, want = models.get(name)
    with llama_cpp.Peer(path, n_ctx=64, threads=1, embeddings=True) as peer:
        theirs = np.sqrt(((peer.encode(ids) - want) ** 2).mean())
    mine = np.sqrt(((ours(name, path, ids, cpu=level, fast=1) - want) ** 2).mean())
    assert mine <= 1.5 * theirs + 1e-5


@pytest.mark.parametrize("name", ["bert-plain", "nomic-bert-plain"])
def test_sequences_of_one_batch_do_not_see_each_other(models, ours, name):
    path, ids, _ = models.get(name)
    together = ours(name, path, ids[:60], n_seq=3)
    for i in range(3):
        alone = ours(name, path, ids[20 * i : 20 * i + 20])
        assert np.abs(together[20 * i : 20 * i + 20] - alone).max() < 1e-5


@pytest.mark.parametrize("command", ["logits", "run"])
def test_an_encoder_has_no_logits_and_no_text(models, verdant, tmp_path, command):
    path = models.get("bert-plain")[0]
    words = {"logits": ["--ids", "1", "-o", tmp_path / "x"], "run": ["hello"]}
    result = verdant(command, path, *words[command])
    assert result.returncode == 1
    assert "bert is an encoder" in result.stderr


def test_a_bert_that_is_causal_is_refused(verdant, tmp_path):
    path = tmp_path / "causal.gguf"
    builder = tiny_model.Builder(str(path), tiny_model.Config(arch="bert", bias=True))
    builder.writer.add_causal_attention = lambda value: None  # as the generator would say it
    builder.writer.add_bool("bert.attention.causal", True)
    builder.build()
    result = verdant("logits", path, "--ids", "1", "-o", tmp_path / "x")
    assert result.returncode == 1
    assert "attention.causal is true" in result.stderr


MISTAKES = {
    "mask": lambda m: setattr(m, "arch", dataclasses.replace(m.arch, encoder=False)),
    "types": lambda m: setattr(m, "arch", dataclasses.replace(m.arch, token_types=False)),
    "norm": lambda m: m.w.pop("token_embd_norm.weight"),
    "sum norm": lambda m: m.w.pop("blk.0.attn_output_norm.weight"),
}


@pytest.mark.parametrize("name", ["bert-plain", "nomic-bert-plain"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_moves_the_embeddings(models, name, mistake):
    path, ids, want = models.get(name)
    model = numpy_forward.Model(path)
    MISTAKES[mistake](model)
    assert np.abs(model.hidden(ids) - want).max() > 0.1
