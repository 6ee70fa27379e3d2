#!/usr/bin/env python3
"""Checks what a compiler does not: file length, line length, banned calls, a README per folder.

Files above 600 lines need a line in tests/long_files.txt (path, then the reason); none may exceed
1,000. One test case per file or folder.
"""
import re
import sys
from pathlib import Path

LONG, TOO_LONG, COLUMNS = 600, 1000, 100
BANNED = re.compile(r"\b(v?sprintf|strcpy|strcat|ato[ifl]|atoll|strtok|alloca|system|gets)\s*\(")
# Heap memory is taken in base/alloc.c alone, so that it is counted and can be made to fail.
HEAP = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|reallocarray|strdup|strndup|asprintf|"
                  r"posix_memalign|aligned_alloc)\s*\(")
HEAP_HOME = "src/base/alloc.c"
# Comments, strings and characters, blanked so that words inside them do not count as calls.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(match: re.Match) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def complaints(path: Path, rel: str, reasons: dict[str, str]) -> list[str]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = []
    if len(lines) > TOO_LONG:
        found.append(f"{rel}: {len(lines)} lines; {TOO_LONG} is the limit")
    elif len(lines) > LONG and rel not in reasons:
        found.append(f"{rel}: {len(lines)} lines; above {LONG} say why in tests/long_files.txt")
    if text and not text.endswith("\n"):
        found.append(f"{rel}: no newline at the end")
    for i, line in enumerate(lines, 1):
        if len(line) > COLUMNS and "http" not in line:
            found.append(f"{rel}:{i}: {len(line)} columns; {COLUMNS} is the limit")
        if line.rstrip() != line or "\t" in line:
            found.append(f"{rel}:{i}: a tab or blanks at the end of the line")
    if path.suffix in (".c", ".h", ".inc"):
        code = NOISE.sub(blank, text)
        for match in BANNED.finditer(code):
            found.append(f"{rel}:{code.count(chr(10), 0, match.start()) + 1}: {match[1]} is banned")
        if rel.startswith("src/") and rel != HEAP_HOME:
            for match in HEAP.finditer(code):
                found.append(f"{rel}:{code.count(chr(10), 0, match.start()) + 1}: {match[1]}: take "
                             "memory from base/alloc.h")
    return found


def read_reasons(path: Path) -> dict[str, str]:
    reasons = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line and not line.startswith("#"):
            name, _, why = line.partition(" ")
            reasons[name] = why.strip()
    return reasons


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    reasons = read_reasons(root / "tests" / "long_files.txt")
    problems: list[list[str]] = [
        [] if why else [f"tests/long_files.txt: {name} has no reason"]
        for name, why in reasons.items()]
    problems += [[] if (root / name).exists() else [f"tests/long_files.txt: there is no {name}"]
                 for name in reasons]
    for top in ("src", "include", "tests", "bench", "examples"):
        for path in sorted((root / top).rglob("*")):
            rel = path.relative_to(root).as_posix()
            if path.suffix in (".c", ".h", ".inc", ".py", ".sh") and path.is_file():
                problems.append(complaints(path, rel, reasons))
    folders = [p for p in sorted((root / "src").iterdir()) if p.is_dir()]
    folders += [p for p in (root / "tests", root / "bench", root / "examples") if p.is_dir()]
    for folder in folders:
        if any(p.suffix in (".c", ".h", ".py") for p in folder.rglob("*")):
            there = (folder / "README.md").exists()
            problems.append([] if there else [f"{folder.relative_to(root)}: no README.md"])
    failed = sum(bool(found) for found in problems)
    for found in problems:
        for line in found[:10]:
            print(line)
        if len(found) > 10:
            print(f"  ... and {len(found) - 10} more of these")
    print(f"CASES {len(problems) - failed} {failed} 0")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
