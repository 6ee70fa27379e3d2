#!/usr/bin/env python3
"""How far an hour lies from its year's mean, and direct emissions from the life cycle.

Reads $VERDANT_TEST_DATA/grid/multi-year: hourly figures of Electricity Maps for four grids, as the
project CarbonX keeps them. Prints per grid the 1st and 99th percentile of hour / mean of the year
(98 of 100 hours lie between them, life cycle), and mean direct / mean life cycle: the middle rows
of "How far off" in docs/carbon.md.

  VERDANT_TEST_DATA=... python3 bench/carbon/yearly_mean.py [--year 2024] [--json]
"""
import argparse
import csv
import json
import os
import statistics
import sys
from pathlib import Path


def measure(path: Path, year: str) -> dict:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["Datetime (UTC)"].startswith(year)]
    direct, lifecycle = ([float(r[next(c for c in r if word in c)]) for r in rows]
                         for word in ("(direct)", "(Life cycle)"))
    mean = statistics.fmean(lifecycle)
    cuts = statistics.quantiles((value / mean for value in lifecycle), n=100)
    return {"grid": path.stem, "hours": len(rows), "mean_g_per_kwh": mean, "low": cuts[0],
            "high": cuts[-1], "direct_of_lifecycle": statistics.fmean(direct) / mean}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--year", default="2024")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    folder = Path(os.environ.get("VERDANT_TEST_DATA", ".")) / "grid" / "multi-year"
    files = sorted(folder.glob("*.csv"))
    if not files:
        print(f"no tables in {folder}: set VERDANT_TEST_DATA", file=sys.stderr)
        return 1
    found = [measure(path, args.year) for path in files]
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f"{'grid':<14}{'hours':>6}{'g/kWh':>8}  98 of 100 hours   direct / life cycle")
    for f in found:
        print(f"{f['grid']:<14}{f['hours']:>6}{f['mean_g_per_kwh']:>8.1f}  "
              f"{f['low']:.2f} to {f['high']:.2f}      {f['direct_of_lifecycle']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
