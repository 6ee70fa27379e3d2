"""`verdant compress`: the same types and bytes as llama.cpp's quantizer, whole files or none."""

import ctypes
import hashlib
import json
import os
import re
import resource
import signal
import subprocess

import numpy as np
import oracles
import pytest
import writing
from gguf import GGUFReader, GGUFWriter
from oracles import dtypes, llama_cpp, tiny_model

ROUNDED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
ALL = sorted(dtypes.FILE_TYPES)


@pytest.fixture(scope="module")
def compress(verdant):
    """compress(source, target, type, *options): the JSON result."""

    def run(source, target, kind, *options):
        result = verdant("compress", source, "-o", target, "--quant", kind, "--json", *options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random llama in F32 whose rows suit blocks of 256."""
    path = tmp_path_factory.mktemp("compress") / "tiny.gguf"
    tiny_model.write_model(path, seed=11, n_embd=256, n_ff=512, n_layer=3)
    return path


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def tensors(path):
    return {t.name: t for t in GGUFReader(path).tensors}


def types(path):
    return {name: t.tensor_type.name for name, t in tensors(path).items()}


def fields(path):
    """Metadata but for what a file says of itself."""
    return {f.name: f.contents() for f in GGUFReader(path).fields.values()
            if not f.name.startswith("GGUF.")}


# ---- types ---------------------------------------------------------------------------------------

PARTS = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "attn_norm"]
EXPERTS = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate_inp", "ffn_gate_exps",
           "ffn_up_exps", "ffn_down_exps", "ffn_down_shexp"]
FUSED = ["attn_qkv", "attn_output", "ffn_up", "ffn_down", "attn_rel_b", "ssm_conv1d"]
# What decides: layers, heads to a key, experts, tied or not, width, architecture, names.
MODELS = {
    "small": {"n_layer": 2},
    "deep": {"n_layer": 36, "n_head": 8, "n_kv": 2},
    "few-heads-to-a-key": {"n_layer": 17, "n_head": 6, "n_kv": 2},
    "untied": {"n_layer": 9, "tied": False},
    "rows-of-64": {"n_layer": 5, "n_embd": 64, "tied": False},
    "rows-of-320": {"n_layer": 3, "n_embd": 320},
    "rows-of-48": {"n_layer": 2, "n_embd": 48, "tied": False},
    "experts-8": {"n_layer": 10, "n_expert": 8, "parts": EXPERTS, "tied": False},
    "experts-4": {"n_layer": 17, "n_expert": 4, "parts": EXPERTS},
    "70b": {"n_layer": 80, "n_head": 8, "n_kv": 4, "parts": ["attn_v"]},
    "65b": {"n_layer": 80, "n_head": 8, "n_kv": 8, "parts": ["attn_v"]},
    "qwen2-70b": {"arch": "qwen2", "n_layer": 80, "n_head": 8, "n_kv": 8, "parts": ["attn_v"]},
    "falcon": {"arch": "falcon", "n_layer": 33, "parts": FUSED},
    "fused": {"arch": "phi3", "n_layer": 12, "parts": FUSED},
    "positions": {"arch": "gpt2", "n_layer": 3, "parts": FUSED, "more": ["position_embd"]},
}


def write_shapes(path, arch="llama", n_layer=2, n_head=4, n_kv=4, n_expert=0, n_embd=256,
                 parts=PARTS, tied=True, more=()):
    """A file with these names and shapes and small random values; it need not make sense."""
    rng = np.random.default_rng(1)
    w = GGUFWriter(str(path), arch)
    w.add_block_count(n_layer)
    w.add_context_length(128)
    w.add_embedding_length(n_embd)
    w.add_feed_forward_length(512)
    w.add_head_count(n_head)
    w.add_head_count_kv(n_kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_layer_norm_eps(1e-5)
    w.add_vocab_size(32)
    if n_expert:
        w.add_expert_count(n_expert)
        w.add_expert_used_count(2)

    def add(name, *shape):
        w.add_tensor(name + ".weight", rng.standard_normal(shape).astype(np.float32))

    for name in ["token_embd", *more] + ([] if tied else ["output"]):
        add(name, 8, n_embd)
    add("output_norm", n_embd)
    for i in range(n_layer):
        for part in parts:
            shape = (n_embd,) if part.endswith("norm") else (2, n_embd)
            add(f"blk.{i}.{part}", *((4,) + shape if part.endswith("exps") else shape))
    finish(w)


@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_has_the_type_that_llama_cpp_gives_it(compress, tmp_path, model):
    oracles.need_peer()
    source = tmp_path / "source.gguf"
    write_shapes(source, **MODELS[model])
    wrong = {}
    for kind in ALL:
        try:
            llama_cpp.quantize(source, tmp_path / "theirs.gguf", kind)
        except RuntimeError:
            assert kind == "Q1_0", kind  # rows that do not divide by 128, and no fall-back
            continue
        compress(source, tmp_path / "ours.gguf", kind)
        ours, theirs = types(tmp_path / "ours.gguf"), types(tmp_path / "theirs.gguf")
        assert list(ours) == list(theirs)  # the same order, too
        wrong |= {(kind, n): (ours[n], theirs[n]) for n in ours if ours[n] != theirs[n]}
    assert wrong == {}


def test_these_are_all_that_llama_cpp_makes():
    assert sorted(llama_cpp.FTYPE) == sorted(ALL + dtypes.NEEDY_FILE_TYPES)


def test_rows_that_suit_no_type_are_an_error_where_there_is_no_fall_back(verdant, tmp_path):
    source = tmp_path / "source.gguf"
    write_shapes(source, n_embd=64)
    result = verdant("compress", source, "-o", tmp_path / "x.gguf", "--quant", "Q1_0")
    assert result.returncode == 1
    assert "128" in result.stderr and "attn_" in result.stderr
    assert not (tmp_path / "x.gguf").exists()


def test_pure_gives_every_matrix_the_one_type(compress, tiny, tmp_path):
    compress(tiny, tmp_path / "p.gguf", "Q4_K_M", "--pure")
    got = types(tmp_path / "p.gguf")
    assert set(got.values()) == {"F32", "Q4_K"}
    assert all(kind == "F32" for name, kind in got.items() if "norm" in name)


# ---- bytes ---------------------------------------------------------------------------------------


def assert_same_bytes(ours, theirs, kinds):
    ours, theirs = tensors(ours), tensors(theirs)
    assert ours.keys() == theirs.keys()
    n = 0
    for name, tensor in ours.items():
        assert tensor.tensor_type == theirs[name].tensor_type
        if tensor.tensor_type.name in kinds:
            assert np.array_equal(tensor.data.view(np.uint8), theirs[name].data.view(np.uint8))
            n += 1
    assert n > 0


@pytest.mark.parametrize("source_type", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("kind", ROUNDED + ["F16", "BF16", "Q1_0"])
def test_rounding_types_have_llama_cpps_bytes(compress, tmp_path, kind, source_type):
    oracles.need_peer()
    source, ours, theirs = (tmp_path / f"{n}.gguf" for n in "sot")
    tiny_model.write_model(source, seed=3, n_embd=256, n_ff=512, type=source_type, vocab="bpe")
    compress(source, ours, kind)
    llama_cpp.quantize(source, theirs, kind)
    assert_same_bytes(ours, theirs, ["F32", "F16", "BF16", "Q1_0", *ROUNDED])


@pytest.mark.parametrize("kind", ROUNDED + ["Q4_K_M"])
def test_a_trained_model_has_llama_cpps_bytes(compress, data, tmp_path, kind):
    """Its rows of 64 fall back, so that its Q4_K_M is all of rounding types. The published files
    are llama.cpp's own."""
    source = data / "models/stories260K/stories260K-f32.gguf"
    compress(source, tmp_path / "ours.gguf", kind)
    published = data / f"models/stories260K/stories260K-{kind}.gguf"
    if not published.exists():
        oracles.need_peer()
        published = tmp_path / "theirs.gguf"
        llama_cpp.quantize(source, published, kind)
    assert_same_bytes(tmp_path / "ours.gguf", published, ["F32", "F16", *ROUNDED])


def test_metadata_is_llama_cpps(compress, tiny, tmp_path):
    oracles.need_peer()
    compress(tiny, tmp_path / "ours.gguf", "Q5_K_M")
    llama_cpp.quantize(tiny, tmp_path / "theirs.gguf", "Q5_K_M")
    ours, theirs = fields(tmp_path / "ours.gguf"), fields(tmp_path / "theirs.gguf")
    assert ours == theirs
    assert ours["general.file_type"] == 17 and ours["general.quantization_version"] == 2
    before = fields(tiny)
    assert {k: v for k, v in ours.items() if k in before and k != "general.file_type"} == {
        k: v for k, v in before.items() if k != "general.file_type"}


def test_alignment_is_kept_and_split_keys_go(compress, verdant, tmp_path):
    source = tmp_path / "s.gguf"
    w = GGUFWriter(str(source), "llama")
    w.add_custom_alignment(128)
    w.add_block_count(1)
    w.add_uint16("split.no", 0)
    w.add_uint16("split.count", 1)
    w.add_tensor("blk.0.ffn_up.weight", np.ones((3, 32), np.float32))
    finish(w)
    compress(source, tmp_path / "o.gguf", "Q8_0")
    got = fields(tmp_path / "o.gguf")
    assert got["general.alignment"] == 128
    assert not [key for key in got if key.startswith("split.")]
    assert verdant("show", tmp_path / "o.gguf").returncode == 0


def test_a_model_in_shards_becomes_one_file(compress, tiny, tmp_path):
    """Two shards by hand: tensors of the first half and of the second."""
    reader = GGUFReader(tiny)
    half = len(reader.tensors) // 2
    for no, part in enumerate((reader.tensors[:half], reader.tensors[half:])):
        w = GGUFWriter(str(tmp_path / f"m-{no + 1:05}-of-00002.gguf"), "llama")
        if no == 0:
            oracles.dequantize.copy_metadata(reader, w)
        w.add_uint16("split.no", no)
        w.add_uint16("split.count", 2)
        w.add_int32("split.tensors.count", len(reader.tensors))
        for t in part:
            w.add_tensor(t.name, t.data)
        finish(w)
    compress(tmp_path / "m-00001-of-00002.gguf", tmp_path / "one.gguf", "Q8_0")
    compress(tiny, tmp_path / "whole.gguf", "Q8_0")
    assert_same_bytes(tmp_path / "one.gguf", tmp_path / "whole.gguf", ["F32", "Q8_0"])


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M", "IQ3_S", "TQ1_0"])
def test_threads_do_not_change_the_file(compress, tiny, tmp_path, kind):
    digests = set()
    for threads in (1, 2, 5):
        compress(tiny, tmp_path / "t.gguf", kind, "-t", threads)
        digests.add(digest(tmp_path / "t.gguf"))
    assert len(digests) == 1


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "IQ4_XS", "IQ4_NL"])
def test_the_level_of_kernels_does_not_change_the_file(compress, tiny, tmp_path, kind, monkeypatch):
    digests = set()
    for level in ("c", "avx2", "avx512", "neon"):  # what a machine lacks is its best one again
        monkeypatch.setenv("VERDANT_CPU", level)
        compress(tiny, tmp_path / "t.gguf", kind)
        digests.add(digest(tmp_path / "t.gguf"))
    assert len(digests) == 1


# ---- whether it still is the model ---------------------------------------------------------------

# KL divergence to the F32 logits that random weights of 256 columns show, with room.
FAITHFUL = {"F32": 1e-9, "F16": 1e-5, "BF16": 1e-3, "Q8_0": 1e-3, "Q6_K": 1e-2, "Q5_1": 3e-2,
            "Q5_0": 3e-2, "Q5_K_M": 3e-2, "Q5_K_S": 3e-2, "Q4_1": 0.1, "Q4_0": 0.1, "Q4_K_M": 0.1,
            "Q4_K_S": 0.1, "IQ4_NL": 0.1, "IQ4_XS": 0.1, "MXFP4_MOE": 1e-3}


def divergence(rows, ids, want):
    score = oracles.metrics.Score()
    score.add(rows, ids, want)
    return score.result()["kl_mean"]


def runs_here_and_in_llama_cpp(verdant, source, target, most):
    """target's logits are as faithful to those of source as that, and llama.cpp's are the same."""
    out = target.with_name("logits")
    ids = tiny_model.random_ids(1, 48, tiny_model.n_vocab("spm"))
    want = oracles.numpy_forward.Model(source).logits(ids)
    result = verdant("logits", target, "--ids", ",".join(map(str, ids)), "-o", out,
                     "--precision", "exact", "--kv", "f32")
    assert result.returncode == 0, result.stderr
    ours = np.fromfile(out, "<f4").reshape(want.shape)
    with llama_cpp.Peer(target, n_ctx=64, threads=1) as peer:
        theirs = peer.logits(ids)
    assert divergence(ours, ids, theirs) < 0.05  # llama.cpp rounds activations, we do not
    assert divergence(ours, ids, want) < most


@pytest.mark.parametrize("kind", ALL)
def test_the_result_runs_here_and_in_llama_cpp(compress, verdant, tiny, tmp_path, kind):
    oracles.need_peer()
    compress(tiny, tmp_path / "q.gguf", kind)
    runs_here_and_in_llama_cpp(verdant, tiny, tmp_path / "q.gguf", FAITHFUL.get(kind, 2.0))


def test_the_result_of_a_real_model_runs(compress, verdant, model, tmp_path):
    compress(model, tmp_path / "q.gguf", "Q4_0")
    answer = verdant("run", tmp_path / "q.gguf", "What is the capital of France?", "-n", 24,
                     "--temp", 0)
    assert answer.returncode == 0 and "Paris" in answer.stdout


# ---- what it says --------------------------------------------------------------------------------


def test_the_figures_add_up(compress, tiny, tmp_path):
    target = tmp_path / "q.gguf"
    result = compress(tiny, target, "Q4_K_M")
    for when, path in (("before", tiny), ("after", target)):
        found = {}
        for t in GGUFReader(path).tensors:
            count = found.setdefault(t.tensor_type.name, {"tensors": 0, "bytes": 0})
            count["tensors"] += 1
            count["bytes"] += int(t.n_bytes)
        assert result[when] == found
        assert result[f"file_bytes_{when}"] == path.stat().st_size
    n = sum(int(t.n_elements) for t in GGUFReader(tiny).tensors)
    assert result["values"] == n
    after = sum(count["bytes"] for count in result["after"].values())
    assert result["bits_per_weight"] == pytest.approx(8 * after / n)
    assert result["quant"] == "Q4_K_M" and result["pure"] is False
    assert result["seconds"] > 0 and result["energy"]["total_j"] > 0
    assert result["energy"]["method"] in ("rapl", "model")
    assert result["fallbacks"] == result["requantized"] == 0


def test_a_table_is_printed_without_json(verdant, tiny, tmp_path):
    result = verdant("compress", tiny, "-o", tmp_path / "q.gguf", "--quant", "q5_k")
    assert result.returncode == 0 and result.stderr == ""
    assert "Q5_K" in result.stdout and "bits per weight" in result.stdout and " J " in result.stdout


def test_a_model_quantized_before_is_noted(verdant, compress, tiny, tmp_path):
    compress(tiny, tmp_path / "q8.gguf", "Q8_0")
    again = verdant("compress", tmp_path / "q8.gguf", "-o", tmp_path / "q4.gguf", "--quant", "Q4_0")
    assert again.returncode == 0 and "quantized before" in again.stderr


def test_help_lists_the_types_that_are_taken(verdant, tiny, tmp_path):
    text = verdant("compress", "--help").stdout
    listed = re.findall(r"\b(?:F32|B?F16|I?T?Q\d\w*|MXFP4\w*)\b", text.split("--pure")[0]
                        .split("falling size")[1].split("Q3_K, Q4_K and")[0])
    assert sorted(listed) == sorted(ALL + dtypes.NEEDY_FILE_TYPES)
    for kind in listed + [k.lower() for k in listed[:3]] + ["Q3_K", "Q4_K", "Q5_K", "MXFP4"]:
        result = verdant("compress", tiny, "-o", tmp_path / "q.gguf", "--quant", kind)
        refused = "is of no use where nobody knows" in result.stderr
        assert (result.returncode, refused) == ((1, True) if kind in dtypes.NEEDY_FILE_TYPES
                                                else (0, False)), kind


@pytest.mark.parametrize("args", [[], ["m"], ["m", "-o", "x"], ["m", "--quant", "Q8_0"],
                                  ["m", "-o", "x", "--quant", "Q9_9"], ["m", "--bogus"],
                                  ["m", "-o", "x", "--quant", "Q8_0", "-t", "0"]])
def test_misuse_is_told(verdant, args):
    result = verdant("compress", *args)
    assert result.returncode == 2 and "--help" in result.stderr


# ---- what can go wrong ---------------------------------------------------------------------------


def assert_nothing_written(folder, *kept):
    assert sorted(p.name for p in folder.iterdir()) == sorted(kept)


def test_the_model_is_never_written_over(verdant, tmp_path):
    source = tmp_path / "m.gguf"
    tiny_model.write_model(source, seed=2)
    before = digest(source)
    os.link(source, tmp_path / "hard.gguf")
    os.symlink("m.gguf", tmp_path / "soft.gguf")
    for target in ("m.gguf", "hard.gguf", "soft.gguf", "../" + tmp_path.name + "/m.gguf"):
        result = verdant("compress", source, "-o", tmp_path / target, "--quant", "Q8_0")
        assert result.returncode == 1 and "itself" in result.stderr
    assert digest(source) == before
    assert_nothing_written(tmp_path, "m.gguf", "hard.gguf", "soft.gguf")


def test_no_shard_is_written_over(verdant, tmp_path):
    for no in range(2):
        w = GGUFWriter(str(tmp_path / f"m-{no + 1:05}-of-00002.gguf"), "llama")
        w.add_uint16("split.no", no)
        w.add_uint16("split.count", 2)
        w.add_tensor(f"t{no}.weight", np.ones((2, 32), np.float32))
        finish(w)
    target = tmp_path / "m-00002-of-00002.gguf"
    before = digest(target)
    result = verdant("compress", tmp_path / "m-00001-of-00002.gguf", "-o", target, "--quant",
                     "Q8_0")
    assert result.returncode == 1 and digest(target) == before


def test_an_older_result_is_replaced_only_by_a_whole_one(verdant, compress, tiny, tmp_path):
    target = tmp_path / "q.gguf"
    compress(tiny, target, "Q8_0")
    first = digest(target)
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(tiny.read_bytes()[:-4096])
    assert verdant("compress", bad, "-o", target, "--quant", "Q4_0").returncode == 1
    assert digest(target) == first
    compress(tiny, target, "Q4_0")
    assert digest(target) != first
    assert_nothing_written(tmp_path, "q.gguf", "bad.gguf")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
def test_a_value_that_cannot_be_is_named(verdant, tmp_path, value):
    source = tmp_path / "m.gguf"
    tiny_model.write_model(source, seed=2)
    reader = GGUFReader(source, "r+")
    tensor = next(t for t in reader.tensors if t.name == "blk.1.ffn_up.weight")
    tensor.data[7, 3] = value
    reader.data.flush()
    result = verdant("compress", source, "-o", tmp_path / "q.gguf", "--quant", "Q4_0")
    assert result.returncode == 1
    assert "blk.1.ffn_up.weight" in result.stderr and "row 7" in result.stderr
    assert_nothing_written(tmp_path, "m.gguf")


@pytest.mark.parametrize("kind, bits", [("F32", 0x7fc00000), ("F32", 0xff800001), ("F16", 0x7c01),
                                        ("F16", 0xfe00), ("BF16", 0x7f81), ("BF16", 0xffff)])
def test_no_nan_is_copied(verdant, tmp_path, kind, bits):
    """Infinities are: a file may mean them, as masks do."""
    source = tmp_path / "m.gguf"
    tiny_model.write_model(source, seed=2, type=kind)
    tensor = next(t for t in GGUFReader(source).tensors if t.name == "token_embd.weight")
    width = 4 if kind == "F32" else 2
    at = tensor.data_offset + (5 * int(tensor.shape[0]) + 3) * width
    infinity = {"F32": 0x7f800000, "F16": 0x7c00, "BF16": 0x7f80}[kind]
    data = bytearray(source.read_bytes())
    for value, status in [(bits, 1), (infinity, 0)]:
        data[at:at + width] = value.to_bytes(width, "little")
        source.write_bytes(data)
        result = verdant("compress", source, "-o", tmp_path / "q.gguf", "--threshold", "0.1")
        assert result.returncode == status, result.stderr
        if status == 1:
            assert "token_embd.weight, row 5: the value nan" in result.stderr
            assert_nothing_written(tmp_path, "m.gguf")


def test_a_file_without_tensors_is_told(verdant, tmp_path):
    source = tmp_path / "v.gguf"
    finish(GGUFWriter(str(source), "llama"))
    result = verdant("compress", source, "-o", tmp_path / "q.gguf", "--quant", "Q4_0")
    assert result.returncode == 1 and "no tensors" in result.stderr
    assert_nothing_written(tmp_path, "v.gguf")


def test_a_full_disk_is_told_and_nothing_is_left(build, tiny, tmp_path):
    target = tmp_path / "q.gguf"
    result = subprocess.run(
        [build / "verdant", "compress", tiny, "-o", target, "--quant", "Q8_0"],
        capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    assert result.returncode == 1
    assert str(target) in result.stderr and "large" in result.stderr
    assert_nothing_written(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(verdant, tiny, tmp_path):
    result = verdant("compress", tiny, "-o", tmp_path / "none" / "q.gguf", "--quant", "Q8_0")
    assert result.returncode == 1 and "none" in result.stderr


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """64 MB of F16 in few tensors: long enough to be interrupted, more than a run may hold."""
    path = tmp_path_factory.mktemp("big") / "big.gguf"
    rng = np.random.default_rng(1)
    w = GGUFWriter(str(path), "llama")
    w.add_block_count(2)
    for i in range(2):
        x = rng.standard_normal((4096, 4096), np.float32).astype(np.float16)
        w.add_tensor(f"blk.{i}.ffn_up.weight", x)
    finish(w)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(build, big, tmp_path, number):
    target = tmp_path / "q.gguf"
    process = subprocess.Popen([build / "verdant", "compress", big, "-o", target, "--quant",
                                "IQ3_S"], stderr=subprocess.PIPE, text=True)
    writing.wait_until(process, tmp_path)
    process.send_signal(number)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 1 and "stopped" in message
    assert_nothing_written(tmp_path)


@pytest.mark.slow
def test_it_asks_often_whether_to_go_on(build, big, tmp_path):
    """After eight megabytes of the larger side; of a small type's side they would be seconds."""
    library = ctypes.CDLL(str(build / "tests" / "libverdant_shim.so"))
    asks = library.test_compress_asks(bytes(big), bytes(tmp_path / "q.gguf"), b"Q4_0")
    assert asks >= sum(int(t.n_bytes) for t in tensors(big).values()) >> 23


@pytest.mark.slow
def test_a_killed_run_leaves_nothing(build, big, tmp_path):
    writing.need_nameless_files(tmp_path)
    process = subprocess.Popen([build / "verdant", "compress", big, "-o", tmp_path / "q.gguf",
                                "--quant", "IQ3_S"])
    writing.wait_until(process, tmp_path)
    process.kill()
    process.wait()
    assert_nothing_written(tmp_path)


def test_a_file_is_written_where_no_nameless_file_can_be(build, tiny, tmp_path):
    """Without /proc such a file could not be named later."""
    hide = "mount -t tmpfs none /proc && exec"
    if subprocess.run(["unshare", "-rm", "sh", "-c", f"{hide} true"]).returncode != 0:
        pytest.skip("no mount of our own is allowed here")
    target = tmp_path / "q.gguf"
    command = [build / "verdant", "compress", tiny, "-o", target, "--quant", "Q8_0"]
    result = subprocess.run(["unshare", "-rm", "sh", "-c", f'{hide} "$0" "$@"', *command],
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(tensors(target)) == len(tensors(tiny))
    assert_nothing_written(tmp_path, "q.gguf")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(build, big, tmp_path):
    """Private memory is held to 40 MB; the file's pages are shared and do not count."""
    limit = 40 << 20
    result = subprocess.run(
        [build / "verdant", "compress", big, "-o", tmp_path / "q.gguf", "--quant", "Q8_0",
         "-t", "1"], capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)))
    assert result.returncode == 0, result.stderr
