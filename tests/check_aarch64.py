#!/usr/bin/env python3
"""Checks the kernels of AArch64 on this machine by qemu-user. usage: check_aarch64.py BUILD_DIR

BUILD_DIR is made by meson setup --cross-file tests/cross/aarch64.ini -Dkernels_only=true. Cases:

  checks     vd_check's at each level, on an emulated processor that has it and none above it
  detection  levels that a processor lacks are not offered, and VERDANT_CPU masks
  code       the assembler, told the instructions of a level, accepts what was compiled for it

This says that results are right and that nothing traps; it says nothing about speed.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

QEMU = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu"]
# The level that is the highest of a processor.
PROCESSORS = {"cortex-a53": "neon", "neoverse-n1": "dotprod", "max": "i8mm"}
# What the assembler accepts in the code of a level: of ARMv8.2-A, without which it knows neither
# extension, no more than that.
NO_MORE = "+nolse+nordma+nocrc"
ALLOWED = {"neon": "armv8-a", "dotprod": "armv8.2-a+dotprod" + NO_MORE,
           "i8mm": "armv8.2-a+dotprod+i8mm" + NO_MORE}


def vd_check(build: str, cpu: str, *args: str, mask: str | None = None) -> tuple[int, str]:
    env = {k: v for k, v in os.environ.items() if k != "VERDANT_CPU"}
    if mask is not None:
        env["VERDANT_CPU"] = mask
    run = subprocess.run([*QEMU, cpu, f"{build}/tests/vd_check/vd_check", *args], env=env,
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
    return run.returncode, run.stdout


def check_level(build: str, cpu: str) -> tuple[int, int, str]:
    level = PROCESSORS[cpu]
    status, out = vd_check(build, cpu, "--seed=1", "--quick", f"--level={level}")
    total = re.search(r"^(\d+) checks passed, (\d+) failed$", out, re.M)
    passed, failed = (int(total[1]), int(total[2])) if total else (0, 1)
    if f"this machine runs {level}\n" not in out:
        failed += 1
        out += f"{cpu} does not choose {level}\n"
    if status != 0 or passed == 0:
        failed = max(failed, 1)
    return passed, failed, out


def check_detection(build: str) -> list[str]:
    problems = []
    levels = list(ALLOWED)
    for cpu, best in PROCESSORS.items():
        for level in levels[levels.index(best) + 1:]:
            status, out = vd_check(build, cpu, f"--level={level}")
            if status != 77:
                problems.append(f"{cpu} offers {level}: {out}")
    status, out = vd_check(build, "max", "--level=avx2", mask="dotprod")
    if status != 77:
        problems.append(f"AArch64 offers avx2: {out}")
    for level in levels:
        _, out = vd_check(build, "max", "--seed=1", "--bench=no such entry", f"--level={level}",
                          mask=level)
        if f"this machine runs {level}\n" not in out:
            problems.append(f"VERDANT_CPU={level} is not heard: {out}")
    return problems


def commands_of(build: str, level: str) -> list[str]:
    out = subprocess.run(["ninja", "-C", build, "-t", "commands", "tests/vd_check/vd_check"],
                         text=True, capture_output=True, check=True).stdout
    return [line for line in out.splitlines()
            if re.search(rf" -c \S*/arm/{level}/\w+\.c$", line)]


def check_code(build: str, level: str) -> list[str]:
    """Compiles to assembly and strips what that says about the architecture."""
    commands = commands_of(build, level)
    if not commands:
        return [f"nothing is compiled for {level}\n"]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "level.s")
        for command in commands:
            words = shlex.split(command)
            words = [words[0], "-S", *(w for w in words[1:] if w not in ("-c", "-MD"))]
            words[words.index("-o") + 1] = str(source)
            for option in ("-MF", "-MQ"):
                at = words.index(option)
                del words[at:at + 2]
            subprocess.run(words, cwd=build, check=True)
            text = re.sub(r"(?m)^\s*\.(arch|cpu|arch_extension)\b.*$", "", source.read_text())
            source.write_text(text)
            run = subprocess.run(["aarch64-linux-gnu-as", f"-march={ALLOWED[level]}",
                                  "-o", f"{folder}/level.o", str(source)],
                                 text=True, capture_output=True)
            if run.returncode != 0:
                return [f"{level}: {run.stderr[:2000]}\n"]
    return []


def main() -> int:
    build = sys.argv[1]
    passed = failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        levels = [pool.submit(check_level, build, cpu) for cpu in PROCESSORS]
        others = [pool.submit(check_detection, build)]
        others += [pool.submit(check_code, build, level) for level in ALLOWED]
    for p, f, out in (future.result() for future in levels):
        passed, failed = passed + p, failed + f
        print(out if f else out.splitlines()[-2])
    for problems in (future.result() for future in others):
        passed, failed = passed + (not problems), failed + bool(problems)
        print("".join(problems), end="")
    print(f"CASES {passed} {failed} 0")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
