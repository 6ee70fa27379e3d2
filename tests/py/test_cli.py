"""The program's frame: help, version, misuse and exit statuses."""
import re


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
