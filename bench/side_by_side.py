#!/usr/bin/env python3
"""Verdant and llama.cpp side by side on one machine, beside what the machine can do at all.

    python3 bench/side_by_side.py RESULTS.jsonl MODEL.gguf ...     measures what RESULTS lacks
    python3 bench/side_by_side.py RESULTS.jsonl --fair MODEL.gguf  decode beside busy processes
    python3 bench/side_by_side.py RESULTS.jsonl --table            prints the tables (Markdown)

The two run in turn, each in a process that keeps the model open: `verdant bench --work -` and
build/bench/peer_bench, with the same lines. Pairs that other processes disturbed are measured
again and stand in no table. The first run of all rows of all models comes first, then the second
...: one that is stopped (--seconds, or Ctrl-C) loses one row at most, and goes on when called
again. A file is named MODEL.TYPE.gguf, as bench/make_set.py names them; the tables are cut by
MODEL.

Limits are measured too (build/bench/limits): of decode the bytes a step reads over the bandwidth at
the weights' own size, of prefill the products over the peak of the processor's int8 products (bf16
for F16, BF16 and F32). Attention is not in the products.
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEEP = "decode 32 4096 1"  # its context is the prefill of 4,096
ROWS = (
    "prefill 64 0 1",
    "prefill 512 0 1",
    "decode 64 0 1",
    "decode 32 0 4",
    "decode 32 0 8",
    "decode 32 0 16",
    DEEP,
)
TITLES = {
    "prefill 64 0 1": "prefill 64",
    "prefill 512 0 1": "prefill 512",
    "prefill 4096 0 1": "prefill 4096",
    "decode 64 0 1": "decode",
    DEEP: "decode at 4096",
    "decode 32 0 4": "decode, batch 4",
    "decode 32 0 8": "decode, batch 8",
    "decode 32 0 16": "decode, batch 16",
}
FLOAT_TYPES = ("f32", "f16", "bf16")
FAIR_TOKENS = 192
KINDS = {"row", "limits", "process", "fair"}  # a line of results has one of these
ROUNDING = 3  # ticks by which two counts of CPU time may differ though nobody else ran


def busy_ticks(path, first, last):
    """CPU time in a line of /proc: of a process or of the machine."""
    fields = Path(path).read_text().split("\n")[0].rsplit(")", 1)[-1].split()
    return sum(map(int, fields[first:last]))


class Watch:
    """How much of the cores other processes had while one of ours computed, in parts of one."""

    def __init__(self, pid):
        self.pid = pid
        self.begin = self._now()

    def _now(self):
        # user, nice, system of "cpu"; utime and stime of the process
        machine = busy_ticks("/proc/stat", 1, 4)
        return time.monotonic(), machine - busy_ticks(f"/proc/{self.pid}/stat", 11, 13)

    def others(self):
        seconds, ticks = (b - a for a, b in zip(self.begin, self._now(), strict=True))
        cores = os.cpu_count() or 1
        return max(0, ticks - ROUNDING) / os.sysconf("SC_CLK_TCK") / (max(seconds, 0.01) * cores)


class Side:
    """A process that takes lines of work and gives a line of JSON for each."""

    def __init__(self, command, rooms):
        self.command = command
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for row in rooms:  # no more than the buffer holds: written with the first row
            self.process.stdin.write(f"room {row}\n")
        self.head = None

    def measure(self, row):
        try:
            self.process.stdin.write(row + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said stands on stderr
        if self.head is None:
            self.head = self._line()
        return self._line()

    def watched(self, row):
        """The same, with what other processes took of the cores meanwhile."""
        watch = Watch(self.process.pid)
        return {**self.measure(row), "others": round(watch.others(), 3)}

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.command[0]} ended with status {self.process.wait()}")
        return json.loads(line)

    def close(self):
        """What it says at the end, of its memory."""
        self.process.stdin.close()
        lines = [json.loads(line) for line in self.process.stdout]
        self.process.wait()
        return lines[-1] if lines else {}


def chosen_rows(args):
    return [row for row in ROWS if re.search(args.only, row)]


def open_sides(args, model, rows):
    build = Path(args.build)
    threads = ["-t", args.threads]
    return {
        "ours": Side([build / "verdant", "bench", model, "--work", "-", *threads], rows),
        "theirs": Side([build / "bench/peer_bench", model, *threads], rows),
    }


def machine(args):
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    git = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "threads": args.threads,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"),
        "load": float(Path("/proc/loadavg").read_text().split()[0]),
        "version": git.stdout.strip(),
    }


class Results:
    """A file of JSON lines; one is added after each pair of measurements. A last line that was cut
    off, when the machine stopped or the disk was full, is not counted and is replaced."""

    def __init__(self, path, most_others):
        self.path = Path(path)
        self.most_others = most_others
        self.lines = []
        self.whole = 0  # bytes of the file that are lines
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            sys.exit(f"cannot read {path}: {error.strerror}")
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                print(f"{path}:{number}: cut off, left out", file=sys.stderr)
                break
            self.whole += len(line)
            if line.strip():
                self.lines.append(self._line(number, line))

    def _line(self, number, text):
        try:
            line = json.loads(text)
            if not isinstance(line, dict) or not KINDS & line.keys():
                raise ValueError
        except ValueError:
            sys.exit(f"{self.path}:{number}: no line of this program: not a file of results?")
        return line

    def begin(self):
        """Opens the file before anything is measured."""
        try:
            with self.path.open("ab") as file:
                file.truncate(self.whole)
        except OSError as error:
            sys.exit(f"cannot write {self.path}: {error.strerror}")

    def add(self, **line):
        self.lines.append(line)
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            sys.exit(f"cannot write {self.path}: {error.strerror}")

    def pairs(self, model, row):
        return [x for x in self.lines if x.get("model") == model and x.get("row") == row]

    def quiet(self, model, row):
        """Those pairs beside which other processes did little."""
        return [
            x
            for x in self.pairs(model, row)
            if max(x[side].get("others", 0) for side in ("ours", "theirs")) <= self.most_others
        ]

    def lacks(self, model, row, runs):
        """Whether a run is wanting; a row that is disturbed again and again is let be."""
        return len(self.quiet(model, row)) < runs and len(self.pairs(model, row)) < 3 * runs

    def of(self, model, key):
        return [x[key] for x in self.lines if x.get("model") == model and key in x]


def has_deep(line):
    return line["context_tokens"] >= 4096


def measure_limits(args, results, name, head):
    command = [Path(args.build) / "bench/limits", "-t", str(args.threads)]
    done = subprocess.run(
        [*command, str(head["weight_bytes"])], stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with status {done.returncode}")
    results.add(model=name, limits=json.loads(done.stdout), head=head)


def measure(args, results, models, deadline):
    """False where the time was over before all was done."""
    for run in range(args.runs):
        for path in models:
            name = Path(path).stem
            rows = [r for r in chosen_rows(args) if results.lacks(name, r, run + 1)]
            if not rows and not results.of(name, "limits"):  # stopped before they were measured
                rows = chosen_rows(args)[:1]
            if not rows:
                continue
            sides = open_sides(args, path, rows)
            for row in rows:
                order = ("ours", "theirs") if run % 2 == 0 else ("theirs", "ours")
                pair = {side: sides[side].watched(row) for side in order}
                results.add(model=name, row=row, machine=machine(args), **pair)
                print(f"{name}: {row}: {pair['ours']['tok_s']:.1f} / "
                      f"{pair['theirs']['tok_s']:.1f}", file=sys.stderr)
                if time.monotonic() > deadline:
                    break
            if not results.of(name, "limits"):
                measure_limits(args, results, name, sides["ours"].head)
            ends = {s: {**sides[s].head, **sides[s].close()} for s in sides}
            results.add(model=name, process=ends)
            if time.monotonic() > deadline:
                return False
    return True


def measure_fair(args, results, path):
    """Decode alone and beside a busy process for each core, in turn."""
    row = f"decode {FAIR_TOKENS} 0 1"
    sides = open_sides(args, path, [row])
    busy = []
    for side in sides.values():
        side.measure(row)
    try:
        for _ in range(args.runs):
            alone = {s: sides[s].measure(row)["tok_s"] for s in sides}
            busy = [
                subprocess.Popen([sys.executable, "-c", "while True: pass"])
                for _ in os.sched_getaffinity(0)
            ]
            time.sleep(0.3)
            beside = {s: sides[s].measure(row)["tok_s"] for s in sides}
            for process in busy:
                process.kill()
                process.wait()
            results.add(model=Path(path).stem, fair={"alone": alone, "beside": beside},
                        machine=machine(args))
    finally:
        for process in busy:
            process.kill()
        for side in sides.values():
            side.close()


# ---- tables --------------------------------------------------------------------------------------


def speeds(results, name, row):
    """The tokens per second of both sides, run for run."""
    if row == "prefill 4096 0 1":
        pairs = results.quiet(name, DEEP)
        return {
            side: [
                p[side]["context_tokens"] / p[side]["context_s"]
                for p in pairs
                if has_deep(p[side])
            ]
            for side in ("ours", "theirs")
        }
    pairs = results.quiet(name, row)
    return {side: [p[side]["tok_s"] for p in pairs] for side in ("ours", "theirs")}


def limit(results, name, row):
    """Tokens per second that the machine allows, and by what; None where it is not known."""
    known = [x for x in results.lines if x.get("model") == name and "limits" in x]
    if not known:
        return None
    limits, head = known[-1]["limits"], known[-1]["head"]
    phase, _, _, batch = row.split()
    batch = int(batch)
    floats = name.rsplit(".", 1)[-1] in FLOAT_TYPES
    peak = limits.get("f32_fma_tflops", limits.get("f32_fma_256_tflops", 0))
    peak = max(peak, limits.get("bf16_dot_tflops" if floats else "int8_vnni_tops", 0)) * 1e12
    of_products = peak / (2 * head[f"{phase}_products"])
    if phase == "prefill":
        return of_products, "products"
    pairs = results.quiet(name, row)
    kv = pairs[0]["ours"]["kv_bytes"] if pairs else 0
    of_memory = limits["read"][0]["gb_s"] * 1e9 / (head["weight_bytes"] + batch * kv) * batch
    return min((of_memory, "memory"), (of_products, "products"))


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def spread(values):
    """Half of the range in percent of the median."""
    middle = statistics.median(values)
    return 50 * (max(values) - min(values)) / middle


def table_of(results, model, types):
    print(f"\n### {model}\n")
    print("| Type | Row | Ours | llama.cpp | Ratio | Limit | Of limit | Runs | Spread |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in types:
        name = f"{model}.{kind}"
        for row in TITLES:
            both = speeds(results, name, row)
            if not both["ours"] or not both["theirs"]:
                continue
            ours, theirs = (statistics.median(both[s]) for s in ("ours", "theirs"))
            bound = limit(results, name, row)
            cells = [kind.upper(), TITLES[row], number(ours), number(theirs),
                     f"{ours / theirs:.2f}"]
            cells += [f"{number(bound[0])} ({bound[1]})", f"{100 * ours / bound[0]:.0f} %"] \
                if bound else ["", ""]
            wide = max(spread(both["ours"]), spread(both["theirs"]))
            cells += [str(len(both["ours"])), f"± {wide:.0f} %"]
            print("| " + " | ".join(cells) + " |")


def table_of_processes(results, names):
    print("\n### Loading and memory\n\nFrom the page cache; the peak is of the whole process, "
          "mapped files included.\n")
    print("| File | Loaded, ours | theirs | Peak, ours | theirs |")
    print("|---|---:|---:|---:|---:|")
    for name in names:
        ends = results.of(name, "process")
        if not ends:
            continue
        cells = [name]
        for key, scale, unit in (("load_s", 1, "s"), ("peak_rss_bytes", 2**20, "MiB")):
            for side in ("ours", "theirs"):
                value = statistics.median(e[side][key] for e in ends) / scale
                cells.append(f"{value:.2f} {unit}" if unit == "s" else f"{value:,.0f} {unit}")
        print("| " + " | ".join(cells) + " |")


def table_of_fairness(results, names):
    rows = {name: results.of(name, "fair") for name in names}
    if not any(rows.values()):
        return
    print("\n### Beside a busy process on every core\n\nDecode of one sequence; the fair share of "
          "a core with two who want it is a half.\n")
    print("| File | Ours alone | beside | part | llama.cpp alone | beside | part | Runs |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, fair in rows.items():
        if not fair:
            continue
        cells = [name]
        for side in ("ours", "theirs"):
            alone, beside = (statistics.median(f[k][side] for f in fair)
                             for k in ("alone", "beside"))
            cells += [number(alone), number(beside), f"{100 * beside / alone:.0f} %"]
        print("| " + " | ".join([*cells, str(len(fair))]) + " |")


def print_tables(results):
    machines = [x["machine"] for x in results.lines if "machine" in x]
    if not machines:
        sys.exit(f"{results.path}: nothing was measured")
    last = machines[-1]
    versions = sorted({m["version"] for m in machines})
    names = list(dict.fromkeys(x["model"] for x in results.lines if "model" in x))
    loads = [m["load"] for m in machines]
    limits = [x["limits"] for x in results.lines if "limits" in x]
    print(f"{last['cpu']}, {last['cores']} cores, Linux {last['kernel']}; {last['threads']} "
          f"thread{'' if last['threads'] == 1 else 's'}; "
          f"{machines[0]['date']} to {last['date']} UTC; Verdant at "
          f"{', '.join(versions)}; load average {min(loads):.1f} to {max(loads):.1f}.")
    print("Tokens per second, medians; the spread is half of the range, of the side that scatters "
          "more.")
    if limits:
        peaks = {k: max(x.get(k, 0) for x in limits) for k in limits[0] if k.endswith("ops")}
        reads = sorted((x["read"][0]["bytes"], x["read"][0]["gb_s"]) for x in limits)
        print("Peaks measured: " + ", ".join(f"{k} {v:.2f}" for k, v in peaks.items())
              + "; reading "
              + ", ".join(f"{n / 1e6:,.0f} MB at {speed:.1f} GB/s" for n, speed in reads) + ".")
    for model in dict.fromkeys(n.rsplit(".", 1)[0] for n in names):
        table_of(results, model, [n.rsplit(".", 1)[-1] for n in names
                                  if n.rsplit(".", 1)[0] == model])
    table_of_processes(results, names)
    table_of_fairness(results, names)


def check(parser, args):
    """What would go wrong after minutes, now."""
    if args.threads < 1 or args.runs < 1:
        parser.error("--threads and --runs are 1 at least")
    try:
        chosen = chosen_rows(args)
    except re.error as error:
        parser.error(f"--only is no regular expression: {error}")
    if not chosen:
        parser.error(f"no row holds \"{args.only}\"; there are: {', '.join(ROWS)}")
    names = [Path(path).stem for path in args.models]
    for path, name in zip(args.models, names, strict=True):
        if not Path(path).is_file():
            parser.error(f"there is no file {path}")
        if "." not in name or not path.endswith(".gguf"):
            parser.error(f"{path} is not named MODEL.TYPE.gguf (bench/make_set.py)")
        if names.count(name) > 1:
            parser.error(f"two files are named {name}.gguf")
    for program in ("verdant", "bench/peer_bench", "bench/limits"):
        if not (Path(args.build) / program).is_file():
            parser.error(f"there is no {Path(args.build) / program}: ninja -C {args.build} makes "
                         "it (the last two on x86-64 alone)")


def run(args, results):
    if args.fair:
        for path in args.models:
            measure_fair(args, results, path)
        return
    if not measure(args, results, args.models, time.monotonic() + args.seconds):
        print("the time is over; call it again to go on", file=sys.stderr)
        sys.exit(75)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("results")
    parser.add_argument("models", nargs="*")
    parser.add_argument("-t", "--threads", type=int, default=2, help="of both; default 2")
    parser.add_argument("-r", "--runs", type=int, default=5, help="of each row; default 5")
    parser.add_argument("--only", default="", help="rows that match this regular expression:\n"
                        "\"decode\", \"512\", \"(decode|prefill) 64\"")
    parser.add_argument("--seconds", type=float, default=1e9, help="then stop, after a row")
    parser.add_argument("--others", type=float, default=0.05, help="part of the cores that other\n"
                        "processes may have beside a pair that counts; default 0.05")
    parser.add_argument("--build", default=str(ROOT / "build"), help="default: this folder's")
    parser.add_argument("--fair", action="store_true", help="decode beside busy processes")
    parser.add_argument("--table", action="store_true", help="print the tables")
    args = parser.parse_intermixed_args()
    results = Results(args.results, args.others)
    if args.table:
        print_tables(results)
        return
    if not args.models:
        parser.error("which models?")
    check(parser, args)
    results.begin()
    try:
        run(args, results)
    except KeyboardInterrupt:
        print("stopped; call it again to go on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
