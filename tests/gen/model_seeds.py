#!/usr/bin/env python3
"""Seeds of tests/fuzz/fuzz_model.c: model_seeds.py DIR writes one tiny model per architecture, each
with a few of the variations that its files have and with another type of tensors. They hold no
vocabulary: a model opens without one. (llama-sparse is such a model, tied, by `verdant compress
--prune magnitude:0.5 --quant Q8_0 --sparse`.)"""

import sys
from pathlib import Path

import archs
import tiny_model

SMALL = {"n_layer": 1, "n_embd": 32, "n_head": 2, "n_kv_head": 1, "n_ff": 32, "n_ctx": 64}
N_VOCAB = 16
TYPES = ("F32", "Q4_0", "Q8_0", "F16", "Q4_1", "Q5_0", "BF16", "Q5_1", "IQ4_NL", "MXFP4")
MORE = {
    "llama-yarn": {"rope_scaling": "yarn", "bias": True, "fused_qkv": True},
    "llama-llama3": {"rope_scaling": "llama3"},
    "llama-longrope": {"rope_scaling": "longrope", "rope_factor": 2.0},
    "command-r-plus": {"head_norms": True},
    "gemma2-softcaps": {"attn_softcap": 1.0, "softcap": 2.0},
}


def write(path, arch, kind, more):
    windows = {"window_pattern": [True, False]} if archs.ARCHS[arch].window_pattern else {}
    config = tiny_model.Config(**(SMALL | windows | more | {"arch": arch, "type": kind}))
    builder = tiny_model.Builder(str(path), config)
    builder.metadata()
    builder.tensors(N_VOCAB)
    builder.writer.write_header_to_file()
    builder.writer.write_kv_data_to_file()
    builder.writer.write_tensors_to_file()
    builder.writer.close()


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    names = {name: (name, {}) for name in archs.ARCHS}
    for name, more in MORE.items():
        arch = max((a for a in archs.ARCHS if name.startswith(a)), key=len)
        names[name] = (arch, more)
    for i, (name, (arch, more)) in enumerate(sorted(names.items())):
        write(folder / name, arch, TYPES[i % len(TYPES)], more)


if __name__ == "__main__":
    main()
