#!/usr/bin/env python3
"""Small safetensors files, good and bad: bytes by name. Written by hand of struct and json alone.

    python3 tests/gen/safetensors_malformed.py DIR     # the corpus of fuzz_safetensors
"""

import json
import struct
import sys
from pathlib import Path


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def pack(header, data=b"", size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


A, B = entry("F32", [2, 2], 0, 16), entry("F16", [4], 16, 24)
GOOD = {
    "one": pack({"a": A}, bytes(16)),
    "two": pack({"b": B, "a": A}, bytes(24)),
    "metadata": pack({"__metadata__": {"format": "pt"}, "a": A}, bytes(16)),
    "padded": pack(json.dumps({"a": A}).encode() + b"   ", bytes(16)),
    "nothing": pack({}),
    "scalar": pack({"a": entry("F64", [], 0, 8)}, bytes(8)),
    "empty-tensor": pack({"a": entry("BF16", [0, 7], 0, 0), "b": entry("U8", [1], 0, 1)}, b"x"),
    "all-types": pack(
        {
            t: entry(t, [8 // n], 8 * i, 8 * i + 8)
            for i, (t, n) in enumerate(
                [("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1),
                 ("I64", 8), ("U64", 8), ("I32", 4), ("U32", 4), ("I16", 2), ("U16", 2),
                 ("I8", 1), ("U8", 1), ("BOOL", 1)])
        },
        bytes(range(120)),
    ),
}
# What a message must name.
BAD = {
    "empty-file": (b"", "8 bytes"),
    "seven-bytes": (bytes(7), "8 bytes"),
    "size-beyond": (pack({"a": A}, bytes(16), size=10**6), "size"),
    "size-huge": (pack({"a": A}, bytes(16), size=2**64 - 1), "size"),
    "size-zero": (pack(b"", bytes(16)), "'{'"),
    "size-short": (pack({"a": A}, bytes(16), size=20), "JSON"),
    "no-json": (pack(b"{not json}"), "JSON"),
    "no-object": (pack(b"[]"), "'{'"),
    "blank-first": (pack(b" {}"), "'{'"),
    "not-utf8": (pack(b'{"\xff\xfe": {}}'), "JSON"),
    "text-behind": (pack(b"{} x"), "JSON"),
    "duplicate": (pack(b'{"a": {}, "a": {}}'), "duplicate"),
    "deep": (pack(b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"), "deeper"),
    "trailing": (pack({"a": A}, bytes(17)), "1 more"),
    "cut": (pack({"a": A}, bytes(15)), "15 bytes of data"),
    "hole": (pack({"a": A, "b": entry("F16", [4], 20, 28)}, bytes(28)), "hole"),
    "hole-first": (pack({"a": entry("F32", [1], 4, 8)}, bytes(8)), "hole"),
    "overlap": (pack({"a": A, "b": entry("F16", [4], 8, 16)}, bytes(16)), "inside"),
    "same-place": (pack({"a": A, "b": A}, bytes(16)), "inside"),
    "backwards": (pack({"a": entry("F32", [2, 2], 16, 0)}, bytes(16)), "data_offsets"),
    "beyond": (pack({"a": entry("F32", [2, 2], 16, 32)}, bytes(16)), "data_offsets"),
    "negative": (pack({"a": entry("F32", [2, 2], -16, 0)}, bytes(16)), "data_offsets"),
    "real-offset": (pack({"a": entry("F32", [2, 2], 0, 16.0)}, bytes(16)), "data_offsets"),
    "three-offsets": (
        pack({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 16]}}, bytes(16)),
        "data_offsets"),
    "no-offsets": (pack({"a": {"dtype": "F32", "shape": [4]}}, bytes(16)), "data_offsets"),
    "shape-lies": (pack({"a": entry("F32", [2, 3], 0, 16)}, bytes(16)), "24"),
    "type-lies": (pack({"a": entry("F16", [2, 2], 0, 16)}, bytes(16)), "8"),
    "shape-overflows": (pack({"a": entry("F32", [2**32, 2**32], 0, 16)}, bytes(16)), "overflows"),
    "shape-wraps": (pack({"a": entry("F32", [2**62, 4, 4], 0, 0)}), "overflows"),
    "shape-behind-zero": (pack({"a": entry("F32", [0, 2**62, 2**62], 0, 0)}), "overflows"),
    "number-too-big": (pack(b'{"a":{"dtype":"F32","shape":[99999999999999999999],'
                            b'"data_offsets":[0,0]}}'), "JSON"),
    "negative-size": (pack({"a": entry("F32", [-2, -2], 0, 16)}, bytes(16)), "shape"),
    "shape-no-list": (pack({"a": entry("F32", 4, 0, 16)}, bytes(16)), "shape"),
    "nine-dimensions": (pack({"a": entry("F32", [1] * 9, 0, 4)}, bytes(4)), "dimensions"),
    "type-unknown": (pack({"a": entry("F32X", [4], 0, 16)}, bytes(16)), "F32X"),
    "type-no-text": (pack({"a": entry(7, [4], 0, 16)}, bytes(16)), "dtype"),
    "entry-no-object": (pack({"a": 7}, bytes(16)), "object"),
    "extra-field": (pack({"a": A | {"stride": [2, 1]}}, bytes(16)), "stride"),
    "metadata-no-text": (pack({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata-no-object": (pack({"__metadata__": []}), "__metadata__"),
}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in [*GOOD.items(), *((n, d) for n, (d, _) in BAD.items())]:
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
