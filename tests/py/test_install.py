"""`meson install` gives a library that a stranger can build against with pkg-config."""
import os
import re
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def installed(build, tmp_path_factory):
    """A fresh installation, and the prefix inside it."""
    dest = tmp_path_factory.mktemp("install")
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet"], check=True,
                   env={**os.environ, "DESTDIR": str(dest)}, capture_output=True)
    options = subprocess.run(["meson", "introspect", build, "--buildoptions"], check=True,
                             capture_output=True, text=True).stdout
    prefix = re.search(r'"name": "prefix", "value": "([^"]+)"', options)[1]
    return dest, dest / prefix.lstrip("/")


def pkg_config(installed, *args):
    dest, prefix = installed
    folder = next(prefix.rglob("verdant.pc")).parent
    result = subprocess.run(["pkg-config", *args, "verdant"], capture_output=True, text=True,
                            env={**os.environ, "PKG_CONFIG_PATH": str(folder),
                                 "PKG_CONFIG_SYSROOT_DIR": str(dest)})
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def library_folder(installed):
    return next(installed[1].rglob("libverdant.so")).parent


def test_everything_lies_where_it_belongs(installed):
    prefix = installed[1]
    assert (prefix / "bin/verdant").exists()
    assert (prefix / "share/man/man1/verdant.1").exists()
    assert (prefix / "include/verdant/verdant.h").exists()
    for name in ("libverdant.so", "libverdant.so.0", "libverdant.a"):
        assert (library_folder(installed) / name).exists(), name


def test_pkg_config_knows_the_version(installed, verdant):
    version = verdant("--version").stdout.split()[1]
    assert pkg_config(installed, "--modversion") == [version]


def test_the_shared_library_shows_only_the_public_interface(installed):
    symbols = subprocess.run(["nm", "-D", "--defined-only", library_folder(installed) /
                              "libverdant.so"], check=True, capture_output=True, text=True).stdout
    names = {line.split()[-1] for line in symbols.splitlines()}
    headers = "".join(p.read_text() for p in (installed[1] / "include/verdant").glob("*.h"))
    public = set(re.findall(r"VD_API[^;]*?\b(vd_\w+)\(", headers))
    assert names <= public, f"shown and in no public header: {sorted(names - public)}"
    assert public <= names, f"in a public header and not shown: {sorted(public - names)}"


@pytest.mark.parametrize("linked", ["shared", "static"])
def test_the_example_builds_and_answers(installed, linked, root, tmp_path, model):
    program = tmp_path / "ask"
    if linked == "shared":
        flags = pkg_config(installed, "--cflags", "--libs")
    else:
        archive = library_folder(installed) / "libverdant.a"
        flags = [archive if flag == "-lverdant" else flag
                 for flag in pkg_config(installed, "--static", "--cflags", "--libs")]
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", root / "examples/ask.c", "-o",
                    program, *flags], check=True)
    result = subprocess.run([program, model, "What is the capital of France?"], text=True,
                            capture_output=True, timeout=300,
                            env={**os.environ, "LD_LIBRARY_PATH": str(library_folder(installed))})
    assert result.returncode == 0, result.stderr
    assert "Paris" in result.stdout


def test_the_example_says_what_is_wrong(installed, root, tmp_path):
    program = tmp_path / "ask"
    flags = pkg_config(installed, "--cflags", "--libs")
    subprocess.run(["cc", root / "examples/ask.c", "-o", program, *flags], check=True)
    env = {**os.environ, "LD_LIBRARY_PATH": str(library_folder(installed))}
    result = subprocess.run([program, tmp_path / "none.gguf", "?"], text=True, capture_output=True,
                            env=env)
    assert result.returncode == 1
    assert "none.gguf" in result.stderr
    assert subprocess.run([program], capture_output=True, env=env).returncode == 2


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_man_page_is_sound_and_names_every_command(root, verdant):
    page = root / "docs/verdant.1"
    result = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", page], capture_output=True,
                            text=True)
    assert result.stderr == ""
    text = page.read_text()
    for name in re.findall(r"^  (\w+) ", verdant("--help").stdout, re.M):
        assert re.search(rf"^\.B.* ?{name}\b", text, re.M), f"the man page lacks {name}"
        for option in re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", verdant(name, "--help").stdout,
                                 re.M):
            assert re.search(re.escape(option.replace("-", r"\-")) + r"(?!\w|\\-)", text), \
                f"the man page lacks {option} of {name}"
