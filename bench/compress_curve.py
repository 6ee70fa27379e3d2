#!/usr/bin/env python3
"""Divergence against bytes: `verdant compress --target` beside llama.cpp's quantizer.

    python3 bench/compress_curve.py MODEL.gguf --calib A.txt --text B.txt [--peer Q2_K ...]
            [--targets 3.5 ...] [--gptq] [--ctx 256] [--chunks 6] [--calib-chunks 16]
            [--search-chunks 1] [--work FOLDER]

MODEL is the reference: F32, F16 or BF16 (tests/gen/dequantize.py makes one of a quantized model;
then the dequantized file is the reference, and a type that holds its values exactly proves
nothing). For each of the peer's file types, written by llama_model_quantize with the importance
matrix that the search has gathered on A.txt, a search is asked for a file of no more bytes. All
are compared with MODEL on B.txt by `verdant eval --against`, f32 activations on both sides. Beside
them: our encoders with the peer's types, for a target in bits per weight the peer's quantizer with
the types that the search has found, and with --gptq both mixes rounded by GPTQ on the same text.

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
import gguf_types  # noqa: E402
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

    def rounded(self, name, *words, gptq=False):
        """Our encoders with given types: weighted by importance, or by GPTQ on the same text."""
        out, a = self.work / f"{name}{'-gptq' if gptq else ''}.gguf", self.a
        how = (["--calib", a.calib, "--calib-ctx", a.ctx, "--calib-chunks", a.calib_chunks,
                "--gptq"] if gptq else ["--imatrix", self.importance])
        if not out.exists():
            verdant("compress", a.model, "-o", out, *words, *how)
        return self.evaluate(out)["kl_mean"]

    def peer_of_mix(self, found, name):
        """The peer's quantizer with the types of a search."""
        out = self.work / f"peer-mix-{name}.gguf"
        types = {tensor: int(gguf_types.Type[kind]) for tensor, kind in found["tensors"].items()}
        if not out.exists():
            llama_cpp.quantize(self.a.model, out, "Q4_0", imatrix=means_of(self.importance),
                               types=types)
        got = {t.name: int(t.tensor_type) for t in GGUFReader(out).tensors}
        assert all(got[tensor] == number for tensor, number in types.items())
        return self.evaluate(out)["kl_mean"]

    def evaluate(self, path):
        kept, a = path.with_suffix(".eval"), self.a
        if not kept.exists():
            kept.write_text(verdant("eval", path, "--against", a.model, "--text", a.text, "--ctx",
                                    a.ctx, "--chunks", a.chunks, "--precision", "exact",
                                    "--json").stdout)
        return json.loads(kept.read_text())

    def mix_gptq(self, found, name):
        if not found or not self.a.gptq:
            return {}
        return {"kl_gptq": self.rounded(name, "--types", self.work / f"{name}.json", gptq=True)}

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
            words = ["--quant", kind.removesuffix("-pure"), *["--pure"] * kind.endswith("-pure")]
            rows[-1]["kl_same"] = self.rounded(f"same-{kind}", *words)
            if self.a.gptq:
                rows[-1]["kl_same_gptq"] = self.rounded(f"same-{kind}", *words, gptq=True)
                rows[-1].update(self.mix_gptq(found, f"ours-{kind}"))
        for target in self.a.targets:
            found, ours = self.search(f"bpw={target}", f"ours-{target}")
            if found:
                b = self.evaluate(ours)
                rows.append({"target": target, "bytes_ours": ours.stat().st_size,
                             "bits_per_weight": bits(ours), "kl": b["kl_mean"], "ppl": b["ppl"],
                             "ppl_model": b["base_ppl"],
                             "kl_peer": self.peer_of_mix(found, target)})
                rows[-1]["ratio"] = rows[-1]["kl"] / rows[-1]["kl_peer"]
                rows[-1].update(self.mix_gptq(found, f"ours-{target}"))
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--calib", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--peer", nargs="*", default=PEER)
    parser.add_argument("--targets", nargs="*", default=[])
    parser.add_argument("--types")
    parser.add_argument("--gptq", action="store_true")
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
    columns = ("kl_peer", "kl_same", "kl_same_gptq", "kl", "ratio", "kl_gptq")
    print("| llama.cpp's | bytes | bits per weight | its KL | its types, our encoders | by GPTQ "
          "| searched | searched / its | searched, by GPTQ |\n" + "|---" * 9 + "|")
    for r in rows:
        values = [f"{r[c]:.4f}" if c in r else "-" for c in columns]
        print("| {} | {} | {:.3f} | {} |".format(
            r.get("peer", f"(types of bpw={r.get('target')})"),
            r.get("bytes", r.get("bytes_ours")), r["bits_per_weight"], " | ".join(values)))


if __name__ == "__main__":
    main()
