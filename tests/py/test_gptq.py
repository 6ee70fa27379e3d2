"""GPTQ for the block types of GGUF: against the paper's sweep in NumPy over a grid that is read
from encoded rows without knowing their layout (all codes of a row the same, decoded), and on whole
models, alone and with pruning."""
import ctypes
import json

import activations
import numpy as np
import pytest
from gguf import GGUFReader, quants
from oracles import llama_cpp, numpy_forward, tiny_model
from test_compress_calib import CHUNKS, CTX, EPS, WORDS, chunks_of, values
from test_obs import layer

# number, values and bytes of a block; where the bits of codes lie: bytes, lowest bit, how many bits
# there (repeated through a byte).
TYPES = {
    "Q4_0": (2, 32, 18, [(2, 18, 0, 4)]), "Q4_1": (3, 32, 20, [(4, 20, 0, 4)]),
    "Q5_0": (6, 32, 22, [(6, 22, 0, 4), (2, 6, 4, 1)]),
    "Q5_1": (7, 32, 24, [(8, 24, 0, 4), (4, 8, 4, 1)]), "Q8_0": (8, 32, 34, [(2, 34, 0, 8)]),
    "Q2_K": (10, 256, 84, [(16, 80, 0, 2)]),
    "Q3_K": (11, 256, 110, [(32, 96, 0, 2), (0, 32, 2, 1)]),
    "Q4_K": (12, 256, 144, [(16, 144, 0, 4)]),
    "Q5_K": (13, 256, 176, [(48, 176, 0, 4), (16, 48, 4, 1)]),
    "Q6_K": (14, 256, 210, [(0, 128, 0, 4), (128, 192, 4, 2)]),
    "IQ4_NL": (20, 32, 18, [(2, 18, 0, 4)]), "IQ4_XS": (23, 256, 136, [(8, 136, 0, 4)]),
    "MXFP4": (39, 32, 17, [(1, 17, 0, 4)]), "TQ2_0": (35, 256, 66, [(0, 64, 0, 2)]),
    "Q1_0": (41, 128, 18, [(2, 18, 0, 1)]), "Q2_0": (42, 64, 18, [(2, 18, 0, 2)]),
    "TQ1_0": (34, 256, 54, None),
}
# Code books: number, values and bytes of a block; values of a scale; where points and signs lie:
# bytes, and which of their bits are the scales'; which values a wrong sign may fall on.
BOOKS = {
    "IQ3_S": (21, 256, 110, 32, [(2, 106, 0)], "free"),
    "IQ3_XXS": (18, 256, 98, 32, [(2, 66, 0), (66, 98, 0xf0000000)], "even"),
    "IQ2_S": (22, 256, 82, 16, [(2, 74, 0)], "free"),
    "IQ2_XS": (17, 256, 74, 16, [(2, 66, 0)], "even"),
    "IQ2_XXS": (16, 256, 66, 32, [(2, 66, 0xf000000000000000)], "even"),
    "IQ1_M": (29, 256, 56, 16, [(0, 48, 0)], "shift"),
    "IQ1_S": (19, 256, 50, 32, [(2, 34, 0), (34, 50, 0xf000)], "shift of a scale"),
}
UNUSED = {"Q8_0": 128, "TQ2_0": 3}  # a code that encoders do not write


def at(a):
    return a.ctypes.data_as(ctypes.c_void_p)


@pytest.fixture(scope="module")
def shim(build):
    library = ctypes.CDLL(str(build / "tests" / "libverdant_shim.so"))
    library.test_gptq.restype = ctypes.c_char_p
    return library


def decode(shim, kind, raw):
    number, block, size, *_ = (TYPES | BOOKS)[kind]
    raw = np.ascontiguousarray(raw, np.uint8)
    out = np.zeros((len(raw), raw.shape[1] // size * block), np.float32)
    shim.test_decode(number, at(raw), at(out), ctypes.c_size_t(out.size))
    return out


def levels(shim, kind, raw):
    """[codes, rows, columns]: what each column could be."""
    _, _, size, fields = TYPES[kind]
    blocks = raw.reshape(-1, size)
    found = []
    if fields is None:  # TQ1_0: five digits to the base 3 in a byte, four in the last ones
        for digit in range(3):
            five, four = digit * 121, digit * 120
            blocks = blocks.copy()
            blocks[:, :48], blocks[:, 48:52] = -(-five * 256 // 243), -(-four * 256 // 243)
            found.append(decode(shim, kind, blocks.reshape(raw.shape)))
        return np.array(found)
    for code in range(1 << sum(bits for *_, bits in fields)):
        if code == UNUSED.get(kind):
            continue
        blocks = blocks.copy()
        for first, end, low, bits in fields:
            part = code >> low & ((1 << bits) - 1)
            blocks[:, first:end] = sum(part << i for i in range(0, 8, bits))
        found.append(decode(shim, kind, blocks.reshape(raw.shape)))
    return np.array(found)


def encode(shim, kind, x, w):
    number, block, size, *_ = (TYPES | BOOKS)[kind]
    raw = np.zeros((len(w), w.shape[1] // block * size), np.uint8)
    mean = np.ascontiguousarray(np.broadcast_to(np.mean(x * x, axis=0), w.shape), np.float32)
    narrow = np.ascontiguousarray(w, np.float32)
    shim.test_encode(number, at(narrow), at(mean), at(raw), ctypes.c_size_t(w.size))
    return raw


def gptq(shim, kind, x, w, by_size=False, keep_zeros=False):
    number, block, size, *_ = (TYPES | BOOKS)[kind]
    w, x = np.array(w, np.float64, order="C"), np.ascontiguousarray(x, np.float64)
    raw = np.zeros((len(w), w.shape[1] // block * size), np.uint8)
    said = shim.test_gptq(at(x), ctypes.c_size_t(len(x)), at(w), ctypes.c_size_t(len(w)),
                          ctypes.c_size_t(w.shape[1]), ctypes.c_uint32(number), by_size,
                          keep_zeros, at(raw))
    assert said == b"", said
    return w, raw


def sweep(x, w, grid, by_size=False, zero=None, damping=0.01):
    """Frantar et al. 2022, column after column; grid[codes, rows, columns] of the original ones."""
    n = w.shape[1]
    h = x.T @ x
    order = np.argsort(-np.diag(h), kind="stable") if by_size else np.arange(n)
    h, w, grid = h[np.ix_(order, order)], w[:, order].copy(), grid[:, :, order]
    h += damping * np.mean(np.diag(h)) * np.eye(n)
    u = np.linalg.cholesky(np.linalg.inv(h)).T
    for j in range(n):
        wanted = w[:, j] if zero is None else np.where(zero[:, order[j]], 0, w[:, j])
        code = np.argmin(np.abs(grid[:, :, j] - wanted), axis=0)
        new = grid[code, np.arange(len(w)), j].astype(np.float64)
        w[:, j + 1:] -= np.outer((w[:, j] - new) / u[j, j], u[j, j + 1:])
        w[:, j] = new
    out = np.empty_like(w)
    out[:, order] = w
    return out


def points_of(kind):
    """[points, values of a point], as PyPI's `gguf` has them; IQ1 all with either shift."""
    book = getattr(quants, kind if kind != "IQ1_M" else "IQ1_S")
    book.init_grid()
    points = book.grid.reshape(-1, book.grid.shape[-1]).astype(np.float64)
    return np.concatenate([points + 0.125, points - 0.125]) if kind == "IQ1_M" else points


def scales(shim, kind, raw):
    """[rows, columns] by what point 0 means: all other bits are cleared. And IQ1_S's shifts."""
    _, _, size, _, fields, signs = BOOKS[kind]
    blocks = raw.reshape(-1, size).copy()
    for first, end, mask in fields:
        width = max((mask.bit_length() + 7) // 8, 1)
        words = blocks[:, first:end].copy().view(f"<u{width}") & mask
        blocks[:, first:end] = words.view(np.uint8)
    decoded = decode(shim, kind, blocks.reshape(raw.shape)).astype(np.float64)
    zero = points_of(kind)[0]
    if signs == "shift of a scale":  # (-1 +- 1/8) d of all points' least coordinate
        assert np.all(zero == -1)
        down = blocks.reshape(len(raw), -1, size)[:, :, 35::2] & 0x80
        shift = np.repeat(np.where(down, -0.125, 0.125).reshape(len(raw), -1), 32, axis=1)
        return decoded / (shift - 1), shift
    return decoded / np.tile(zero, raw.shape[1] // size * 256 // len(zero)), None


def best_point(points, w, weight, signs):
    """Of [rows, 8] in units of the scale: the points nearest to them, by [8] weights."""
    if "shift" in signs:
        off = np.einsum("rpi,i->rp", (w[:, None] - points) ** 2, weight)
        return points[np.argmin(off, axis=1)]
    size, n = np.abs(w), points.shape[1]
    sign, out = np.where(w < 0, -1.0, 1.0), np.empty_like(w)
    odd = np.prod(sign, axis=1) < 0 if signs == "even" else np.zeros(len(w), bool)
    for row in range(len(w)):
        ways = []
        for wrong in range(8) if odd[row] else [None]:
            x = size[row].copy()
            if wrong is not None:
                x[wrong] *= -1
            parts = [np.argmin(((x[i:i + n] - points) ** 2) @ weight[i:i + n])
                     for i in range(0, 8, n)]
            found = np.concatenate([points[k] for k in parts])
            ways.append((np.sum(weight * (x - found) ** 2), wrong, found))
        _, wrong, found = min(ways, key=lambda way: way[0])
        out[row] = found * sign[row]
        if wrong is not None:
            out[row, wrong] *= -1
    return out


@pytest.mark.parametrize("by_size", [False, True])
@pytest.mark.parametrize("kind", BOOKS)
def test_points_of_code_books_are_chosen_for_eight_columns(shim, kind, by_size):
    """As column by column, but that eight are settled together."""
    x, w = layer(15, n=512, n_rows=6, t=1500)
    ours, raw = gptq(shim, kind, x, w, by_size)
    before = encode(shim, kind, x, w)
    scale, shift = scales(shim, kind, before)
    np.testing.assert_array_equal(scales(shim, kind, raw)[0], scale)
    assert np.array_equal(decode(shim, kind, raw), ours)  # to the bit
    h, points, v = x.T @ x, points_of(kind), w.copy()
    eights = np.arange(512).reshape(-1, 8)
    if by_size:
        eights = eights[np.argsort(-np.diag(h).reshape(-1, 8).sum(axis=1), kind="stable")]
    order = eights.ravel()
    h, v, scale = h[np.ix_(order, order)], v[:, order], scale[:, order]
    shift = 0 if shift is None else shift[:, order]
    u = np.linalg.cholesky(np.linalg.inv(h + 0.01 * np.mean(np.diag(h)) * np.eye(512))).T
    for j in range(0, 512, 8):
        wanted = v[:, j:j + 8] / scale[:, j:j + 8]
        own = shift[:, j:j + 8] if "scale" in BOOKS[kind][5] else 0
        new = best_point(points, wanted - own, np.diag(u)[j:j + 8] ** -2, BOOKS[kind][5]) + own
        for i in range(j, j + 8):
            value = new[:, i - j] * scale[:, i]
            v[:, i + 1:] -= np.outer((v[:, i] - value) / u[i, i], u[i, i + 1:])
            v[:, i] = value
    wrong = np.any(np.abs(ours[:, order] - v) > 1e-5 * np.max(np.abs(w)), axis=1)
    assert np.mean(wrong) <= 0.2, kind  # ours compares in f32: a tie may fall the other way
    lost = [np.linalg.norm(x @ (w - q).T) for q in (ours, decode(shim, kind, before))]
    assert lost[0] < 0.9 * lost[1], lost


@pytest.mark.parametrize("by_size", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_codes_are_the_papers(shim, kind, by_size):
    x, w = layer(11, n=256, n_rows=32, t=1024)
    ours, raw = gptq(shim, kind, x, w, by_size)
    before = encode(shim, kind, x, w)
    grid = levels(shim, kind, before)
    np.testing.assert_array_equal(levels(shim, kind, raw), grid)  # the scales stay
    assert np.array_equal(decode(shim, kind, raw), ours)  # to the bit
    theirs = sweep(x, w, grid, by_size)
    wrong = np.any(np.abs(ours - theirs) > 1e-5 * np.max(np.abs(w)), axis=1)
    assert np.mean(wrong) < 0.05, kind  # a tie may fall the other way and take its row along
    lost = [np.linalg.norm(x @ (w - v).T) for v in (ours, decode(shim, kind, before))]
    assert lost[0] < lost[1] or kind == "Q1_0", lost


def test_a_layer_of_256_by_256_is_the_papers(shim):
    x, w = layer(12)
    ours, raw = gptq(shim, "Q4_K", x, w, by_size=True)
    theirs = sweep(x, w, levels(shim, "Q4_K", encode(shim, "Q4_K", x, w)), by_size=True)
    assert np.max(np.abs(ours - theirs)) <= 1e-5 * np.max(np.abs(w))
    assert np.array_equal(decode(shim, "Q4_K", raw), ours)


@pytest.mark.parametrize("kind", ["Q4_0", "Q3_K", "IQ4_NL", "Q4_K"])
def test_zeros_stay_where_the_type_has_one(shim, kind):
    x, w = layer(13, n=256, n_rows=16)
    w[np.random.default_rng(1).random(w.shape) < 0.5] = 0
    ours, raw = gptq(shim, kind, x, w, by_size=True, keep_zeros=True)
    grid = levels(shim, kind, encode(shim, kind, x, w))
    exact = np.any(grid == 0, axis=0)
    assert np.all(ours[(w == 0) & exact] == 0)
    if kind in ("Q4_0", "Q3_K"):
        assert np.all(exact)
    theirs = sweep(x, w, grid, by_size=True, zero=w == 0)
    assert np.max(np.abs(ours - theirs)) <= 1e-5 * np.max(np.abs(w))


@pytest.mark.parametrize("kind", TYPES | BOOKS)
def test_rows_of_zeros_stay_what_they_are(shim, kind):
    x, _ = layer(14, n=256, n_rows=1, t=300)
    ours, raw = gptq(shim, kind, x, np.zeros((3, 256)))
    assert np.all(ours == 0) and np.all(decode(shim, kind, raw) == 0)


# ---- whole models --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = tmp_path_factory.mktemp("gptq")
    tiny_model.write_model(path / "tiny.gguf", seed=5, vocab="bpe", n_embd=64, n_ff=96, n_layer=2,
                           n_ctx=256)
    tiny_model.write_model(path / "tied.gguf", seed=6, vocab="bpe", n_embd=64, n_ff=96, n_layer=2,
                           n_ctx=256, tied=True)
    tiny_model.write_model(path / "moe.gguf", arch="qwen3moe", seed=4, vocab="bpe", n_ctx=256)
    words = np.random.default_rng(2).choice(WORDS, 4000)
    (path / "calib.txt").write_text(" ".join(words))
    return path


def compress(verdant, models, target, *options, model="tiny"):
    done = verdant("compress", models / f"{model}.gguf", "-o", target, "--calib",
                   models / "calib.txt", "--calib-ctx", 32, "--calib-chunks", 40, "--json",
                   *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_is_rounded_and_loads(verdant, models, tmp_path):
    told = compress(verdant, models, tmp_path / "q.gguf", "--quant", "Q4_0", "--pure", "--gptq")
    assert told["tensors_gptq"] == 15 and told["damping"] == 0.01 and told["diagonal_only"] == 0
    plain = compress(verdant, models, tmp_path / "p.gguf", "--quant", "Q4_0", "--pure")
    assert plain["tensors_weighted"] == told["tensors_weighted"] and "tensors_gptq" not in plain
    assert plain["file_bytes_after"] == told["file_bytes_after"]
    kl = [json.loads(verdant("eval", tmp_path / f, "--against", models / "tiny.gguf", "--text",
                             models / "calib.txt", "--ctx", 64, "--chunks", 20, "--json").stdout)
          ["kl_mean"] for f in ("q.gguf", "p.gguf")]
    assert kl[0] < kl[1], kl


def output_reads(verdant, build, path, text, folder):
    """[tokens, n_embd] of the model as it is."""
    weights = values(path)
    chunks = chunks_of(verdant, path, text)
    x = activations.run(build, path, [i for c in chunks for i in c], folder / "s.npz", 2, 64, 0,
                        chunk=CTX, n_seq=CHUNKS)["stream"][4].astype(np.float64)
    return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + EPS) * weights["output_norm.weight"]


@pytest.mark.parametrize("model, name, damping", [
    ("tiny", "output.weight", 0.01),
    # As embeddings it is read in all directions alike, a fifth as much: and 1 % of all that.
    ("tied", "token_embd.weight", 0.2 + 0.01 * 1.2)])
def test_the_output_matrix_is_rounded_by_what_it_reads(verdant, build, shim, models, tmp_path,
                                                       model, name, damping):
    told = json.loads(verdant("compress", models / f"{model}.gguf", "-o", tmp_path / "q.gguf",
                              "--calib", models / "calib.txt", "--calib-ctx", CTX,
                              "--calib-chunks", CHUNKS, "--json", "--tensor-type",
                              f"^{name}=IQ4_NL", "--gptq").stdout)
    assert told["tensors_gptq"] == 1
    x = output_reads(verdant, build, models / f"{model}.gguf", models / "calib.txt", tmp_path)
    old = values(models / f"{model}.gguf")[name]
    new = next(t.data for t in GGUFReader(tmp_path / "q.gguf").tensors if t.name == name)
    before = encode(shim, "IQ4_NL", x, old)
    grid = levels(shim, "IQ4_NL", before)
    assert np.mean(np.any(levels(shim, "IQ4_NL", new) != grid, axis=(0, 2))) < 0.02
    theirs, ours = sweep(x, old, grid, True, damping=damping), decode(shim, "IQ4_NL", new)
    wrong = np.any(np.abs(ours - theirs) > 1e-5 * np.max(np.abs(old)), axis=1)
    assert np.mean(wrong) < 0.1  # x is of another program: a tie may fall the other way
    lost = [np.linalg.norm(x @ (old - w).T) for w in (ours, decode(shim, "IQ4_NL", before))]
    assert lost[0] < 0.9 * lost[1], lost


def test_layers_are_computed_with_the_embeddings_that_the_file_has(verdant, models, tmp_path):
    """Made in two steps, embeddings first, they are the same to the bit."""
    embed = ["--tensor-type", "token_embd.weight=Q4_0"]
    compress(verdant, models, tmp_path / "a.gguf", *embed, "--tensor-type", "blk=Q4_0", "--gptq",
             model="tied")
    compress(verdant, models, tmp_path / "b.gguf", *embed, "--gptq", model="tied")
    done = verdant("compress", tmp_path / "b.gguf", "-o", tmp_path / "c.gguf", "--tensor-type",
                   "blk=Q4_0", "--gptq", "--calib", models / "calib.txt", "--calib-ctx", 32,
                   "--calib-chunks", 40)
    assert done.returncode == 0, done.stderr
    one, two = ({t.name: t.data for t in GGUFReader(tmp_path / f).tensors}
                for f in ("a.gguf", "c.gguf"))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_experts_are_left_to_the_search(verdant, models, tmp_path):
    told = compress(verdant, models, tmp_path / "q.gguf", "--quant", "Q4_0", "--pure", "--gptq",
                    model="moe")
    plain = compress(verdant, models, tmp_path / "p.gguf", "--quant", "Q4_0", "--pure",
                     model="moe")
    dense = [n for n in values(models / "moe.gguf") if n.startswith("blk.") and ".attn_" in n
             and "norm" not in n]
    assert told["tensors_gptq"] == len(dense) + 1  # and the output
    assert told["tensors_weighted"] == plain["tensors_weighted"] > len(dense)


def test_types_without_a_grid_are_left_to_the_search(verdant, models, tmp_path):
    told = compress(verdant, models, tmp_path / "q.gguf", "--quant", "F16", "--gptq")
    assert told["tensors_gptq"] == 0


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_1", "IQ4_NL", "Q8_0"])
def test_llama_cpp_computes_the_same_with_it(verdant, models, tmp_path, kind):
    """Its products round activations to 8 bits: the same weights as F32 say what it means."""
    if llama_cpp.find_libraries() is None:
        pytest.skip("llama.cpp is not here: tests/peer/get_peer.sh")
    target, wide = tmp_path / "q.gguf", tmp_path / "wide.gguf"
    compress(verdant, models, target, "--quant", kind, "--pure", "--gptq", "--awq", "auto")
    assert verdant("compress", target, "-o", wide, "--quant", "F32").returncode == 0
    ids = tiny_model.random_ids(3, 40, 300)
    with llama_cpp.Peer(target, n_ctx=64, threads=1) as peer:
        theirs = peer.logits(ids)
    with llama_cpp.Peer(wide, n_ctx=64, threads=1) as peer:
        exact = peer.logits(ids)
    whole = numpy_forward.Model(wide).logits(ids)
    assert np.abs(exact - whole).max() < 1e-3 * np.abs(whole).max()
    assert np.abs(theirs - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("what", ["obs:0.5", "sparsegpt:2:4", "magnitude:0.5"])
def test_what_was_pruned_stays_pruned(verdant, models, tmp_path, what):
    told = compress(verdant, models, tmp_path / "q.gguf", "--quant", "Q4_0", "--pure", "--gptq",
                    "--prune", what)
    assert told["sparsity_edited"] >= 0.49 and told["tensors_gptq"] == 15
    for t in GGUFReader(tmp_path / "q.gguf").tensors:
        x = values(tmp_path / "q.gguf")[t.name]
        if t.name.startswith("blk.") and x.ndim == 2:
            assert np.mean(x == 0) >= 0.49, t.name


@pytest.mark.parametrize("options, says", [
    (["--quant", "Q4_0", "--gptq"], "--calib"),
    (["--prune", "obs:0.5", "--gptq", "--calib", "x"], "--quant"),
])
def test_what_makes_no_sense_is_misuse(verdant, models, tmp_path, options, says):
    done = verdant("compress", models / "tiny.gguf", "-o", tmp_path / "x", *options)
    assert done.returncode == 2 and says in done.stderr


def test_an_output_that_reads_what_no_square_holds_is_named(verdant, models, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes((models / "tiny.gguf").read_bytes())
    norm = next(t for t in GGUFReader(broken, "r+").tensors if t.name == "output_norm.weight")
    norm.data[3] = 1e30
    norm.data.flush()
    done = verdant("compress", broken, "-o", tmp_path / "x", "--quant", "Q4_0", "--gptq",
                   "--calib", models / "calib.txt", "--calib-ctx", 32)
    assert done.returncode == 1 and "tensor output.weight" in done.stderr
    assert not (tmp_path / "x").exists()
