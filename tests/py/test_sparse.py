"""Sparse weights: many zeros in a dense file take fewer bytes and leave the answers as they are."""
import json

import numpy as np
import oracles
import pytest
from gguf import GGUFReader
from oracles import llama_cpp, tiny_model

LEVELS = ["avx2", "avx512", "avx512-vbmi2", "avx512-bf16"]
IDS = [int(i) for i in np.random.default_rng(3).integers(3, 300, 70)]


@pytest.fixture(scope="module")
def pruned(verdant, tmp_path_factory):
    """pruned(keep): a model whose matrices keep so much, in Q8_0."""
    folder, made = tmp_path_factory.mktemp("sparse"), {}
    dense = folder / "dense.gguf"
    tiny_model.write_model(dense, seed=5, n_embd=256, n_ff=512, n_layer=2)

    def make(keep):
        if keep not in made:
            made[keep] = folder / f"{keep.replace(':', '-')}.gguf"
            done = verdant("compress", dense, "-o", made[keep], "--prune", f"magnitude:{keep}",
                           "--quant", "Q8_0")
            assert done.returncode == 0, done.stderr
        return made[keep]

    return make


@pytest.fixture(scope="module")
def levels(verdant):
    report = json.loads(verdant("doctor", "--quick", "--json").stdout)
    return {level["name"] for level in report["kernels"]["levels"] if level["runs"]}


def weight_bytes(verdant, path, sparse, level=None):
    env = {"VERDANT_SPARSE": sparse} | ({"VERDANT_CPU": level} if level else {})
    done = verdant("bench", path, "-p", "4", "-n", "2", "-r", "1", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["weight_bytes"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n_tokens", [1, 2, 9, 70])
def test_logits_have_the_bits_of_the_dense_form(verdant, pruned, levels, tmp_path, level, n_tokens):
    if level not in levels:
        pytest.skip(f"this machine lacks {level}")
    made = []
    for sparse in ("off", "1"):
        out = tmp_path / f"{sparse}.bin"
        ids = ",".join(map(str, IDS[:n_tokens]))
        done = verdant("logits", pruned("0.5"), "--ids", ids, "-o", out,
                       env={"VERDANT_CPU": level, "VERDANT_SPARSE": sparse})
        assert done.returncode == 0, done.stderr
        made.append(out.read_bytes())
    assert made[0] == made[1]
    assert np.isfinite(np.frombuffer(made[0], "<f4")).all()


def test_the_sparse_form_takes_what_its_values_take(verdant, pruned, levels):
    if "avx2" not in levels:
        pytest.skip("no level here has packed products")
    keeps = ["0.3", "0.5", "2:4", "0.9"]
    dense = {weight_bytes(verdant, pruned(keep), "off") for keep in keeps}
    assert len(dense) == 1
    n = 2 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512)  # weights of the layers
    for keep, share in zip(keeps, (0.3, 0.5, 0.5, 0.9)):
        saved = min(dense) - weight_bytes(verdant, pruned(keep), "1")
        want = n * (8 - 1 - 8 * share) / 8
        assert abs(saved - want) < 0.02 * n  # padding, and small weights that round to zero


def test_a_level_takes_the_sparse_form_only_where_it_is_quicker(verdant, pruned, levels):
    if "avx512-vbmi2" not in levels:
        pytest.skip("this machine lacks avx512-vbmi2")
    off = weight_bytes(verdant, pruned("0.5"), "off", "avx512-vbmi2")
    assert weight_bytes(verdant, pruned("0.5"), "", "avx512-vbmi2") < 0.75 * off
    assert weight_bytes(verdant, pruned("0.9"), "", "avx512-vbmi2") == off
    assert weight_bytes(verdant, pruned("0.5"), "0.3", "avx512-vbmi2") == off


# ---- files -----------------------------------------------------------------------------------

MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
SPARSE = [f"blk.{i}.{name}.weight" for i in range(2) for name in MATRICES]


@pytest.fixture(scope="module")
def stored(verdant, pruned, tmp_path_factory):
    """The model of keep 0.5 with its matrices sparse in the file."""
    path = tmp_path_factory.mktemp("stored") / "sparse.gguf"
    done = verdant("compress", pruned("0.5"), "-o", path, "--sparse", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["tensors_sparse"] == len(SPARSE)
    assert result["file_bytes_after"] == path.stat().st_size
    return path


def rows_by_numpy(blob, n_cols, n_rows):
    """docs/sparse.md, once more: int8 [n_rows, n_cols] and f16 [n_rows, n_cols / 32]."""
    n_groups, n_blocks = -(-n_rows // 16), n_cols // 32
    index = np.frombuffer(blob, "<u4", n_groups + 1).astype(int) * 64
    q = np.zeros((n_groups * 16, n_cols), np.int8)
    d = np.zeros((n_groups * 16, n_blocks), "<f2")
    for g in range(n_groups):
        at = index[g]
        for b in range(n_blocks):
            bits = np.unpackbits(np.frombuffer(blob, np.uint8, 64, at), bitorder="little")
            d[16 * g:16 * g + 16, b] = np.frombuffer(blob, "<f2", 16, at + 64)
            values = np.zeros(512, np.int8)
            n = int(bits.sum())
            some = np.frombuffer(blob, np.uint8, n, at + 96).astype(int) - 128
            values[np.flatnonzero(bits)] = some
            block = values.reshape(8, 16, 4).transpose(1, 0, 2).reshape(16, 32)
            q[16 * g:16 * g + 16, 32 * b:32 * b + 32] = block
            at += 96 + n
        assert -(-at // 64) * 64 == index[g + 1]
    return q[:n_rows], d[:n_rows]


def test_the_file_holds_what_its_description_says(pruned, stored):
    dense = {t.name: t for t in GGUFReader(pruned("0.5")).tensors}
    sparse = GGUFReader(stored)
    names = [str(bytes(sparse.fields["verdant.sparse.tensors"].parts[i]), "utf-8")
             for i in sparse.fields["verdant.sparse.tensors"].data]
    shapes = np.array([int(sparse.fields["verdant.sparse.shapes"].parts[i][0])
                       for i in sparse.fields["verdant.sparse.shapes"].data]).reshape(-1, 4)
    assert sorted(names) == sorted(SPARSE)
    tensors = {t.name: t for t in sparse.tensors}
    for name, shape in zip(names, shapes):
        assert name not in tensors
        t = tensors[name + ".sparse"]
        n_index = 4 * (int(shape[1]) // 16 + 1)
        assert not t.data[n_index:-(-n_index // 64) * 64].any()
        assert t.tensor_type.name == "I8" and t.data.ndim == 1
        assert list(shape) == [*map(int, dense[name].shape), 1, 1]
        q, d = rows_by_numpy(t.data.tobytes(), int(shape[0]), int(shape[1]))
        blocks = dense[name].data.reshape(int(shape[1]), -1, 34)
        assert (q == blocks[:, :, 2:].view(np.int8).reshape(q.shape)).all()
        assert (d.view("<u2") == blocks[:, :, :2].copy().view("<u2")[:, :, 0]).all()
    for name in set(tensors) - {n + ".sparse" for n in names}:
        assert (tensors[name].data == dense[name].data).all()


@pytest.mark.parametrize("env", [{}, {"VERDANT_SPARSE": "off"}, {"VERDANT_CPU": "c"},
                                 {"VERDANT_CPU": "avx2"}, {"VERDANT_CPU": "avx512"}])
@pytest.mark.parametrize("options", [(), ("--precision", "exact")])
def test_logits_of_the_sparse_file_have_the_bits_of_the_dense_one(
    verdant, pruned, stored, tmp_path, env, options
):
    made = []
    for path in (pruned("0.5"), stored):
        out = tmp_path / "logits.bin"
        done = verdant("logits", path, "--ids", ",".join(map(str, IDS[:40])), "-o", out, *options,
                       env=env)
        assert done.returncode == 0, done.stderr
        made.append(out.read_bytes())
    assert made[0] == made[1]


def test_tied_embeddings_may_be_sparse_in_files_of_others(verdant, levels, tmp_path):
    """Our own files have them dense. The output packs the rows that the input still looks up."""
    dense, sparse = tmp_path / "dense.gguf", tmp_path / "sparse.gguf"
    tiny_model.write_model(dense, seed=5, n_embd=256, n_ff=512, n_layer=1, tied=True, type="Q8_0")
    embed = next(t for t in GGUFReader(dense, "r+").tensors if t.name == "token_embd.weight")
    embed.data.reshape(-1, 34)[:, 2::2] = 0
    embed.data.flush()
    del embed
    other = tmp_path / "other.gguf"
    other.write_bytes(dense.read_bytes().replace(b"token_embd", b"token_embq"))
    done = verdant("compress", other, "-o", sparse, "--sparse")
    assert done.returncode == 0, done.stderr
    blob = sparse.read_bytes()
    assert b"token_embq.weight.sparse" in blob
    sparse.write_bytes(blob.replace(b"token_embq", b"token_embd"))
    for level in sorted(levels & {"c", *LEVELS}):
        made = []
        for path in (dense, sparse):
            out = tmp_path / "logits.bin"
            ids = ",".join(map(str, IDS[:20]))
            done = verdant("logits", path, "--ids", ids, "-o", out,
                           env={"VERDANT_CPU": level, "VERDANT_SPARSE": "off"})
            assert done.returncode == 0, done.stderr
            made.append(out.read_bytes())
        assert made[0] == made[1], level


def test_a_sparse_file_becomes_the_dense_one_again(verdant, pruned, stored, tmp_path):
    again = tmp_path / "again.gguf"
    done = verdant("compress", stored, "-o", again, "--quant", "Q8_0")
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == pruned("0.5").read_bytes()


def test_pruned_and_stored_sparse_at_once(verdant, stored, tmp_path):
    dense, at_once = tmp_path / "dense.gguf", tmp_path / "at_once.gguf"
    tiny_model.write_model(dense, seed=5, n_embd=256, n_ff=512, n_layer=2)
    done = verdant("compress", dense, "-o", at_once, "--prune", "magnitude:0.5", "--quant", "Q8_0",
                   "--sparse")
    assert done.returncode == 0, done.stderr
    assert at_once.read_bytes() == stored.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["at_once.gguf", "dense.gguf"]


def test_show_names_the_sparse_tensors(verdant, stored):
    shown = json.loads(verdant("show", stored, "--tensors", "--json").stdout)
    sparse = {t["name"]: t for t in shown["tensors"] if t["sparse"]}
    assert sorted(sparse) == sorted(SPARSE)
    assert sparse["blk.1.ffn_up.weight"]["dimensions"] == [256, 512]
    assert sparse["blk.1.ffn_up.weight"]["type"] == "Q8_0"
    assert sparse["blk.1.ffn_up.weight"]["bytes"] < 0.7 * 256 * 512


def test_llama_cpp_refuses_the_file(stored):
    oracles.need_peer()
    with pytest.raises(RuntimeError, match="not found|missing tensor"):
        with llama_cpp.Peer(stored, n_ctx=64, threads=1):
            pass


def test_what_cannot_be_sparse_is_refused(verdant, pruned, tmp_path):
    dense, target = tmp_path / "dense.gguf", tmp_path / "out.gguf"
    tiny_model.write_model(dense, seed=5, n_embd=256, n_ff=512, n_layer=1)
    for source, options, message in [
        (dense, ("--sparse",), "no matrix in Q8_0 has zeros enough"),
        (dense, ("--sparse", "--quant", "Q8_0"), "no matrix in Q8_0 has zeros enough"),
    ]:
        done = verdant("compress", source, "-o", target, *options)
        assert done.returncode == 1 and message in done.stderr
    done = verdant("compress", pruned("0.5"), "-o", pruned("0.5"), "--sparse")
    assert done.returncode == 1 and "is the model itself" in done.stderr
    done = verdant("compress", pruned("0.5"), "-o", "/dev/null", "--sparse")
    assert done.returncode == 1 and "no ordinary file" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["dense.gguf"]


def test_the_dense_weights_have_no_name_meanwhile(verdant, pruned, tmp_path):
    """So none is left by a run that is killed, and none is in the way of the next."""
    target = tmp_path / "out.gguf"
    (tmp_path / "out.gguf.dense").write_text("mine")
    done = verdant("compress", pruned("0.5"), "-o", target, "--sparse")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.gguf.dense").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.gguf", "out.gguf.dense"]


def spoiled(stored, tmp_path, change):
    """A copy in which `change` was made to the bytes of blk.0.ffn_up.weight."""
    data = bytearray(stored.read_bytes())
    t = next(t for t in GGUFReader(stored).tensors if t.name == "blk.0.ffn_up.weight.sparse")
    at, n = int(t.data_offset), int(t.n_bytes)
    change(memoryview(data)[at:at + n])
    path = tmp_path / "spoiled.gguf"
    path.write_bytes(data)
    return path


def set_u32(at, value):
    return lambda b: b.__setitem__(slice(at, at + 4), np.uint32(value).tobytes())


INDEX_BYTES = 192  # of 33 groups' numbers

BROKEN = {
    "first group elsewhere": (set_u32(0, 2), "index"),
    "last group elsewhere": (set_u32(4 * 32, 7), "index"),
    "group beyond the end": (set_u32(4 * 5, 0xFFFFFFFF), "rows 64 to 79"),
    "group before its place": (set_u32(4 * 5, 4), "rows 64 to 79"),
    "a bit more in a mask": (lambda b: flip(b, INDEX_BYTES), "rows 0 to 15"),
    "all bits of the last block": (lambda b: fill(b), "rows 496 to 511"),
    "a scale of NaN": (lambda b: b.__setitem__(slice(INDEX_BYTES + 64, INDEX_BYTES + 66),
                                               b"\x01\x7e"), "scale is not finite"),
    "a scale of infinity": (lambda b: b.__setitem__(slice(INDEX_BYTES + 64, INDEX_BYTES + 66),
                                                    b"\x00\xfc"), "scale is not finite"),
}


def flip(b, at):
    """A whole mask set: some thirty values more than there are."""
    b[at:at + 32] = b"\xff" * 32


def fill(b):
    b[len(b) - 64 - 200:len(b) - 64] = b"\xff" * 200
    flip(b, int(np.frombuffer(b, "<u4", 1, 4 * 31)[0]) * 64)


@pytest.mark.parametrize("env", [{}, {"VERDANT_SPARSE": "off"}])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tensor_is_named(verdant, stored, tmp_path, name, env):
    change, message = BROKEN[name]
    path = spoiled(stored, tmp_path, change)
    done = verdant("logits", path, "--ids", "3,4,5", "-o", tmp_path / "l.bin", env=env)
    assert done.returncode == 1
    assert "blk.0.ffn_up.weight" in done.stderr and message in done.stderr, done.stderr
    assert not (tmp_path / "l.bin").exists()
    done = verdant("compress", path, "-o", tmp_path / "out.gguf", "--quant", "Q4_0")
    assert done.returncode == 1 and "blk.0.ffn_up.weight" in done.stderr
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(("old", "new", "message"), [
    (b"verdant.sparse.version", b"verdant.sparse.versioN", "verdant.sparse.version' is 0"),
    (b"verdant.sparse.shapes", b"verdant.sparse.shapeS", "four numbers"),
    (b"blk.1.ffn_up.weight.sparse", b"blk.1.ffn_uq.weight.sparse", "no tensor of this name"),
])
def test_broken_metadata_is_named(verdant, stored, tmp_path, old, new, message):
    data = stored.read_bytes()
    assert data.count(old) == 1
    path = tmp_path / "spoiled.gguf"
    path.write_bytes(data.replace(old, new))
    for command in (("show", path), ("run", path, "x", "-n", "1")):
        done = verdant(*command)
        assert done.returncode == 1 and message in done.stderr, done.stderr


def test_shapes_that_do_not_fit_are_named(verdant, stored, tmp_path):
    field = GGUFReader(stored).fields["verdant.sparse.shapes"]
    at = field.offset + sum(int(p.nbytes) for p in field.parts[:-len(field.data)])
    for value, message in [(0, "no shape"), (-1, "no shape"), (40, "no shape"),
                           (1 << 30, "expected"), (288, "expected")]:
        data = bytearray(stored.read_bytes())
        assert np.frombuffer(data, "<i4", 1, at)[0] == 256
        data[at:at + 4] = np.int32(value).tobytes()
        path = tmp_path / "spoiled.gguf"
        path.write_bytes(data)
        done = verdant("run", path, "x", "-n", "1")
        assert done.returncode == 1 and message in done.stderr, (value, done.stderr)
