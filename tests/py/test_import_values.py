"""`verdant import`: 8-bit floats with their scales, experts in one tensor, and encoders."""
import json

import hf_folder
import numpy as np
import pytest
from oracles import hf_models

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow
UP = "model.layers.0.mlp.up_proj.weight"


def tensors(path):
    return {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}


def save(folder, values, config=None):
    from safetensors.torch import save_file

    hf_folder.write(folder, config=config)
    save_file({n: v.contiguous() for n, v in values.items()}, folder / "model.safetensors")


def given():
    return {n: torch.from_numpy(v) for n, v in hf_folder.tensors().items()}


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_every_8_bit_float_has_its_value(verdant, tmp_path, kind):
    values = given()
    all_bits = torch.arange(256, dtype=torch.uint8).view(getattr(torch, kind))
    finite = all_bits[torch.isfinite(all_bits.float())]
    values[UP] = finite[torch.arange(48 * 32) % len(finite)].reshape(48, 32)
    save(tmp_path, values)
    target = tmp_path / "m.gguf"
    for option in ("F32", "BF16"):
        assert verdant("import", tmp_path, "-o", target, "--type", option).returncode == 0
        assert np.array_equal(tensors(target)["blk.0.ffn_up.weight"], values[UP].float().numpy())


@pytest.mark.parametrize(("name", "shape", "block"), [
    ("weight_scale", (), None), ("weight_scale", (1,), None), ("weight_scale", (48, 1), None),
    ("weight_scale", (48,), None), ("weight_scale_inv", (3, 2), [16, 16]),
    ("weight_scale_inv", (2, 1), [32, 128]), ("weight_scale_inv", (1, 1), None),
])
def test_8_bit_floats_are_multiplied_by_their_scales(verdant, tmp_path, name, shape, block):
    values = given()
    scale = torch.rand(shape, generator=torch.Generator().manual_seed(5)) + 0.5
    values[UP] = values[UP].to(torch.float8_e4m3fn)
    values[UP.replace("weight", name)] = scale
    values[UP.replace("weight", "input_scale")] = torch.tensor(3.0)
    said = {"quant_method": "fp8"} | ({"weight_block_size": block} if block else {})
    save(tmp_path, values, {"quantization_config": said})
    target = tmp_path / "m.gguf"
    result = verdant("import", tmp_path, "-o", target, "--type", "F32")
    assert result.returncode == 0, result.stderr
    spread = scale.reshape(-1, 1) if len(shape) == 1 else scale
    if block:
        spread = scale.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[:48, :32]
    want = values[UP].float() * spread
    assert np.array_equal(tensors(target)["blk.0.ffn_up.weight"], want.numpy())


def test_scales_of_another_shape_are_refused(verdant, tmp_path):
    values = given()
    values[UP] = values[UP].to(torch.float8_e4m3fn)
    values[UP + "_scale_inv"] = torch.ones(5, 2)
    save(tmp_path, values)
    result = verdant("import", tmp_path, "-o", tmp_path / "m.gguf")
    assert result.returncode == 1 and UP + "_scale_inv" in result.stderr
    assert not (tmp_path / "m.gguf").exists()


def test_rows_of_q_move_with_their_scales(verdant, tmp_path):
    q = "model.layers.0.self_attn.q_proj.weight"
    values = given()
    values[q] = values[q].to(torch.float8_e4m3fn)
    scale = torch.rand(32, 1, generator=torch.Generator().manual_seed(5)) + 0.5
    plain = values | {q: values[q].float() * scale}
    save(tmp_path / "eight", values | {q + "_scale": scale})
    save(tmp_path / "plain", plain)
    made = []
    for name in ("eight", "plain"):
        target = tmp_path / f"{name}.gguf"
        assert verdant("import", tmp_path / name, "-o", target, "--type", "F32").returncode == 0
        made.append(tensors(target)["blk.0.attn_q.weight"])
    assert np.array_equal(*made)


def test_experts_in_one_tensor_are_those_apart(verdant, tmp_path):
    """transformers 5 holds them so, and publishers write them so."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "tiny"
    folder.mkdir()
    hf_models.save(hf_models.make("qwen3moe"), folder)
    assert verdant("import", folder, "-o", tmp_path / "apart.gguf").returncode == 0
    values = load_file(folder / "model.safetensors")
    fused = {n: v for n, v in values.items() if ".experts." not in n}
    for i in range(2):
        at = f"model.layers.{i}.mlp.experts."
        part = {k: torch.stack([values[f"{at}{e}.{k}.weight"] for e in range(4)])
                for k in ("gate_proj", "up_proj", "down_proj")}
        fused[at + "gate_up_proj"] = torch.cat([part["gate_proj"], part["up_proj"]], 1)
        fused[at + "down_proj"] = part["down_proj"]
    save_file(fused, folder / "model.safetensors")
    assert verdant("import", folder, "-o", tmp_path / "one.gguf").returncode == 0
    apart, one = tensors(tmp_path / "apart.gguf"), tensors(tmp_path / "one.gguf")
    assert apart.keys() == one.keys()
    assert all(np.array_equal(apart[n], one[n]) for n in apart)


def test_a_missing_expert_is_named(verdant, tmp_path):
    from safetensors.torch import load_file, save_file

    hf_models.save(hf_models.make("mixtral"), tmp_path)
    values = load_file(tmp_path / "model.safetensors")
    name = next(n for n in values if "layers.1." in n and "experts.2." in n)
    del values[name]
    save_file(values, tmp_path / "model.safetensors")
    result = verdant("import", tmp_path, "-o", tmp_path / "m.gguf")
    assert result.returncode == 1 and "expert 2 of blk.1." in result.stderr


TEXTS = ["the other thing", "a thing of the sea, and another!", "no", "other other other the"]


def wordpiece(folder):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS * 5, trainers.WordPieceTrainer(
        vocab_size=120, show_progress=False,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]",
             "pad_token": "[PAD]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return tokenizer


@pytest.mark.parametrize(("mode", "number"), [("mean", 1), ("cls", 2)])
def test_bert_has_the_embeddings_of_transformers(verdant, tmp_path, mode, number):
    pytest.importorskip("transformers").logging.set_verbosity_error()
    # GELU in GGUF is the form with tanh; transformers is told to take it too.
    model = hf_models.make("bert", hidden_act="gelu_pytorch_tanh")
    hf_models.save(model, tmp_path, tokenizer=False)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    tokenizer = wordpiece(tmp_path)
    modules = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
               {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps(
        {"pooling_mode_cls_token": mode == "cls", "pooling_mode_mean_tokens": mode == "mean"}))
    target = tmp_path / "m.gguf"
    result = verdant("import", tmp_path, "-o", target, "--type", "F32")
    assert result.returncode == 0, result.stderr
    reader = gguf.GGUFReader(target)
    assert reader.get_field("bert.pooling_type").contents() == number
    assert reader.get_field("bert.attention.causal").contents() is False
    result = verdant("embed", target, "--precision", "exact", "--json", "--", *TEXTS)
    assert result.returncode == 0, result.stderr
    for text, row in zip(TEXTS, json.loads(result.stdout)["data"], strict=True):
        with torch.no_grad():
            rows = model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0].numpy()
        want = rows.mean(0) if mode == "mean" else rows[0]
        want /= np.linalg.norm(want)
        assert np.abs(np.array(row["embedding"]) - want).max() < 1e-5


def test_nomic_bert_is_run_by_llama_cpp(verdant, tmp_path):
    """Its own code is not in transformers; names and shapes are its publisher's."""
    import oracles

    oracles.need_peer()
    c, f, vocab = 32, 64, 120
    shapes = {"embeddings.word_embeddings.weight": (vocab, c),
              "embeddings.token_type_embeddings.weight": (2, c), "emb_ln.weight": (c,),
              "emb_ln.bias": (c,)}
    for i in range(2):
        at = f"encoder.layers.{i}."
        shapes |= {at + "attn.Wqkv.weight": (3 * c, c), at + "attn.out_proj.weight": (c, c),
                   at + "mlp.fc11.weight": (f, c), at + "mlp.fc12.weight": (f, c),
                   at + "mlp.fc2.weight": (c, f), at + "norm1.weight": (c,),
                   at + "norm1.bias": (c,), at + "norm2.weight": (c,), at + "norm2.bias": (c,)}
    rng = np.random.default_rng(3)
    values = {n: rng.standard_normal(s, np.float32) / s[-1] ** 0.5 for n, s in shapes.items()}
    config = {
        "architectures": ["NomicBertModel"], "hidden_act": None, "activation_function": "swiglu",
        "n_embd": c, "n_inner": f, "n_layer": 2, "n_head": 4, "n_positions": 8192,
        "max_trained_positions": 2048, "layer_norm_epsilon": 1e-12, "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0, "causal": False, "prenorm": False, "qkv_proj_bias": False,
        "mlp_fc1_bias": False, "mlp_fc2_bias": False, "type_vocab_size": 2, "vocab_size": vocab}
    config |= {k: None for k in hf_folder.CONFIG if k not in config}
    hf_folder.write(tmp_path, values, config, tokenizer=False)
    wordpiece(tmp_path)
    target = tmp_path / "m.gguf"
    result = verdant("import", tmp_path, "-o", target)
    assert result.returncode == 0, result.stderr
    reader = gguf.GGUFReader(target)
    assert reader.get_field("nomic-bert.context_length").contents() == 2048
    assert reader.get_field("nomic-bert.rope.freq_base").contents() == 1000
    made = tensors(target)
    assert np.array_equal(made["blk.1.ffn_gate.weight"], values["encoder.layers.1.mlp.fc12.weight"])
    assert verdant("embed", target, TEXTS[0]).returncode == 0
    with oracles.llama_cpp.Vocabulary(target) as theirs:
        ids = json.loads(verdant("tokenize", target, TEXTS[1], "--plain", "--json").stdout)["ids"]
        assert theirs.tokenize(TEXTS[1]) == ids
