"""`verdant compress` that changes values: clip, threshold, prune; held against NumPy.

F32 in, F32 out, so that every value can be compared bit for bit; quantization comes after.
"""
import json

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.quants import dequantize
from oracles import tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("edit") / "tiny.gguf"
    tiny_model.write_model(path, seed=5, n_embd=256, n_ff=512, n_layer=2)
    return path


@pytest.fixture
def edit(verdant, tiny, tmp_path):
    """edit(*options): the JSON result and the new file."""

    def run(*options, source=tiny):
        target = tmp_path / "out.gguf"
        done = verdant("compress", source, "-o", target, "--json", *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), target

    return run


def values(path):
    return {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(path).tensors}


def in_layer(name, x):
    return name.startswith("blk.") and x.ndim == 2 and "norm" not in name


def percentile(x, p):
    return np.quantile(np.abs(x), p / 100, method="inverted_cdf")


def clip(x, t):
    return np.clip(x, -np.float32(t), np.float32(t))


def below(x, t):
    return np.where(np.abs(x) < np.float32(t), np.float32(0), x)


def above(x, t):
    return np.where(np.abs(x) > np.float32(t), np.float32(0), x)


def magnitude(x, keep):
    """The larger share; of equal ones the first go."""
    flat = x.flatten()
    order = np.argsort(np.abs(flat), kind="stable")
    flat[order[:flat.size - int(np.ceil(keep * flat.size))]] = 0
    return flat.reshape(x.shape)


def groups(x, n, m):
    """The n largest of every m; of equal ones the first stay."""
    g = x.reshape(-1, m).copy()
    order = np.argsort(-np.abs(g), axis=1, kind="stable")
    np.put_along_axis(g, order[:, n:], 0, axis=1)
    return g.reshape(x.shape)


def rms(x):
    return np.sqrt(np.mean(np.square(x, dtype=np.float64)))


EDITS = {
    "clip a magnitude": (["--clip", "0.05"], lambda x: clip(x, 0.05)),
    "clip a percentile": (["--clip", "p97.5"], lambda x: clip(x, percentile(x, 97.5))),
    "clip by rms": (["--clip", "1.5rms"], lambda x: clip(x, 1.5 * rms(x))),
    "clip everything": (["--clip", "0"], lambda x: clip(x, 0)),
    "threshold": (["--threshold", "0.03"], lambda x: below(x, 0.03)),
    "threshold by percentile": (["--threshold", "p40"], lambda x: below(x, percentile(x, 40))),
    "threshold above": (["--threshold-above", "2rms"], lambda x: above(x, 2 * rms(x))),
    "half": (["--prune", "magnitude:0.5"], lambda x: magnitude(x, 0.5)),
    "keep all": (["--prune", "magnitude:1"], lambda x: x),
    "nearly none": (["--prune", "magnitude:0.00001"], lambda x: magnitude(x, 0.00001)),
    "2 of 4": (["--prune", "2:4"], lambda x: groups(x, 2, 4)),
    "4 of 8, by its name": (["--prune", "magnitude:4:8"], lambda x: groups(x, 4, 8)),
    "all of them, each step on what the last one left": (
        ["--clip", "p99", "--threshold", "0.01", "--threshold-above", "1.9rms", "--prune",
         "magnitude:0.6"],
        lambda x: magnitude(above(y := below(clip(x, percentile(x, 99)), 0.01), 1.9 * rms(y)),
                            0.6)),
}


@pytest.mark.parametrize("what", EDITS)
@pytest.mark.parametrize("threads", [1, 2])
def test_values_become_what_numpy_makes_of_them(edit, tiny, what, threads):
    options, expected = EDITS[what]
    result, target = edit(*options, "-t", threads)
    old, new = values(tiny), values(target)
    edited = {e["tensor"]: e for e in result["edited"]}
    assert list(old) != [] and old.keys() == new.keys()
    for name, x in old.items():
        y = expected(x) if in_layer(name, x) else x
        np.testing.assert_array_equal(new[name], y, err_msg=name)
        assert (name in edited) == in_layer(name, x)
        if name in edited:
            assert edited[name]["values"] == x.size
            assert edited[name]["sparsity_before"] == pytest.approx(np.mean(x == 0), abs=1e-12)
            assert edited[name]["sparsity_after"] == pytest.approx(np.mean(y == 0), abs=1e-12)


@pytest.mark.parametrize("what", ["half", "threshold by percentile", "clip by rms"])
def test_equal_magnitudes_are_counted_out_exactly(edit, tiny, tmp_path, verdant, what):
    """A quantized source has a few hundred different magnitudes: ties everywhere."""
    coarse = tmp_path / "coarse.gguf"
    assert verdant("compress", tiny, "-o", coarse, "--quant", "Q4_0", "--pure").returncode == 0
    options, expected = EDITS[what]
    result, target = edit(*options, "--quant", "F32", source=coarse)
    assert result["requantized"] > 0
    old, new = values(coarse), values(target)
    for name, x in old.items():
        np.testing.assert_array_equal(new[name], expected(x) if in_layer(name, x) else x)


def test_types_stay_without_quant_and_zeros_survive_symmetric_ones(edit, tiny):
    _, half = edit("--prune", "magnitude:0.5", "--quant", "Q8_0")
    before = {t.name: t.tensor_type for t in GGUFReader(half).tensors}
    kept = half.with_name("kept.gguf")
    half.rename(kept)
    result, target = edit("--prune", "magnitude:0.3", source=kept)
    assert {t.name: t.tensor_type for t in GGUFReader(target).tensors} == before
    assert result["quant"] is None and result["sparsity_edited"] >= 0.699
    file_type = GGUFReader(target).get_field("general.file_type").contents()
    assert file_type == GGUFReader(kept).get_field("general.file_type").contents()


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "Q3_K_S", "TQ2_0", "IQ4_NL"])
def test_the_automatic_clip_makes_no_error_larger(edit, tiny, kind):
    plain, clipped = (values(edit("--quant", kind, "--pure", *more)[1])
                      for more in ([], ["--clip", "auto"]))
    n_less = 0
    for name, x in values(tiny).items():
        errors = [np.sum(np.square(x - y[name], dtype=np.float64)) for y in (plain, clipped)]
        assert errors[1] <= errors[0] * (1 + 1e-12), name
        n_less += errors[1] < errors[0]
    if kind == "Q4_0": # its scale follows from the largest magnitude of 32
        assert n_less > 7


def test_what_is_clipped_need_not_fit_before(edit, tmp_path, verdant):
    path = tmp_path / "large.gguf"
    tiny_model.write_model(path, seed=5, n_embd=256, n_ff=512, n_layer=1)
    reader = GGUFReader(path, "r+")
    data = next(t for t in reader.tensors if t.name == "blk.0.ffn_up.weight").data
    data[3, 7] = 1e9
    reader.data.flush()
    done = verdant("compress", path, "-o", tmp_path / "x.gguf", "--quant", "Q4_K_S")
    assert done.returncode == 1 and "too large" in done.stderr
    edit("--clip", "1", "--quant", "Q4_K_S", source=path)
    for bad in np.nan, np.inf:
        data[3, 7] = bad
        reader.data.flush()
        for more in (["--clip", "1"], ["--clip", "auto"], ["--prune", "magnitude:0.5"]):
            done = verdant("compress", path, "-o", tmp_path / "x.gguf", "--quant", "Q4_K_S", *more)
            assert done.returncode == 1 and "ffn_up" in done.stderr and "row 3" in done.stderr
    assert not (tmp_path / "x.gguf").exists()


@pytest.mark.parametrize("options", [
    [], ["--pure"], ["--clip", "x"], ["--clip", "-1"], ["--clip", "p101"], ["--clip", "3rms4"],
    ["--clip", "0x1"], ["--prune", "magnitude:0x1p-1"], ["--clip", "nan"], ["--clip", "inf"],
    ["--clip", "1e999"], ["--clip", ""], ["--clip", "auto"], ["--clip", "auto", "--quant", "F16"],
    ["--threshold", "auto", "--quant", "Q8_0"], ["--threshold", "p"], ["--threshold-above", "rms"],
    ["--prune", "magnitude"], ["--prune", "magnitude:"], ["--prune", "magnitude:0"],
    ["--prune", "magnitude:1.1"], ["--prune", "magnitude:-0.5"], ["--prune", "magnitude:nan"],
    ["--prune", "0:4"], ["--prune", "5:4"], ["--prune", "2:65"], ["--prune", "2:"],
    ["--prune", "2:4:8"], ["--prune", ":4"], ["--prune", "0.5"], ["--prune", "guesses:0.5"],
    ["--prune", ""],
])
def test_what_makes_no_sense_is_misuse(verdant, tiny, tmp_path, options):
    target = tmp_path / "x.gguf"
    done = verdant("compress", tiny, "-o", target, *options)
    assert done.returncode == 2 and done.stderr.startswith("verdant compress: ")
    assert not target.exists()


def test_what_does_not_suit_the_model_is_said_and_leaves_nothing(verdant, tiny, tmp_path):
    target = tmp_path / "x.gguf"
    done = verdant("compress", tiny, "-o", target, "--prune", "2:3")
    assert done.returncode == 1 and "blk.0" in done.stderr and "2:3" in done.stderr
    assert not target.exists()


def test_the_name_of_a_tensor_does_not_reach_the_terminal_raw(verdant, tiny, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(tiny.read_bytes().replace(b"blk.0.ffn_up.", b"blk.0.\x1b[31m\a."))
    done = verdant("compress", path, "-o", tmp_path / "x.gguf", "--prune", "2:4")
    assert done.returncode == 0 and "\x1b" not in done.stdout and "\a" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("blk.")]
    assert any(line.startswith(r"blk.0.\x1b[31m\x07.weight  ") for line in lines)


def test_the_table_lists_every_matrix(verdant, tiny, tmp_path):
    done = verdant("compress", tiny, "-o", tmp_path / "x.gguf", "--prune", "2:4")
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("blk.")]
    assert len(lines) == 14 and all(line[2] == "0.00%" for line in lines)
    assert all(line[3] == "50.00%" for line in lines) and "of all weights" in done.stdout


@pytest.mark.parametrize("options, words", [
    (["--prune", "2:4", "--prune", "magnitude:0.5"], "one way already"),
    (["--clip", "auto", "--quant", "Q4_0", "--recover", "true"], "--clip auto"),
    (["-o", "/dev/null", "--quant", "Q8_0", "--compare", "text"], "to read again"),
    (["-o", "/dev/stdout", "--quant", "Q8_0"], "standard output"),
    (["--quant", "Q8_0", "--calib", "text", "--compare", "text"], "text of --calib"),
    (["--quant", "Q4_0", "--sparse"], "--quant Q8_0"),
    (["--quant", "Q4_0", "--uniform"], "how to cut"),
    (["--prune", "layers:0.5", "--calib", "text", "--score", "activation"], "neurons and heads"),
    (["--prune", "width:0.5", "--calib", "text", "--score", "obs"], "neurons and heads"),
    (["--prune", "layers:0.5", "--calib", "text", "--multiple", "2"], "--multiple is for"),
    (["--prune", "layers:0.5", "--calib", "text", "--drift", "0.5"], "--drift is for"),
    (["--prune", "width:0.5", "--calib", "text", "--drift", "0.5"], "--drift is for"),
    (["--prune", "wanda:0.5", "--calib", "text", "--drift", "0.5"], "--drift is for"),
    (["--quant", "Q4_0", "--gptq", "--drift", "0.5"], "--calib"),
    (["--quant", "Q4_0", "--keep-every", "5"], "--keep-every is for"),
    (["--prune", "neurons:0.5", "--calib", "text", "--keep-every", "5"], "--keep-every is for"),
    (["--target", "bpw=4", "--calib", "text", "--keep-every", "5"], "--keep-every is not"),
    (["--target", "bpw=4", "--calib", "text", "--awq", "auto"], "--types"),
    (["--target", "bpw=4", "--imatrix", "x", "--gptq"], "--calib"),
    (["--target", "bpw=4", "--calib", "text", "--awq", "auto"], "--types"),
    (["--target", "bpw=4", "--calib", "text", "--pure"], "--types"),
    (["--target", "bpw=4", "--calib", "text", "--recover", "true"], "no --recover"),
    (["--target", "bpw=4", "--imatrix", "file", "--search-chunks", "2"], "--search-chunks"),
    (["--quant", "Q4_0", "--search-chunks", "2"], "--target")])
def test_what_cannot_be_meant_is_misuse(verdant, tiny, tmp_path, options, words):
    done = verdant("compress", tiny, "-o", tmp_path / "q.gguf", *options)
    assert done.returncode == 2 and words in done.stderr
    assert not list(tmp_path.iterdir())
