#!/usr/bin/env python3
"""Verdant and llama.cpp side by side on one machine: prefill, decode, batched decode.

    python3 bench/peer/bench_peer.py MODEL.gguf [-t 2] [-r 5] [-p 512] [-n 128] [-b 1] [--json]

Runs alternate (ours, theirs, ours, theirs …), so that a slow minute of the machine falls on both;
medians and their ratio are printed with the spread. Ours is `verdant bench MODEL --json`; theirs is
llama.cpp v0.5.0 through its C API in this process, with its defaults (f16 KV cache, its own choice
of fused attention, repacked weights), after one warm-up run. Decode starts after a prompt of 16
tokens; only the last token of a prefill gets logits. --peer-only leaves ours out.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "peer"))
import llama_cpp  # noqa: E402

N_PROMPT_OF_DECODE = 16


def machine():
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    load = Path("/proc/loadavg").read_text().split()[0]
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "date": datetime.date.today().isoformat(),
        "load_before": float(load),
        "llama_cpp": llama_cpp.lib().version,
        "llama_cpp_isa": llama_cpp.lib().llama_print_system_info().decode(),
    }


def run_ours(args):
    command = [args.verdant, "bench", args.model, "--json"]
    command += ["-p", str(args.prefill), "-n", str(args.decode), "-t", str(args.threads)]
    command += ["-b", str(args.batch), "-r", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    result = json.loads(done.stdout)
    return {"prefill": result["prefill"]["tok_s"], "decode": result["decode"]["tok_s"]}


def run_theirs(peer, args):
    ids = [(7 * i) % (peer.n_vocab - 100) + 50 for i in range(args.prefill)]
    return {
        "prefill": peer.prefill_speed(ids),
        "decode": peer.decode_speed(ids[:N_PROMPT_OF_DECODE], args.decode, args.batch),
    }


def summary(runs):
    out = {}
    for phase in ("prefill", "decode"):
        values = [run[phase] for run in runs]
        out[phase] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return out


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--runs", type=int, default=5)
    parser.add_argument("-p", "--prefill", type=int, default=512)
    parser.add_argument("-n", "--decode", type=int, default=128)
    parser.add_argument("-b", "--batch", type=int, default=1, help="sequences decoded together")
    parser.add_argument("--verdant", default=str(ROOT / "build" / "verdant"))
    parser.add_argument("--peer-only", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    where = machine()
    room = max(args.prefill, (N_PROMPT_OF_DECODE + args.decode) * args.batch)
    ours, theirs = [], []
    with llama_cpp.Peer(
        args.model,
        n_ctx=room,
        n_batch=args.prefill,
        n_seq=args.batch,
        threads=args.threads,
        kv="f16",
        flash=None,
    ) as peer:
        peer.prefill_speed([1] * 32)
        peer.decode_speed([1] * 4, 4, args.batch)
        for _ in range(args.runs):
            if not args.peer_only:
                ours.append(run_ours(args))
            theirs.append(run_theirs(peer, args))

    options = {
        k: getattr(args, k) for k in ("model", "threads", "runs", "prefill", "decode", "batch")
    }
    result = {"machine": where, "options": options, "theirs": summary(theirs)}
    if ours:
        result["ours"] = summary(ours)
        result["ratio"] = {
            phase: result["ours"][phase]["median"] / result["theirs"][phase]["median"]
            for phase in ("prefill", "decode")
        }
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{where['cpu']}, {where['cores']} cores, {where['date']}, load {where['load_before']}")
    print(f"{args.model}: {args.threads} threads, {args.runs} runs, batch {args.batch}; tokens/s")
    print(f"{'':10}{'ours':>26}{'llama.cpp ' + where['llama_cpp']:>28}{'ratio':>8}")
    for phase in ("prefill", "decode"):
        cells = []
        for side in ("ours", "theirs"):
            s = result.get(side, {}).get(phase)
            cells.append(f"{s['median']:.1f} ({s['min']:.1f}-{s['max']:.1f})" if s else "-")
        ratio = f"{result['ratio'][phase]:.2f}" if ours else "-"
        print(f"{phase:10}{cells[0]:>26}{cells[1]:>28}{ratio:>8}")


if __name__ == "__main__":
    main()
