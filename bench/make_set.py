#!/usr/bin/env python3
"""Makes the files that bench/side_by_side.py measures: MODEL.TYPE.gguf in a folder.

    python3 bench/make_set.py FOLDER [--types q4_0,q8_0] [NAME=SOURCE.gguf ...]

SOURCE is a file to make the types from by `verdant compress --quant` (speed does not depend on the
values, so a quantized one will do), or "shape", for which bench/make_shape.py writes a 1.1
B-parameter Llama of random weights. Files that are there already are kept.

    python3 bench/make_set.py set shape-1.1b=shape smollm2-135m=$VERDANT_HOME/models/smollm2.gguf
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPES = ("f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_k_m", "q4_k_m")


def run(command):
    print(" ".join(map(str, command)), file=sys.stderr)
    try:
        done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with status {done.returncode}")


def split(parser, model):
    name, _, source = model.partition("=")
    if not source or not name or "/" in name:
        parser.error(f"{model} is not NAME=SOURCE")
    if source != "shape" and not Path(source).is_file():
        parser.error(f"there is no file {source}")
    return name, source


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=SOURCE")
    parser.add_argument("--types", default=",".join(TYPES), help="default %(default)s")
    parser.add_argument("--verdant", default=str(ROOT / "build" / "verdant"))
    args = parser.parse_args()
    sources = [split(parser, model) for model in args.models]
    try:
        args.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"cannot make the folder {args.folder}: {error.strerror}")
    for name, source in sources:
        if source == "shape":
            source = args.folder / f"{name}.f16.gguf"
            if not source.exists():
                run([sys.executable, ROOT / "bench/make_shape.py", source])
        for kind in args.types.split(","):
            target = args.folder / f"{name}.{kind}.gguf"
            if not target.exists():
                run([args.verdant, "compress", source, "--quant", kind, "-o", target])


if __name__ == "__main__":
    main()
