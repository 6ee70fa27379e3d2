#!/usr/bin/env python3
"""llama.cpp's score on questions with choices, by its own method through its C API.

    python3 tests/peer/multiple_choice.py MODEL.gguf hellaswag_val_full.txt.bz2 -n 400 [--first]
    python3 tests/peer/multiple_choice.py MODEL.gguf arc-easy.jsonl -n 200 --first

The method is that of llama-perplexity --hellaswag and --multiple-choice (tools/perplexity of
llama.cpp): QUESTION, a space and CHOICE are tokenized together with special tokens added; the
tokens with which all choices begin are context; a choice's score is the mean log-probability of its
other tokens; the first of the best wins. Tasks are drawn without replacement by std::mt19937 of
seed 1 and libstdc++'s uniform_int_distribution, here by NumPy's Mersenne Twister. The questions of
ARC and PIQA stand bare in their files and are asked as "Question: ...\\nAnswer: ...".
"""

import argparse
import bz2
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import llama_cpp  # noqa: E402
import metrics  # noqa: E402

PLAIN, QA = "{} {}", "Question: {}\nAnswer: {}"


def read_hellaswag(path):
    """[(question, choices, the right ones)]"""
    lines = bz2.open(path, "rt", encoding="utf-8", newline="\n").read().splitlines()
    return [
        (lines[i], lines[i + 2 : i + 6], {int(lines[i + 1])}) for i in range(0, len(lines) - 5, 6)
    ]


def read_options(path):
    """The same of ARC's and PIQA's JSON lines."""
    tasks = map(json.loads, Path(path).read_text(encoding="utf-8").splitlines())
    return [(t["centerpiece"], t["options"], set(t["correct_options_idx"])) for t in tasks]


def drawn(n_all, n):
    """Indices of the n tasks of n_all that llama-perplexity draws."""
    twister = np.random.RandomState(1)
    left, order = list(range(n_all)), []

    def below(bound):
        while True:
            product = int(twister.randint(0, 1 << 32, dtype=np.uint32)) * bound
            if product % (1 << 32) >= (1 << 32) % bound:
                return product >> 32

    for _ in range(n):
        order.append(left.pop(below(len(left))))
    return order


def scores(peer, question, choices, form):
    """(sum, count) of the log-probabilities of each choice; the peer has a sequence for each."""
    tokens = [peer.tokenize(form.format(question, choice)) for choice in choices]
    shared = min(map(len, tokens)) - 1  # something is left to be scored
    for i, column in enumerate(zip(*tokens, strict=False)):
        if len(set(column)) > 1:
            shared = min(shared, i)
            break
    peer.clear()
    peer.decode(tokens[0][:shared], range(shared))
    start = peer.outputs(1)
    memory = peer.L.llama_get_memory(peer.ctx)
    for s in range(1, len(choices)):
        peer.L.llama_memory_seq_cp(memory, 0, s, -1, -1)
    batch, positions, sequences = [], [], []
    for s, ids in enumerate(tokens):
        batch += ids[shared:-1]
        positions += range(shared, len(ids) - 1)
        sequences += [s] * (len(ids) - 1 - shared)
    rows = np.empty((0, peer.n_vocab), np.float32)
    if batch:
        peer.decode(batch, positions, sequences, [1] * len(batch))
        rows = peer.outputs(len(batch))
    out, at = [], 0
    for ids in tokens:
        own = np.concatenate([start, rows[at : at + len(ids) - 1 - shared]])
        at += len(ids) - 1 - shared
        log_probs = metrics.log_softmax(own)[np.arange(len(own)), ids[shared:]]
        out.append((float(log_probs.sum()), len(own)))
    return out


def pick(pairs, norm):
    """The first of the best by the mean (norm) or the sum."""
    values = [total / count if norm else total for total, count in pairs]
    return values.index(max(values))


def run(model, tasks, threads=2, kv="f16", flash=None, form=PLAIN, progress=None):
    """Per task {"log_probs", "n_tokens", "picked", "picked_norm", "right", "right_norm"}."""
    out = []
    n_seq = max(len(choices) for _, choices, _ in tasks)
    with llama_cpp.Peer(model, 2048, threads=threads, kv=kv, n_seq=n_seq, flash=flash) as peer:
        for question, choices, answers in tasks:
            pairs = scores(peer, question, choices, form)
            best = [pick(pairs, norm) for norm in (False, True)]
            out.append(
                {
                    "log_probs": [total for total, _ in pairs],
                    "n_tokens": [count for _, count in pairs],
                    "picked": best[0],
                    "picked_norm": best[1],
                    "right": best[0] in answers,
                    "right_norm": best[1] in answers,
                }
            )
            if progress:
                progress(out)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("file", help="HellaSwag's text, bz2, or JSON lines of ARC or PIQA")
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--first", action="store_true", help="the first n, not a draw")
    parser.add_argument("-o", "--output", help="per task, JSON lines")
    args = parser.parse_args()
    options = args.file.endswith(".jsonl")
    tasks = read_options(args.file) if options else read_hellaswag(args.file)
    form = QA if options else PLAIN
    order = range(args.n) if args.first else drawn(len(tasks), args.n)

    def progress(out):
        if sys.stderr.isatty():
            print(f"\r{len(out)}/{args.n}", end="", file=sys.stderr)

    chosen = [tasks[i] for i in order]
    found = run(args.model, chosen, args.threads, form=form, progress=progress)
    if args.output:
        Path(args.output).write_text("".join(json.dumps(row) + "\n" for row in found))
    print(
        json.dumps(
            {
                "llama_cpp": llama_cpp.lib().version,
                "n": len(found),
                "accuracy": float(np.mean([row["right"] for row in found])),
                "accuracy_norm": float(np.mean([row["right_norm"] for row in found])),
            }
        )
    )


if __name__ == "__main__":
    main()
