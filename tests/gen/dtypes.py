"""Lists of tensor types that the suites walk; models_doc.py makes a table of them."""

import gguf_types  # noqa: F401
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES

FLOATS = ["F32", "F16", "BF16"]
# Decoders held against PyPI's gguf and llama.cpp on random blocks and extreme scales.
BLOCKS = [
    *("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K"),
    *("IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    *("MXFP4", "NVFP4", "TQ2_0", "TQ1_0", "Q2_0", "Q1_0"),
]
PEER_ONLY = ["Q2_0", "Q1_0"]  # gguf 0.19.0 cannot decode them: against llama.cpp alone

# Encoders, by what their test demands of them.
ROUNDED = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q1_0"]  # llama.cpp's bytes
SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S"]
LEAST = ["MXFP4", "TQ1_0", "TQ2_0", "Q2_0"]
# Of no use without weights, and refused then by both.
NEEDY = ["IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"]

# What `verdant compress --quant` takes, by falling size.
FILE_TYPES = [
    *("F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_1", "Q5_0", "Q5_K_M", "Q5_K_S", "Q4_1"),
    *("Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_NL", "IQ4_XS", "MXFP4_MOE", "Q3_K_L", "Q3_K_M", "IQ3_M"),
    *("IQ3_S", "Q3_K_S", "Q2_K", "Q2_0", "TQ2_0", "TQ1_0", "Q1_0"),
]
# And what it takes with a text or an importance file alone.
NEEDY_FILE_TYPES = ["IQ3_XS", "IQ3_XXS", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M",
                    "IQ1_S"]


def number(name):
    """ggml's number of a type."""
    return int(Type[name])


def shape(name):
    """(values, bytes) of a block."""
    return GGML_QUANT_SIZES[Type[name]]
