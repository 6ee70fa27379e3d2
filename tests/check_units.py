#!/usr/bin/env python3
"""Runs the unit tests of a build and counts their cases. usage: check_units.py BUILD_DIR [WORD...]

cmocka speaks TAP when asked (CMOCKA_MESSAGE_OUTPUT), meson keeps what each program said in
meson-logs/testlog.json; a program that says no TAP is one case. A program that crashes counts one
failure besides the cases it had finished. Output of failing programs is shown.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

CASE = re.compile(r"^(not )?ok\b(.*)$", re.M)


def count(entry: dict) -> tuple[int, int, int]:
    good = entry["result"] in ("OK", "EXPECTEDFAIL")
    passed = failed = skipped = 0
    for match in CASE.finditer(entry.get("stdout", "")):
        if re.search(r"#\s*SKIP", match[2]):
            skipped += 1
        elif match[1]:
            failed += 1
        else:
            passed += 1
    if passed + failed + skipped == 0:
        if entry["result"] == "SKIP":
            return 0, 0, 1
        return (1, 0, 0) if good else (0, 1, 0)
    if not good and failed == 0:
        failed = 1
    return passed, failed, skipped


def main() -> int:
    build, names = sys.argv[1], sys.argv[2:]
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
    log = Path(build, "meson-logs", "testlog.json")
    log.unlink(missing_ok=True)
    run = subprocess.run(["meson", "test", "-C", build, "--no-rebuild", *names], env=env,
                         text=True, capture_output=True)
    if not log.exists():
        print(run.stdout + run.stderr)
        print("CASES 0 1 0")
        return 1
    total = [0, 0, 0]
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        entry = json.loads(line)
        counts = count(entry)
        total = [a + b for a, b in zip(total, counts)]
        if counts[1] != 0:
            print(f"--- {entry['name']}: {entry['result']} after {entry['duration']:.1f} s")
            print("\n".join(entry.get("stdout", "").splitlines()[-40:]))
            print("\n".join(entry.get("stderr", "").splitlines()[-60:]))
        elif counts[2] != 0:
            print(f"{entry['name']}: {counts[2]} skipped")
    print(f"CASES {total[0]} {total[1]} {total[2]}")
    return total[1] != 0 or run.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
