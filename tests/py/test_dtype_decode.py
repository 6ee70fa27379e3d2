"""Our plain-C decoders against PyPI's gguf and llama.cpp's, bit for bit."""

import ctypes

import gguf
import numpy as np
import oracles
import pytest
from gguf import GGMLQuantizationType as T
from oracles import dtypes, iq_grids, llama_cpp

PEER_ONLY = {name: dtypes.number(name) for name in dtypes.PEER_ONLY}
NUMBERS = {name: dtypes.number(name) for name in dtypes.BLOCKS}
# Where the f16 scales lie in a block.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
          "IQ1_S": [0], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0],
          "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "Q1_0": [0], "Q2_0": [0]}
# Zeros, smallest and largest subnormal, smallest normal, one, largest, infinity, NaN; negatives.
EXTREMES = np.array([0x0000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0x7E00,
                     0x8000, 0x8001, 0x83FF, 0x8400, 0xBC00, 0xFBFF, 0xFC00, 0xFE00], "<u2")
N_BLOCKS = 512


@pytest.fixture(scope="session")
def shim(build):
    """libverdant's inner functions that tests/py/shim.c opens to ctypes."""
    library = ctypes.CDLL(str(build / "tests" / "libverdant_shim.so"))
    library.test_dtype_name.restype = ctypes.c_char_p
    return library


def block_of(number):
    """(values, bytes) of a block, as the package says."""
    return gguf.GGML_QUANT_SIZES[T(number)]


def decode(shim, number, raw):
    block, size = block_of(number)
    out = np.empty(raw.size // size * block, np.float32)
    shim.test_decode(number, raw.ctypes.data_as(ctypes.c_void_p),
                     out.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(out.size))
    return out


def assert_same_bits(ours, theirs):
    theirs = np.asarray(theirs, np.float32).ravel()
    assert ours.shape == theirs.shape
    nan = np.isnan(theirs)
    assert (np.isnan(ours) == nan).all()  # which NaN is nobody's business
    assert (ours.view(np.uint32)[~nan] == theirs.view(np.uint32)[~nan]).all()


def assert_decodes_like_others(shim, number, raw):
    ours = decode(shim, number, raw)
    if number not in PEER_ONLY.values():
        with np.errstate(all="ignore"):
            assert_same_bits(ours, gguf.quants.dequantize(raw, T(number)))
    if llama_cpp.find_libraries() is not None:
        assert_same_bits(ours, llama_cpp.decode_blocks(number, raw))


def random_blocks(number, seed):
    return np.random.default_rng(seed).integers(0, 256, (N_BLOCKS, block_of(number)[1]), np.uint8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NUMBERS)
def test_random_blocks_decode_to_the_same_bits(shim, name, seed):
    if name in PEER_ONLY:
        oracles.need_peer()
    raw = random_blocks(NUMBERS[name], seed)
    assert_decodes_like_others(shim, NUMBERS[name], raw)


@pytest.mark.parametrize("name", SCALES)
def test_extreme_scales_decode_to_the_same_bits(shim, name):
    if name in PEER_ONLY:
        oracles.need_peer()
    rng = np.random.default_rng(7)
    raw = random_blocks(NUMBERS[name], 7)
    for at in SCALES[name]:
        raw[:, at:at + 2] = rng.choice(EXTREMES, N_BLOCKS).view(np.uint8).reshape(-1, 2)
    assert_decodes_like_others(shim, NUMBERS[name], raw)


@pytest.mark.parametrize("name,places", [("MXFP4", [0]), ("NVFP4", [0, 1, 2, 3])])
def test_every_scale_of_8_bits_decodes_to_the_same_bits(shim, name, places):
    raw = random_blocks(NUMBERS[name], 8)[:256]
    for at in places:
        raw[:, at] = np.roll(np.arange(256), at)
    assert_decodes_like_others(shim, NUMBERS[name], raw)


@pytest.mark.parametrize("dtype", [T.F16, T.BF16], ids=lambda t: t.name)
def test_every_16_bit_pattern_decodes_to_the_same_bits(shim, dtype):
    raw = np.arange(65536, dtype="<u2").view(np.uint8).reshape(1, -1)
    assert_decodes_like_others(shim, int(dtype), raw)


def test_f32_decodes_to_itself(shim):
    raw = random_blocks(T.F32, 1)
    assert_same_bits(decode(shim, T.F32, raw), raw.view("<f4"))


# The package sizes Q8_1 by an older struct with f32 sums; no file holds it.
@pytest.mark.parametrize("dtype", [t for t in T if t != T.Q8_1], ids=lambda t: t.name)
def test_every_type_of_the_package_has_the_same_block_and_name(shim, dtype):
    block, size = gguf.GGML_QUANT_SIZES[dtype]
    got = ctypes.c_size_t(0)
    assert shim.test_dtype_row_bytes(int(dtype), ctypes.c_size_t(3 * block), ctypes.byref(got))
    assert got.value == 3 * size
    assert shim.test_dtype_name(int(dtype)).decode() == dtype.name


@pytest.mark.parametrize("name", NUMBERS)
def test_every_type_has_llama_cpps_block_and_name(shim, name):
    oracles.need_peer()
    number = NUMBERS[name]
    block, size = llama_cpp.type_shape(number)
    got = ctypes.c_size_t(0)
    assert shim.test_dtype_row_bytes(number, ctypes.c_size_t(3 * block), ctypes.byref(got))
    assert got.value == 3 * size
    assert llama_cpp.type_name(number) == shim.test_dtype_name(number).decode() == name


def test_these_are_all_types_that_we_decode(shim):
    ours = {n for n in range(64) if shim.test_dtype_decodable(n)}
    assert ours == set(NUMBERS.values()) | {dtypes.number(name) for name in dtypes.FLOATS}


def test_the_table_of_grids_is_what_its_generator_writes(root):
    assert (root / "src/kernels/ref/iq_grids_data.c").read_text() == iq_grids.text()
