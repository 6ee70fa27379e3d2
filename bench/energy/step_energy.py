#!/usr/bin/env python3
"""How well a step's energy is predicted from other batch sizes, on measured language models.

Reads $VERDANT_TEST_DATA/energy/measured-llm (ML.ENERGY leaderboard, one file per model and task).
A series is a model, task, GPU type and number of GPUs with at least four batch sizes up to 256.
Each batch size is left out in turn, the others are fitted, and its joules per token are predicted.
A series' figure is the median of its absolute relative errors; a group's that of its series.

  affine  E = F + m B, least squares of relative errors: the usual model
  ours    bench/energy/step_fit.c through build/bench/energy/bench_energy

  VERDANT_TEST_DATA=... python3 bench/energy/step_energy.py [--build build] [--json]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
GROUPS = {"dense": "Dense Transformer", "hybrid": "Mamba-Transformer Hybrid", "mixture": "MoE"}
BATCH_MAX, POINTS_MIN = 256, 4


def read_series(folder: Path) -> dict[str, list[dict]]:
    """Per group: series with their points, by rising batch."""
    found: dict[tuple, list] = {}
    for path in sorted(folder.glob("*.json")):
        model = json.loads(path.read_text(encoding="utf-8"))
        for run in model["configurations"]:
            key = (model["architecture"], model["model_id"], model["task"], run["gpu_model"],
                   run["num_gpus"])
            if run["avg_batch_size"] <= BATCH_MAX:
                found.setdefault(key, []).append(
                    (run["avg_batch_size"], run["energy_per_token_joules"]))
    groups: dict[str, list] = {name: [] for name in GROUPS}
    for (architecture, *name), points in sorted(found.items()):
        for group, wanted in GROUPS.items():
            if architecture == wanted and len(points) >= POINTS_MIN:
                groups[group].append({"model": name[0], "task": name[1],
                                      "gpus": f"{name[3]} x {name[2]}", "points": sorted(points)})
    return groups


def affine(points, batch) -> float:
    """J/token at `batch` of F + m B fitted with weights 1/E."""
    s11 = s12 = s22 = r1 = r2 = 0.0
    for b, j in points:
        f1, f2 = 1 / (j * b), b / (j * b)
        s11, s12, s22 = s11 + f1 * f1, s12 + f1 * f2, s22 + f2 * f2
        r1, r2 = r1 + f1, r2 + f2
    det = s11 * s22 - s12 * s12
    return ((s22 * r1 - s12 * r2) / det + (s11 * r2 - s12 * r1) / det * batch) / batch


def left_out(points):
    """Pairs of the points that stay and the one that does not: repeats of a batch go together."""
    for batch, j in points:
        yield [p for p in points if abs(p[0] - batch) > 1], batch, j


def ours(build: Path, questions) -> list[float]:
    lines = "".join(" ".join(repr(x) for x in (batch, *(v for p in rest for v in p))) + "\n"
                    for rest, batch, _ in questions)
    done = subprocess.run([build / "bench/energy/bench_energy", "step"], input=lines, text=True,
                          capture_output=True, check=True)
    return [float(x) for x in done.stdout.split()]


def evaluate(folder: Path, build: Path) -> dict:
    result = {}
    for group, series in read_series(folder).items():
        pooled: dict[str, list] = {"affine": [], "ours": []}
        for one in series:
            questions = list(left_out(one.pop("points")))
            guesses = {"affine": [affine(rest, batch) for rest, batch, _ in questions],
                       "ours": ours(build, questions)}
            one["n"] = len(questions)
            for name, values in guesses.items():
                errors = [100 * abs(guess / j - 1)
                          for guess, (_, _, j) in zip(values, questions, strict=True)]
                pooled[name] += errors
                one[name] = statistics.median(errors)
        result[group] = {"series": series, "n_series": len(series)}
        for name, errors in pooled.items():
            result[group][name] = {
                "median_of_series": statistics.median(s[name] for s in series),
                "median_of_points": statistics.median(errors), "mean": statistics.mean(errors)}
    return result


def print_table(result: dict) -> None:
    for group, of in result.items():
        print(f"\n{group}: error of J/token at a batch left out, per series, %")
        print(f"  {'model':<42} {'task':<14} {'GPUs':<9} {'n':>2} {'affine':>7} {'ours':>6}")
        for s in of["series"]:
            print(f"  {s['model'].split('/')[-1]:<42} {s['task']:<14} {s['gpus']:<9} {s['n']:>2} "
                  f"{s['affine']:7.2f} {s['ours']:6.2f}")
    print("\n| Group | Series | | Median of series % | Median of points % | Mean % |\n"
          "|---|---|---|---|---|---|")
    for group, of in result.items():
        for name in ("affine", "ours"):
            print(f"| {group} | {of['n_series']} | {name} | {of[name]['median_of_series']:.2f} | "
                  f"{of[name]['median_of_points']:.2f} | {of[name]['mean']:.2f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data = os.environ.get("VERDANT_TEST_DATA")
    if not data:
        print("VERDANT_TEST_DATA is not set", file=sys.stderr)
        return 2
    result = evaluate(Path(data) / "energy/measured-llm", args.build)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        print_table(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
