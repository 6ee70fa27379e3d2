#!/usr/bin/env python3
"""How close our two paths come to llama.cpp on the same weights in F32, and which rules hold.

    python3 bench/accuracy.py [smollm2 gemma3] [--text wiki.test.raw] [--chunks 50] [--json]

The reference is llama.cpp on the weights dequantized to F32 (tests/gen/dequantize.py), with an f32
KV cache and no fused attention. Held against it, chunk by chunk:

  exact   ours on the quantized file, f32 activations and f32 KV cache: perplexity within 0.02 %
  fast    ours as it serves: perplexity within 0.3 %, KL to the reference no larger than theirs
  theirs  llama.cpp on the quantized file, as it is run by default
  greedy  20 prompts of 16 tokens: all equal but where the two best logits are closer than 0.01

Exit status 1 when a rule is broken. All fifty chunks take half an hour on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "gen"), str(ROOT / "tests" / "peer")]
import dequantize  # noqa: E402
import llama_cpp  # noqa: E402
import metrics  # noqa: E402

# file name in $VERDANT_HOME/models, environment variable that may name it instead
MODELS = {
    "smollm2": ("SmolLM2-135M-Instruct.Q4_1.gguf", "VERDANT_TEST_MODEL"),
    "gemma3": ("gemma-3-270m-q4_k_m.gguf", "VERDANT_TEST_GEMMA"),
}
TIE = 0.01  # logits closer than this may change places


def home():
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(os.environ.get("VERDANT_HOME") or os.path.join(data, "verdant"))


def find_model(name):
    """Path of a model of MODELS, or None."""
    file, variable = MODELS[name]
    named = os.environ.get(variable)
    if named:
        return Path(named)
    found = sorted(home().rglob(file)) if home().is_dir() else []
    return found[0] if found else None


def our_logits(verdant, model, ids, n_vocab, folder, precision="exact", kv="f32"):
    """float32 [n_tokens, n_vocab] by `verdant logits`; n_vocab None: whatever comes."""
    out = Path(folder) / "logits.bin"
    result = verdant(
        *("logits", model, "--ids", ",".join(map(str, ids)), "-o", out),
        *("--precision", precision, "--kv", kv),
        timeout=3600,
    )
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    rows = np.fromfile(out, "<f4").reshape(len(ids), n_vocab or -1)
    out.unlink()
    return rows


def greedy_errors(verdant, quant, base, folder, n_prompts, n_tokens=16):
    """Their greedy tokens fed to us: where our best differs, and whether that was a tie."""
    prompts = json.loads((ROOT / "tests/peer/prompts.json").read_text())[:n_prompts]
    out = {"tokens": 0, "ties": 0, "wrong": 0}
    for prompt in prompts:
        ids = base.tokenize(prompt)
        want, gaps = base.greedy(ids, n_tokens)
        rows = our_logits(verdant, quant, ids + want[:-1], base.n_vocab, folder)
        for best, token, gap in zip(rows[len(ids) - 1 :].argmax(axis=1), want, gaps):
            out["tokens"] += 1
            if best != token:
                out["ties" if gap < TIE else "wrong"] += 1
    return out


def compare(verdant, quant, f32, text, folder, ctx=512, n_chunks=50, n_prompts=20, progress=None):
    """All figures of one model; `verdant` runs the program and gives the finished process."""
    scores = {k: metrics.Score() for k in ("reference", "exact", "fast", "theirs")}
    with llama_cpp.Peer(f32, n_ctx=ctx, kv="f32") as base, llama_cpp.Peer(
        quant, n_ctx=ctx, kv="f16", flash=None
    ) as peer:
        first = ctx // 2
        ids = base.tokenize(Path(text).read_bytes())
        for i, chunk in enumerate(metrics.chunks_of(ids, ctx, n_chunks, base.bos)):
            want = base.logits(chunk, first)[:-1]
            targets = chunk[first + 1 :]
            scores["reference"].add(want, targets)
            scores["theirs"].add(peer.logits(chunk, first)[:-1], targets, want)
            for path, kv in (("exact", "f32"), ("fast", "f16")):
                rows = our_logits(verdant, quant, chunk, base.n_vocab, folder, path, kv)
                scores[path].add(rows[first:-1], targets, want)
            if progress:
                progress(i + 1, {k: s.result()["ppl"] for k, s in scores.items()})
        result = {k: s.result() for k, s in scores.items()}
        result["greedy"] = greedy_errors(verdant, quant, base, folder, n_prompts)
    for path in ("exact", "fast", "theirs"):
        result[path]["ppl_off"] = abs(result[path]["ppl"] / result["reference"]["ppl"] - 1)
    return result


def verdict(result):
    """{rule: kept?}"""
    return {
        "exact perplexity within 0.02 %": result["exact"]["ppl_off"] <= 0.0002,
        "greedy tokens equal": result["greedy"]["wrong"] == 0,
        "fast perplexity within 0.3 %": result["fast"]["ppl_off"] <= 0.003,
        "fast KL no larger than theirs": result["fast"]["kl_mean"] <= result["theirs"]["kl_mean"],
    }


def show(name, result):
    print(f"\n{name}: {result['reference']['n_tokens']} tokens scored")
    print(f"{'':10}{'perplexity':>12}{'off, %':>10}{'KL mean':>12}{'same best, %':>14}")
    for path in ("reference", "exact", "fast", "theirs"):
        r = result[path]
        line = f"{path:10}{r['ppl']:12.4f}"
        if path != "reference":
            line += (
                f"{100 * r['ppl_off']:10.4f}{r['kl_mean']:12.2e}{100 * r['top1_agreement']:14.2f}"
            )
        print(line)
    g = result["greedy"]
    print(f"greedy    {g['tokens']} tokens, {g['wrong']} wrong, {g['ties']} at a tie below {TIE}")
    for rule, kept in verdict(result).items():
        print(f"  {'kept  ' if kept else 'BROKEN'}  {rule}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=list(MODELS), choices=[*MODELS, []])
    parser.add_argument("--text", default=None, help="default: wiki.test.raw of the test data")
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--verdant", default=str(ROOT / "build" / "verdant"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    text = args.text or os.path.join(os.environ.get("VERDANT_TEST_DATA", ""), "text/wiki.test.raw")
    if not os.path.exists(text):
        parser.error(f"no text at {text}: give --text or set VERDANT_TEST_DATA")

    def verdant(*words, timeout=None):
        command = [args.verdant, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout)

    def progress(i, ppl):
        if sys.stderr.isatty() or i % 10 == 0:
            line = " ".join(f"{k} {v:.4f}" for k, v in ppl.items())
            print(f"{i}/{args.chunks} {line}", file=sys.stderr, flush=True)

    results = {}
    for name in args.models:
        quant = find_model(name)
        if quant is None:
            print(f"{name}: no {MODELS[name][0]} under {home()}, left out", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            f32 = Path(folder) / "f32.gguf"
            dequantize.dequantize_file(quant, f32)
            results[name] = compare(
                verdant, quant, f32, text, folder, args.ctx, args.chunks, args.prompts, progress
            )
        if not args.json:
            show(name, results[name])
    if args.json:
        print(json.dumps(results, indent=1))
    if not results or not all(all(verdict(r).values()) for r in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
