"""`verdant serve --config`: the example as it stands, and what is said of a wrong file."""
import os
import re

import pytest

from raw_http import Server
from serving import tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf", vocab="bpe")


def test_the_example_serves_a_stored_model(build, root, tiny, tmp_path):
    """The example's own model is `smollm2`: here a tiny one has that name in the store."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "smollm2.gguf").symlink_to(tiny)
    text = (root / "examples" / "verdant.yaml").read_text()
    text = re.sub("^listen: .*$", "listen: 127.0.0.1:0", text, flags=re.M)
    file = tmp_path / "verdant.yaml"
    file.write_text(text)
    env = {**os.environ, "VERDANT_HOME": str(tmp_path)}
    with Server([build / "verdant", "serve", "--config", file], env=env) as server:
        while server.ask("GET", "/readyz")[0] != 200:
            pass
        assert [m["id"] for m in server.ask("GET", "/v1/models")[2]["data"]] == ["smollm2"]


def test_options_go_before_the_file(build, tiny, tmp_path):
    file = tmp_path / "verdant.yaml"
    file.write_text(f"listen: 127.0.0.1:1\nzone: FR\nmodels:\n  - name: a\n    ref: {tiny}\n")
    with Server([build / "verdant", "serve", "--config", file, "--listen", "127.0.0.1:0", "--zone",
                 "DE", "--ctx", "64", "--model", f"b={tiny}"]) as server:
        while server.ask("GET", "/readyz")[0] != 200:
            pass
        models = server.ask("GET", "/v1/models")[2]["data"]
        assert [(m["id"], m["context_length"]) for m in models] == [("b", 64)]
        answer = server.ask("POST", "/v1/completions", {"model": "b", "prompt": "x"})[2]
        assert answer["usage"]["energy"]["carbon"]["zone"] == "DE"


@pytest.mark.parametrize("text,said", [
    ("models:\n  - name: a\n    ref: /nowhere/x.gguf\n", ":3: models[0].ref: there is no file "),
    ("models:\n  - name: a\n    ref: nobody\n", ":3: models[0].ref: there is no model 'nobody'"),
    ("limits:\n  streams: 1\n  strems: 2\n", ":3: limits.strems: there is no such key"),
    ("log_level: loud\n", ":1: log_level: "),
    ("", ": the file is empty"),
    ("zone: DE\n", "no model to serve"),
])
def test_a_wrong_file_is_named_with_line_and_key(verdant, tmp_path, text, said):
    file = tmp_path / "verdant.yaml"
    file.write_text(text)
    done = verdant("serve", "--config", file, timeout=20)
    assert done.returncode == 1 and done.stdout == ""
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert said.startswith("no") or f"{file}{said}" in done.stderr


def test_what_serve_does_not_take(verdant, tiny, tmp_path):
    def said(*args, code):
        done = verdant("serve", *args, timeout=20)
        assert done.returncode == code and done.stdout == ""
        return done.stderr

    assert "verdant.yaml" in said("--config", tmp_path / "verdant.yaml", code=1)
    assert "two models" in said("--model", f"a={tiny}", "--model", f"a={tiny}", code=1)
    assert "name" in said("--model", f"={tiny}", code=1)
    assert "no address" in said("--model", f"a={tiny}", "--listen", "8080", code=2)
    assert "'XX'" in said("--model", f"a={tiny}", "--zone", "XX", code=2)
    assert "loud" in said("--model", f"a={tiny}", "--log-level", "loud", code=2)
    assert "Cannot assign" in said("--model", f"a={tiny}", "--listen", "192.0.2.1:0", code=1)
    assert "--ctx" in said("--ctx", "1", code=2)
    assert "--model" in said("smollm2", code=2)
    assert said("--frobnicate", code=2)


@pytest.mark.parametrize("carbon,said", [
    ("provider: csv", "the provider csv needs a file"),
    ("provider: oracle", "no carbon provider is called 'oracle'"),
    ("{provider: uk, kind: marginal}", "the values of uk for GB are average"),
    ("{zone: US-CA, scope: lifecycle}", "the values of table for US-CA are direct"),
])
def test_a_source_of_intensities_that_cannot_be_is_said_and_nothing_else(verdant, tiny, tmp_path,
                                                                         carbon, said):
    file = tmp_path / "verdant.yaml"
    file.write_text(f"listen: 127.0.0.1:0\ncarbon:\n  {carbon}\nmodels:\n"
                    f"  - name: a\n    ref: {tiny}\n")
    done = verdant("serve", "--config", file, timeout=20)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"verdant serve: the carbon provider: {said}"), done.stderr
