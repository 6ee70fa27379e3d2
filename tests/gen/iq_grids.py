#!/usr/bin/env python3
"""Writes src/kernels/ref/iq_grids_data.c: the grids of ggml's IQ types, one character per point.

    python3 tests/gen/iq_grids.py > src/kernels/ref/iq_grids_data.c

The points come from PyPI's `gguf` package (MIT, as ggml). Each grid is a set of points whose
coordinates take few levels; a point's number has the coordinates' levels as its digits, lowest
first. In ggml's order the numbers ascend, so a grid is told by how many numbers are skipped between
one point and the next: one character for 0..62, and '-' for 63 numbers with no point among them.
tests/py/test_dtype_decode.py holds the file against this script.
"""

from gguf import quants

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-"
GRIDS = {
    "iq2_xxs": quants.IQ2_XXS,
    "iq2_xs": quants.IQ2_XS,
    "iq2_s": quants.IQ2_S,
    "iq3_xxs": quants.IQ3_XXS,
    "iq3_s": quants.IQ3_S,
    "iq1": quants.IQ1_S,
}
HEAD = """\
/*
 * iq_grids_data.c - the grids of the IQ types, one character per point: see iq_grids.h.
 *
 * Written by tests/gen/iq_grids.py from PyPI's `gguf` package; not to be edited. A character says
 * how many numbers are skipped before the next point (0-9, A-Z, a-z, + are 0..62); '-' skips 63.
 *
 * Which points a grid has is ggml's choice, used under its licence:
 *
 *   MIT License. Copyright (c) 2023-2026 The ggml authors
 *
 *   Permission is hereby granted, free of charge, to any person obtaining a copy of this software
 *   and associated documentation files (the "Software"), to deal in the Software without
 *   restriction, including without limitation the rights to use, copy, modify, merge, publish,
 *   distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
 *   Software is furnished to do so, subject to the following conditions:
 *
 *   The above copyright notice and this permission notice shall be included in all copies or
 *   substantial portions of the Software.
 *
 *   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
 *   BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
 *   NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
 *   DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 *   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
 */
#include "kernels/ref/iq_grids.h"
"""


def numbers(kind):
    """The numbers of a grid's points, in ggml's order."""
    kind.init_grid()
    level = {value: i for i, value in enumerate(kind.grid_map)}
    for point in kind.grid.reshape(kind.grid_shape).tolist():
        yield sum(level[value] * len(level) ** i for i, value in enumerate(point))


def skips(kind):
    out, following = [], 0
    for number in numbers(kind):
        skip = number - following
        if skip < 0:
            raise ValueError(f"{kind.__name__}: the points do not ascend")
        out.append(DIGITS[63] * (skip // 63) + DIGITS[skip % 63])
        following = number + 1
    return "".join(out)


def text():
    out = [HEAD]
    for name, kind in GRIDS.items():
        rest = skips(kind)
        out.append(f"\nconst char vd_{name}_skips[] =\n")
        lines = [rest[i : i + 92] for i in range(0, len(rest), 92)]
        out.append("\n".join(f'    "{line}"' for line in lines) + ";\n")
    return "".join(out)


if __name__ == "__main__":
    print(text(), end="")
