#!/usr/bin/env python3
"""llama.cpp's own figures for a model, as JSON: what our engine is held against.

    python3 tests/peer/reference.py F32.gguf QUANT.gguf --text wiki.test.raw --chunks 50 -o OUT.json

For the F32 file (f32 KV cache, no fused attention): perplexity and greedy continuations of
prompts.json with the gap between the two best logits at each step. For the quantized file as it is
(f16 KV cache, as llama.cpp runs it by default): perplexity, mean KL divergence to the F32 file and
the share of equal best tokens. Both are walked chunk by chunk together, so no logits are kept.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import llama_cpp  # noqa: E402
import metrics  # noqa: E402


def greedy_table(peer, n):
    prompts = json.loads(Path(__file__).with_name("prompts.json").read_text())
    table = []
    for prompt in prompts:
        ids = peer.tokenize(prompt)
        tokens, gaps = peer.greedy(ids, n)
        table.append({"prompt": prompt, "ids": ids, "tokens": tokens, "gaps": gaps})
    return table


def reference(f32, quant, text, ctx=512, n_chunks=50, n_greedy=16, threads=2, progress=None):
    out = {"llama_cpp": llama_cpp.lib().version, "ctx": ctx, "n_chunks": n_chunks}
    with llama_cpp.Peer(f32, n_ctx=ctx, threads=threads, kv="f32") as base:
        ids = base.tokenize(Path(text).read_bytes())
        out["n_text_tokens"] = len(ids)
        out["greedy"] = greedy_table(base, n_greedy)
        base_score = metrics.Score()

        def base_logits(chunk, first):
            rows = base.logits(chunk, first)
            base_score.add(rows[:-1], chunk[first + 1 :])
            return rows

        if quant:
            with llama_cpp.Peer(quant, n_ctx=ctx, threads=threads, kv="f16") as peer:
                out["quant"] = metrics.perplexity(
                    peer.logits, ids, ctx, n_chunks, base.bos, base_logits, progress
                )
        else:
            metrics.perplexity(base_logits, ids, ctx, n_chunks, base.bos, None, progress)
        out["f32"] = base_score.result()
    return out


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("f32")
    parser.add_argument("quant", nargs="?")
    parser.add_argument("--text", required=True)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args()

    def progress(i, score):
        if i % 5 == 0:
            print(i, score.result(), file=sys.stderr, flush=True)

    result = reference(
        args.f32,
        args.quant,
        args.text,
        args.ctx,
        args.chunks,
        threads=args.threads,
        progress=progress,
    )
    Path(args.out).write_text(json.dumps(result, indent=1))
    print({k: result[k] for k in ("f32", "quant") if k in result})


if __name__ == "__main__":
    main()
