"""`verdant compress --target --sparse`: keep-rates beside types, and `--types` with keep-rates.

What is pruned is compared with Wanda in NumPy, divergences with a forward pass in NumPy.
"""
import json
import math
import signal
import subprocess
import time

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.quants import dequantize
from oracles import numpy_forward, tiny_model

CTX, CHUNKS, MEASURED = 32, 8, 2
EMPTY = "blk.0.ffn_up.weight"  # most of its weights are nearly zero, but not in Q8_0
HEAD = 320  # what the head of a file may be taken too large


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keeps")


@pytest.fixture(scope="module")
def tiny(folder):
    path = folder / "tiny.gguf"
    tiny_model.write_model(path, seed=9, vocab="bpe", n_embd=64, n_ff=96, n_layer=2, n_ctx=256)
    for t in GGUFReader(path, "r+").tensors:
        if t.name == EMPTY:
            rng = np.random.default_rng(1)
            t.data[rng.random(t.data.shape) < 0.6] *= 0.05
    return path


@pytest.fixture(scope="module")
def text(folder):
    rng = np.random.default_rng(2)
    words = "the of and a to in is you that it he was for on are as with his they at".split()
    path = folder / "calib.txt"
    path.write_text(" ".join(rng.choice(words, 4000)))
    return path


def arguments(source, target, text, goal, *options, measured=MEASURED, sparse="--sparse",
              types="IQ4_NL,Q8_0"):
    return ["compress", source, "-o", target, "--target", goal, "--calib", text, "--calib-ctx", CTX,
            "--calib-chunks", max(CHUNKS, measured), "--search-chunks", measured, "--search-types",
            types, *([sparse] if sparse else []), *options]


@pytest.fixture
def search(verdant, tiny, text, tmp_path):

    def run(goal, *options, name="out.gguf", **more):
        target = tmp_path / name
        done = verdant(*arguments(tiny, target, text, goal, "--json", *options, **more))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), target

    return run


@pytest.fixture(scope="module")
def found(verdant, tiny, text, folder):
    """A search in which little but keep-rates can be chosen: JSON, file, importance."""
    target, importance = folder / "found.gguf", folder / "i.gguf"
    done = verdant(*arguments(tiny, target, text, "bpw=6.5", "--json", "--save-imatrix", importance,
                              types="Q8_0"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), target, importance


def kept(result):
    return {name: one["keep"] for name, one in result["tensors"].items() if isinstance(one, dict)}


@pytest.fixture(scope="module")
def dense(verdant, found, folder):
    """The found file with no matrix sparse."""
    path = folder / "dense.gguf"
    done = verdant("compress", found[1], "-o", path, "--quant", "Q8_0")
    assert done.returncode == 0, done.stderr
    return path


def test_the_file_has_the_bytes_and_the_keep_rates(found, dense, tiny):
    result, target, importance = found
    chosen = result["chosen"]
    keeps = kept(result)
    assert set(keeps.values()) <= {0.7, 0.5, 0.35} and chosen["pruned"] == len(keeps) >= 5
    assert chosen["bits_per_weight"] <= 6.5
    assert target.stat().st_size <= chosen["file_bytes"] <= target.stat().st_size + HEAD
    names = {t.name for t in GGUFReader(target).tensors}
    assert {f"{name}.sparse" for name in keeps} <= names
    sums = {t.name: np.array(t.data, np.float64) for t in GGUFReader(importance).tensors}
    old = {t.name: np.array(t.data) for t in GGUFReader(tiny).tensors}
    new = {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(dense).tensors}
    for name, keep in keeps.items():  # Wanda, row by row
        score = np.abs(old[name].astype(np.float64)) * np.sqrt(sums[name + ".in_sum2"].ravel())
        n_gone = score.shape[1] - math.ceil(keep * score.shape[1] - 1e-9)
        gone = np.argsort(score, axis=1)[:, :n_gone]
        assert not np.take_along_axis(new[name], gone, axis=1).any()
        rest = old[name].copy()
        np.put_along_axis(rest, gone, 0, axis=1)
        assert np.abs(new[name] - rest).max() <= np.abs(rest).max() / 127 * 0.57  # and an f16 scale


def test_the_divergence_is_that_of_the_file(verdant, found, dense, tiny, text):
    ids = json.loads(verdant("tokenize", tiny, "--file", text, "--json").stdout)["ids"]
    rows = []
    for path in (tiny, dense):
        chunks = [ids[i * CTX:(i + 1) * CTX] for i in (0, CHUNKS // 2)]
        logits = np.concatenate([numpy_forward.Model(path).logits(chunk)[CTX // 2:CTX - 1]
                                 for chunk in chunks])
        rows.append(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    kl = np.mean(np.sum(np.exp(rows[0]) * (rows[0] - rows[1]), axis=1))
    assert found[0]["chosen"]["kl"] == pytest.approx(kl, rel=2e-3)


def test_a_keep_rate_is_chosen_where_it_costs_nothing(search):
    """The matrix whose weights are nearly zero for six tenths."""
    result, _ = search("bpw=8.2", types="Q8_0")
    assert kept(result)[EMPTY] <= 0.5 and list(kept(result).values()).count(0.5) <= 3
    assert [p["pruned"] for p in result["front"]][0] == 0


def test_it_is_no_worse_than_types_alone(search):
    both, _ = search("bpw=7")
    types, _ = search("bpw=7", name="types.gguf", sparse=None)
    assert both["chosen"]["kl_predicted"] <= types["chosen"]["kl_predicted"]


def test_what_is_found_is_built_again(verdant, found, tiny, tmp_path):
    result, target, importance = found
    names, again = tmp_path / "s.json", tmp_path / "again.gguf"
    names.write_text(json.dumps(result))
    done = verdant("compress", tiny, "-o", again, "--types", names, "--imatrix", importance,
                   "--sparse")
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == target.read_bytes()
    assert "zeros" in done.stdout


def test_a_killed_search_goes_on(build, search, tiny, text, tmp_path):
    whole, target = search("bpw=7", measured=10)
    other, journal = tmp_path / "other.gguf", tmp_path / "other.gguf.search"
    command = [build / "verdant", *arguments(tiny, other, text, "bpw=7", measured=10)]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (not journal.exists() or
                                          b'"kl Q8_0:0.5 ' not in journal.read_bytes()):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not other.exists()
    result, _ = search("bpw=7", name="other.gguf", measured=10)
    assert result["resumed"] >= 6
    assert other.read_bytes() == target.read_bytes() and result["chosen"] == whole["chosen"]
    assert {p.name for p in tmp_path.iterdir()} == {"out.gguf", "out.gguf.svg", "other.gguf",
                                                     "other.gguf.svg"}


def test_speed_is_that_of_the_sparse_file_and_keeps_may_be_said(verdant, search):
    result, target = search("bpw=7,tps=1", "--search-keeps", "0.4", types="Q8_0")
    assert result["chosen"]["tokens_per_s"] >= 1
    assert set(kept(result).values()) == {0.4}
    assert verdant("run", target, "a", "-n", 2).returncode == 0


def test_table_and_picture_say_what_is_pruned(verdant, tiny, text, tmp_path):
    done = verdant(*arguments(tiny, tmp_path / "t.gguf", text, "bpw=6.5", types="Q8_0"))
    assert done.returncode == 0, done.stderr
    assert "of the weights kept" in done.stdout
    assert any(line.startswith("> ") and line.endswith(" pruned")
               for line in done.stdout.splitlines())
    assert " pruned</text>" in (tmp_path / "t.gguf.svg").read_text()


# ---- what is wrong -------------------------------------------------------------------------------

@pytest.mark.parametrize("keeps, words", [
    ("0", "--search-keeps"), ("1", "--search-keeps"), ("1.5", "--search-keeps"),
    ("0.5,", "--search-keeps"), ("nan", "--search-keeps"), ("0.5x", "--search-keeps"),
    (",".join(["0.5"] * 9), "more than 8"),
])
def test_bad_keeps_are_misuse(verdant, tiny, text, tmp_path, keeps, words):
    done = verdant(*arguments(tiny, tmp_path / "x.gguf", text, "bpw=6", "--search-keeps", keeps))
    assert done.returncode == 2 and words in done.stderr


def test_keeps_are_for_a_sparse_search(verdant, tiny, text, tmp_path):
    done = verdant(*arguments(tiny, tmp_path / "x.gguf", text, "bpw=6", "--search-keeps", "0.5",
                              sparse=None))
    assert done.returncode == 2 and "--sparse" in done.stderr
    done = verdant("compress", tiny, "-o", tmp_path / "x.gguf", "--quant", "Q8_0", "--search-keeps",
                   "0.5")
    assert done.returncode == 2 and "--target" in done.stderr


@pytest.mark.parametrize("one, words, status", [
    ({"type": "Q8_0", "keep": 0}, "keep-rate", 2),
    ({"type": "Q8_0", "keep": 1.5}, "keep-rate", 2),
    ({"type": "Q8_0", "keep": "half"}, "keep-rate", 2),
    ({"keep": 0.5}, "type is no string", 2),
    ({"type": "Q9", "keep": 0.5}, "Q9", 2),
    ({"type": "Q8_0", "keep": 0.5}, "--imatrix", 1),  # nothing says what it reads
])
def test_bad_keep_rates_of_a_file(verdant, tiny, tmp_path, one, words, status):
    names, target = tmp_path / "t.json", tmp_path / "x.gguf"
    names.write_text(json.dumps({"tensors": {"blk.0.attn_q.weight": one}}))
    done = verdant("compress", tiny, "-o", target, "--types", names)
    assert done.returncode == status and words in done.stderr and not target.exists()


def test_a_keep_rate_is_for_matrices_of_layers(verdant, tiny, found, tmp_path):
    names = tmp_path / "t.json"
    names.write_text(json.dumps({"tensors": {"token_embd.weight": {"type": "Q8_0", "keep": 0.5}}}))
    done = verdant("compress", tiny, "-o", tmp_path / "x.gguf", "--types", names, "--imatrix",
                   found[2])
    assert done.returncode == 1 and "matrix of a layer" in done.stderr


# ---- parts cut out before ------------------------------------------------------------------------

def test_a_search_behind_a_cut_is_the_search_of_what_it_leaves(verdant, tiny, text, tmp_path):
    env = {"OPENBLAS_NUM_THREADS": "1"}
    cut, two, one = (tmp_path / f"{name}.gguf" for name in ("cut", "two", "one"))
    calib = ["--calib", text, "--calib-ctx", CTX, "--calib-chunks", CHUNKS]
    prune = ["--prune", "neurons:0.75", "--uniform"]
    done = verdant("compress", tiny, "-o", cut, *prune, *calib, env=env)
    assert done.returncode == 0, done.stderr
    done = verdant(*arguments(cut, two, text, "bpw=7"), env=env)
    assert done.returncode == 0, done.stderr
    done = verdant(*arguments(tiny, one, text, "bytes=1", *prune), env=env)
    assert done.returncode == 1 and not one.exists()  # what was measured is kept
    done = verdant(*arguments(tiny, one, text, "bpw=7", *prune, "--json"), env=env)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert one.read_bytes() == two.read_bytes()
    assert [(c["what"], c["after"] < c["before"]) for c in result["cut"]] == [("neurons", True)]
    assert result["file_bytes_before"] == tiny.stat().st_size and result["resumed"] > 50
    assert {p.name for p in tmp_path.iterdir()} == {"cut.gguf", "two.gguf", "two.gguf.svg",
                                                     "one.gguf", "one.gguf.svg"}


@pytest.mark.parametrize("options, words", [
    (["--imatrix", "i.gguf"], "--calib"),
    (["--calib", "t", "--save-imatrix", "i.gguf"], "--save-imatrix is of MODEL"),
])
def test_what_a_cut_before_a_search_needs(verdant, tiny, tmp_path, options, words):
    done = verdant("compress", tiny, "-o", tmp_path / "x.gguf", "--target", "bpw=5", "--prune",
                   "neurons:0.75", *options)
    assert done.returncode == 2 and words in done.stderr
