"""What flows through a model: a pass by libverdant in a process of its own, so that the environment
(VERDANT_CPU) is read anew.

    python3 activations.py libverdant_shim.so MODEL.gguf IDS CHUNK N_LAYER N_EMBD N_VOCAB OUT.npz

The last four are needed because the caller knows what it wrote into the file. N_VOCAB 0: no logits.
"""

import ctypes
import os
import subprocess
import sys

import numpy as np


def run(build, model, ids, out, n_layer, n_embd, n_vocab, chunk=None, cpu=None):
    """{"stream": [1 + 2 * n_layer, n, C], "embeddings": [n, C], "logits": [n, V]} or RuntimeError.
    stream: what enters the first layer, then, layer by layer, x behind attention and behind the
    feed-forward."""
    env = dict(os.environ, **({"VERDANT_CPU": cpu} if cpu else {}))
    words = [build / "tests" / "libverdant_shim.so", model, ",".join(map(str, ids)),
             chunk or len(ids), n_layer, n_embd, n_vocab, out]
    result = subprocess.run(
        [sys.executable, __file__, *map(str, words)], env=env, capture_output=True, text=True
    )
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    with np.load(out) as arrays:
        return {name: arrays[name] for name in arrays.files}


def main():
    library, model, ids, chunk, n_layer, n_embd, n_vocab, out = sys.argv[1:]
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
        ctypes.c_size_t(int(chunk)), *pointers
    )
    if said:
        sys.exit(said.decode())
    np.savez(out, **arrays)


if __name__ == "__main__":
    main()
