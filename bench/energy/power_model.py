#!/usr/bin/env python3
"""How far off the model of power is on a machine that it has never seen.

Reads $VERDANT_TEST_DATA/energy/rapl-vs-load: RAPL against load on three machines, two runs each
(load on all threads at once, or on some of them). One machine is held out, the prior is learned
from the literature and the other two, and every point of the held-out one is predicted with its
90 % interval, by the C code that ships (build/bench/energy/bench_energy).

The power of a row is rapl_energy (kWh) x 3.6e6 / duration; the column rapl_power lags a row. The
Threadripper's two dies were added though they show one counter: halved, unless --both-dies.

The interval score of Gneiting and Raftery (2007), width + 20 x how far outside, is in units of the
machine's mean power. Bands to compare with: +-50 % of the same prediction; and +-50 % of the usual
estimate TDP x (0.1 + 0.9 load).

--calibrated fits each run of a machine and predicts its other one: what a calibration is worth.
Files named on the command line (the same columns) are predicted by the prior that ships instead.

  VERDANT_TEST_DATA=... python3 bench/energy/power_model.py [--no-clock] [--both-dies] [--json]
  python3 bench/energy/power_model.py FILE.csv...
  VERDANT_TEST_DATA=... python3 bench/energy/power_model.py --shipped
"""
import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# What /proc/cpuinfo and the data sheets say: vendor, family, model, nominal MHz, cores per chip,
# hardware threads (of two sockets for the E5), TDP of all sockets.
MACHINES = {
    "AMD Ryzen Threadripper 1950X": ("AuthenticAMD", 0x17, 0x01, 3400, 16, 32, 180),
    "Intel(R) Xeon(R) CPU E3-1240 V2": ("GenuineIntel", 6, 0x3a, 3400, 4, 8, 69),
    "Intel(R) Xeon(R) CPU E5-2620 v3": ("GenuineIntel", 6, 0x3f, 2400, 6, 24, 170),
    "AMD EPYC 8024P": ("AuthenticAMD", 0x19, 0xa0, 2400, 8, 16, 90),
}


def read_machines(paths: list[Path], clock: bool, both_dies: bool) -> dict[str, list[tuple]]:
    """Per machine: (load, spread, clock, watts)."""
    found: dict[str, list] = {}
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                name = next(n for n in MACHINES if row["cpu_name"].startswith(n))
                mhz, threads = MACHINES[name][3], MACHINES[name][5]
                watts = float(row["rapl_energy"]) * 3.6e6 / float(row["duration"])
                if "Threadripper" in name and not both_dies:
                    watts /= 2
                load = float(row["cpu_load"]) / 100
                found.setdefault(name, []).append(
                    (load, min(1, float(row["cores_used"]) / threads),
                     float(row["cpu_freq"]) / mhz if clock else 0, watts))
    return found


def lines_of(name: str, points) -> str:
    vendor, family, model, mhz, cores, threads, _ = MACHINES[name]
    return (f"machine {vendor} {family} {model} {mhz} {cores} {threads} | {name}\n"
            + "".join("point " + " ".join(map(repr, p)) + "\n" for p in points))


def talk(build: Path, text: str) -> list[str]:
    done = subprocess.run([build / "bench/energy/bench_energy", "power"], input=text, text=True,
                          capture_output=True, check=True)
    return done.stdout.splitlines()


def predict(build: Path, others: dict | None, name: str, points) -> list[list[float]]:
    """Per point: watts, +-%, common %, independent %; None: by the prior that ships."""
    text = "shipped\n"
    if others is not None:
        text = "".join(lines_of(n, p) for n, p in others.items()) + "learn\n"
    text += lines_of(name, points)
    text += "".join("ask " + " ".join(map(repr, p[:3])) + "\n" for p in points)
    return [[float(x) for x in line.split()] for line in talk(build, text)[-len(points):]]


def calibrated(build: Path, name: str, known, points) -> list[list[float]]:
    """Per point the same, by a calibration of the `known` points."""
    text = lines_of(name, known)
    text += "".join("calibrated " + " ".join(map(repr, p[:3])) + "\n" for p in points)
    return [[float(x) for x in line.split()] for line in talk(build, text)]


def score(low: float, high: float, truth: float) -> float:
    return high - low + 20 * max(low - truth, 0) + 20 * max(truth - high, 0)


def judge(guesses, points, tdp: float) -> dict:
    mean_w = statistics.mean(p[3] for p in points)
    row: dict[str, list] = {k: [] for k in ("covered", "width", "error", "ours", "flat",
                                            "flat_covered", "tdp", "common", "independent")}
    for (watts, pct, common, independent), (load, _, _, truth) in zip(guesses, points, strict=True):
        low, high = max(watts * (1 - pct / 100), 0), watts * (1 + pct / 100)
        naive = tdp * (0.1 + 0.9 * load)
        row["covered"].append(low <= truth <= high)
        row["width"].append((high - low) / watts)
        row["error"].append(abs(watts / truth - 1))
        row["ours"].append(score(low, high, truth) / mean_w)
        row["flat"].append(score(0.5 * watts, 1.5 * watts, truth) / mean_w)
        row["flat_covered"].append(0.5 * watts <= truth <= 1.5 * watts)
        row["tdp"].append(score(0.5 * naive, 1.5 * naive, truth) / mean_w)
        row["common"].append(common / 100)
        row["independent"].append(independent / 100)
    result = {k: statistics.mean(v) for k, v in row.items()}
    result["bias"] = sum(g[0] for g in guesses) / sum(p[3] for p in points) - 1
    result["n"] = len(points)
    result.update(ratios(guesses, points))
    return result


def ratios(guesses, points) -> dict:
    """Of all pairs of points of the machine: how often the ratio of their watts lies within what
    the independent parts say, and how wide that is; the common parts are left out."""
    held, width = [], []
    for i, (guess, point) in enumerate(zip(guesses, points, strict=True)):
        for other, beside in zip(guesses[:i], points[:i], strict=True):
            off = abs(guess[0] / other[0] * beside[3] / point[3] - 1)
            pct = math.hypot(guess[3], other[3]) / 100
            held.append(off <= pct)
            width.append(2 * pct)
    return {"ratios_covered": statistics.mean(held), "ratios_width": statistics.mean(width)}


def evaluate(machines: dict, build: Path, shipped: bool) -> dict:
    result = {}
    for name, points in machines.items():
        others = None if shipped else {n: p for n, p in machines.items() if n != name}
        result[name] = judge(predict(build, others, name, points), points, MACHINES[name][6])
    result["mean"] = {k: statistics.mean(result[n][k] for n in machines)
                      for k in next(iter(result.values()))}
    return result


def evaluate_calibrated(paths: list[Path], build: Path, clock: bool, both_dies: bool) -> dict:
    """Each run by a calibration of the machine's other one."""
    runs = [next(iter(read_machines([p], clock, both_dies).items())) for p in paths]
    result = {}
    for i, (name, points) in enumerate(runs):
        known, = (p for k, (n, p) in enumerate(runs) if n == name and k != i)
        kind = "all threads" if "all_cores" in paths[i].name else "some threads"
        result[f"{name}, {kind}"] = judge(calibrated(build, name, known, points), points,
                                          MACHINES[name][6])
    result["mean"] = {k: statistics.mean(r[k] for r in result.values())
                      for k in next(iter(result.values()))}
    return result


def print_table(result: dict) -> None:
    print("| Held out | Points | Covered | Width | Score | of flat +-50 % | of TDP +-50 % | "
          "Mean error | Bias | Ratios covered | Width |\n" + "|---" * 11 + "|")
    for name, r in result.items():
        print(f"| {name} | {r['n']:.0f} | {100 * r['covered']:.0f} % | {r['width']:.2f} | "
              f"{r['ours']:.2f} | {r['flat']:.2f} | {r['tdp']:.2f} | {100 * r['error']:.0f} % | "
              f"{100 * r['bias']:+.0f} % | {100 * r['ratios_covered']:.0f} % | "
              f"{r['ratios_width']:.2f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("csv", nargs="*", type=Path)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--no-clock", action="store_true", help="as in a virtual machine")
    parser.add_argument("--both-dies", action="store_true", help="the Threadripper as it was read")
    parser.add_argument("--shipped", action="store_true",
                        help="learn from all machines: what vd_power_shipped must say")
    parser.add_argument("--calibrated", action="store_true",
                        help="each run by a calibration of the machine's other run")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data = os.environ.get("VERDANT_TEST_DATA")
    if not data and not args.csv:
        print("VERDANT_TEST_DATA is not set", file=sys.stderr)
        return 2
    paths = args.csv or sorted((Path(data) / "energy/rapl-vs-load").glob("*.csv"))
    machines = read_machines(paths, not args.no_clock, args.both_dies)
    if args.shipped:
        text = "".join(lines_of(n, p) for n, p in machines.items())
        print("\n".join(talk(args.build, text + "learn\n")))
        return 0
    if args.calibrated:
        result = evaluate_calibrated(paths, args.build, not args.no_clock, args.both_dies)
    else:
        result = evaluate(machines, args.build, bool(args.csv))
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        print_table(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
