"""`verdant import` of every architecture: the logits of transformers; llama.cpp runs it too."""
import re

import numpy as np
import oracles
import pytest
from oracles import hf_models, llama_cpp

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.slow
N_TOKENS = 64
EXACT = ("--precision", "exact", "--kv", "f32")
# llama.cpp computes GELU from a table of half floats.
COARSE = {"gemma2", "gemma3", "gpt2", "starcoder2"}
# Its Command R has norms of queries only in models of 64 layers.
NOT_THERE = {"command-r-plus"}


@pytest.fixture(scope="module")
def models(tmp_path_factory, verdant):
    """models(name): the folder of a row of hf_models, the file imported from it, ids, logits."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers").logging.set_verbosity_error()
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("tiny")
            model = hf_models.make(name)
            hf_models.save(model, folder)
            ids = [int(i) for i in np.random.default_rng(3).integers(0, hf_models.VOCAB, N_TOKENS)]
            target = folder / "tiny.gguf"
            result = verdant("import", folder, "-o", target, "--type", "F32")
            assert result.returncode == 0, result.stderr
            made[name] = folder, target, ids, hf_models.logits(model, ids)
        return made[name]

    return get


def ours(verdant, path, ids, out):
    result = verdant("logits", path, "--ids", ",".join(map(str, ids)), "-o", out, *EXACT)
    assert result.returncode == 0, result.stderr
    return np.fromfile(out, "<f4").reshape(len(ids), -1)


@pytest.mark.parametrize("name", hf_models.MODELS)
def test_an_imported_model_has_the_logits_of_transformers(models, verdant, tmp_path, name):
    _, path, ids, want = models(name)
    assert want.std() > 0.2  # else the bound would say little
    assert np.abs(ours(verdant, path, ids, tmp_path / "logits.bin") - want).max() < 1e-4


@pytest.mark.parametrize("name", [n for n in hf_models.MODELS if n not in NOT_THERE])
def test_llama_cpp_runs_an_imported_model(models, name):
    oracles.need_peer()
    _, path, ids, want = models(name)
    with llama_cpp.Peer(path, n_ctx=N_TOKENS, threads=1) as peer:
        theirs = peer.logits(ids)
    assert np.abs(theirs - want).max() < (1e-2 if name in COARSE else 1e-3)


def names_by_gguf(arch, names, n_layers):
    """What PyPI's gguf makes of the checkpoint's names; experts by their common name."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch], n_layers)
    made = set()
    for name in names:
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        name = re.sub(r"(experts)\.\d+\.", r"\1.", name)
        name = name.replace("block_sparse_moe.experts.", "feed_forward.experts.").replace(
            "model.layers", "layers") if "block_sparse_moe.experts" in name else name
        made.add(table.get_name(name, try_suffixes=(".weight", ".bias")) or f"? {name}")
    return made


@pytest.mark.parametrize("name", hf_models.MODELS)
def test_names_and_keys_are_those_of_gguf(models, name):
    from safetensors import safe_open

    folder, path, _, _ = models(name)
    reader = gguf.GGUFReader(path)
    arch = reader.get_field("general.architecture").contents()
    with safe_open(folder / "model.safetensors", "np") as file:
        theirs = list(file.keys())
    members = {v: k.name for k, v in gguf.MODEL_ARCH_NAMES.items()}
    want = names_by_gguf(members[arch], theirs, 8)
    got = {t.name for t in reader.tensors}
    assert {n for n in got if not n.startswith("rope_")} == want
    known = {
        value.replace("{arch}", arch)
        for group in vars(gguf.Keys).values() if isinstance(group, type)
        for value in vars(group).values() if isinstance(value, str)
    }
    mine = {k for k in reader.fields if not k.startswith("GGUF.")}
    assert mine <= known, mine - known
    for tensor in reader.tensors:
        if len(tensor.shape) < 2 or tensor.name.endswith("_norm.weight"):
            assert tensor.tensor_type == gguf.GGMLQuantizationType.F32


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32"])
def test_the_type_is_kept_unless_another_is_wanted(verdant, tmp_path, kind):
    torch = pytest.importorskip("torch")
    model = hf_models.make("llama")
    hf_models.save(model, tmp_path, dtype=getattr(torch, kind))
    short = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}[kind]
    for option, want in (((), short), (("--type", "F16"), "F16"), (("--type", "bf16"), "BF16")):
        target = tmp_path / "m.gguf"
        assert verdant("import", tmp_path, "-o", target, *option).returncode == 0
        for tensor in gguf.GGUFReader(target).tensors:
            vector = len(tensor.shape) == 1
            assert tensor.tensor_type.name == ("F32" if vector else want), tensor.name
            if tensor.name == "blk.1.ffn_up.weight":
                theirs = model.model.layers[1].mlp.up_proj.weight.detach()
                theirs = theirs.to(getattr(torch, kind)).float().numpy()
                got = gguf.dequantize(tensor.data, tensor.tensor_type)
                assert np.array_equal(got, gguf.dequantize(
                    gguf.quantize(theirs, tensor.tensor_type), tensor.tensor_type))


def test_shards_give_the_same_bytes_as_one_file(verdant, tmp_path):
    model = hf_models.make("qwen3moe")
    for name, how in (("one", {}), ("many", {"max_shard_size": "100KB"})):
        folder = tmp_path / name / "tiny"
        folder.mkdir(parents=True)
        hf_models.save(model, folder, **how)
        assert verdant("import", folder, "-o", tmp_path / f"{name}.gguf").returncode == 0
    assert len(list((tmp_path / "many/tiny").glob("*.safetensors"))) > 2
    one, many = (gguf.GGUFReader(tmp_path / f"{n}.gguf") for n in ("one", "many"))
    values = {t.name: t.data for t in one.tensors}
    assert sorted(values) == sorted(t.name for t in many.tensors)
    assert all(np.array_equal(values[t.name], t.data) for t in many.tensors)
