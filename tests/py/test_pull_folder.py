"""`verdant pull hf:... --to FOLDER`: what `verdant import` reads of a model in safetensors."""
import json

import pytest
from hub import cut, slow, status
from oracles import hf_models
from pulling import (REPO, env, get, home, hub, pull, refused, start)  # noqa: F401

pytestmark = pytest.mark.slow

WEIGHTS = {"config.json": b'{"model_type": "x"}', "tokenizer.json": b'{"model": {}}' * 200,
           "tokenizer.model": b"\n\x05", "chat_template.jinja": b"{{ x }}",
           "model.safetensors.index.json": b"{}",
           "model-00001-of-00002.safetensors": b"a" * 300_000,
           "model-00002-of-00002.safetensors": b"b" * 300_000}
OTHERS = {"README.md": b"# x", "consolidated.safetensors": b"c" * 5000, ".hidden.json": b"{}",
          "pytorch_model.bin": b"d" * 5000, "onnx/model.safetensors": b"e" * 5000,
          "onnx/config.json": b"{}"}


@pytest.fixture
def plain(hub):
    hub.add("org/plain", {**WEIGHTS, **OTHERS})
    return "hf:org/plain"


def folder_is_fine(result, folder, files=WEIGHTS):
    assert result.returncode == 0, result.stderr
    found = {str(path.relative_to(folder)): path.read_bytes()
             for path in folder.rglob("*") if path.is_file()}
    assert found == files


def test_what_import_reads_comes_into_a_folder(get, hub, tmp_path, plain):
    refused(get(plain), "safetensors", f"verdant pull {plain} --to DIR", "verdant import DIR")
    folder = tmp_path / "deep" / "folder"
    result = get(plain, "--to", folder, "--json")
    folder_is_fine(result, folder)
    assert json.loads(result.stdout) == {
        "path": str(folder), "files": len(WEIGHTS), "bytes": sum(map(len, WEIGHTS.values())),
        "source": plain}
    hub.seen.clear()
    again = get(plain, "--to", folder)
    folder_is_fine(again, folder)
    assert f"verdant import {folder}" in again.stdout
    assert not any("safetensors?" in seen["query"] for seen in hub.asked("files"))


def test_a_small_file_is_asked_for_with_the_token_after_a_redirect_too(get, hub, tmp_path, plain):
    hub.gates["org/plain"] = ("gated", {"hf_good"})
    folder_is_fine(get(plain, "--to", tmp_path / "f", HF_TOKEN="hf_good"), tmp_path / "f")
    cached = [seen for seen in hub.asked("hub") if "resolve-cache" in seen["path"]]
    assert cached and {seen["authorization"] for seen in cached} == {"Bearer hf_good"}


def test_modules_of_sentence_transformers_come_too(get, hub, tmp_path):
    files = {"config.json": b"{}", "modules.json": b"[]", "1_Pooling/config.json": b"{ }",
             "model.safetensors": b"m" * 2000}
    hub.add("org/plain", {**files, "model-old.safetensors": b"n" * 2000, "1_Pooling/x.json": b"{}"})
    folder_is_fine(get("hf:org/plain", "--to", tmp_path / "f"), tmp_path / "f", files)


def test_a_folder_is_gone_on_with_where_the_pull_stopped(get, hub, tmp_path, plain):
    name = "model-00002-of-00002.safetensors"
    folder = tmp_path / "f"
    hub.fault("files", name, cut(100_000))
    hub.fault("hub", name, hub.redirect(WEIGHTS[name], name),
              status(403, X_Error_Message="not now"))
    refused(get(plain, "--to", folder), "not now", "pull again to go on from 100.0 kB")
    assert (folder / f".{name}.part").stat().st_size == 100_000
    hub.seen.clear()
    folder_is_fine(get(plain, "--to", folder), folder)
    asked = [seen for seen in hub.asked("files") if "model-0000" in seen["query"]]
    assert [seen["range"] for seen in asked] == ["bytes=100000-"]


def test_a_file_of_the_users_is_not_replaced(get, tmp_path, plain):
    for name, content in (("config.json", b'{"model_type": "y"}'), ("config.json", b"longer" * 9),
                          ("model-00001-of-00002.safetensors", b"z" * 300_000)):
        folder = tmp_path / str(len(content)) / name
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)
        refused(get(plain, "--to", folder), f"{folder}/{name} is there", "--to")
        assert (folder / name).read_bytes() == content


def test_two_pulls_into_one_folder_at_once_end_well(build, hub, env, tmp_path, plain):
    hub.fault("files", "model-00001-of-00002.safetensors", slow(1.5))
    both = [start(build, env, plain, "--to", tmp_path / "f") for _ in range(2)]
    told = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert "waiting for it" in told[0][1] + told[1][1]
    asked = [seen for seen in hub.asked("files") if "model-0000" in seen["query"]]
    assert len(asked) == 2


def test_a_folder_of_something_else_is_refused(get, hub, tmp_path):
    refused(get(f"hf:{REPO}", "--to", tmp_path / "f"), "no model in safetensors")
    refused(get(f"hf:{REPO}:m.gguf", "--to", tmp_path / "f"), "leave out")
    assert not (tmp_path / "f").exists()
    for args in (["m.gguf"], [f"hf:{REPO}", "--name", "x"], [f"hf:{REPO}", "--sha256", "0" * 64]):
        assert get(*args, "--to", tmp_path / "f").returncode == 2
    assert get(f"hf:{REPO}", "--to", "").returncode == 2
    (tmp_path / "file").write_bytes(b"")
    hub.add("org/plain", WEIGHTS)
    refused(get("hf:org/plain", "--to", tmp_path / "file"), "file")


def test_a_pulled_folder_is_imported(get, hub, tmp_path, verdant):
    pytest.importorskip("torch")
    pytest.importorskip("transformers").logging.set_verbosity_error()
    made = tmp_path / "made"
    hf_models.save(hf_models.make(next(iter(hf_models.MODELS))), made, max_shard_size="50KB")
    files = {path.name: path.read_bytes() for path in made.iterdir()}
    assert sum(name.endswith(".safetensors") for name in files) > 1
    hub.add("org/plain", files)
    folder = tmp_path / "pulled"
    folder_is_fine(get("hf:org/plain", "--to", folder), folder, files)
    result = verdant("import", folder, "-o", tmp_path / "m.gguf")
    assert result.returncode == 0, result.stderr
    assert verdant("show", tmp_path / "m.gguf").returncode == 0
