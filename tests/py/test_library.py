"""libverdant inside a program that is not ours."""
import os
import shutil
import subprocess
import sys

import pytest

RENDER = r"""
import ctypes, locale, sys
locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
assert locale.localeconv()["decimal_point"] == ","
lib = ctypes.CDLL(sys.argv[1])
source, variables = (text.encode() for text in sys.argv[2:4])
template, text, n = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t()
lib.vd_template_parse.argtypes = [ctypes.c_char_p, ctypes.c_size_t, *[ctypes.c_void_p] * 2]
lib.vd_template_render.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t,
                                   *[ctypes.c_void_p] * 4]
assert lib.vd_template_parse(source, len(source), ctypes.byref(template), None) == 0
options = (ctypes.c_int64 * 5)(0, 0, 0, 0, 1773051072)  # vd_render_options: now_unix is the last
assert lib.vd_template_render(template, variables, len(variables), options, ctypes.byref(text),
                              ctypes.byref(n), None) == 0
sys.stdout.write(ctypes.string_at(text, n.value).decode())
assert locale.localeconv()["decimal_point"] == ","
"""


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """An environment in which the locale de_DE.UTF-8 exists."""
    folder = tmp_path_factory.mktemp("locale")
    if shutil.which("localedef") is None or subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "UTF-8", folder / "de_DE.UTF-8"],
            capture_output=True).returncode > 1:
        pytest.skip("no sources of locales here (Debian: package locales)")
    return {**os.environ, "LOCPATH": str(folder)}


def test_a_template_renders_the_same_in_every_locale(build, german):
    """Llama 3's template writes the date with %B; a model was trained on English months."""
    source = "{{ 1.5 * x }} {{ '%.2f' % x }} {{ '2.5' | float }} {{ strftime_now('%d %B %Y') }}"
    result = subprocess.run([sys.executable, "-c", RENDER, build / "libverdant.so", source,
                             '{"x": 0.5}'], env=german, capture_output=True, text=True,
                            timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "0.75 0.50 2.5 09 March 2026"
