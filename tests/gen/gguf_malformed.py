#!/usr/bin/env python3
"""Writes small GGUF files, right and wrong, field by field, with the verdict a reader must give.

    gguf_malformed.py OUT            every case, and OUT/MANIFEST.tsv
    gguf_malformed.py --seeds OUT    a few of each kind, for the fuzz corpus

MANIFEST.tsv has the columns file, bytes, expected (accept, reject), load_mode (metadata-only,
metadata+data); a file may stand there once per mode. The verdicts follow the GGUF specification
and, where it is silent, llama.cpp v0.5.0. Standard library only; the same files every time.
"""
import argparse
import pathlib
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
WIDTH = {U8: 1, I8: 1, U16: 2, I16: 2, U32: 4, I32: 4, F32: 4, BOOL: 1, U64: 8, I64: 8, F64: 8}
TYPE_NAME = "u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64".split()
MAX64 = 2**64 - 1

# ggml's numbers: (values per block, bytes per block); the ones missing were removed.
DTYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}
REMOVED = [4, 5, 31, 32, 33, 36, 37, 38]


def u32(v):
    return struct.pack("<I", v & 0xFFFFFFFF)


def u64(v):
    return struct.pack("<Q", v & MAX64)


def string(v):
    v = v if isinstance(v, bytes) else v.encode()
    return u64(len(v)) + v


def kv(key, kind, payload):
    return string(key) + u32(kind) + payload


def kv_array(key, item, n, payload):
    return kv(key, ARRAY, u32(item) + u64(n) + payload)


def value(kind):
    """One value of each kind."""
    return string("value") if kind == STRING else bytes(range(1, WIDTH[kind] + 1))


def tensor(name, dims, kind, offset, n_dims=None):
    return (string(name) + u32(len(dims) if n_dims is None else n_dims) +
            b"".join(u64(d) for d in dims) + u32(kind) + u64(offset))


def pad(data, align):
    return data + b"\0" * (-len(data) % align)


def row(kind, n):
    block, size = DTYPES[kind]
    return n // block * size


def gguf(kvs=(), tensors=(), data=b"", align=32, magic=b"GGUF", version=3, n_kv=None,
         n_tensors=None, padded=True):
    out = magic + u32(version) + u64(len(tensors) if n_tensors is None else n_tensors)
    out += u64(len(kvs) if n_kv is None else n_kv) + b"".join(kvs) + b"".join(tensors)
    if tensors and padded:
        out = pad(out, align)
    return out + data


CASES = []  # (name, bytes, accepted with data, accepted metadata-only, is a seed)


def case(name, data, ok, metadata_ok=None, seed=False):
    CASES.append((name, data, ok, ok if metadata_ok is None else metadata_ok, seed))


def align_kv(n, kind=U32):
    return kv("general.alignment", kind, n.to_bytes(WIDTH[kind], "little"))


def header_cases():
    case("header-empty", gguf(), True, seed=True)
    case("header-v2", gguf(version=2), True)
    case("header-empty-trailing-bytes", gguf(data=b"\0" * 40), True)
    for n in range(24):
        case(f"header-cut-{n}", gguf()[:n], False, seed=n == 20)
    for magic in (b"FUGG", b"GGUE", b"gguf", b"\0\0\0\0", b"FUGU"):
        case(f"header-magic-{magic.hex()}", gguf(magic=magic), False)
    for version in (0, 1, 4, 255, 2**31, 2**32 - 1, 3 << 16):
        case(f"header-version-{version}", gguf(version=version), False)
    case("header-big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + b"\0" * 8, False, seed=True)
    for n in (1, 2, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, MAX64):
        case(f"header-n-tensors-{n}", gguf(n_tensors=n), False)
        case(f"header-n-kv-{n}", gguf(n_kv=n), False)


def kv_cases():
    for kind in list(WIDTH) + [STRING]:
        name = TYPE_NAME[kind]
        good = gguf([kv("k", kind, value(kind))])
        case(f"kv-{name}", good, True, seed=True)
        for n in range(24, len(good)):
            case(f"kv-{name}-cut-{n}", good[:n], False)
        for n in (0, 1, 3):
            case(f"kv-array-{name}-{n}", gguf([kv_array("k", kind, n, value(kind) * n)]), True,
                 seed=n == 3)
        for n in (4, 2**30, 2**31, 2**32, 2**61, 2**62, 2**63, MAX64):
            case(f"kv-array-{name}-too-long-{n}",
                 gguf([kv_array("k", kind, n, value(kind) * 3)]), False)
    case("kv-bool-2", gguf([kv("k", BOOL, b"\2")]), True)
    case("kv-empty-string", gguf([kv("k", STRING, string(""))]), True)
    case("kv-not-utf8", gguf([kv(b"\xff\xfe", STRING, string(b"\xc0\x80\0"))]), True, seed=True)
    for kind in (13, 14, 255, 2**31, 2**32 - 1):
        case(f"kv-type-{kind}", gguf([kv("k", kind, b"\0" * 16)]), False)
        case(f"kv-array-type-{kind}", gguf([kv_array("k", kind, 1, b"\0" * 16)]), False)
        case(f"kv-array-type-{kind}-empty", gguf([kv_array("k", kind, 0, b"")]), False)
    case("kv-array-of-arrays", gguf([kv_array("k", ARRAY, 1, u32(U8) + u64(1) + b"\1")]), False,
         seed=True)
    case("kv-array-of-arrays-empty", gguf([kv_array("k", ARRAY, 0, b"")]), False)
    case("kv-empty-key", gguf([kv("", U8, b"\1")]), False)
    for n in (2**30 + 1, 2**32, 2**63, MAX64, MAX64 - 7):
        case(f"kv-key-length-{n}", gguf([u64(n) + b"k" + u32(U8) + b"\1"]), False)
        case(f"kv-string-length-{n}", gguf([kv("k", STRING, u64(n) + b"abc")]), False)
        case(f"kv-array-string-length-{n}",
             gguf([kv_array("k", STRING, 2, string("a") + u64(n) + b"abc")]), False)
    case("kv-duplicate", gguf([kv("k", U8, b"\1"), kv("k", U8, b"\1")]), False, seed=True)
    case("kv-duplicate-other-type", gguf([kv("k", U8, b"\1"), kv("j", U8, b"\1"),
                                          kv("k", STRING, string("x"))]), False)
    case("kv-prefix-is-no-duplicate", gguf([kv("k", U8, b"\1"), kv("kk", U8, b"\1")]), True)
    case("kv-one-too-few", gguf([kv("k", U8, b"\1")], n_kv=2), False)
    case("kv-count-less-than-there", gguf([kv("k", U8, b"\1"), kv("j", U8, b"\1")], n_kv=1), True)
    many = [kv(f"k{i}", U8, b"\1") for i in range(300)]
    case("kv-many", gguf(many), True)


def alignment_cases():
    for n in (1, 2, 8, 64, 4096):
        data = pad(b"\1" * 12, n)
        case(f"align-{n}", gguf([align_kv(n)], [tensor("t", [3], 0, 0)], data, n), True,
             seed=n in (1, 64))
    case("align-huge-no-tensors", gguf([align_kv(2**31)]), True)
    case("align-huge-one-tensor", gguf([align_kv(2**31)], [tensor("t", [3], 0, 0)], b"\1" * 12),
         False)
    for n in (0, 3, 13, 24, 33, 2**32 - 1):
        case(f"align-{n}-is-no-power-of-two", gguf([align_kv(n)]), False, seed=n == 13)
    for kind in WIDTH:
        if kind != U32:
            case(f"align-of-type-{TYPE_NAME[kind]}", gguf([align_kv(32, kind)]), False)
    case("align-of-type-string", gguf([kv("general.alignment", STRING, string("32"))]), False)
    case("align-of-type-array", gguf([kv_array("general.alignment", U32, 1, u32(32))]), False)
    one = tensor("t", [3], 0, 0)
    case("align-said-64-used-32", gguf([align_kv(64)], [one, tensor("u", [3], 0, 32)],
                                       b"\1" * 64, 32), False)


def tensor_cases():
    one = tensor("t", [3], 0, 0)
    full = b"\1" * 32
    good = gguf([], [one], full)
    case("tensor", good, True, seed=True)
    case("tensor-v2", gguf([], [one], full, version=2), True)
    start = len(good) - 32
    table_end = 24 + len(one)
    for n in range(24, len(good)):
        case(f"tensor-cut-{n}", good[:n], False, metadata_ok=n >= start)
    assert table_end <= start
    case("tensor-trailing-bytes", good + b"\0" * 7, True)
    case("tensor-no-data", gguf([], [one]), False, metadata_ok=True, seed=True)
    case("tensor-last-padding-missing", gguf([], [one], full[:12]), False, metadata_ok=True)
    case("tensor-table-not-padded", gguf([], [one], b"", padded=False), False)
    for kind, (block, size) in DTYPES.items():
        data = pad(b"\1" * (2 * size), 32)
        case(f"tensor-type-{kind}", gguf([], [tensor("t", [block, 2], kind, 0)], data), True,
             seed=kind in (2, 12, 30))
        if block > 1:
            for n in (1, block - 1, block + 1):
                case(f"tensor-type-{kind}-row-{n}",
                     gguf([], [tensor("t", [n, block], kind, 0)], b"\1" * 65536), False)
    for kind in REMOVED + [43, 44, 100, 2**31, 2**32 - 1]:
        case(f"tensor-type-{kind}", gguf([], [tensor("t", [256], kind, 0)], b"\1" * 4096), False)
    for n_dims in (5, 6, 255, 2**31, 2**32 - 1):
        case(f"tensor-n-dims-{n_dims}",
             gguf([], [tensor("t", [1] * min(n_dims, 8), 0, 0, n_dims)], full), False)
    case("tensor-scalar", gguf([], [tensor("t", [], 0, 0)], full), True, seed=True)
    for n_dims in (1, 2, 3, 4):
        case(f"tensor-{n_dims}-dims", gguf([], [tensor("t", [1] * n_dims, 0, 0)], full), True)
        for zero in range(n_dims):
            dims = [4] * n_dims
            dims[zero] = 0
            case(f"tensor-{n_dims}-dims-{zero}-is-0", gguf([], [tensor("t", dims, 0, 0)]), True,
                 seed=n_dims == 2)
            dims[zero] = -1
            case(f"tensor-{n_dims}-dims-{zero}-is-negative",
                 gguf([], [tensor("t", dims, 0, 0)], full), False)
            dims[zero] = 2**63 - 1
            case(f"tensor-{n_dims}-dims-{zero}-is-too-large",
                 gguf([], [tensor("t", dims, 24, 0)], full), False)
    case("tensor-zero-beside-huge", gguf([], [tensor("t", [2**62, 2**62, 0, 2**62], 0, 0)]), True)
    for dims in ([2**32, 2**31], [2**32, 2**32], [2**21] * 3, [2**16] * 4, [1, 1, 2**62, 4],
                 [2**62 - 1, 2]):
        name = "x".join(map(str, dims))
        case(f"tensor-values-{name}", gguf([], [tensor("t", dims, 24, 0)], full), False)
    case("tensor-values-2-62", gguf([], [tensor("t", [2**62], 24, 0)], full), False,
         metadata_ok=True)
    case("tensor-bytes-2-64", gguf([], [tensor("t", [2**62], 0, 0)], full), False)
    case("tensor-bytes-2-65", gguf([], [tensor("t", [2**62], 27, 0)], full), False)
    huge = 2**63 - 64
    three = [tensor(name, [huge], 24, i * huge) for i, name in enumerate("tuv")]
    case("tensor-sum-overflows", gguf([], three, full), False)


def name_and_offset_cases():
    full = b"\1" * 32
    for n in (0, 1, 63):
        case(f"tensor-name-{n}", gguf([], [tensor("n" * n, [3], 0, 0)], full), True)
    for n in (64, 65, 200):
        case(f"tensor-name-{n}", gguf([], [tensor("n" * n, [3], 0, 0)], full), False)
    for n in (2**32, 2**63, MAX64):
        bad = u64(n) + tensor("t", [3], 0, 0)[8:]
        case(f"tensor-name-length-{n}", gguf([], [bad], full), False)
    two = full * 2
    first = tensor("t", [3], 0, 0)
    case("tensors", gguf([], [first, tensor("u", [8], 0, 32)], two), True, seed=True)
    case("tensors-duplicate", gguf([], [first, tensor("t", [8], 0, 32)], two), False, seed=True)
    case("tensors-duplicate-up-to-nul", gguf([], [tensor("t\0a", [3], 0, 0),
                                                  tensor("t\0b", [8], 0, 32)], two), False)
    for offset in (0, 1, 12, 16, 31, 33, 64, 2**32, 2**63, MAX64, -32):
        case(f"tensors-offset-{offset & MAX64}",
             gguf([], [first, tensor("u", [8], 0, offset)], two), False, seed=offset == 12)
    for offset in (1, 32, MAX64):
        case(f"tensor-offset-{offset}", gguf([], [tensor("t", [3], 0, offset)], two), False)
    case("tensors-swapped", gguf([], [tensor("u", [8], 0, 32), first], two), False)
    case("tensors-one-too-few", gguf([], [first], full, n_tensors=2), False)
    case("tensors-empty-between", gguf([], [first, tensor("z", [0], 0, 32),
                                            tensor("u", [8], 0, 32)], two), True)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--seeds", action="store_true", help="only a few of each kind")
    args.add_argument("out", type=pathlib.Path)
    args = args.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    header_cases()
    kv_cases()
    alignment_cases()
    tensor_cases()
    name_and_offset_cases()
    rows = ["file\tbytes\texpected\tload_mode"]
    names = set()
    for name, data, ok, metadata_ok, seed in CASES:
        assert name not in names, name
        names.add(name)
        if args.seeds and not seed:
            continue
        file = name + ".gguf"
        (args.out / file).write_bytes(data)
        for mode, verdict in (("metadata+data", ok), ("metadata-only", metadata_ok)):
            rows.append(f"{file}\t{len(data)}\t{'accept' if verdict else 'reject'}\t{mode}")
    if not args.seeds:
        (args.out / "MANIFEST.tsv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
