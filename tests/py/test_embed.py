"""`verdant embed`: pooled embeddings against NumPy in float64 and against llama.cpp."""

import json

import numpy as np
import oracles
import pytest
from embeddings import TEXTS, cosine, pool, rows_of, tokens_of
from oracles import llama_cpp, numpy_forward, tiny_model, variants
from serving import check_energy

NAMES = sorted(variants.encoders()) + ["llama-plain", "qwen3-plain", "gemma3-plain"]
EXACT = ["--precision", "exact"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return oracles.TinyModels(tmp_path_factory.mktemp("embed"))


@pytest.fixture(scope="module")
def embed(verdant):
    """embed(path, texts, options...) -> the JSON that is printed, and rows float64."""

    def run(path, texts, *options, **more):
        result = verdant("embed", path, *options, "--json", "--", *texts, **more)
        assert result.returncode == 0, result.stderr
        value = json.loads(result.stdout)
        assert [d["index"] for d in value["data"]] == list(range(len(texts)))
        return value, [np.array(d["embedding"]) for d in value["data"]]

    return run


@pytest.mark.parametrize("pooling", ["none", "mean", "cls", "last"])
@pytest.mark.parametrize("name", NAMES)
def test_pooled_embeddings_agree_with_numpy(models, verdant, embed, name, pooling):
    path = models.get(name)[0]
    model = numpy_forward.Model(path)
    value, rows = embed(path, TEXTS, "--pooling", pooling, *EXACT)
    assert value["pooling"] == pooling and value["normalized"] is True
    n_tokens = 0
    for text, row in zip(TEXTS, rows):
        ids = tokens_of(verdant, path, text)
        n_tokens += len(ids)
        want = pool(rows_of(model, ids), pooling)
        assert row.shape == want.shape
        # The KV cache of a decoder holds half precision.
        assert np.abs(row - want).max() < (1e-5 if model.arch.encoder else 2e-3)
    assert value["usage"]["prompt_tokens"] == value["usage"]["total_tokens"] == n_tokens
    check_energy(value["usage"]["energy"])


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("name", [n for n in NAMES if not n.endswith("q8_0")])
def test_pooled_embeddings_agree_with_llama_cpp(models, verdant, embed, name, pooling):
    oracles.need_peer()
    path = models.get(name)[0]
    ids = [tokens_of(verdant, path, text) for text in TEXTS]
    with llama_cpp.Peer(
        path, n_ctx=512, n_seq=8, threads=1, embeddings=True, pooling=pooling
    ) as peer:
        theirs = peer.embed(ids)
    _, rows = embed(path, TEXTS, "--pooling", pooling, "--no-normalize", *EXACT)
    assert np.abs(np.array(rows) - theirs).max() < 2e-3 * np.abs(theirs).max()


@pytest.mark.parametrize("level", ["c", "avx2", "avx512", "avx512-bf16"])
@pytest.mark.parametrize("name", ["bert-plain", "nomic-bert-plain", "bert-q8_0"])
def test_the_fast_path_keeps_the_direction(models, embed, name, level):
    path = models.get(name)[0]
    _, exact = embed(path, TEXTS, "--pooling", "mean", *EXACT)
    _, fast = embed(path, TEXTS, "--pooling", "mean", env={"VERDANT_CPU": level})
    assert cosine(np.array(exact), np.array(fast)).min() > 0.999


def test_a_batch_changes_nothing(models, embed):
    """300 texts of many lengths go through a window of 64, 512 tokens a step."""
    path = models.get("bert-plain")[0]
    texts = ["hello " * (1 + i * 7 % 40) + str(i % 50) for i in range(300)]
    _, rows = embed(path, texts, "--pooling", "mean")
    for i in range(0, 300, 37):
        _, alone = embed(path, [texts[i]], "--pooling", "mean")
        assert np.array_equal(rows[i], alone[0])
    for i in range(250):
        same = texts[i] == texts[i + 50]
        assert np.array_equal(rows[i], rows[i + 50]) == same


@pytest.mark.parametrize("arch", ["bert", "nomic-bert", "llama"])
@pytest.mark.parametrize("said", ["mean", "cls", "last", "none", "absent"])
def test_pooling_is_what_the_metadata_say(verdant, embed, tmp_path, arch, said):
    path = tmp_path / "m.gguf"
    tiny_model.write_model(path, arch=arch, pooling=said)
    want = said if said != "absent" else "last" if arch == "llama" else "mean"
    value, rows = embed(path, TEXTS[:2])
    assert value["pooling"] == want
    _, told = embed(path, TEXTS[:2], "--pooling", want)
    assert all(np.array_equal(a, b) for a, b in zip(rows, told))
    note = "names no pooling" in verdant("embed", path, "hello").stderr
    assert note == (said == "absent")


def test_rank_is_refused_by_name_and_can_be_overridden(verdant, embed, tmp_path):
    path = tmp_path / "m.gguf"
    tiny_model.write_model(path, arch="bert", pooling="rank")
    result = verdant("embed", path, "hello")
    assert result.returncode == 1 and "its pooling is rank" in result.stderr
    assert result.stdout == ""
    assert embed(path, ["hello"], "--pooling", "cls")[1][0].shape == (64,)


def test_a_pooling_type_that_does_not_exist_is_refused(verdant, tmp_path):
    for value in (9, "mean"):
        path = tmp_path / "m.gguf"
        builder = tiny_model.Builder(str(path), tiny_model.Config(arch="bert", pooling="absent"))
        add = builder.writer.add_string if isinstance(value, str) else builder.writer.add_uint32
        add("bert.pooling_type", value)
        builder.build()
        result = verdant("embed", path, "hello")
        assert result.returncode == 1 and "bert.pooling_type" in result.stderr


def test_lengths_are_1_unless_asked_otherwise(models, embed):
    path = models.get("bert-plain")[0]
    _, unit = embed(path, TEXTS, "--pooling", "mean")
    value, raw = embed(path, TEXTS, "--pooling", "mean", "--no-normalize")
    assert value["normalized"] is False
    assert np.abs(np.linalg.norm(unit, axis=1) - 1).max() < 1e-6
    assert np.linalg.norm(raw, axis=1).min() > 2
    assert cosine(np.array(unit), np.array(raw)).min() > 1 - 1e-9


def test_lines_of_a_file_and_of_standard_input(models, verdant, tmp_path):
    path = models.get("bert-plain")[0]
    file = tmp_path / "lines"
    file.write_bytes("\r\n".join(TEXTS).encode() + b"\n")
    words = ["embed", path, "--pooling", "mean"]
    want = verdant(*words, *TEXTS)
    assert want.returncode == 0 and len(want.stdout.splitlines()) == len(TEXTS)
    assert all(len(line.split()) == 64 for line in want.stdout.splitlines())
    assert "6 texts" in want.stderr and " J, " in want.stderr and "CO2e" in want.stderr
    assert verdant(*words, "--file", file).stdout == want.stdout
    for operand in (["-"], ["--file", "-"], []):
        got = verdant(*words, *operand, input=file.read_text())
        assert got.stdout == want.stdout
    assert verdant(*words, "-q", "hello").stderr == ""


def test_without_pooling_a_line_per_token(models, verdant):
    path = models.get("bert-plain")[0]
    n = [len(tokens_of(verdant, path, text)) for text in TEXTS[:2]]
    result = verdant("embed", path, *TEXTS[:2], "--pooling", "none")
    assert [len(part.splitlines()) for part in result.stdout.split("\n\n")] == n


BAD_INPUT = [
    (b"hello\n\nworld\n", "line 2 is empty"),
    (b"", "no line to embed"),
    (b"\n", "line 1 is empty"),
    (b"hello\nw\xffrld", "line 2 is no UTF-8 text"),
    (b"hel\0lo", "line 1 is no UTF-8 text"),
    (b"hello\n" + b"a b c " * 300, "line 2 has 1"),
]


@pytest.mark.parametrize("data, said", BAD_INPUT)
def test_a_text_that_cannot_be_embedded_is_named_and_nothing_is_printed(
    models, verdant, tmp_path, data, said
):
    file = tmp_path / "lines"
    file.write_bytes(data)
    for more in ([], ["--json"]):
        result = verdant("embed", models.get("bert-plain")[0], "--file", file, *more)
        assert result.returncode == 1 and said in result.stderr and result.stdout == ""


def test_the_longest_text_fits_and_one_token_more_does_not(models, verdant):
    path = models.get("bert-plain")[0]  # 256 positions
    n = next(n for n in range(200, 300) if len(tokens_of(verdant, path, "x" * n)) == 256)
    assert verdant("embed", path, "x" * n, "--pooling", "mean").returncode == 0
    result = verdant("embed", path, "x" * (n + 1), "--pooling", "mean")
    assert result.returncode == 1 and "257 tokens, the model takes at most 256" in result.stderr
    result = verdant("embed", path, "hello", "--ctx", "300")
    assert result.returncode == 1 and "positions for 256" in result.stderr


@pytest.mark.parametrize(
    "words", [[], ["m", "--pooling", "rank"], ["m", "--pooling", "x"], ["m", "x", "--file", "f"]]
)
def test_misuse(verdant, words):
    result = verdant("embed", *words)
    assert result.returncode == 2 and "verdant embed --help" in result.stderr


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_broken_weights_give_an_error_and_no_vector(verdant, tmp_path, value):
    path = tmp_path / "m.gguf"
    builder = tiny_model.Builder(str(path), tiny_model.Config(arch="bert", pooling="mean"))
    add = builder.writer.add_tensor

    def broken(name, data, **more):
        if name.startswith("blk.1.layer_output_norm"):  # what leaves the model
            data = np.full_like(data, value)
        add(name, data, **more)

    builder.writer.add_tensor = broken
    builder.build()
    for more in ([], ["--json"], ["--pooling", "none"], ["--no-normalize"]):
        result = verdant("embed", path, "hello", "world", *more)
        assert result.returncode == 1 and result.stdout == ""
        assert "embedding of text 1 failed: it is zero or not finite" in result.stderr


def test_the_prefix_cache_is_not_asked_for_rows_it_has_not(models, embed):
    """A decoder finds the beginning of a text in its cache; a mean needs every row."""
    path = models.get("llama-plain")[0]
    long = "hello the world " * 8
    for pooling in ("mean", "cls", "last"):
        _, rows = embed(path, [long, long + "x", long], "--pooling", pooling, *EXACT)
        _, alone = embed(path, [long + "x"], "--pooling", pooling, *EXACT)
        assert np.abs(rows[1] - alone[0]).max() < 1e-6
        assert np.abs(rows[0] - rows[2]).max() < 1e-6
