"""What flows through a model: a pass by libverdant in a process of its own, so that the environment
(VERDANT_CPU) is read anew.

    python3 activations.py libverdant_shim.so MODEL.gguf IDS N_SEQ CHUNK FAST \
            N_LAYER N_EMBD N_VOCAB OUT.npz

The numbers of the model are needed because the caller knows what it wrote. N_VOCAB 0: no logits.
"""

import ctypes
import os
import subprocess
import sys

import numpy as np


def run(build, model, ids, out, n_layer, n_embd, n_vocab, chunk=None, cpu=None, n_seq=1, fast=0):
    """{"stream": [1 + 2 * n_layer, n, C], "embeddings": [n, C], "logits": [n, V]} or
    RuntimeError. ids are n_seq sequences of equal length. stream: what enters the first layer,
    then, layer by layer, x behind attention and behind the feed-forward."""
    env = dict(os.environ, **({"VERDANT_CPU": cpu} if cpu else {}))
    words = [build / "tests" / "libverdant_shim.so", model, ",".join(map(str, ids)),
             n_seq, chunk or len(ids), fast, n_layer, n_embd, n_vocab, out]
    result = subprocess.run(
        [sys.executable, __file__, *map(str, words)], env=env, capture_output=True, text=True
    )
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    with np.load(out) as arrays:
        return {name: arrays[name] for name in arrays.files}


def main():
    library, model, ids, n_seq, chunk, fast, n_layer, n_embd, n_vocab, out = sys.argv[1:]
    ids = np.array([int(i) for i in ids.split(",")], np.int32)
    n, n_vocab = len(ids), int(n_vocab)
    arrays = {
        "stream": np.zeros((1 + 2 * int(n_layer), n, int(n_embd)), np.float32),
        "embeddings": np.zeros((n, int(n_embd)), np.float32),
    }
    if n_vocab:
        arrays["logits"] = np.zeros((n, n_vocab), np.float32)
    shim = ctypes.CDLL(library)
    shim.test_forward.restype = ctypes.c_char_p
    pointers = [arrays[k].ctypes.data_as(ctypes.c_void_p) if k in arrays else None
                for k in ("stream", "embeddings", "logits")]
    said = shim.test_forward(
        model.encode(), ids.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(n),
        ctypes.c_size_t(int(n_seq)), ctypes.c_size_t(int(chunk)), int(fast), *pointers
    )
    if said:
        sys.exit(said.decode())
    np.savez(out, **arrays)


if __name__ == "__main__":
    main()
