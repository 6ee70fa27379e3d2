"""`verdant compress --prune neurons, heads, ...`: parts of a model cut out, by whole small models.

What a matrix reads is recomputed by the NumPy pass over the model with what was cut before it set
to zero; which units go and how the rest makes up for them is written down here from the papers."""
import json
import os
import signal
import subprocess
import time

import numpy as np
import oracles
import pytest
from gguf import GGUFReader
from oracles import llama_cpp, numpy_forward, tiny_model

CTX, CHUNKS = 32, 16
WORDS = ("the of and a to in is you that it he was for on are as with his they at be this have "
         "from or one had by word but not what all were we when your can said there").split()
# Every architecture, and what its files can have: biases, fused matrices, ties.
MODELS = {
    "llama": {},
    "llama-biases": {"arch": "llama", "bias": True, "fused_qkv": True, "tied": True},
    "gemma2": {}, "gemma3": {}, "gpt2": {}, "starcoder2": {"bias": True}, "granite": {},
    "command-r": {},
    "smollm3": {}, "deci": {},
    "phi3": {}, "qwen2": {"tied": True}, "qwen3": {}, "olmo2": {"window": 0},
}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(2)
    path = tmp_path_factory.mktemp("calib") / "calib.txt"
    path.write_text(" ".join(rng.choice(WORDS, 3000)))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """models(name, **more): a file with two layers, KV heads and 96 neurons."""
    folder = tmp_path_factory.mktemp("models")

    def make(name, **more):
        options = {"arch": name, "vocab": "bpe", "seed": 5, "n_ctx": 64, "n_layer": 2,
                   **MODELS.get(name, {}), **more}
        path = folder / ("-".join([name, *map(str, more.values())]) + ".gguf")
        if not path.exists():
            tiny_model.write_model(path, **options)
        return path

    return make


@pytest.fixture
def cut(verdant, text, tmp_path):
    """cut(source, *options): the new file and what was said about it."""

    def run(source, *options):
        target = tmp_path / "cut.gguf"
        done = verdant("compress", source, "-o", target, "--calib", text, "--calib-ctx", CTX,
                       "--calib-chunks", CHUNKS, "--json", *options)
        assert done.returncode == 0, done.stderr
        return target, json.loads(done.stdout)

    return run


def logits(verdant, path, ids, n_vocab, out):
    done = verdant("logits", path, "--ids", ",".join(map(str, ids)), "-o", out, "--precision",
                   "exact", "--kv", "f32")
    assert done.returncode == 0, done.stderr
    return np.fromfile(out, "<f4").reshape(len(ids), n_vocab)


def agree(verdant, path, tmp_path, theirs=True):
    """A file means the same to us, to NumPy and to llama.cpp."""
    with_numpy = numpy_forward.Model(path)
    n_vocab = len(with_numpy.w["token_embd.weight"])
    ids = tiny_model.random_ids(3, 40, n_vocab)
    ours = logits(verdant, path, ids, n_vocab, tmp_path / "logits")
    assert np.abs(ours - with_numpy.logits(ids)).max() < 1e-4
    if theirs and llama_cpp.find_libraries() is not None:
        with llama_cpp.Peer(path, n_ctx=64, threads=1) as peer:
            assert np.abs(ours - peer.logits(ids)).max() < 1e-3
    return with_numpy


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_some_neurons_means_the_same_everywhere(verdant, models, cut, tmp_path,
                                                                name):
    target, said = cut(models(name), "--prune", "neurons:0.6", "--uniform")
    small = agree(verdant, target, tmp_path)
    assert small.key("feed_forward_length") == 64
    assert small.w["blk.1.ffn_down.weight"].shape == (64, 64)
    n = small.n_layer
    assert said["cut"] == [{"what": "neurons", "keep": 0.6, "before": 96 * n, "after": 64 * n}]


# llama.cpp reads the others only where the heads together are as wide as the model.
@pytest.mark.parametrize("name", ["llama", "llama-biases", "gemma2", "gemma3", "granite", "smollm3",
                                  "qwen3"])
def test_a_model_without_some_heads_means_the_same_everywhere(verdant, models, cut, tmp_path,
                                                              name):
    target, _ = cut(models(name), "--prune", "heads:0.5")
    small = agree(verdant, target, tmp_path)
    source = numpy_forward.Model(models(name))
    assert small.n_kv_head == source.n_kv_head // 2 and small.n_head == source.n_head // 2
    assert small.head_dim == source.head_dim


def test_heads_are_many_and_need_be_no_multiple(models, cut):
    _, said = cut(models("llama", n_head=32, n_kv_head=32, head_dim=4), "--prune", "heads:0.75")
    assert said["cut"][0]["after"] == 2 * 24


@pytest.mark.parametrize("name, what, more", [
    ("llama", "heads:0.5", {"n_expert": 4, "n_expert_used": 2}), ("qwen3moe", "heads:0.5", {}),
    ("llama", "layers:0.5", {"n_expert": 4, "n_expert_used": 2}), ("qwen3moe", "layers:0.5", {}),
    ("qwen2moe", "layers:0.5", {}), ("olmoe", "layers:0.5", {})])
def test_a_model_of_experts_stays_one(verdant, models, cut, tmp_path, name, what, more):
    source = models(name, **more)
    target, _ = cut(source, "--prune", what)
    small, whole = agree(verdant, target, tmp_path), numpy_forward.Model(source)
    assert small.n_layer * small.n_kv_head == whole.n_layer * whole.n_kv_head // 2


# ---- what goes, and the repair -----------------------------------------------------------------


class Listening(numpy_forward.Model):
    """Remembers what each matrix read."""

    def dense(self, x, base):
        self.heard.setdefault(base, []).append(x)
        return super().dense(x, base)

    def listen(self, chunks):
        self.heard = {}
        for ids in chunks:
            self.hidden(ids)
        return {base: np.concatenate(x) for base, x in self.heard.items()}


def chunks_of(verdant, model, text):
    ids = json.loads(verdant("tokenize", model, "--file", text, "--json").stdout)["ids"]
    chunks = [ids[i * CTX:(i + 1) * CTX] for i in range(CHUNKS)]
    adds_bos = GGUFReader(model).get_field("tokenizer.ggml.add_bos_token")
    if adds_bos is not None and adds_bos.contents():
        bos = GGUFReader(model).get_field("tokenizer.ggml.bos_token_id").contents()
        chunks = [[bos, *chunk[1:]] for chunk in chunks]
    return chunks


def kept_units(old, new, size):
    """Which blocks of `size` rows of old are those of new."""
    old, new = old.reshape(-1, size, old.shape[1]), new.reshape(-1, size, new.shape[1])
    return [next(i for i, rows in enumerate(old) if np.array_equal(rows, one)) for one in new]


def damped(h, share=1e-4):
    return h + share * np.mean(np.diag(h)) * np.eye(len(h))


def go_by_activation(x, w, size, n_gone):
    costs = [np.sum((x[:, i:i + size] @ w[:, i:i + size].T) ** 2)
             for i in range(0, w.shape[1], size)]
    return set(np.argsort(costs)[:n_gone])


def costs_of(x, w, score, n_gone):
    """What the neurons cost in the order in which they go, none less than the one before."""
    if score == "activation":
        costs = np.sort(np.sum(x * x, axis=0) * np.sum(w * w, axis=0))[:n_gone]
    else:
        costs = []
        go_by_obs(x, w, 1, n_gone, costs)
    return np.maximum.accumulate(costs)


def go_by_obs(x, w, size, n_gone, ret_costs=None):
    """ZipLM (Kurtic et al. 2023): the unit that costs least goes, all others make up for it."""
    w, inverse, left = w.copy(), np.linalg.inv(damped(x.T @ x)), list(range(w.shape[1] // size))

    def at(unit):
        return np.arange(unit * size, (unit + 1) * size)

    for _ in range(n_gone):
        blocks = [inverse[np.ix_(at(u), at(u))] for u in left]
        costs = [np.trace(w[:, at(u)] @ np.linalg.inv(b) @ w[:, at(u)].T)
                 for u, b in zip(left, blocks)]
        if ret_costs is not None:
            ret_costs.append(min(costs))
        unit = left.pop(int(np.argmin(costs)))
        g = at(unit)
        factor = np.linalg.inv(inverse[np.ix_(g, g)]) @ inverse[g]
        w -= w[:, g] @ factor
        inverse -= inverse[:, g] @ factor
    return set(range(w.shape[1] // size)) - set(left)


def repaired(x, w, stay):
    gone = np.setdiff1d(np.arange(w.shape[1]), stay)
    h = x.T @ x
    return w[:, stay] + w[:, gone] @ h[np.ix_(gone, stay)] @ np.linalg.inv(
        damped(h[np.ix_(stay, stay)]))


def corrected(whole, x, w, drift):
    """Weights for what is read now instead of `whole`, so much of the way (drift.h)."""
    return w + drift * w @ (whole.T @ x - x.T @ x) @ np.linalg.inv(damped(x.T @ x, 0.01))


@pytest.mark.parametrize("score", ["activation", "obs"])
@pytest.mark.parametrize("what", ["neurons", "heads"])
@pytest.mark.parametrize("name, drift", [("llama", 0), ("llama", 0.5), ("granite", 0.5),
                                         ("gemma3", 0)])
def test_what_costs_least_goes_and_the_rest_makes_up_for_it(verdant, models, cut, text, name,
                                                            drift, what, score):
    source = models(name, n_kv_head=4)
    path, _ = cut(source, "--prune", f"{what}:0.7", "--score", score, "--multiple", "1",
                  "--uniform", "--drift", str(drift))
    old, new = Listening(source), numpy_forward.Model(path)
    chunks = chunks_of(verdant, source, text)
    whole = Listening(source).listen(chunks)
    for layer in range(old.n_layer):
        at = f"blk.{layer}."
        size = 1 if what == "neurons" else old.head_dim * (old.n_head // old.n_kv_head)
        base = at + ("ffn_down" if what == "neurons" else "attn_output")
        x = old.listen(chunks)[base]
        w = corrected(whole[base], x, old.w[base + ".weight"], drift)
        if what == "neurons":
            rows = old.w[at + "ffn_up.weight"], new.w[at + "ffn_up.weight"]
        elif at + "attn_qkv.weight" in old.w:
            d = old.head_dim
            rows = old.w[at + "attn_qkv.weight"], new.w[at + "attn_qkv.weight"]
            rows = tuple(np.split(r, 3)[2] for r in rows)
        else:
            rows = old.w[at + "attn_v.weight"], new.w[at + "attn_v.weight"]
        units = kept_units(*rows, 1 if what == "neurons" else old.head_dim)
        n_gone = w.shape[1] // size - len(units)
        assert n_gone == (29 if what == "neurons" else 1) and units == sorted(units)
        choose = go_by_obs if score == "obs" else go_by_activation
        assert set(range(w.shape[1] // size)) - set(units) == choose(x, w, size, n_gone)
        stay = np.concatenate([np.arange(u * size, (u + 1) * size) for u in units])
        mine, theirs = new.w[base + ".weight"], repaired(x, w, stay)
        assert np.abs(mine - theirs).max() < 1e-4 * np.abs(theirs).max()
        # No other weights on these inputs come closer, but for the damping.
        best = np.linalg.lstsq(x[:, stay], x @ w.T, rcond=None)[0]
        lost = [np.linalg.norm(x[:, stay] @ v - x @ w.T) for v in (mine.T, best, w[:, stay].T)]
        assert lost[0] <= 1.01 * lost[1] and lost[0] < 0.95 * lost[2]
        masked = np.zeros_like(w)
        masked[:, stay] = mine
        old.w[base + ".weight"] = masked


@pytest.mark.parametrize("score", ["activation", "obs"])
def test_neurons_go_where_they_cost_least(verdant, models, cut, text, tmp_path, score):
    """The cheapest of all layers, each measured by the stream behind its layer; none loses more
    than twice the share. Such a model is a deci."""
    source = models("llama", n_layer=3)
    path, said = cut(source, "--prune", "neurons:0.75", "--multiple", "2", "--score", score)
    old, small = Listening(source), agree(verdant, path, tmp_path)
    heard = old.listen(chunks_of(verdant, source, text))
    costs, streams = [], [0, 0, 0]
    for ids in chunks_of(verdant, source, text):
        x = old.embed(ids)
        for layer in range(3):
            x = old.block(x, layer)
            streams[layer] += np.sum(x * x)
    for layer in range(3):
        x, w = heard[f"blk.{layer}.ffn_down"], old.w[f"blk.{layer}.ffn_down.weight"]
        costs.append(costs_of(x, w, score, 48) / streams[layer])
    gone = [0, 0, 0]
    for _ in range(3 * 24 // 2):
        steps = [c[g:g + 2].sum() if g < 48 else np.inf for c, g in zip(costs, gone)]
        gone[int(np.argmin(steps))] += 2
    assert small.name == "deci" and len(set(gone)) > 1
    assert small.key("feed_forward_length") == [96 - g for g in gone]
    assert small.key("attention.head_count") == [4, 4, 4]
    assert said["cut"][0]["after"] == 3 * 72


def test_a_deci_is_cut_again_and_stays_one(verdant, models, cut, tmp_path):
    path, _ = cut(models("deci", layer_ff=[96, 160], layer_groups=[2, 4]), "--prune", "heads:0.5",
                  "--prune", "neurons:0.75")
    small = agree(verdant, path, tmp_path)
    assert small.key("attention.head_count_kv") == [1, 2]
    assert sum(small.key("feed_forward_length")) == 192


# ---- layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "gemma3"])
def test_layers_that_change_least_go(verdant, models, cut, text, tmp_path, name):
    """Men et al. 2024, ShortGPT: 1 - E[cos] of the residual stream before and behind."""
    source = models(name, n_layer=8 if name == "gemma3" else 5)
    old = numpy_forward.Model(source)
    change = np.zeros(old.n_layer)
    for ids in chunks_of(verdant, source, text):
        x = old.embed(ids)
        for layer in range(old.n_layer):
            y = old.block(x, layer)
            change[layer] -= np.sum(x * y, axis=1) @ (
                1 / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1))
            x = y
    keep = 0.75 if name == "gemma3" else 0.6  # its sixth layer has no window
    stay = sorted(np.argsort(-change)[:round(keep * old.n_layer)])
    local = [old.is_local(layer) for layer in range(old.n_layer)]
    if [local[layer] for layer in stay] != local[:len(stay)]:
        done = verdant("compress", source, "-o", tmp_path / "x.gguf", "--prune", f"layers:{keep}",
                       "--calib", text, "--calib-ctx", CTX, "--calib-chunks", CHUNKS)
        assert done.returncode == 1 and "pattern" in done.stderr
        return
    path, said = cut(source, "--prune", f"layers:{keep}")
    small = agree(verdant, path, tmp_path)
    assert small.n_layer == len(stay) == said["cut"][0]["after"]
    for new, layer in enumerate(stay):
        np.testing.assert_array_equal(small.w[f"blk.{new}.ffn_down.weight"],
                                      old.w[f"blk.{layer}.ffn_down.weight"])


@pytest.mark.parametrize("name", ["llama", "granite"])
def test_layers_go_without_which_the_text_is_predicted_best(verdant, models, cut, text, tmp_path,
                                                            name):
    """One after the other, by the perplexity of the second half of each chunk."""
    source = models(name, n_layer=5)
    chunks = chunks_of(verdant, source, text)

    class Without(numpy_forward.Model):
        def hidden(self, ids):
            x = self.embed(ids)
            for layer in self.stay:
                x = self.block(x, layer)
            return x

        def loss(self, stay):
            self.stay, sum_of = stay, 0.0
            for ids in chunks:
                rows = self.logits(ids)[CTX // 2:-1]
                rows -= np.log(np.sum(np.exp(rows), axis=1, keepdims=True))
                sum_of -= rows[np.arange(len(rows)), ids[CTX // 2 + 1:]].sum()
            return sum_of

    old = Without(source)
    stay = list(range(5))
    for _ in range(2):
        gone = min(stay, key=lambda layer: old.loss([s for s in stay if s != layer]))
        stay.remove(gone)
    path, _ = cut(source, "--prune", "layers:0.6", "--score", "output")
    small = agree(verdant, path, tmp_path)
    assert small.n_layer == 3
    for new, layer in enumerate(stay):
        np.testing.assert_array_equal(small.w[f"blk.{new}.ffn_down.weight"],
                                      old.w[f"blk.{layer}.ffn_down.weight"])


def test_output_is_a_score_of_layers_alone(verdant, models, text, tmp_path):
    done = verdant("compress", models("llama"), "-o", tmp_path / "x.gguf", "--prune", "heads:0.5",
                   "--score", "output", "--calib", text)
    assert done.returncode == 2 and "--prune layers" in done.stderr


def test_lists_by_layer_lose_what_the_layers_lose(verdant, models, cut, tmp_path):
    path, _ = cut(models("deci", layer_ff=[96, 32, 160], layer_groups=[2, 1, 3]), "--prune",
                  "layers:0.7")
    small = agree(verdant, path, tmp_path)
    rows = [small.w[f"blk.{i}.ffn_up.weight"].shape[0] for i in range(2)]
    assert small.key("feed_forward_length") == rows and rows != [96, 96]


# ---- width -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "llama-biases", "deci", "granite", "smollm3", "qwen3"])
def test_a_narrower_model_means_the_same_everywhere(verdant, models, cut, tmp_path, name):
    path, said = cut(models(name), "--prune", "width:0.5")
    small = agree(verdant, path, tmp_path)
    old = numpy_forward.Model(models(name))
    assert small.n_embd == 32 and small.head_dim == old.head_dim and small.n_head == old.n_head
    assert said["cut"] == [{"what": "width", "keep": 0.5, "before": 64, "after": 32}]


def test_the_channels_that_are_read_least_go(verdant, models, cut, text):
    """By what they add to each matrix that reads them, as a share of its output; the matrices are
    fitted to what they gave, and norms take the mean share of the squares that stays."""
    source = models("llama")
    path, _ = cut(source, "--prune", "width:0.75", "--multiple", "1")
    old, new = Listening(source), numpy_forward.Model(path)
    chunks = chunks_of(verdant, source, text)
    heard = old.listen(chunks)
    heard["output"] = np.concatenate([old.norm(old.hidden(ids), "output_norm") for ids in chunks])
    norms = {"output": "output_norm"}
    for layer in range(old.n_layer):
        norms |= {f"blk.{layer}.attn_{c}": f"blk.{layer}.attn_norm" for c in "qkv"}
        norms |= {f"blk.{layer}.ffn_{c}": f"blk.{layer}.ffn_norm" for c in ("gate", "up")}
    rating = np.zeros(old.n_embd)
    for base in norms:
        own = np.sum(heard[base] ** 2, axis=0) * np.sum(old.w[base + ".weight"] ** 2, axis=0)
        rating += own / own.sum()
    stay = np.sort(np.argsort(rating)[16:])
    embed = old.w["token_embd.weight"]
    np.testing.assert_array_equal(new.w["token_embd.weight"], embed[:, stay])
    for base, norm in norms.items():
        x, w = heard[base], old.w[base + ".weight"]
        theirs = repaired(x, w, stay)
        # The first layer reads few different rows of the embeddings: H is nearly singular.
        assert np.abs(new.w[base + ".weight"] - theirs).max() < 1e-3 * np.abs(theirs).max(), base
        weight = old.w[norm + ".weight"]
        squares = np.sum((x / weight) ** 2, axis=0)
        scale = np.sqrt(64 / 48 * squares[stay].sum() / squares.sum())
        np.testing.assert_allclose(new.w[norm + ".weight"], weight[stay] * scale, rtol=1e-5)
    np.testing.assert_array_equal(new.w["blk.1.ffn_down.weight"],
                                  old.w["blk.1.ffn_down.weight"][stay])


def test_the_norm_before_a_fused_matrix_is_scaled_too(verdant, models, cut, text):
    source = models("llama", fused_qkv=True)
    path, _ = cut(source, "--prune", "width:0.75", "--multiple", "1")
    old, new = Listening(source), numpy_forward.Model(path)
    heard = old.listen(chunks_of(verdant, source, text))
    before, after = old.w["token_embd.weight"], new.w["token_embd.weight"]
    stay = [int(np.flatnonzero((before == column[:, None]).all(axis=0))[0]) for column in after.T]
    for layer in range(old.n_layer):
        for base, norm in [("attn_qkv", "attn_norm"), ("ffn_up", "ffn_norm")]:
            weight = old.w[f"blk.{layer}.{norm}.weight"]
            squares = np.sum((heard[f"blk.{layer}.{base}"] / weight) ** 2, axis=0)
            scale = np.sqrt(64 / 48 * squares[stay].sum() / squares.sum())
            np.testing.assert_allclose(new.w[f"blk.{layer}.{norm}.weight"], weight[stay] * scale,
                                       rtol=1e-5)


def test_a_quantized_model_keeps_its_types_but_for_what_was_repaired(models, cut):
    path, _ = cut(models("llama", type="Q8_0"), "--prune", "neurons:0.6")
    kinds = {t.name: t.tensor_type.name for t in GGUFReader(path).tensors}
    assert kinds["blk.0.ffn_down.weight"] == "F16" and kinds["blk.0.ffn_up.weight"] == "Q8_0"
    assert kinds["token_embd.weight"] == "Q8_0"


def test_a_source_that_is_quantized_is_noted(verdant, models, text, tmp_path):
    for kind, said in ("Q8_0", True), ("F16", False):
        done = verdant("compress", models("llama", type=kind), "-o", tmp_path / "x.gguf", "--calib",
                       text, "--calib-ctx", CTX, "--calib-chunks", 4, "--prune", "neurons:0.6")
        assert done.returncode == 0 and ("quantized before" in done.stderr) == said
        done = verdant("compress", models("llama", type=kind), "-o", tmp_path / "y.gguf", "--calib",
                       text, "--calib-ctx", CTX, "--calib-chunks", 4, "--target", "bpw=6",
                       "--search-types", "Q4_0", "--search-chunks", 1)
        assert done.returncode == 0 and ("quantized before" in done.stderr) == said


def test_cuts_and_quantization_follow_each_other_in_one_command(verdant, models, cut, tmp_path):
    path, said = cut(models("llama"), "--prune", "heads:0.5", "--prune", "neurons:0.6", "--prune",
                     "wanda:0.5", "--quant", "Q8_0", "--uniform")
    assert [c["what"] for c in said["cut"]] == ["heads", "neurons"]
    assert said["sparsity_edited"] == pytest.approx(0.5, abs=0.01)
    assert said["before"].keys() == {"F32"} and "Q8_0" in said["after"]
    assert said["file_bytes_before"] == models("llama").stat().st_size
    assert os.listdir(tmp_path) == ["cut.gguf"]
    small = numpy_forward.Model(path)
    assert small.n_head == 2 and small.key("feed_forward_length") == 64
    agree(verdant, path, tmp_path, theirs=False)


# ---- what cannot be ----------------------------------------------------------------------------


@pytest.mark.parametrize("what, says", [
    ("neurons:0", "nothing"), ("neurons:1.5", "between 0 and 1"), ("neurons", "between 0 and 1"),
    ("heads:x", "between 0 and 1"), ("layers:", "between 0 and 1"),
    ("neurons:0x1", "between 0 and 1"),
])
def test_a_share_that_makes_no_sense_is_misuse(verdant, models, text, tmp_path, what, says):
    done = verdant("compress", models("llama"), "-o", tmp_path / "x.gguf", "--prune", what,
                   "--calib", text)
    assert done.returncode == 2 and says in done.stderr and not os.listdir(tmp_path)


@pytest.mark.parametrize("options", [("width:0.75",), ("neurons:0.75", "--multiple", 60),
                                     ("neurons:0.75", "--multiple", 1000)])
def test_a_cut_that_leaves_everything_is_said(verdant, models, text, tmp_path, options):
    done = verdant("compress", models("llama"), "-o", tmp_path / "x.gguf", "--calib", text,
                   "--calib-ctx", CTX, "--calib-chunks", 4, "--prune", *options)
    assert done.returncode == 1 and "leave everything" in done.stderr
    assert "--multiple" in done.stderr and not os.listdir(tmp_path)


@pytest.mark.parametrize("options", [("--prune", "neurons:0.5"), ("--prune", "layers:0.5"),
                                     ("--prune", "width:0.5"), ("--target", "bpw=20")])
def test_a_weight_that_is_no_number_is_named(verdant, models, text, tmp_path, options):
    source = tmp_path / "nan.gguf"
    source.write_bytes(models("llama").read_bytes())
    reader = GGUFReader(source, "r+")
    next(t for t in reader.tensors if t.name == "blk.1.ffn_up.weight").data[5, 3] = np.nan
    reader.data.flush()
    done = verdant("compress", source, "-o", tmp_path / "x.gguf", "--calib", text, "--calib-ctx",
                   CTX, "--calib-chunks", 4, *options)
    assert done.returncode == 1
    assert "tensor blk.1.ffn_up.weight, row 5: the value nan" in done.stderr
    assert not (tmp_path / "x.gguf").exists()


def test_a_cut_needs_a_text(verdant, models, tmp_path):
    done = verdant("compress", models("llama"), "-o", tmp_path / "x.gguf", "--prune", "heads:0.5")
    assert done.returncode == 2 and "--calib" in done.stderr


@pytest.mark.parametrize("arch, what, says", [
    ("qwen3moe", "neurons:0.5", "experts"), ("gpt2", "width:0.5", "width of gpt2"),
    ("llama", "width:0.99", "everything"), ("bert", "neurons:0.5", "encoder"),
    ("olmo2", "heads:0.5", "all heads together"), ("qwen2", "heads:0.5", "other engines"),
    ("llama", "neurons:0.999", "everything"), ("llama", "layers:0.9", "everything"),
])
def test_what_cannot_be_cut_is_said(verdant, text, tmp_path, arch, what, says):
    tiny_model.write_model(tmp_path / "m.gguf", arch=arch, vocab="bpe", n_ctx=64)
    done = verdant("compress", tmp_path / "m.gguf", "-o", tmp_path / "x.gguf", "--prune", what,
                   "--calib", text, "--calib-ctx", CTX)
    assert done.returncode == 1 and says in done.stderr
    assert os.listdir(tmp_path) == ["m.gguf"]


@pytest.mark.parametrize("more", [[], ["--target", "bpw=5"]])
def test_a_text_that_can_be_read_once_is_not_enough(verdant, models, tmp_path, more):
    os.mkfifo(tmp_path / "pipe")
    for text in ("-", tmp_path / "pipe"):
        done = verdant("compress", models("llama"), "-o", tmp_path / "x.gguf", "--prune",
                       "layers:0.5", "--calib", text, *more)
        assert done.returncode == 1 and "give a file" in done.stderr
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("how", [["--prune", "layers:0.5"],
                                 ["--prune", "wanda:0.5", "--recover", "true"],
                                 ["--target", "bpw=5"], ["--quant", "Q8_0", "--save-imatrix"]])
def test_what_cannot_be_written_is_said_before_the_work(verdant, models, tmp_path, how):
    """Also before the text is read, which is not there."""
    folder, target = tmp_path / "folder", tmp_path / "folder"
    folder.mkdir()
    if how[-1] == "--save-imatrix":
        how, target = [*how, folder], tmp_path / "x.gguf"
    done = verdant("compress", models("llama"), "-o", target, *how, "--calib", tmp_path / "none")
    assert done.returncode == 1 and "folder: it is a directory" in done.stderr
    assert os.listdir(tmp_path) == ["folder"]


def test_a_search_keeps_nothing_beside_a_device(verdant, models, text):
    done = verdant("compress", models("llama"), "-o", "/dev/full", "--target", "bpw=5", "--calib",
                   text, "--calib-ctx", CTX)
    assert done.returncode == 1 and "no ordinary file" in done.stderr
    assert not os.path.exists("/dev/full.search")


def test_never_over_the_model_itself(verdant, models, text):
    before = models("llama").read_bytes()
    done = verdant("compress", models("llama"), "-o", models("llama"), "--prune", "heads:0.5",
                   "--calib", text, "--calib-ctx", CTX)
    assert done.returncode == 1 and "itself" in done.stderr
    assert models("llama").read_bytes() == before


def test_an_interrupted_cut_leaves_nothing(build, text, tmp_path):
    tiny_model.write_model(tmp_path / "m.gguf", vocab="bpe", n_ctx=256, n_embd=256, n_ff=1024,
                           n_layer=8)
    (tmp_path / "long.txt").write_text(text.read_text() * 64)
    with subprocess.Popen(
        [build / "verdant", "compress", tmp_path / "m.gguf", "-o", tmp_path / "x.gguf", "--prune",
         "neurons:0.5", "--quant", "Q8_0", "--calib", tmp_path / "long.txt", "--calib-ctx", "128",
         "--calib-chunks", "3000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as running:
        time.sleep(0.7)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 1 and "stopped" in said
    assert sorted(os.listdir(tmp_path)) == ["long.txt", "m.gguf"]
