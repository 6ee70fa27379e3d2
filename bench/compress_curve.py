#!/usr/bin/env python3
"""Divergence against bytes: `verdant compress --target` beside llama.cpp's quantizer.

    python3 bench/compress_curve.py MODEL.gguf --calib A.txt --text B.txt [--peer Q2_K ...]
            [--ctx 256] [--chunks 6] [--calib-chunks 16] [--search-chunks 1] [--work FOLDER]

MODEL is the reference: F32, F16 or BF16 (tests/gen/dequantize.py makes one of a quantized model;
then the dequantized file is the reference, and a type that holds its values exactly proves
nothing). For each of the peer's file types, written by llama_model_quantize with the importance
matrix that the search has gathered on A.txt, a search is asked for a file of no more bytes. Both
are compared with MODEL on B.txt by `verdant eval --against`, f32 activations on both sides.

What was searched and evaluated is kept in the work folder; a second call goes on from there.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "peer"), str(ROOT / "tests" / "gen")]
import gguf_types  # noqa: E402,F401
import llama_cpp  # noqa: E402
import numpy as np  # noqa: E402
from gguf import GGUFReader  # noqa: E402

PEER = ["Q2_K", "Q3_K_S", "Q3_K_M", "IQ4_XS", "Q4_K_S", "Q4_K_M"]


def verdant(*words, good=(0,)):
    program = Path(os.environ.get("VERDANT_BUILD", ROOT / "build")) / "verdant"
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    if done.returncode not in good:
        sys.exit(f"verdant {words[0]}: {done.stderr}")
    return done


def means_of(path):
    """{tensor: mean squares} of an importance file."""
    fields = {t.name: t.data.astype(np.float64) for t in GGUFReader(path).tensors}
    ends = ".in_sum2"
    return {name[:-len(ends)]: (fields[name] / fields[name[:-len(ends)] + ".counts"].reshape(-1, 1)
                                ).reshape(-1).astype(np.float32)
            for name in fields if name.endswith(ends)}


def bits(path):
    tensors = GGUFReader(path).tensors
    return 8 * sum(int(t.n_bytes) for t in tensors) / sum(int(t.n_elements) for t in tensors)


class Curve:
    def __init__(self, args):
        self.a = args
        self.work = Path(args.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.importance = self.work / "importance.gguf"

    def search(self, target, name):
        """The search's JSON, or None where the target cannot be met."""
        out, a = self.work / f"{name}.gguf", self.a
        journal, kept = out.with_name(out.name + ".search"), self.work / "journal"
        result = self.work / f"{name}.json"
        if result.exists():
            return json.loads(result.read_text()), out
        if kept.exists():
            shutil.copy(kept, journal)
        words = ["compress", a.model, "-o", out, "--target", target, "--calib", a.calib,
                 "--calib-ctx", a.ctx, "--calib-chunks", a.calib_chunks, "--search-chunks",
                 a.search_chunks, "--save-imatrix", self.importance, "--json"]
        if a.types:
            words += ["--search-types", a.types]
        done = verdant(*words, good=(0, 1))
        if done.returncode == 1 and "cannot be had" not in done.stderr:
            sys.exit(done.stderr)
        if done.returncode == 1:
            journal.replace(kept)
            return None, None
        result.write_text(done.stdout)
        return json.loads(done.stdout), out

    def peer(self, kind):
        out = self.work / f"peer-{kind}.gguf"
        if not out.exists():
            llama_cpp.quantize(self.a.model, out, kind.removesuffix("-pure"),
                               pure=kind.endswith("-pure"), imatrix=means_of(self.importance))
        return out

    def evaluate(self, path):
        kept, a = path.with_suffix(".eval"), self.a
        if not kept.exists():
            kept.write_text(verdant("eval", path, "--against", a.model, "--text", a.text, "--ctx",
                                    a.ctx, "--chunks", a.chunks, "--precision", "exact",
                                    "--json").stdout)
        return json.loads(kept.read_text())

    def run(self):
        if not (self.work / "journal").exists():
            self.search("bytes=1", "none")  # measures all there is, and keeps it
        rows = []
        for kind in self.a.peer:
            theirs = self.peer(kind)
            size = theirs.stat().st_size
            found, ours = self.search(f"bytes={size}", f"ours-{kind}")
            a, b = self.evaluate(theirs), self.evaluate(ours) if ours else None
            rows.append({"peer": kind, "bytes": size, "bits_per_weight": bits(theirs),
                         "kl_peer": a["kl_mean"], "ppl_peer": a["ppl"], "ppl_model": a["base_ppl"]})
            if found:
                rows[-1].update(bytes_ours=ours.stat().st_size, kl=b["kl_mean"], ppl=b["ppl"],
                                ratio=b["kl_mean"] / a["kl_mean"])
        for target in self.a.targets:
            found, ours = self.search(f"bpw={target}", f"ours-{target}")
            if found:
                b = self.evaluate(ours)
                rows.append({"target": target, "bytes_ours": ours.stat().st_size,
                             "bits_per_weight": bits(ours), "kl": b["kl_mean"], "ppl": b["ppl"],
                             "ppl_model": b["base_ppl"]})
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--calib", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--peer", nargs="*", default=PEER)
    parser.add_argument("--targets", nargs="*", default=[])
    parser.add_argument("--types")
    parser.add_argument("--ctx", type=int, default=256)
    parser.add_argument("--chunks", type=int, default=6)
    parser.add_argument("--calib-chunks", type=int, default=16)
    parser.add_argument("--search-chunks", type=int, default=1)
    parser.add_argument("--work", default="curve")
    parser.add_argument("--json", action="store_true")
    rows = Curve(args := parser.parse_args()).run()
    if args.json:
        print(json.dumps(rows))
        return
    print("| llama.cpp's | bytes | bits per weight | its KL | ours, bytes | ours, KL | ratio |\n"
          "|---|---|---|---|---|---|---|")
    for r in rows:
        print("| {} | {} | {:.3f} | {} | {} | {} | {} |".format(
            r.get("peer", f"(bpw={r.get('target')})"), r.get("bytes", "-"), r["bits_per_weight"],
            f"{r['kl_peer']:.5f}" if "kl_peer" in r else "-", r.get("bytes_ours", "-"),
            f"{r['kl']:.5f}" if "kl" in r else "cannot be had",
            f"{r['ratio']:.2f}" if "ratio" in r else "-"))


if __name__ == "__main__":
    main()
