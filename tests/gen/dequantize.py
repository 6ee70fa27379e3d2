#!/usr/bin/env python3
"""GGUF in, the same GGUF with every tensor as F32 out; metadata kept.

Gives "the same weights" to an engine that shall compute in F32, whatever the file's types. The
values come from the `gguf` package of PyPI, so neither our decoders nor llama.cpp's are part of it.

    python3 tests/gen/dequantize.py IN.gguf OUT.gguf
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import dequantize as decode

sys.path.insert(0, str(Path(__file__).parent))
import gguf_types  # noqa: E402,F401

SKIPPED = (
    "GGUF.",
    "general.architecture",
    "general.file_type",
    "general.quantization_version",
    "general.alignment",
)


def copy_metadata(reader, writer):
    for field in reader.fields.values():
        if field.name.startswith(SKIPPED):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        if kind == GGUFValueType.ARRAY and not len(field.data):
            continue  # the writer knows no empty arrays
        writer.add_key_value(field.name, field.contents(), kind, inner)


def as_float32(tensor):
    """Values of a tensor of a GGUFReader: float32, numpy order (rows first)."""
    shape = tuple(int(n) for n in reversed(tensor.shape))
    return decode(tensor.data, tensor.tensor_type).reshape(shape).astype(np.float32)


def dequantize_file(source, target):
    reader = GGUFReader(source)
    arch = reader.get_field("general.architecture").contents()
    writer = GGUFWriter(target, arch, use_temp_file=False)
    copy_metadata(reader, writer)
    writer.add_file_type(LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:  # one at a time: a big file needs little memory
        writer.write_tensor_data(as_float32(tensor))
    writer.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("target")
    args = parser.parse_args()
    dequantize_file(args.source, args.target)


if __name__ == "__main__":
    main()
