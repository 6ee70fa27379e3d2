"""Standard input and output that are closed, full or no text; files that change underneath."""
import os
import subprocess

import pytest

from serving import tiny_model

QUICK = ("-n", "4", "-t", "1")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf", vocab="bpe", type="F32")


@pytest.fixture(scope="module")
def shell(build):
    """Runs verdant under sh, so that a test can redirect as a user does."""

    def run(redirection, *args, env=None):
        return subprocess.run(["sh", "-c", f'exec "$0" "$@" {redirection}', build / "verdant",
                               *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=120, env={**os.environ, **(env or {})})

    return run


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written_is_a_failure(shell, tiny, redirection):
    for command in (["--help"], ["help", "run"], ["run", "--help"], ["version"],
                    ["show", tiny], ["tokenize", tiny, "hi"], ["run", tiny, "hi", *QUICK],
                    ["run", tiny, "hi", "--json", *QUICK]):
        result = shell(redirection, *command)
        assert result.returncode == 1, command
        assert b"cannot write the output" in result.stderr, command


def test_an_answer_that_nobody_reads_is_not_computed_to_its_end(build, tiny):
    out, into = os.pipe()
    os.close(out)
    result = subprocess.run([build / "verdant", "run", tiny, "hi", "-n", "100000", "-t", "1"],
                            stdin=subprocess.DEVNULL, stdout=into, stderr=subprocess.PIPE,
                            timeout=60, check=False)
    os.close(into)
    assert result.returncode == 1
    assert int(result.stderr.split(b"[")[1].split()[0]) < 40, result.stderr


def test_closed_descriptors_are_not_given_to_files(shell, tiny, tmp_path):
    home = tmp_path / "home"
    result = shell("<&- >&- 2>&-", "pull", tiny, "--name", "m", env={"VERDANT_HOME": str(home)})
    assert result.returncode == 1  # its line about the model could not be written
    assert (home / "models" / "m.gguf").read_bytes() == tiny.read_bytes()


def test_control_characters_in_a_message_do_not_reach_the_terminal(verdant):
    for args in (["show", "\x1b[2J\x07"], ["show", "--\x1b[2J"], ["\x1b[2J"]):
        result = verdant(*args)
        assert result.returncode in (1, 2)
        assert "\x1b" not in result.stderr and "\\x1b[2J" in result.stderr


def test_a_prompt_with_a_nul_byte_is_refused_and_not_cut(verdant, tiny):
    result = verdant("run", tiny, *QUICK, input="before\0behind")
    assert result.returncode == 1 and "NUL byte at place 6" in result.stderr
    assert result.stdout == ""


def test_a_line_that_is_no_text_does_not_end_the_conversation(verdant, tiny):
    result = verdant("chat", tiny, *QUICK, input=b"\xff\n" + b"a\0b\n" + b"hi\n", binary=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(b"was not said") == 2
    assert result.stderr.count(b"tokens/s") == 1


@pytest.mark.parametrize("redirection", ["</", "<&-"])
def test_input_that_cannot_be_read_is_a_failure(shell, tiny, redirection):
    for command in ("chat", "run"):
        result = shell(redirection, command, tiny, *QUICK)
        assert result.returncode == 1, command
        assert b"cannot read" in result.stderr, command


def test_a_model_that_is_cut_short_while_it_runs_is_said(build, tmp_path):
    path = tiny_model(tmp_path / "cut.gguf", vocab="bpe", type="F32")
    process = subprocess.Popen([build / "verdant", "chat", path, *QUICK], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.stdin.write(b"hi\n")
    process.stdin.flush()
    assert b"tokens/s" in process.stderr.readline()
    os.truncate(path, 0)
    _, err = process.communicate(b"another line\n", timeout=60)
    assert process.returncode == 1, (process.returncode, err)
    assert b"cut short" in err


def test_a_name_of_any_bytes_can_be_pulled_and_listed(build, tiny, tmp_path):
    home = os.fsencode(tmp_path) + b"/h\xff"
    source = os.fsencode(tmp_path) + b"/\xff.gguf"
    os.link(tiny, source)
    for args in ((b"pull", source, b"--name", b"m"), (b"pull", source, b"--name", b"j", b"--json"),
                 (b"list",), (b"list", b"--json")):
        result = subprocess.run([os.fsencode(build) + b"/verdant", *args], capture_output=True,
                                timeout=60, env={**os.environb, b"VERDANT_HOME": home}, check=False)
        assert result.returncode == 0, result.stderr
