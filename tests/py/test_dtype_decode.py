"""Our plain-C decoders against PyPI's gguf, bit for bit."""

import ctypes

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as T

TYPES = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K]
# Where the f16 scales lie in a block.
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}
# Zeros, smallest and largest subnormal, smallest normal, one, largest, infinity, NaN; negatives.
EXTREMES = np.array([0x0000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0x7E00,
                     0x8000, 0x8001, 0x83FF, 0x8400, 0xBC00, 0xFBFF, 0xFC00, 0xFE00], "<u2")
N_BLOCKS = 512


@pytest.fixture(scope="session")
def shim(build):
    """libverdant's inner functions that tests/py/shim.c opens to ctypes."""
    return ctypes.CDLL(str(build / "tests" / "libverdant_shim.so"))


def decode(shim, dtype, raw):
    block, size = gguf.GGML_QUANT_SIZES[dtype]
    out = np.empty(raw.size // size * block, np.float32)
    shim.test_decode(int(dtype), raw.ctypes.data_as(ctypes.c_void_p),
                     out.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(out.size))
    return out


def assert_same_bits(ours, theirs):
    theirs = np.asarray(theirs, np.float32).ravel()
    assert ours.shape == theirs.shape
    nan = np.isnan(theirs)
    assert (np.isnan(ours) == nan).all()  # which NaN is nobody's business
    assert (ours.view(np.uint32)[~nan] == theirs.view(np.uint32)[~nan]).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: t.name)
def test_random_blocks_decode_to_the_same_bits(shim, dtype, seed):
    size = gguf.GGML_QUANT_SIZES[dtype][1]
    raw = np.random.default_rng(seed).integers(0, 256, (N_BLOCKS, size), np.uint8)
    with np.errstate(all="ignore"):
        assert_same_bits(decode(shim, dtype, raw), gguf.quants.dequantize(raw, dtype))


@pytest.mark.parametrize("dtype", SCALES, ids=lambda t: t.name)
def test_extreme_scales_decode_to_the_same_bits(shim, dtype):
    rng = np.random.default_rng(7)
    raw = rng.integers(0, 256, (N_BLOCKS, gguf.GGML_QUANT_SIZES[dtype][1]), np.uint8)
    for at in SCALES[dtype]:
        raw[:, at:at + 2] = rng.choice(EXTREMES, N_BLOCKS).view(np.uint8).reshape(-1, 2)
    with np.errstate(all="ignore"):
        assert_same_bits(decode(shim, dtype, raw), gguf.quants.dequantize(raw, dtype))


@pytest.mark.parametrize("dtype", [T.F16, T.BF16], ids=lambda t: t.name)
def test_every_16_bit_pattern_decodes_to_the_same_bits(shim, dtype):
    raw = np.arange(65536, dtype="<u2").view(np.uint8).reshape(1, -1)
    assert_same_bits(decode(shim, dtype, raw), gguf.quants.dequantize(raw, dtype))


# The package sizes Q8_1 by an older struct with f32 sums; no file holds it.
@pytest.mark.parametrize("dtype", [t for t in T if t != T.Q8_1], ids=lambda t: t.name)
def test_every_type_of_the_package_has_the_same_block(shim, dtype):
    block, size = gguf.GGML_QUANT_SIZES[dtype]
    got = ctypes.c_size_t(0)
    assert shim.test_dtype_row_bytes(int(dtype), ctypes.c_size_t(3 * block), ctypes.byref(got))
    assert got.value == 3 * size
