#!/usr/bin/env python3
"""Compiles every header alone: public ones as C and as C++, our own as C.

A header that needs another to be included first breaks whoever includes it second. One test case
per header and language.
"""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WARN = ["-Wall", "-Wextra", "-Wundef", "-Werror", "-fsyntax-only", "-D_GNU_SOURCE"]
C = ["-x", "c", "-std=gnu17", "-Wstrict-prototypes"]
CXX = ["-x", "c++", "-std=c++17"]


def compile_alone(job: tuple[str, list[str], str]) -> str:
    compiler, flags, include = job
    result = subprocess.run([compiler, *flags, *WARN, "-Iinclude", "-Isrc", "-"],
                            input=f"#include <{include}>\n", text=True, capture_output=True)
    return "" if result.returncode == 0 else f"{include} as {flags[1]}:\n{result.stderr}"


def main() -> int:
    os.chdir(Path(__file__).resolve().parent.parent)
    cc, cxx = os.environ.get("CC") or "gcc", os.environ.get("CXX") or "g++"
    public = [p.relative_to("include").as_posix() for p in sorted(Path("include").rglob("*.h"))]
    own = [p.relative_to("src").as_posix() for p in sorted(Path("src").rglob("*.h"))]
    jobs = [(cc, C, h) for h in public + own] + [(cxx, CXX, h) for h in public]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        problems = [p for p in pool.map(compile_alone, jobs) if p]
    for problem in problems:
        print(problem)
    print(f"CASES {len(jobs) - len(problems)} {len(problems)} 0")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
