#!/usr/bin/env python3
"""Writes the tables of docs/models.md from the lists of what the suites hold against others.

    python3 tests/gen/models_doc.py            # writes docs/models.md anew
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import dtypes  # noqa: E402
import pretokenizers  # noqa: E402
import variants  # noqa: E402
from archs import ARCHS  # noqa: E402

DOC = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- {}: made by tests/gen/models_doc.py -->\n", "<!-- end -->\n"


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def architectures():
    """The table, one row per architecture."""
    rows = []
    for name, arch in ARCHS.items():
        made = [n.removeprefix(name + "-") for n, o in variants.everything().items()
                if o["arch"] == name]
        only = {n.removeprefix(name + "-") for n in variants.NUMPY_ONLY if n.startswith(name + "-")}
        cells = ", ".join(n + " (NumPy alone)" if n in only else n for n in made)
        rows.append([f"`{name}`", arch.models, cells])
    return table(["Architecture", "Models", "Variants held against NumPy and llama.cpp"], rows)


def written(name):
    """What `verdant compress` promises for a type."""
    if name in dtypes.ROUNDED:
        return "llama.cpp's bytes"
    if name in dtypes.SEARCHED:
        return "no more squared error than llama.cpp's, plain, by size and by square"
    if name in dtypes.LEAST:
        return "no more plain squared error than llama.cpp's"
    if name in dtypes.NEEDY:
        return "less weighted squared error than llama.cpp's; not without weights"
    return "exact" if name == "F32" else "not written"


def types():
    """The table, one row per tensor type."""
    rows = []
    tried = {options.get("type", "F32") for options in variants.variants().values()}
    for name in dtypes.FLOATS + dtypes.BLOCKS:
        values, n_bytes = dtypes.shape(name)
        read = "llama.cpp" if name in dtypes.PEER_ONLY else "`gguf`, llama.cpp"
        rows.append([name, str(values), f"{8 * n_bytes / values:g}",
                     "itself" if name == "F32" else read,
                     "NumPy, llama.cpp" if name in tried else "none", written(name)])
    return table(["Type", "Values per block", "Bits per value", "Decoder bit-equal to",
                  "Logits of a tiny model against", "Written by `verdant compress`"], rows)


def pre_tokenizers():
    """The table, one row per family of names."""
    rows = []
    for name, family in pretokenizers.FAMILIES.items():
        theirs = "equal" if family.peer == "" else "differs: it " + family.peer
        rows.append([f"`{name}`", ", ".join(f"`{n}`" for n in family.kin.split()),
                     "equal" if family.hf is not None else "it is llama.cpp's own", theirs])
    for name, kin in pretokenizers.RAW.items():
        rows.append([f"`{name}`", ", ".join(f"`{n}`" for n in kin.split()), "equal", "equal"])
    return table(["`tokenizer.ggml.pre`", "The same", "Ids by `tokenizers`", "Ids by llama.cpp"],
                 rows)


SECTIONS = {"architectures": architectures, "types": types, "pre-tokenizers": pre_tokenizers}


def replaced(text):
    for name, make in SECTIONS.items():
        before, rest = text.split(BEGIN.format(name))
        text = before + BEGIN.format(name) + make() + END + rest.split(END, 1)[1]
    return text


if __name__ == "__main__":
    DOC.write_text(replaced(DOC.read_text()))
