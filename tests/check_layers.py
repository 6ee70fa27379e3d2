#!/usr/bin/env python3
"""Checks that no file includes a layer above its own, and that public headers stand on their layer.

base <- kernels <- model <- text <- engine <- eval, compress, import, train <- serve <- cli;
energy, carbon and report stand on base alone, and serve and cli use them. One test case per
source file.
"""
import re
import sys
from pathlib import Path

BASE = {"base"}
KERNELS = BASE | {"kernels"}
MODEL = KERNELS | {"model"}
TEXT = MODEL | {"text"}
ENGINE = TEXT | {"engine"}
TOP = ENGINE | {"eval", "compress", "import", "train", "energy", "carbon", "report"}
ALLOWED = {
    "base": BASE, "kernels": KERNELS, "model": MODEL, "text": TEXT, "engine": ENGINE,
    "eval": ENGINE | {"eval"}, "compress": ENGINE | {"eval", "compress"},
    "import": MODEL | {"import"}, "train": ENGINE | {"train"}, "parallel": BASE | {"parallel"},
    "energy": BASE | {"energy"}, "carbon": BASE | {"carbon"},
    "report": BASE | {"report"},
    "meterd": BASE | {"energy", "meterd"},
    "serve": TOP | {"serve"}, "cli": TOP | {"serve", "cli"},
}
# Which layer implements a public header; a file may include those of its own and lower layers.
PUBLIC = {"status.h": "base", "tokenizer.h": "text", "template.h": "text", "engine.h": "engine",
          "compress.h": "compress", "verdant.h": "engine"}
# base/version.c defines vd_version, which verdant.h declares: it uses nothing of the layers above.
EXCEPTIONS = {("src/base/version.c", "verdant.h")}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<(verdant/[^>]+)>)', re.M)


def complaints(path: Path, root: Path) -> list[str]:
    rel = path.relative_to(root).as_posix()
    layer = path.relative_to(root / "src").parts[0]
    if layer not in ALLOWED:
        return [f"{rel}: the folder src/{layer} is in no layer; name it in {Path(__file__).name}"]
    found = []
    text = path.read_text(encoding="utf-8")
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match[2]:
            header = match[2].removeprefix("verdant/")
            if (rel, header) in EXCEPTIONS:
                continue
            target = PUBLIC.get(header)
            if target is None:
                found.append(f"{rel}:{line}: no layer owns <{match[2]}>")
                continue
        else:
            if "/" not in match[1] or match[1].startswith("."):
                found.append(f'{rel}:{line}: write "{match[1]}" from src/ on ("{layer}/...")')
                continue
            target = match[1].split("/")[0]
        if target not in ALLOWED[layer]:
            found.append(f"{rel}:{line}: {layer} may not include {match[1] or match[2]} "
                         f"({target} stands above or beside it)")
    return found


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    files = sorted(p for p in (root / "src").rglob("*") if p.suffix in (".c", ".h", ".inc"))
    failed = 0
    for path in files:
        found = complaints(path, root)
        failed += bool(found)
        for line in found:
            print(line)
    print(f"CASES {len(files) - failed} {failed} 0")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
