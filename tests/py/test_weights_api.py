"""<verdant/compress.h>: matrices in memory, against NumPy and the gguf package; its example."""
import ctypes
import re
import subprocess

import gguf
import numpy as np
import pytest

ARG, FORMAT = 5, 3  # vd_status


class Err(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("os_errno", ctypes.c_int), ("file", ctypes.c_char_p),
                ("line", ctypes.c_int), ("message", ctypes.c_char * 512)]


class Weights:
    """The functions, by the names behind vd_weights_; each gives (status, message)."""

    def __init__(self, library):
        self.library = ctypes.CDLL(library)

    def call(self, name, *args):
        err = Err()
        status = getattr(self.library, "vd_weights_" + name)(*args, ctypes.byref(err))
        return status, err.message.decode()

    def edit(self, name, w, cut):
        w = np.array(w, np.float32)
        rows, cols = w.shape
        kind = ctypes.c_double if name == "prune" else ctypes.c_float
        result = self.call(name, w.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(rows),
                           ctypes.c_size_t(cols), kind(cut))
        return result, w

    def quantize(self, kind, w, importance=None, n_bytes=None):
        w = np.ascontiguousarray(w, np.float32)
        rows, cols = map(ctypes.c_size_t, w.shape)
        size = ctypes.c_size_t()
        result = self.call("bytes", kind.encode(), rows, cols, ctypes.byref(size))
        if result[0] != 0:
            return result, None
        blocks = np.zeros(size.value, np.uint8)
        weights = None if importance is None else np.asarray(importance, np.float32)
        result = self.call("quantize", kind.encode(), w.ctypes.data_as(ctypes.c_void_p),
                           None if weights is None else weights.ctypes.data_as(ctypes.c_void_p),
                           rows, cols, blocks.ctypes.data_as(ctypes.c_void_p),
                           ctypes.c_size_t(size.value if n_bytes is None else n_bytes))
        return result, blocks

    def dequantize(self, kind, blocks, shape):
        w = np.empty(shape, np.float32)
        result = self.call("dequantize", kind.encode(), blocks.ctypes.data_as(ctypes.c_void_p),
                           ctypes.c_size_t(blocks.size), *map(ctypes.c_size_t, shape),
                           w.ctypes.data_as(ctypes.c_void_p))
        return result, w


@pytest.fixture(scope="module")
def weights(build):
    return Weights(build / "libverdant.so")


@pytest.fixture(scope="module")
def matrix():
    return np.random.default_rng(7).standard_normal((6, 256)).astype(np.float32)


def test_values_are_clipped_and_thresholded_as_the_names_say(weights, matrix):
    cut = np.float32(0.75)
    for name, expected in (("clip", np.clip(matrix, -cut, cut)),
                           ("threshold", np.where(np.abs(matrix) < cut, 0, matrix)),
                           ("threshold_above", np.where(np.abs(matrix) > cut, 0, matrix))):
        (status, message), w = weights.edit(name, matrix, cut)
        assert (status, message) == (0, "")
        np.testing.assert_array_equal(w, expected)


@pytest.mark.parametrize("keep", [0, 0.001, 0.25, 0.5, 0.99, 1])
def test_a_keep_rate_leaves_the_largest(weights, matrix, keep):
    (status, _), w = weights.edit("prune", matrix, keep)
    n_kept = int(np.ceil(keep * matrix.size))
    cut = np.sort(np.abs(matrix), axis=None)[::-1][n_kept - 1] if n_kept else np.inf
    assert status == 0
    np.testing.assert_array_equal(w, np.where(np.abs(matrix) >= cut, matrix, 0))


def test_of_equal_magnitudes_the_first_go(weights):
    (status, _), w = weights.edit("prune", [[1, -1, 2, 1], [-1, 1, 0, 3]], 0.5)
    assert status == 0
    np.testing.assert_array_equal(w, [[0, 0, 2, 0], [-1, 1, 0, 3]])


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_K", "Q2_0", "TQ1_0", "Q1_0", "f16"])
def test_blocks_are_those_of_the_field(weights, matrix, kind):
    (status, _), blocks = weights.quantize(kind, matrix)
    assert status == 0
    (status, _), w = weights.dequantize(kind, blocks, matrix.shape)
    assert status == 0
    if kind not in ("Q1_0", "Q2_0"):  # which the package does not decode
        theirs = gguf.dequantize(blocks.reshape(len(matrix), -1),
                                 gguf.GGMLQuantizationType[kind.upper()])
        np.testing.assert_allclose(w, theirs, rtol=1e-6, atol=1e-7)
    assert np.mean((w - matrix) ** 2) < {"Q2_0": 0.25, "TQ1_0": 0.25, "Q1_0": 0.45}.get(kind, 0.02)


def test_what_counts_more_comes_out_closer(weights, matrix):
    importance = np.where(np.arange(256) % 7 == 0, 100.0, 0.01)
    errors = []
    for given in (None, importance):
        _, blocks = weights.quantize("Q4_K", matrix, given)
        _, w = weights.dequantize("Q4_K", blocks, matrix.shape)
        errors.append(np.sum(importance * (w - matrix) ** 2))
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("name, cut", [("clip", -1), ("clip", np.nan), ("threshold", -0.1),
                                       ("prune", 1.5), ("prune", -0.5), ("prune", np.nan)])
def test_a_cut_that_makes_no_sense_is_refused(weights, matrix, name, cut):
    (status, message), w = weights.edit(name, matrix, cut)
    assert status == ARG and "is " in message
    np.testing.assert_array_equal(w, matrix)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["clip", "threshold", "threshold_above", "prune"])
def test_a_value_that_is_not_finite_leaves_the_matrix_as_it_was(weights, matrix, name, bad):
    spoilt = matrix.copy()
    spoilt[2, 17] = bad
    (status, message), w = weights.edit(name, spoilt, 0.5)
    assert status == FORMAT and "row 2, column 17" in message
    np.testing.assert_array_equal(w, spoilt)


def test_what_cannot_be_quantized_is_said(weights, matrix):
    for kind, w, importance, n_bytes, words in (
            ("Q9_9", matrix, None, None, "no type 'Q9_9'"),
            ("NVFP4", matrix, None, None, "no type 'NVFP4'"),
            ("IQ2_XXS", matrix, None, None, "IQ2_XXS is of no use without the importance"),
            ("Q4_K", matrix[:, :250], None, None, "no multiple of the 256"),
            ("Q8_0", matrix, None, 7, "7 bytes for a matrix that has 1632"),
            ("Q4_0", matrix, np.full(256, -1), None, "importance of column 0 is -1"),
            ("Q4_0", matrix, np.full(256, np.nan), None, "importance of column 0"),
            ("F16", matrix * 1e6, None, None, "too large")):
        (status, message), _ = weights.quantize(kind, w, importance, n_bytes)
        assert status in (ARG, FORMAT) and words in message, (kind, message)


def test_the_example_shows_what_each_way_costs(build, root, tmp_path):
    program = tmp_path / "two_layer"
    subprocess.run(["cc", "-std=c17", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{root}/include",
                    root / "examples/compress/two_layer.c", f"-L{build}", f"-Wl,-rpath,{build}",
                    "-lverdant", "-lm", "-o", program], check=True)
    result = subprocess.run([program], capture_output=True, text=True, timeout=60, check=True)
    rows = re.findall(r"^(\S.*?) +(\d+) +([\d.]+)% +([\d.]+)%$", result.stdout, re.M)
    table = {name: (int(size), float(zero), float(right)) for name, size, zero, right in rows}
    dense = table["as trained"]
    assert len(table) == 14 and dense[2] > 95 and table["keep none"][1:] == (100, 9.55)
    assert table["keep 0.5 of the weights"][1] == table["keep 0.5 of the nodes"][1] == 50
    for name, share, loss in (("8 bits", 0.266, 0.5), ("4 bits", 0.141, 1), ("2 bits", 0.071, 4),
                              ("ternary", 0.053, 6), ("keep 0.5 of the weights", 1, 1),
                              ("keep 0.5 of the nodes", 1, 6),
                              ("keep 0.5, clipped, 4 bits", 0.141, 5)):
        assert table[name][0] < share * dense[0] + 1 and table[name][2] > dense[2] - loss, name
    assert table["binary"][2] < table["ternary"][2] < table["4 bits"][2]
    assert table["above 0.15 to zero"][2] < table["clipped at 0.15"][2] < dense[2]
