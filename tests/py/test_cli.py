"""The program's frame: help, version, misuse and exit statuses."""
import re

import gguf
import numpy as np

from oracles import tiny_model


def commands(verdant):
    return re.findall(r"^  (\w+) ", verdant("--help").stdout, re.M)


def test_version_is_a_version(verdant):
    result = verdant("--version")
    assert result.returncode == 0
    assert re.fullmatch(r"verdant \d+\.\d+\.\d+\n", result.stdout)


def test_every_command_has_help_with_an_example(verdant):
    names = commands(verdant)
    assert "version" in names
    for name in names:
        result = verdant(name, "--help")
        assert result.returncode == 0, name
        assert f"verdant {name}" in result.stdout, name
        assert "xample" in result.stdout, f"{name} --help gives no example"
        assert result.stderr == "", name


def test_no_command_is_misuse_and_shows_the_overview(verdant):
    result = verdant()
    assert result.returncode == 2
    assert result.stdout == ""
    assert "usage: verdant" in result.stderr


def test_an_unknown_command_is_misuse_and_says_where_help_is(verdant):
    result = verdant("frobnicate")
    assert result.returncode == 2
    assert "frobnicate" in result.stderr and "--help" in result.stderr


def test_help_of_a_command_is_the_same_both_ways(verdant):
    for name in commands(verdant):
        assert verdant("help", name).stdout == verdant(name, "--help").stdout
    result = verdant("help", "frobnicate")
    assert result.returncode == 2 and "frobnicate" in result.stderr


def test_misuse_is_one_line_that_names_it_and_one_that_points_to_help(verdant):
    for name in commands(verdant):
        for option in ("--nonsense", "-Z"):
            result = verdant(name, option)
            assert result.returncode == 2, name
            assert result.stdout == ""
            first, second = result.stderr.splitlines()
            assert first.startswith(f"verdant {name}: ") and option in first
            assert second == f"Try: verdant {name} --help"


def test_a_value_is_missing_or_too_much(verdant):
    for args, word in ((["run", "m", "-n"], "-n needs a value"),
                       (["serve", "--model"], "--model needs a value"),
                       (["tokenize", "m", "--file"], "--file needs a value"),
                       (["run", "m", "--json=1"], "takes no value"),
                       (["run", "m", "--zone", "ZZ"], "'ZZ'")):
        result = verdant(*args)
        assert result.returncode == 2 and word in result.stderr, args


def test_what_cannot_be_a_model_is_said_as_what_it_is(verdant, tmp_path):
    for path, word in ((tmp_path, "it is a folder"), ("/dev/null", "no regular file")):
        result = verdant("show", path)
        assert result.returncode == 1 and word in result.stderr
    empty = tmp_path / "empty.gguf"
    empty.write_bytes(b"")
    for command in (["run", empty, "hi"], ["show", empty], ["tokenize", empty, "hi"],
                    ["bench", empty]):
        result = verdant(*command)
        assert result.returncode == 1
        assert result.stderr.count(str(empty)) == 1, result.stderr


def test_a_model_whose_weights_are_no_numbers_is_said_to_be_damaged(verdant, tmp_path):
    path = tmp_path / "nan.gguf"
    tiny_model.write_model(path)
    reader = gguf.GGUFReader(path, "r+")
    next(t for t in reader.tensors if t.name == "output_norm.weight").data[0] = np.nan
    reader.data.flush()
    for args in (("run", path, "hello"), ("bench", path, "-p", 4, "-n", 2)):
        result = verdant(*args)
        assert result.returncode == 1 and "weights are damaged" in result.stderr, result.stderr
