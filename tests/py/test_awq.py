"""AWQ-style scaling: the function stays, whatever is folded where, and rounding errs less where the
inputs differ in size."""
import json

import activations
import numpy as np
import pytest
from oracles import tiny_model
from test_compress_calib import WORDS, values

SIZE = {"n_embd": 64, "n_ff": 96, "n_layer": 2, "n_ctx": 256}
FOLDS = [("attn_q", "attn_norm"), ("attn_k", "attn_norm"), ("ffn_gate", "ffn_norm"),
         ("ffn_down", "ffn_up"), ("attn_output", "attn_v")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("awq")
    (path / "calib.txt").write_text(" ".join(np.random.default_rng(2).choice(WORDS, 4000)))
    return path


def make(verdant, folder, arch):
    """A model in F16."""
    path = folder / f"{arch}.gguf"
    if not path.exists():
        tiny_model.write_model(folder / "f32.gguf", arch=arch, seed=6, vocab="bpe", **SIZE)
        done = verdant("compress", folder / "f32.gguf", "-o", path, "--quant", "F16")
        assert done.returncode == 0, done.stderr
    return path


def compress(verdant, folder, source, target, *options):
    done = verdant("compress", source, "-o", target, "--calib", folder / "calib.txt",
                   "--calib-ctx", 32, "--calib-chunks", 40, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def logits(build, model, out):
    weights = values(model)
    n_layer = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blk."))
    n_vocab, n_embd = weights["token_embd.weight"].shape
    return activations.run(build, model, list(range(3, 40)), out, n_layer, n_embd,
                           n_vocab)["logits"]


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3", "gemma2", "gemma3"])
def test_the_function_stays(verdant, build, folder, tmp_path, arch):
    source = make(verdant, folder, arch)
    compress(verdant, folder, source, tmp_path / "plain.gguf", "--quant", "F32")
    compress(verdant, folder, source, tmp_path / "awq.gguf", "--quant", "F32", "--awq", 0.5)
    old, new = values(tmp_path / "plain.gguf"), values(tmp_path / "awq.gguf")
    changed = {n for n in old if not np.array_equal(old[n], new[n])}
    for reads, gives in FOLDS:  # a bias would have to be divided too: not folded
        if f"blk.1.{gives}.bias" not in old:
            assert {f"blk.1.{reads}.weight", f"blk.1.{gives}.weight"} <= changed
    a, b = (logits(build, tmp_path / f"{k}.gguf", tmp_path / "l.npz") for k in ("plain", "awq"))
    assert np.max(np.abs(a - b)) <= 1e-5 * np.max(np.abs(a))


def test_what_gives_is_divided_by_what_reads_is_multiplied_with(verdant, folder, tmp_path):
    source = make(verdant, folder, "llama")
    compress(verdant, folder, source, tmp_path / "awq.gguf", "--quant", "F32", "--awq", 0.5)
    old, new = values(source), values(tmp_path / "awq.gguf")
    for layer in range(SIZE["n_layer"]):
        for reads, gives in FOLDS:
            reads, gives = (f"blk.{layer}.{name}.weight" for name in (reads, gives))
            s = np.median(new[reads] / old[reads], axis=0)
            given = new[gives] / old[gives]
            d = np.median(given.reshape(len(given), -1), axis=1)
            if "attn_v" in gives:  # a KV head for a group of query heads
                s = np.unique(np.round(np.log(s), 3))
                d = np.unique(np.round(-np.log(d), 3))
                assert len(s) == len(d)  # v has columns of a scale of its own: a constant
                np.testing.assert_allclose(s - np.mean(s), d - np.mean(d), atol=0.003)
            elif "norm" in gives:
                np.testing.assert_allclose(s * given, 1, rtol=1e-3)
            else:
                # up has columns of its own scale too: only the ratio from row to row is the fold's
                np.testing.assert_allclose(s * d / np.median(s * d), 1, rtol=2e-3)


@pytest.mark.parametrize("more", [[], ["--gptq"]])
def test_rounding_errs_less_where_inputs_differ_in_size(verdant, folder, tmp_path, more):
    """A model whose norms differ a hundredfold from channel to channel."""
    from gguf import GGUFReader
    tiny_model.write_model(folder / "u.gguf", seed=6, vocab="bpe", **SIZE)
    reader = GGUFReader(folder / "u.gguf", "r+")
    for t in reader.tensors:
        if t.name.endswith(("attn_norm.weight", "ffn_norm.weight")) and t.name.startswith("blk"):
            t.data[::8] *= 50
    reader.data.flush()
    kl = []
    for i, awq in enumerate(([], ["--awq", "auto"])):
        target = tmp_path / f"{i}.gguf"
        compress(verdant, folder, folder / "u.gguf", target, "--quant", "Q4_0", "--pure", *awq,
                 *more)
        done = verdant("eval", target, "--against", folder / "u.gguf", "--text",
                       folder / "calib.txt", "--ctx", 64, "--chunks", 20, "--json",
                       "--precision", "exact")
        kl.append(json.loads(done.stdout)["kl_mean"])
    assert kl[1] < kl[0], kl


def test_a_file_of_importances_is_enough(verdant, folder, tmp_path):
    source = make(verdant, folder, "llama")
    done = verdant("compress", source, "--calib", folder / "calib.txt", "--calib-ctx", 32,
                   "--save-imatrix", tmp_path / "i.gguf")
    assert done.returncode == 0, done.stderr
    done = verdant("compress", source, "-o", tmp_path / "a.gguf", "--imatrix", tmp_path / "i.gguf",
                   "--quant", "Q4_0", "--awq", "auto")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("options, code, says", [
    (["--quant", "Q4_0", "--awq", "auto"], 2, "--calib"),
    (["--quant", "Q4_0", "--awq", "2", "--calib", "x"], 2, "0 to 1"),
])
def test_what_makes_no_sense_is_misuse(verdant, folder, tmp_path, options, code, says):
    done = verdant("compress", make(verdant, folder, "llama"), "-o", tmp_path / "x", *options)
    assert done.returncode == code and says in done.stderr


def test_other_architectures_are_refused(verdant, folder, tmp_path):
    source = make(verdant, folder, "gpt2")
    done = verdant("compress", source, "-o", tmp_path / "x.gguf", "--quant", "Q4_0", "--awq",
                   "auto", "--calib", folder / "calib.txt", "--calib-ctx", 32)
    assert done.returncode == 1 and "--awq knows" in done.stderr
    assert not (tmp_path / "x.gguf").exists()
