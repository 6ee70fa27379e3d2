"""Opens tests/gen and tests/peer to the suites, and the fixtures' helpers they share."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "gen"), str(TESTS / "peer"), str(TESTS.parent / "bench")]

import accuracy  # noqa: E402
import archs  # noqa: E402
import dequantize  # noqa: E402
import dtypes  # noqa: E402
import hf_models  # noqa: E402
import iq_grids  # noqa: E402
import llama_cpp  # noqa: E402
import metrics  # noqa: E402
import models_doc  # noqa: E402
import multiple_choice  # noqa: E402
import numpy_forward  # noqa: E402
import pretokenizers  # noqa: E402
import tiny_model  # noqa: E402
import variants  # noqa: E402

__all__ = [
    "accuracy",
    "archs",
    "dequantize",
    "dtypes",
    "hf_models",
    "iq_grids",
    "llama_cpp",
    "metrics",
    "models_doc",
    "multiple_choice",
    "numpy_forward",
    "pretokenizers",
    "tiny_model",
    "variants",
]


def need_peer():
    """Skips the test where llama.cpp's libraries are not."""
    if llama_cpp.find_libraries() is None:
        pytest.skip("llama.cpp is not here (tests/peer/get_peer.sh fetches it)")


def params(names):
    """Names of variants as parameters of a test; all but variants.is_quick are slow."""
    marks = {name: [] if variants.is_quick(name) else [pytest.mark.slow] for name in names}
    return [pytest.param(name, marks=mark) for name, mark in marks.items()]


class TinyModels:
    """The models of variants.py, written when first asked for."""

    def __init__(self, folder, n_tokens=64):
        self.folder, self.n_tokens, self.made = folder, n_tokens, {}

    def get(self, name):
        """(path, ids, float64 logits [n_tokens, n_vocab], or embeddings of an encoder, by NumPy)"""
        if name not in self.made:
            path = self.folder / f"{name}.gguf"
            config = tiny_model.write_model(path, **variants.everything()[name])
            ids = tiny_model.random_ids(
                config.seed, self.n_tokens, tiny_model.n_vocab(config.vocab)
            )
            self.made[name] = path, ids, numpy_forward.Model(path).outputs(ids)
        return self.made[name]

    def in_f32(self, name):
        """The path of the same weights as F32."""
        path = self.get(name)[0]
        if variants.everything()[name].get("type", "F32") == "F32":
            return path
        target = path.with_suffix(".f32.gguf")
        if not target.exists():
            dequantize.dequantize_file(path, target)
        return target
