"""`verdant compress --tensor-type` and `--types`: the types of single tensors, as the user says."""

import json
import re

import pytest
from gguf import GGUFReader
from oracles import tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random llama in F32: rows of 256, but 160 in ffn_down."""
    path = tmp_path_factory.mktemp("types") / "tiny.gguf"
    tiny_model.write_model(path, seed=11, n_embd=256, n_ff=160, n_layer=3)
    return path


def types(path):
    return {t.name: t.tensor_type.name for t in GGUFReader(path).tensors}


def matrices(path):
    return {name: kind for name, kind in types(path).items()
            if name.endswith("weight") and "_norm" not in name}


def run(verdant, source, target, *options, status=0):
    result = verdant("compress", source, "-o", target, *options)
    assert result.returncode == status, result.stderr
    if status:
        assert not target.exists()
    return result


def test_patterns_go_before_the_mixture(verdant, tiny, tmp_path):
    plain, mixed = tmp_path / "plain.gguf", tmp_path / "mixed.gguf"
    run(verdant, tiny, plain, "--quant", "Q4_K_M")
    run(verdant, tiny, mixed, "--quant", "Q4_K_M", "--tensor-type", r"blk\.[02]\.attn_v=q8_0",
        "--tensor-type", "attn_[vq]=Q6_K", "--tensor-type", "^token_embd=F16")
    expected = {}
    for name, kind in types(plain).items():
        if re.search(r"blk\.[02]\.attn_v", name):
            kind = "Q8_0"
        elif re.search("attn_[vq]", name) and "norm" not in name:
            kind = "Q6_K"
        elif name.startswith("token_embd"):
            kind = "F16"
        expected[name] = kind
    assert types(mixed) == expected


def test_without_quant_the_others_stay(verdant, tiny, tmp_path):
    target = tmp_path / "one.gguf"
    run(verdant, tiny, target, "--tensor-type", "ffn_up=Q4_K")
    assert {n for n, k in types(target).items() if k == "Q4_K"} == \
        {f"blk.{i}.ffn_up.weight" for i in range(3)}
    assert set(types(target).values()) == {"F32", "Q4_K"}


def test_a_pattern_may_hold_an_equals_sign_and_bytes_are_those_of_quant(verdant, tiny, tmp_path):
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    run(verdant, tiny, a, "--quant", "Q4_0", "--pure")
    run(verdant, tiny, b, "--tensor-type", "weight|==Q4_0")
    assert a.read_bytes() == b.read_bytes()


def test_a_file_of_types_gives_the_same_bytes(verdant, tiny, tmp_path):
    a, b, names = tmp_path / "a.gguf", tmp_path / "b.gguf", tmp_path / "types.json"
    run(verdant, tiny, a, "--quant", "Q4_0", "--tensor-type", "attn_k=Q5_K")
    names.write_text(json.dumps({"tensors": matrices(a), "other": [1]}))
    run(verdant, tiny, b, "--quant", "Q4_0", "--types", names)
    assert a.read_bytes() == b.read_bytes()
    run(verdant, tiny, b, "--types", names)  # no --quant: the file names all that changes
    assert types(a) == types(b)
    kind = GGUFReader(b).fields["general.file_type"].contents()
    most = max(set(matrices(a).values()), key=lambda k: sum(
        t.n_elements for t in GGUFReader(a).tensors if t.tensor_type.name == k))
    assert (kind, most) == (2, "Q4_0")


@pytest.mark.parametrize("option, words", [
    ("attn_v", "no PATTERN=TYPE"),
    ("=Q4_0", "no PATTERN=TYPE"),
    ("attn_v=Q4_K_M", "Q4_K_M"),
    ("attn_v=NVFP4", "NVFP4"),
    ("attn_v=", "''"),
    ("attn_(=Q4_0", "no regular expression"),
])
def test_bad_patterns_are_misuse(verdant, tiny, tmp_path, option, words):
    result = run(verdant, tiny, tmp_path / "x.gguf", "--tensor-type", option, status=2)
    assert words in result.stderr


@pytest.mark.parametrize("option, words", [
    ("ffn_down=Q4_K", "no multiple of the 256"),
    ("attn_x=Q4_0", "attn_x"),
    ("output_norm=Q4_0", "output_norm"),
])
def test_what_suits_no_tensor_is_an_error(verdant, tiny, tmp_path, option, words):
    result = run(verdant, tiny, tmp_path / "x.gguf", "--tensor-type", option, status=1)
    assert words in result.stderr


@pytest.mark.parametrize("text, words", [
    ("[]", "tensors"),
    ('{"tensors":{}}', "tensors"),
    ('{"tensors":{"a":1}}', "no string"),
    ('{"tensors":{"a":"Q9"}}', "Q9"),
    ('{"tensors":', "line"),
])
def test_a_bad_file_of_types_is_misuse(verdant, tiny, tmp_path, text, words):
    names = tmp_path / "types.json"
    names.write_text(text)
    result = run(verdant, tiny, tmp_path / "x.gguf", "--types", names, status=2)
    assert words in result.stderr


def test_a_file_that_names_another_models_tensor(verdant, tiny, tmp_path):
    names = tmp_path / "types.json"
    names.write_text('{"tensors":{"blk.9.attn_q.weight":"Q4_0"}}')
    assert "blk.9.attn_q.weight" in run(verdant, tiny, tmp_path / "x.gguf", "--types", names,
                                        status=1).stderr
