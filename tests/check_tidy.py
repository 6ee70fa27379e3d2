#!/usr/bin/env python3
"""Runs clang-tidy over all our sources. usage: check_tidy.py BUILD_DIR CACHE_DIR

The checks are those of .clang-tidy. A file that passed is remembered under CACHE_DIR by the hash of
its text, of every header of ours, of its compile command and of .clang-tidy, so only what changed
is checked again. One test case per source file.
"""
import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def own_includes(path: Path, seen: set[Path]) -> None:
    """Adds path and, through quoted and <verdant/...> includes, all files of ours it reads."""
    if path in seen or not path.is_file():
        return
    seen.add(path)
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.strip().split()
        if len(words) < 2 or words[0] != "#include":
            continue
        name = words[1].strip('"<>')
        for folder in (ROOT / "src", ROOT / "include", ROOT / "tests", path.parent):
            own_includes(folder / name, seen)


def key_of(entry: dict, version: bytes) -> str:
    files: set[Path] = set()
    own_includes(Path(entry["path"]), files)
    digest = hashlib.sha256(version + (ROOT / ".clang-tidy").read_bytes())
    digest.update(entry["command"].encode())
    for path in sorted(files):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def check(entry: dict, build: Path) -> str:
    result = subprocess.run(["clang-tidy", "-p", str(build), "--quiet", entry["path"]],
                            text=True, capture_output=True)
    return result.stdout + result.stderr if result.returncode != 0 else ""


def main() -> int:
    build, cache = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    cache.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    entries: dict[str, dict] = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = Path(os.path.normpath(Path(entry["directory"]) / entry["file"]))
        if (ROOT / "src") in path.parents or (ROOT / "tests") in path.parents:
            command = entry.get("command") or shlex.join(entry["arguments"])
            entries[str(path)] = {"path": str(path), "command": command}
    stamps = {path: cache / key_of(entry, version) for path, entry in entries.items()}
    todo = [entry for path, entry in sorted(entries.items()) if not stamps[path].exists()]
    failed = 0
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for entry, output in zip(todo, pool.map(lambda e: check(e, build), todo)):
            if output:
                failed += 1
                print(output)
            else:
                stamps[entry["path"]].touch()
    print(f"{len(todo)} files checked, {len(entries) - len(todo)} unchanged since they passed")
    print(f"CASES {len(entries) - failed} {failed} 0")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
