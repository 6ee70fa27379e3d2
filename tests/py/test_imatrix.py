"""Importance: what matrices read, from a text or a file, written and used to quantize.

Mean squares are recomputed here from the residual stream; the files are read by PyPI's `gguf` and,
the older form, by the struct module, and used by llama.cpp's quantizer.
"""
import json
import struct

import activations
import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from oracles import llama_cpp, need_peer, tiny_model
from test_compress_calib import WORDS, chunks_of, values

N_EMBD, N_LAYER, CTX, CHUNKS, EPS = 256, 2, 32, 40, 1e-5
TEXT = ["--calib-ctx", CTX, "--calib-chunks", CHUNKS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("imatrix")
    tiny_model.write_model(path / "tiny.gguf", seed=5, vocab="bpe", n_embd=N_EMBD, n_ff=256,
                           n_layer=N_LAYER, n_ctx=256)
    tiny_model.write_model(path / "moe.gguf", arch="qwen3moe", seed=4, vocab="bpe", n_ctx=256)
    words = np.random.default_rng(2).choice(WORDS, 4000)
    tiny_model.write_model(path / "tied.gguf", seed=6, vocab="bpe", n_embd=N_EMBD, n_ff=256,
                           n_layer=1, n_ctx=256, tied=True)
    (path / "calib.txt").write_text(" ".join(words))
    return path


@pytest.fixture(scope="module")
def saved(verdant, folder):
    """saved(model, form): the file, written once."""

    def run(model="tiny", form="gguf"):
        path = folder / f"{model}-importance.{form}"
        if not path.exists():
            done = verdant("compress", folder / f"{model}.gguf", "--calib", folder / "calib.txt",
                           "--save-imatrix", path, *TEXT)
            assert done.returncode == 0, done.stderr
        return path

    return run


def read_gguf(path):
    """{tensor: (sums [experts, columns], counts [experts])}"""
    tensors = {t.name: np.array(t.data, np.float64) for t in GGUFReader(path).tensors}
    stems = [name.removesuffix(".in_sum2") for name in tensors if name.endswith(".in_sum2")]
    return {stem: (tensors[stem + ".in_sum2"].reshape(tensors[stem + ".counts"].size, -1),
                   tensors[stem + ".counts"].ravel()) for stem in stems}


def read_dat(path):
    """{tensor: mean squares}, and the chunks and the text's name."""
    raw, at, entries = path.read_bytes(), 4, {}
    for _ in range(struct.unpack_from("<i", raw)[0]):
        n, = struct.unpack_from("<i", raw, at)
        name = raw[at + 4:at + 4 + n].decode()
        calls, n_values = struct.unpack_from("<ii", raw, at + 4 + n)
        at += 12 + n + 4 * n_values
        entries[name] = np.frombuffer(raw, "<f4", n_values, at - 4 * n_values) / calls
    chunks, n = struct.unpack_from("<ii", raw, at)
    return entries, chunks, raw[at + 8:at + 8 + n].decode()


def write_dat(path, entries, calls=1):
    raw = struct.pack("<i", len(entries))
    for name, x in entries.items():
        raw += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(x))
        raw += (np.asarray(x, "<f4") * calls).astype("<f4").tobytes()
    path.write_bytes(raw)


def means(sums, counts):
    return np.where(counts[:, None] > 0, sums / np.maximum(counts[:, None], 1), 1)


def test_a_file_holds_the_squares_of_what_the_model_reads(verdant, build, folder, saved, tmp_path):
    model, text = folder / "tiny.gguf", folder / "calib.txt"
    found = read_gguf(saved())
    ids = [i for chunk in chunks_of(verdant, model, text) for i in chunk]
    stream = activations.run(build, model, ids, tmp_path / "s.npz", N_LAYER, N_EMBD, 0, chunk=CTX,
                             n_seq=CHUNKS)["stream"].astype(np.float64)
    weights = values(model)
    for layer in range(N_LAYER):
        for place, norm, names in ((2 * layer, "attn_norm", ("attn_q", "attn_k", "attn_v")),
                                   (2 * layer + 1, "ffn_norm", ("ffn_gate", "ffn_up"))):
            x = stream[place]
            x = x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + EPS)
            x *= weights[f"blk.{layer}.{norm}.weight"]
            for name in names:
                sums, counts = found[f"blk.{layer}.{name}.weight"]
                assert counts == [CTX * CHUNKS]
                np.testing.assert_allclose(sums[0], np.sum(x * x, axis=0), rtol=1e-4)
    x = stream[2 * N_LAYER]
    x = x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + EPS) * weights["output_norm.weight"]
    sums, counts = found["output.weight"]
    assert counts == [CTX * CHUNKS]
    np.testing.assert_allclose(sums[0], np.sum(x * x, axis=0), rtol=1e-4)
    matrices = {k for k, v in weights.items() if k.startswith("blk.") and v.ndim == 2}
    assert set(found) == matrices | {"output.weight"}
    reader = GGUFReader(saved())
    assert reader.get_field("general.type").contents() == "imatrix"
    assert reader.get_field("imatrix.chunk_count").contents() == CHUNKS
    assert reader.get_field("imatrix.chunk_size").contents() == CTX
    assert reader.get_field("imatrix.datasets").contents() == [str(text)]


def test_the_older_form_says_the_same(folder, saved):
    for model in "tiny", "moe":
        entries, chunks, text = read_dat(saved(model, "dat"))
        assert chunks == CHUNKS and text == str(folder / "calib.txt")
        found = read_gguf(saved(model))
        assert set(entries) == set(found)
        for name, (sums, counts) in found.items():
            np.testing.assert_allclose(entries[name], means(sums, counts).ravel(), rtol=1e-6)


def test_experts_have_counts_of_their_own(folder, saved):
    found, model = read_gguf(saved("moe")), folder / "moe.gguf"
    n_used = GGUFReader(model).get_field("qwen3moe.expert_used_count").contents()
    for name, (sums, counts) in found.items():
        if "_exps" in name:
            assert len(counts) > n_used and counts.sum() == n_used * CTX * CHUNKS
            assert np.all((counts > 0) == (sums.sum(axis=1) > 0))


def quantized(verdant, folder, target, *options, model="tiny"):
    done = verdant("compress", folder / f"{model}.gguf", "-o", target, *options, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_K", "IQ4_XS", "Q3_K"])
def test_each_row_is_encoded_by_what_it_reads(verdant, build, folder, saved, tmp_path, kind):
    """As vd_encode_row does with the file's means; from both forms."""
    need_peer()  # it knows the blocks' sizes
    from test_encode import encode
    encode = encode.__wrapped__(build)
    number = {"Q4_0": 2, "Q4_K": 12, "IQ4_XS": 23, "Q3_K": 11}[kind]
    targets = [tmp_path / "a.gguf", tmp_path / "b.gguf"]
    for target, form in zip(targets, ("gguf", "dat"), strict=True):
        told = quantized(verdant, folder, target, "--imatrix", saved(form=form), "--quant",
                         {"Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M"}.get(kind, kind), "--pure")
        assert told["tensors_weighted"] == 7 * N_LAYER + 1 and "calib_tokens" not in told
    old, found = values(folder / "tiny.gguf"), read_gguf(saved())
    for t in GGUFReader(targets[0]).tensors:
        if t.name in found:
            w = means(*found[t.name])[0]
            expected = encode(number, old[t.name], w.astype(np.float32))
            assert np.array_equal(t.data, expected), t.name
    raw = [t.read_bytes() for t in targets]  # a quotient may be rounded differently in a .dat
    assert np.mean(np.frombuffer(raw[0], np.uint8) != np.frombuffer(raw[1], np.uint8)) < 0.001


def test_experts_are_encoded_each_by_its_own_tokens(verdant, build, folder, saved, tmp_path):
    need_peer()
    from test_encode import encode
    encode = encode.__wrapped__(build)
    quantized(verdant, folder, tmp_path / "q.gguf", "--imatrix", saved("moe"), "--quant", "Q4_0",
              "--pure", model="moe")
    old, found = values(folder / "moe.gguf"), read_gguf(saved("moe"))
    for t in GGUFReader(tmp_path / "q.gguf").tensors:
        if "_exps" in t.name and t.tensor_type == 2:
            for e, w in enumerate(means(*found[t.name])):
                assert np.array_equal(t.data[e], encode(2, old[t.name][e], w.astype(np.float32)))


def test_a_text_and_its_file_give_the_same(verdant, folder, tmp_path):
    """Saved while a model is made, the file is of the layers as they were made."""
    first, again = tmp_path / "a.gguf", tmp_path / "b.gguf"
    quantized(verdant, folder, first, "--quant", "Q4_0", "--calib", folder / "calib.txt", *TEXT,
              "--save-imatrix", tmp_path / "i.gguf")
    quantized(verdant, folder, again, "--quant", "Q4_0", "--imatrix", tmp_path / "i.gguf")
    assert first.read_bytes() == again.read_bytes()


def test_embeddings_that_serve_as_output_are_encoded_by_what_that_reads(
        verdant, build, folder, saved, tmp_path):
    need_peer()
    from test_encode import encode
    quantized(verdant, folder, tmp_path / "a.gguf", "--quant", "IQ4_NL", "--pure", "--calib",
              folder / "calib.txt", *TEXT, model="tied")
    got = {t.name: t.data for t in GGUFReader(tmp_path / "a.gguf").tensors}
    w = means(*read_gguf(saved("tied"))["token_embd.weight"])[0].astype(np.float32)
    old = values(folder / "tied.gguf")["token_embd.weight"]
    assert np.array_equal(got["token_embd.weight"], encode.__wrapped__(build)(20, old, w))


def test_wanda_needs_no_more_than_a_file(verdant, folder, saved, tmp_path):
    old, found = values(folder / "tiny.gguf"), read_gguf(saved())
    quantized(verdant, folder, tmp_path / "w.gguf", "--prune", "wanda:0.5", "--imatrix", saved())
    new = values(tmp_path / "w.gguf")
    del found["output.weight"]  # never pruned
    for name, (sums, _) in found.items():
        score = np.abs(old[name]) * np.sqrt(sums[0])
        gone = score < np.median(score, axis=1, keepdims=True)
        assert np.mean((new[name] == 0) != gone) < 0.001, name


def test_llama_cpp_quantizes_with_the_file(folder, saved, tmp_path):
    """As its command does: sums over counts, handed to llama_model_quantize, which checks sizes."""
    need_peer()
    mean = {name: means(*found) for name, found in read_gguf(saved()).items()}
    for name, imatrix in ("plain", None), ("weighted", mean):
        llama_cpp.quantize(folder / "tiny.gguf", tmp_path / name, "Q4_K_M", pure=True,
                           imatrix=imatrix)
    old, lost = values(folder / "tiny.gguf"), {}
    for kind in "plain", "weighted":
        new = values(tmp_path / kind)
        lost[kind] = sum(np.sum(mean[n] * (new[n] - old[n]) ** 2) for n in mean)
    assert lost["weighted"] < lost["plain"]


# ---- files that are no good ----------------------------------------------------------------------


def refuse(verdant, folder, tmp_path, path, says, code=1):
    before = sorted(p.name for p in tmp_path.iterdir())
    done = verdant("compress", folder / "tiny.gguf", "-o", tmp_path / "x.gguf", "--quant", "Q4_0",
                   "--imatrix", path)
    assert done.returncode == code and says in done.stderr, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


Q = "blk.0.attn_q.weight"


@pytest.mark.parametrize("entries, says", [
    ({Q: [np.nan] * N_EMBD}, "nan"),
    ({Q: [np.inf] * N_EMBD}, "inf"),
    ({Q: [-1.0] * N_EMBD}, "-1"),
    ({Q: [1.0] * 100}, "another model"),
    ({"blk.9.attn_q.weight": [1.0] * N_EMBD}, "knows none"),
    ({}, "entries"),
])
def test_a_dat_that_cannot_be_is_said(verdant, folder, tmp_path, entries, says):
    write_dat(tmp_path / "i.dat", entries)
    refuse(verdant, folder, tmp_path, tmp_path / "i.dat", says)


def test_a_file_cut_anywhere_is_said(verdant, folder, saved, tmp_path):
    for form in "gguf", "dat":
        raw = saved(form=form).read_bytes()
        for part in 0, 3, 40, len(raw) // 2:
            (tmp_path / "cut").write_bytes(raw[:part])
            refuse(verdant, folder, tmp_path, tmp_path / "cut", "")
    refuse(verdant, folder, tmp_path, tmp_path / "none", "none")
    refuse(verdant, folder, tmp_path, folder / "tiny.gguf", "general.type")
    refuse(verdant, folder, tmp_path, folder / "calib.txt", "no importance file")


def write_gguf(path, tensors):
    writer = GGUFWriter(path, "none")
    writer.add_type("imatrix")
    for name, x in tensors.items():
        writer.add_tensor(name, np.asarray(x, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("tensors, says", [
    ({Q + ".in_sum2": np.ones((1, N_EMBD))}, "counts"),
    ({Q + ".in_sum2": np.ones((1, N_EMBD)), Q + ".counts": np.ones((2, 1))}, "counts"),
    ({Q + ".in_sum2": np.ones((2, N_EMBD)), Q + ".counts": np.ones((2, 1))}, "another model"),
    ({Q + ".in_sum2": np.ones((1, N_EMBD)), Q + ".counts": [[np.nan]]}, "nan"),
    ({"x": [1.0]}, "entries"),
])
def test_a_gguf_that_cannot_be_is_said(verdant, folder, tmp_path, tensors, says):
    write_gguf(tmp_path / "i.gguf", tensors)
    refuse(verdant, folder, tmp_path, tmp_path / "i.gguf", says)


def test_no_counts_mean_that_all_count_alike(verdant, folder, tmp_path):
    zero = {Q + ".in_sum2": np.zeros((1, N_EMBD)), Q + ".counts": np.zeros((1, 1))}
    one = {Q + ".in_sum2": np.full((1, N_EMBD), 7), Q + ".counts": np.full((1, 1), 7)}
    raw = []
    for name, tensors in ("a", zero), ("b", one):
        write_gguf(tmp_path / name, tensors)
        quantized(verdant, folder, tmp_path / "q.gguf", "--imatrix", tmp_path / name, "--quant",
                  "Q4_0")
        raw.append((tmp_path / "q.gguf").read_bytes())
    assert raw[0] == raw[1]


@pytest.mark.parametrize("options, says", [
    (["--save-imatrix", "i"], "--calib"),
    (["--save-imatrix", "i", "--calib", "t", "--quant", "Q4_0"], "-o"),
    (["-o", "x", "--quant", "Q4_0", "--calib", "t", "--imatrix", "i"], "not both"),
    (["-o", "x", "--prune", "obs:0.5", "--imatrix", "i"], "--calib"),
    (["-o", "x", "--clip", "1", "--imatrix", "i"], "nothing here"),
])
def test_what_makes_no_sense_is_misuse(verdant, folder, options, says):
    done = verdant("compress", folder / "tiny.gguf", *options)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_the_model_is_not_written_over(verdant, folder):
    done = verdant("compress", folder / "tiny.gguf", "--calib", folder / "calib.txt",
                   "--save-imatrix", folder / "tiny.gguf", *TEXT)
    assert done.returncode == 1 and "model itself" in done.stderr


def test_a_folder_that_is_not_there_is_said(verdant, folder, tmp_path):
    for form in "gguf", "dat":
        done = verdant("compress", folder / "tiny.gguf", "--calib", folder / "calib.txt",
                       "--save-imatrix", tmp_path / "none" / f"i.{form}", *TEXT)
        assert done.returncode == 1 and "none" in done.stderr
