"""`verdant import`: what it says of folders that are wrong, and what stands where after it."""
import json
import os
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path

import hf_folder
import numpy as np
import pytest
import writing

gguf = pytest.importorskip("gguf")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "gen"))
import safetensors_malformed  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    return hf_folder.write(tmp_path / "tiny")


@pytest.fixture
def refused(verdant, tmp_path):
    """refused(folder, words...): the import fails, says the words, and leaves no file."""

    def run(folder, *words, options=()):
        target = tmp_path / "out" / "m.gguf"
        target.parent.mkdir(exist_ok=True)
        result = verdant("import", folder, "-o", target, *options)
        assert result.returncode == 1, result.stderr
        for word in words:
            assert word in result.stderr, result.stderr
        assert not list(target.parent.iterdir())

    return run


def reader(path):
    return gguf.GGUFReader(path)


def test_what_was_made_is_said(verdant, folder, tmp_path):
    target = tmp_path / "m.gguf"
    result = verdant("import", folder, "-o", target, "--json")
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["architecture"] == "llama" and said["type"] == "F32"
    assert said["tensors"] == 20 and said["files"] == 1 and said["tokens"] == 272
    assert said["tokenizer"] == "gpt2" and said["pre"] == "gpt-2"
    assert said["bytes_after"] == target.stat().st_size and said["notes"] == []
    assert said["values"] == sum(v.size for v in hf_folder.tensors().values())
    text = verdant("import", folder, "-o", target)
    assert text.returncode == 0 and str(target) in text.stdout and "llama" in text.stdout


def test_rows_of_q_and_k_move_and_nothing_else(verdant, folder, tmp_path):
    """Row 2i + p of a head comes from row p D/2 + i."""
    target = tmp_path / "m.gguf"
    assert verdant("import", folder, "-o", target).returncode == 0
    made = {t.name: t.data for t in reader(target).tensors}
    given = hf_folder.tensors()
    for name, theirs, heads in (("attn_q", "q_proj", 4), ("attn_k", "k_proj", 2)):
        want = given[f"model.layers.1.self_attn.{theirs}.weight"]
        d = want.shape[0] // heads
        order = [h * d + p * d // 2 + i
                 for h in range(heads) for i in range(d // 2) for p in (0, 1)]
        assert np.array_equal(made[f"blk.1.{name}.weight"], want[order])
    assert np.array_equal(made["blk.0.ffn_down.weight"],
                          given["model.layers.0.mlp.down_proj.weight"])


def test_without_o_the_model_goes_into_the_store(verdant, folder, tmp_path):
    home = {"VERDANT_HOME": str(tmp_path / "home")}
    result = verdant("import", folder, "--json", env=home)
    assert result.returncode == 0, result.stderr
    assert Path(json.loads(result.stdout)["output"]) == tmp_path / "home/models/tiny.gguf"
    assert verdant("import", folder, "--name", "other", env=home).returncode == 0
    listed = json.loads(verdant("list", "--json", env=home).stdout)
    assert {m["name"] for m in listed["models"]} == {"tiny", "other"}
    said = reader(tmp_path / "home/models/other.gguf").get_field("general.name").contents()
    assert said == "other"
    assert verdant("tokenize", "tiny", "hello", env=home).returncode == 0
    result = verdant("import", folder, "--name", "../x", env=home)
    assert result.returncode == 1 and "name" in result.stderr
    left = {p.suffix for p in (tmp_path / "home/models").iterdir()}
    assert left <= {".gguf", ".json", ".lock"}, left


@pytest.mark.parametrize("name", safetensors_malformed.BAD)
def test_a_malformed_file_is_refused_with_what_is_wrong(refused, folder, name):
    data, word = safetensors_malformed.BAD[name]
    (folder / "model.safetensors").write_bytes(data)
    refused(folder, "model.safetensors", word)


@pytest.mark.parametrize("name", safetensors_malformed.GOOD)
def test_a_file_in_order_is_read(verdant, folder, tmp_path, name):
    """Read whole, and then of no use as a Llama."""
    (folder / "model.safetensors").write_bytes(safetensors_malformed.GOOD[name])
    result = verdant("import", folder, "-o", tmp_path / "m.gguf")
    assert result.returncode == 1
    assert "has no place" in result.stderr or "no embeddings" in result.stderr, result.stderr


def test_every_cut_of_a_file_is_refused(refused, folder):
    data = (folder / "model.safetensors").read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    for size in (0, 7, 8, 9, 8 + n // 2, 8 + n - 1, 8 + n, len(data) - 1):
        (folder / "model.safetensors").write_bytes(data[:size])
        refused(folder, "model.safetensors")


def test_shards_are_read_by_their_index(verdant, folder, tmp_path):
    assert verdant("import", folder, "-o", tmp_path / "one.gguf").returncode == 0
    hf_folder.shard(folder)
    result = verdant("import", folder, "-o", tmp_path / "two.gguf", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["files"] == 2
    one, two = ({t.name: t.data for t in reader(tmp_path / f"{n}.gguf").tensors}
                for n in ("one", "two"))
    assert one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


def change_index(folder, change):
    index = hf_folder.shard(folder)
    change(index["weight_map"])
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(("change", "words"), [
    (lambda m: m.update({"model.more.weight": "model-00001-of-00002.safetensors"}),
     ["model.more.weight", "is not in model-00001"]),
    (lambda m: m.pop("model.norm.weight"),
     ["model.norm.weight", "is not in model.safetensors.index"]),
    (lambda m: m.update({"model.norm.weight": "model-00002-of-00002.safetensors"
                         if m["model.norm.weight"].startswith("model-00001")
                         else "model-00001-of-00002.safetensors"}), ["belongs to"]),
    (lambda m: m.update({"x": "model-00003-of-00003.safetensors"}),
     ["model-00003-of-00003.safetensors", "missing"]),
    (lambda m: m.update({"x": "../tiny/model-00001-of-00002.safetensors"}), ["same folder"]),
    (lambda m: m.update({"x": 7}), ["same folder"]),
    (lambda m: m.clear(), ["weight_map"]),
], ids=["absent", "unnamed", "elsewhere", "no-file", "outside", "no-text", "empty"])
def test_an_index_that_lies_is_refused(refused, folder, change, words):
    change_index(folder, change)
    refused(folder, *words)


def test_files_that_are_not_there_are_named(refused, folder):
    (folder / "config.json").unlink()
    refused(folder, "config.json")
    hf_folder.write(folder)
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    refused(folder, "pytorch_model.bin", "safetensors")
    hf_folder.write(folder)
    (folder / "tokenizer.json").unlink()
    refused(folder, "tokenizer.json")
    refused(folder / "none", "none")


@pytest.mark.parametrize(("field", "value", "words"), [
    ("architectures", ["MambaForCausalLM"], ["MambaForCausalLM", "LlamaForCausalLM"]),
    ("architectures", None, ["architectures"]),
    ("hidden_act", "relu", ["relu", "silu"]),
    ("num_hidden_layers", 3, ["layer 2", "3 layers"]),
    ("num_hidden_layers", 1, ["1 layers"]),
    ("num_hidden_layers", None, ["num_hidden_layers"]),
    ("num_attention_heads", 5, ["5 heads"]),
    ("num_attention_heads", "4", ["num_attention_heads"]),
    ("hidden_size", -32, ["hidden_size"]),
    ("rms_norm_eps", "x", ["rms_norm_eps"]),
    ("rope_scaling", {"rope_type": "spiral", "factor": 2.0}, ["spiral"]),
    ("rope_scaling", {"type": "linear"}, ["factor"]),
    ("rope_scaling", {"type": "linear", "factor": "4"}, ["factor"]),
    ("rope_scaling", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
                      "high_freq_factor": 1.0}, ["low_freq_factor"]),
    ("rope_scaling", {"type": "longrope", "factor": 4.0}, ["longrope"]),
])
def test_a_configuration_that_cannot_be_is_refused(refused, folder, field, value, words):
    hf_folder.write(folder, config={field: value})
    refused(folder, *words)


@pytest.mark.parametrize(("old", "new"), [
    ({"rope_theta": 5e5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
    ({"rope_scaling": {"type": "linear", "factor": 4.0}},
     {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}),
    ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}},
     {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4,
                          "original_max_position_embeddings": 32}}),
    ({"torch_dtype": "float32", "text_config": {}}, {"dtype": "float32"}),
], ids=["theta", "linear", "yarn", "text"])
def test_the_old_and_the_new_spelling_mean_the_same(verdant, tmp_path, old, new):
    made = []
    for name, config in (("old", old), ("new", new)):
        folder = hf_folder.write(tmp_path / name / "tiny", config=config)
        result = verdant("import", folder, "-o", tmp_path / f"{name}.gguf")
        assert result.returncode == 0, result.stderr
        made.append((tmp_path / f"{name}.gguf").read_bytes())
    assert made[0] == made[1]


def test_a_tensor_without_a_place_is_named(refused, folder):
    values = hf_folder.tensors()
    hf_folder.write(folder, values | {"model.layers.0.extra.weight": np.zeros((2, 2), np.float32)})
    refused(folder, "model.layers.0.extra.weight", "llama")
    hf_folder.write(folder, {k: v for k, v in values.items() if "layers.1.mlp.up" not in k})
    refused(folder, "8 tensors of layer 1 and 9 of layer 0")
    integers = {"model.layers.0.mlp.up_proj.weight": np.zeros((48, 32), np.int8)}
    hf_folder.write(folder, values | integers)
    refused(folder, "I8", "up_proj")


def test_a_value_too_large_for_f16_is_named(refused, verdant, folder, tmp_path):
    values = hf_folder.tensors()
    values["model.layers.0.mlp.up_proj.weight"][3, 5] = 70000
    hf_folder.write(folder, values)
    refused(folder, "blk.0.ffn_up.weight", "70000", options=("--type", "F16"))
    assert verdant("import", folder, "-o", tmp_path / "m.gguf", "--type", "BF16").returncode == 0


def test_templates_are_found_in_their_three_places(verdant, folder, tmp_path):
    target = tmp_path / "m.gguf"

    def template():
        assert verdant("import", folder, "-o", target).returncode == 0
        field = reader(target).get_field("tokenizer.chat_template")
        return field.contents() if field else None

    assert template() is None
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "{{ 'c' }}"}))
    assert template() == "{{ 'c' }}"
    (folder / "chat_template.jinja").write_text("{{ 'b' }}\n")
    assert template() == "{{ 'b' }}\n"
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "a"}))
    assert template() == "a"
    several = [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": several}))
    assert template() == "d"
    made = reader(target)
    assert made.get_field("tokenizer.chat_template.tool_use").contents() == "t"
    assert made.get_field("tokenizer.chat_templates").contents() == ["tool_use"]


def test_a_full_disk_is_told_and_leaves_nothing(build, folder, tmp_path):
    target = tmp_path / "out" / "m.gguf"
    target.parent.mkdir()
    result = subprocess.run(
        [build / "verdant", "import", folder, "-o", target], capture_output=True, text=True,
        timeout=300, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)))
    assert result.returncode == 1
    assert str(target) in result.stderr and "large" in result.stderr
    assert not list(target.parent.iterdir())


def test_a_part_of_the_model_is_never_written_over(verdant, folder):
    before = (folder / "model.safetensors").read_bytes()
    result = verdant("import", folder, "-o", folder / "model.safetensors")
    assert result.returncode == 1 and "itself" in result.stderr
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_what_is_read_beside_the_model_is_never_written_over(verdant, folder, tmp_path, name):
    before = (folder / name).read_bytes()
    link = tmp_path / "link.gguf"
    link.symlink_to(folder / name)
    for target in (folder / name, link):
        result = verdant("import", folder, "-o", target)
        assert result.returncode == 1 and "itself" in result.stderr
    assert (folder / name).read_bytes() == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_instead_of_a_file_is_named(refused, folder, name, make):
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    refused(folder, name, "regular file")


def test_integers_of_any_length_stand_where_nobody_reads_them(verdant, refused, folder, tmp_path):
    """transformers writes int(1e30) where a tokenizer has no greatest length."""
    path = folder / "tokenizer_config.json"
    said = {"model_max_length": int(1e30), "less": -10**25, "chat_template": '"\\' + "9" * 40}
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    result = verdant("import", folder, "-o", tmp_path / "m.gguf")
    assert result.returncode == 0, result.stderr
    field = reader(tmp_path / "m.gguf").get_field("tokenizer.chat_template")
    assert field.contents() == said["chat_template"]
    refused(hf_folder.write(folder, config={"num_hidden_layers": 2 * 10**30}), "num_hidden_layers")


@pytest.mark.parametrize("template", [b"\xff{{ messages }}", b"{{ messages }}\0{{ more }}"])
def test_a_template_that_is_no_text_is_refused(refused, folder, template):
    (folder / "chat_template.jinja").write_bytes(template)
    refused(folder, "chat_template.jinja", "UTF-8")


@pytest.mark.parametrize(("config", "word"), [
    ({"head_dim": 2**32 - 1}, "4294967295"),
    ({"head_dim": 0}, "head_dim"),
    ({"rope_scaling": [8]}, "rope_scaling"),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 2,
                       "original_max_position_embeddings": 1e30}}, "original_max"),
    ({"architectures": ["Phi3ForCausalLM"], "rope_scaling": None,
      "partial_rotary_factor": -3}, "partial_rotary_factor"),
    ({"architectures": ["Phi3ForCausalLM"], "rope_scaling": None,
      "partial_rotary_factor": 1e30}, "partial_rotary_factor"),
])
def test_numbers_that_cannot_be_are_refused(refused, folder, config, word):
    llama3 = {"rope_scaling": {"rope_type": "llama3", "factor": 8}}
    refused(hf_folder.write(folder, config=llama3 | config), word)


@pytest.mark.parametrize("shape", [(2**32 - 8, 0), (272,), (0, 32)])
def test_an_embedding_without_rows_or_columns_is_refused(refused, folder, shape):
    values = hf_folder.tensors() | {"model.embed_tokens.weight": np.zeros(shape, np.float32)}
    refused(hf_folder.write(folder, values), "embed_tokens")


def test_tokens_beyond_the_embedding_are_counted_and_notes_stay_lines(verdant, folder, tmp_path):
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"] += [{"id": 10**6 + i, "content": f"<{i}>\n", "special": True}
                                  for i in range(1000)]
    path.write_text(json.dumps(tokenizer))
    result = verdant("import", folder, "-o", tmp_path / "m.gguf")
    assert result.returncode == 0 and "996 more" in result.stderr
    assert len(result.stderr.splitlines()) == 5, result.stderr


def test_what_has_no_name_for_the_store_is_told_how_to_get_one(verdant, folder, tmp_path):
    home = {"VERDANT_HOME": str(tmp_path / "home")}
    result = verdant("import", folder.rename(tmp_path / "my model"), env=home)
    assert result.returncode == 1 and "--name" in result.stderr and "my model" in result.stderr
    result = verdant("import", tmp_path / "none", env=home)
    assert result.returncode == 1 and "No such file" in result.stderr


@pytest.mark.parametrize(("config", "template", "word"), [
    ({"architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 3}, "", "head_count_kv (3)"),
    ({"rope_theta": -1}, "", "freq_base"),
    ({}, "{% if", "template line 1"),
])
def test_what_cannot_be_run_here_is_said_at_once(verdant, folder, tmp_path, config, template, word):
    hf_folder.write(folder, config=config)
    if template:
        (folder / "chat_template.jinja").write_text(template)
    result = verdant("import", folder, "-o", tmp_path / "m.gguf", "--json")
    assert result.returncode == 0, result.stderr
    (note,) = json.loads(result.stdout)["notes"]
    assert "cannot be run here" in note and word in note
    assert word in verdant("run", tmp_path / "m.gguf", "hello").stderr


@pytest.mark.parametrize("options", [("--type", "Q4_0"), ("--type",), ("--no-such",), ("more",)])
def test_misuse_is_told(verdant, folder, options):
    result = verdant("import", folder, *options)
    assert result.returncode == 2 and "import" in result.stderr


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """256 MB of F32: long enough to be interrupted, more than a run may hold."""
    values = hf_folder.tensors()
    values["model.embed_tokens.weight"] = np.ones((2**21, 32), np.float32)
    return hf_folder.write(tmp_path_factory.mktemp("big") / "big", values)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(build, big, tmp_path, number):
    process = subprocess.Popen([build / "verdant", "import", big, "-o", tmp_path / "m.gguf",
                                "--type", "BF16"], stderr=subprocess.PIPE, text=True)
    writing.wait_until(process, tmp_path)
    process.send_signal(number)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 1 and "stopped" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(build, tmp_path):
    """Private memory is held to 40 MB; the pages of the checkpoint are shared and do not count."""
    values = hf_folder.tensors()
    values["model.layers.0.mlp.up_proj.weight"] = np.ones((2**20, 32), np.float32)
    values["model.layers.1.mlp.up_proj.weight"] = np.ones((2**20, 32), np.float32)
    folder = hf_folder.write(tmp_path / "wide", values)
    limit = 40 << 20
    for kind in ("F32", "BF16"):
        result = subprocess.run(
            [build / "verdant", "import", folder, "-o", tmp_path / "m.gguf", "--type", kind],
            capture_output=True, text=True, timeout=300,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)))
        assert result.returncode == 0, result.stderr
