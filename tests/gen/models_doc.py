#!/usr/bin/env python3
"""Writes the table of architectures in docs/models.md from what the suites hold against others.

    python3 tests/gen/models_doc.py            # writes docs/models.md anew
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import variants  # noqa: E402
from archs import ARCHS  # noqa: E402

DOC = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- architectures: made by tests/gen/models_doc.py -->\n", "<!-- end -->\n"


def architectures():
    """The table, one row per architecture."""
    heads = ("Architecture", "Models", "Variants held against NumPy and llama.cpp")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, arch in ARCHS.items():
        made = [n.removeprefix(name + "-") for n, o in variants.variants().items()
                if o["arch"] == name]
        only = {n.removeprefix(name + "-") for n in variants.NUMPY_ONLY if n.startswith(name + "-")}
        cells = ", ".join(n + " (NumPy alone)" if n in only else n for n in made)
        rows.append(f"| `{name}` | {arch.models} | {cells} |")
    return "\n".join(rows) + "\n"


def replaced(text):
    before, rest = text.split(BEGIN)
    return before + BEGIN + architectures() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    DOC.write_text(replaced(DOC.read_text()))
