"""The levels of client processors hold no instruction that only AVX-512 can decode.

A compiler that may use AVX-512 writes vpdpbusd and most else in the EVEX encoding, which begins
with the byte 62; AVX-VNNI has it in VEX (c4). A wrong flag or intrinsic would show only as SIGILL
on a machine that we may not have.
"""

import platform
import shutil
import subprocess

import pytest


def instructions(build, level):
    """(bytes, text) of each instruction in the level's library."""
    library = build / "src" / "kernels" / f"libverdant_{level}.a"
    if platform.machine() != "x86_64" or shutil.which("objdump") is None or not library.exists():
        pytest.skip("needs objdump and a build for x86-64")
    text = subprocess.run(["objdump", "-d", "-w", str(library)], check=True, capture_output=True,
                          text=True).stdout
    lines = [line.split("\t") for line in text.splitlines()]
    return [(line[1].split(), line[2]) for line in lines if len(line) >= 3]


@pytest.mark.parametrize("level", ["avx2", "avxvnni"])
def test_no_evex_below_avx512(build, level):
    found = instructions(build, level)
    assert len(found) > 1000
    assert [text for code, text in found if code[0] == "62"] == []


def test_avxvnni_is_made_of_its_instruction_and_avx2_has_none(build):
    assert sum("vpdpbusd" in text for _, text in instructions(build, "avxvnni")) > 100
    assert not any("vpdpbusd" in text for _, text in instructions(build, "avx2"))


def test_the_check_sees_evex(build):
    assert any(code[0] == "62" for code, _ in instructions(build, "avx512"))
