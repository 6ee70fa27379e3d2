"""`verdant eval` against NumPy in double precision: divergence from a base, multiple choice."""

import json

import numpy as np
import pytest
from oracles import metrics, numpy_forward, tiny_model

EXACT = ("--precision", "exact", "--base-precision", "exact", "--kv", "f32")
TEXT = "the river and the boat were not for you. he and she are in it, his and her own. " * 30


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Paths of two tiny models with one vocabulary, the second the first in four bits."""
    folder = tmp_path_factory.mktemp("eval")
    for name, kind in (("base", "F32"), ("other", "Q4_0")):
        tiny_model.write_model(folder / f"{name}.gguf", vocab="bpe", type=kind)
    return folder / "base.gguf", folder / "other.gguf"


def test_divergence_from_a_base_is_numpys(two, verdant, tmp_path):
    base, other = two
    text = tmp_path / "text"
    text.write_text(TEXT)
    ids = json.loads(verdant("tokenize", base, "--file", text, "--json").stdout)["ids"]
    mine, theirs = numpy_forward.Model(other), numpy_forward.Model(base)
    want = metrics.perplexity(
        lambda chunk, first: mine.logits(chunk)[first:],
        ids,
        ctx=48,
        n_chunks=3,
        base_logits_of=lambda chunk, first: theirs.logits(chunk)[first:],
    )
    result = verdant(
        *("eval", other, "--text", text, "--against", base, "--ctx", 48, "--chunks", 3),
        *("--json", *EXACT),
    )
    assert result.returncode == 0, result.stderr
    got = json.loads(result.stdout)
    for ours, numpys in (("ppl", "ppl"), ("kl_mean", "kl_mean"), ("kl_99", "kl_p99")):
        assert got[ours] == pytest.approx(want[numpys], rel=1e-4), ours
    assert got["top1_agreement"] == pytest.approx(want["top1_agreement"])
    n = want["n_tokens"]
    assert 0 < want["top1_agreement"] < 1, "the models are too alike, or too different, to test"
    spread = np.sqrt(want["top1_agreement"] * (1 - want["top1_agreement"]) / (n - 1))
    assert got["top1_stderr"] == pytest.approx(spread)
    assert got["base_ppl"] == pytest.approx(
        metrics.perplexity(lambda c, first: theirs.logits(c)[first:], ids, 48, 3)["ppl"], rel=1e-4
    )


def test_a_model_against_itself_does_not_diverge(two, verdant, tmp_path):
    text = tmp_path / "text"
    text.write_text(TEXT)
    args = ("eval", two[0], "--text", text, "--against", two[0], "--ctx", 48, "--chunks", 2)
    got = json.loads(verdant(*args, "--json", *EXACT).stdout)
    assert got["kl_mean"] == got["kl_99"] == 0
    assert got["top1_agreement"] == 1 and got["top1_stderr"] == 0
    assert got["ppl"] == got["base_ppl"]
    shown = verdant(*args, *EXACT).stdout
    assert "99 % KL" in shown and "100.00 +- 0.00 %" in shown
