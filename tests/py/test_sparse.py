"""Sparse weights: many zeros in a dense file take fewer bytes and leave the answers as they are."""
import json

import numpy as np
import pytest
from oracles import tiny_model

LEVELS = ["avx2", "avx512", "avx512-vbmi2", "avx512-bf16"]
IDS = [int(i) for i in np.random.default_rng(3).integers(3, 300, 70)]


@pytest.fixture(scope="module")
def pruned(verdant, tmp_path_factory):
    """pruned(keep): a model whose matrices keep so much, in Q8_0."""
    folder, made = tmp_path_factory.mktemp("sparse"), {}
    dense = folder / "dense.gguf"
    tiny_model.write_model(dense, seed=5, n_embd=256, n_ff=512, n_layer=2)

    def make(keep):
        if keep not in made:
            made[keep] = folder / f"{keep.replace(':', '-')}.gguf"
            done = verdant("compress", dense, "-o", made[keep], "--prune", f"magnitude:{keep}",
                           "--quant", "Q8_0")
            assert done.returncode == 0, done.stderr
        return made[keep]

    return make


@pytest.fixture(scope="module")
def levels(verdant):
    report = json.loads(verdant("doctor", "--quick", "--json").stdout)
    return {level["name"] for level in report["kernels"]["levels"] if level["runs"]}


def weight_bytes(verdant, path, sparse, level=None):
    env = {"VERDANT_SPARSE": sparse} | ({"VERDANT_CPU": level} if level else {})
    done = verdant("bench", path, "-p", "4", "-n", "2", "-r", "1", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["weight_bytes"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n_tokens", [1, 2, 9, 70])
def test_logits_have_the_bits_of_the_dense_form(verdant, pruned, levels, tmp_path, level, n_tokens):
    if level not in levels:
        pytest.skip(f"this machine lacks {level}")
    made = []
    for sparse in ("off", "1"):
        out = tmp_path / f"{sparse}.bin"
        ids = ",".join(map(str, IDS[:n_tokens]))
        done = verdant("logits", pruned("0.5"), "--ids", ids, "-o", out,
                       env={"VERDANT_CPU": level, "VERDANT_SPARSE": sparse})
        assert done.returncode == 0, done.stderr
        made.append(out.read_bytes())
    assert made[0] == made[1]
    assert np.isfinite(np.frombuffer(made[0], "<f4")).all()


def test_the_sparse_form_takes_what_its_values_take(verdant, pruned, levels):
    if "avx2" not in levels:
        pytest.skip("no level here has packed products")
    keeps = ["0.3", "0.5", "2:4", "0.9"]
    dense = {weight_bytes(verdant, pruned(keep), "off") for keep in keeps}
    assert len(dense) == 1
    n = 2 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512)  # weights of the layers
    for keep, share in zip(keeps, (0.3, 0.5, 0.5, 0.9)):
        saved = min(dense) - weight_bytes(verdant, pruned(keep), "1")
        want = n * (8 - 1 - 8 * share) / 8
        assert abs(saved - want) < 0.02 * n  # padding, and small weights that round to zero


def test_a_level_takes_the_sparse_form_only_where_it_is_quicker(verdant, pruned, levels):
    if "avx512-vbmi2" not in levels:
        pytest.skip("this machine lacks avx512-vbmi2")
    off = weight_bytes(verdant, pruned("0.5"), "off", "avx512-vbmi2")
    assert weight_bytes(verdant, pruned("0.5"), "", "avx512-vbmi2") < 0.75 * off
    assert weight_bytes(verdant, pruned("0.9"), "", "avx512-vbmi2") == off
    assert weight_bytes(verdant, pruned("0.5"), "0.3", "avx512-vbmi2") == off
