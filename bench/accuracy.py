#!/usr/bin/env python3
"""How close our paths come to llama.cpp on the same weights in F32, and which rules hold.

    python3 bench/accuracy.py [smollm2 gemma3] [--levels c,avx2,avx512,...] [--chunks 50] [--json]

The reference is llama.cpp on the weights dequantized to F32 (tests/gen/dequantize.py), with an f32
KV cache and no fused attention. Held against it, chunk by chunk, at each CPU level (VERDANT_CPU):

  exact   ours on the quantized file, f32 activations and f32 KV cache: perplexity within 0.02 %
  fast    ours as it serves: perplexity within 0.3 %, KL to the reference no larger than theirs;
          plain C (level c) has no such path
  theirs  llama.cpp on the quantized file, as it is run by default
  greedy  20 prompts of 16 tokens, exact at the first level: all equal but where the two best
          logits are closer than 0.01

Exit status 1 when a rule is broken. Fifty chunks of both models take half an hour on two cores,
with level c three hours.
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

# name in the model store (`verdant pull NAME`), environment variable that may name a file instead
MODELS = {
    "smollm2": ("smollm2", "VERDANT_TEST_MODEL"),
    "gemma3": ("gemma3-270m", "VERDANT_TEST_GEMMA"),
}
TIE = 0.01  # logits closer than this may change places


def home():
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(os.environ.get("VERDANT_HOME") or os.path.join(data, "verdant"))


def find_model(name):
    """Path of a model of MODELS, or None."""
    stored, variable = MODELS[name]
    named = os.environ.get(variable)
    path = Path(named) if named else home() / "models" / f"{stored}.gguf"
    return path if path.exists() else None


def levels_here():
    """The CPU levels above plain C that this machine has, lowest first."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    need = {"avx2": {"avx2", "fma", "f16c"}}
    need["avx512"] = need["avx2"] | {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}
    need["avx512-bf16"] = need["avx512"] | {"avx512_bf16"}
    need["amx"] = need["avx512-bf16"] | {"amx_tile", "amx_bf16"}
    return [level for level in need if need[level] <= flags]


def our_logits(
    verdant, model, ids, n_vocab, folder, precision="exact", kv="f32", level=None, first=0
):
    """float32 [n_tokens - first, n_vocab] by `verdant logits`; n_vocab None: whatever comes."""
    out = Path(folder) / "logits.bin"
    result = verdant(
        *("logits", model, "--ids", ",".join(map(str, ids)), "-o", out),
        *("--precision", precision, "--kv", kv, "--first", first),
        timeout=3600,
        env={"VERDANT_CPU": level} if level else None,
    )
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    rows = np.fromfile(out, "<f4").reshape(len(ids) - first, n_vocab or -1)
    out.unlink()
    return rows


def greedy_errors(verdant, quant, base, folder, level, n_prompts, n_tokens=16):
    """Their greedy tokens fed to us: where our best differs, and whether that was a tie."""
    prompts = json.loads((ROOT / "tests/peer/prompts.json").read_text())[:n_prompts]
    out = {"tokens": 0, "ties": 0, "wrong": 0}
    for prompt in prompts:
        ids = base.tokenize(prompt)
        want, gaps = base.greedy(ids, n_tokens)
        rows = our_logits(
            *(verdant, quant, ids + want[:-1], base.n_vocab, folder),
            level=level,
            first=len(ids) - 1,
        )
        for best, token, gap in zip(rows.argmax(axis=1), want, gaps):
            out["tokens"] += 1
            if best != token:
                out["ties" if gap < TIE else "wrong"] += 1
    return out


def our_paths(levels):
    """{name: (precision, type of the KV cache, level)}; a level of None is the machine's best."""
    paths = {}
    for level in levels:
        tail = f" {level}" if level else ""
        paths["exact" + tail] = "exact", "f32", level
        if level != "c":
            paths["fast" + tail] = "fast", "f16", level
    return paths


def compare(
    verdant,
    quant,
    f32,
    text,
    folder,
    ctx=512,
    n_chunks=50,
    n_prompts=20,
    levels=(None,),
    threads=2,
    progress=None,
):
    """All figures of one model; `verdant` runs the program and gives the finished process."""
    paths = our_paths(levels)
    scores = {k: metrics.Score() for k in ("reference", *paths, "theirs")}
    with llama_cpp.Peer(f32, n_ctx=ctx, kv="f32", threads=threads) as base, llama_cpp.Peer(
        quant, n_ctx=ctx, kv="f16", flash=None, threads=threads
    ) as peer:
        first = ctx // 2
        result = {"greedy": greedy_errors(verdant, quant, base, folder, levels[0], n_prompts)}
        ids = base.tokenize(Path(text).read_bytes())
        for i, chunk in enumerate(metrics.chunks_of(ids, ctx, n_chunks, base.bos)):
            want = base.logits(chunk, first)[:-1]
            targets = chunk[first + 1 :]
            scores["reference"].add(want, targets)
            scores["theirs"].add(peer.logits(chunk, first)[:-1], targets, want)
            for name, options in paths.items():
                rows = our_logits(
                    verdant, quant, chunk, base.n_vocab, folder, *options, first=first
                )
                scores[name].add(rows[:-1], targets, want)
            if progress:
                progress(i + 1, {k: s.result()["ppl"] for k, s in scores.items()})
    result.update((k, s.result()) for k, s in scores.items())
    for path in (*paths, "theirs"):
        result[path]["ppl_off"] = abs(result[path]["ppl"] / result["reference"]["ppl"] - 1)
    return result


def verdict(result):
    """{rule: kept?}"""
    rules = {"greedy tokens equal": result["greedy"]["wrong"] == 0}
    for path, r in result.items():
        if path.startswith("exact"):
            rules[f"{path}: perplexity within 0.02 %"] = r["ppl_off"] <= 0.0002
        elif path.startswith("fast"):
            rules[f"{path}: perplexity within 0.3 %"] = r["ppl_off"] <= 0.003
            rules[f"{path}: KL no larger than theirs"] = (
                r["kl_mean"] <= result["theirs"]["kl_mean"]
            )
    return rules


def show(name, result):
    print(f"\n{name}: {result['reference']['n_tokens']} tokens scored")
    print(f"{'':14}{'perplexity':>12}{'off, %':>10}{'KL mean':>12}{'same best, %':>14}")
    for path, r in result.items():
        if path == "greedy":
            continue
        line = f"{path:14}{r['ppl']:12.4f}"
        if path != "reference":
            line += (
                f"{100 * r['ppl_off']:10.4f}{r['kl_mean']:12.2e}{100 * r['top1_agreement']:14.2f}"
            )
        print(line)
    g = result["greedy"]
    ties = f"{g['ties']} at a tie below {TIE}"
    print(f"greedy        {g['tokens']} tokens, {g['wrong']} wrong, {ties}")
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
    parser.add_argument("--levels", default=",".join(levels_here()), help="as VERDANT_CPU")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verdant", default=str(ROOT / "build" / "verdant"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    text = args.text or os.path.join(os.environ.get("VERDANT_TEST_DATA", ""), "text/wiki.test.raw")
    if not os.path.exists(text):
        parser.error(f"no text at {text}: give --text or set VERDANT_TEST_DATA")

    def verdant(*words, timeout=None, env=None):
        command = [args.verdant, *map(str, words), "--threads", str(args.threads)]
        env = {**os.environ, **(env or {})}
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)

    def progress(i, ppl):
        if sys.stderr.isatty() or i % 5 == 0:
            line = " ".join(f"{k} {v:.4f}" for k, v in ppl.items())
            print(f"{i}/{args.chunks} {line}", file=sys.stderr, flush=True)

    results = {}
    for name in args.models:
        quant = find_model(name)
        if quant is None:
            print(f"{name} is not here: verdant pull {MODELS[name][0]}", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            f32 = Path(folder) / "f32.gguf"
            dequantize.dequantize_file(quant, f32)
            results[name] = compare(
                *(verdant, quant, f32, text, folder, args.ctx, args.chunks, args.prompts),
                levels=args.levels.split(",") if args.levels else [None],
                threads=args.threads,
                progress=progress,
            )
        if not args.json:
            show(name, results[name])
    if args.json:
        print(json.dumps(results, indent=1))
    if not results or not all(all(verdict(r).values()) for r in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
