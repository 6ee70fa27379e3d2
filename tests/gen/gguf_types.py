"""What PyPI's gguf 0.19.0 lacks: the type Q2_0 (ggml's number 42), and decoders of Q1_0 and Q2_0.

Importing this adds them to the package, so that its reader, writer and `quants.dequantize` know
them. test_oracles.py holds the decoders against llama.cpp's.
"""

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES

if "Q2_0" not in Type.__members__:
    member = int.__new__(Type, 42)
    member._name_, member._value_ = "Q2_0", 42
    Type._member_map_["Q2_0"] = Type._value2member_map_[42] = member
    GGML_QUANT_SIZES[member] = (64, 18)


def halves(blocks):
    """(f16 scale as float32 [n, 1], the other bytes [n, 16])"""
    scale, rest = np.hsplit(blocks, [2])
    return scale.copy().view(np.float16).astype(np.float32), rest


def fields(bytes_, bits):
    """Each byte's fields of `bits` bits, lowest first: [n, 16 * 8 / bits]"""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((bytes_[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)).reshape(len(bytes_), -1)


class Q1_0(getattr(quants, "__Quant"), qtype=Type["Q1_0"]):
    @classmethod
    def dequantize_blocks(cls, blocks):
        d, bits = halves(blocks)
        return np.where(fields(bits, 1) == 1, d, -d)


class Q2_0(getattr(quants, "__Quant"), qtype=Type["Q2_0"]):
    @classmethod
    def dequantize_blocks(cls, blocks):
        d, codes = halves(blocks)
        return d * (fields(codes, 2).astype(np.float32) - np.float32(1))
