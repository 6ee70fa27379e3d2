"""Our tokenizers against two that nobody here wrote: PyPI's `tokenizers` and `sentencepiece`.

Each test trains a small vocabulary on generated text, writes it as GGUF, and compares ids and
decoded text on thousands of random lines of mixed scripts. The text comes from a seed, which a
failure prints; characters come from blocks that all Unicode versions in question agree on.
"""
import json
import random

import pytest

pytest.importorskip("gguf")
from tokenizing import (  # noqa: E402
    SPACE, Ours, bpe_parts, open_library, random_line, raw_bpe, write_vocabulary)

SEED = 20261123


@pytest.fixture(scope="module")
def lines():
    rng = random.Random(SEED)
    return [random_line(rng) for _ in range(3000)]


@pytest.fixture(scope="module")
def corpus():
    rng = random.Random(SEED + 1)
    return [random_line(rng) for _ in range(3000)]


@pytest.fixture(scope="module")
def library(build):
    return open_library(build)


@pytest.fixture
def ours(library, tmp_path):
    opened = []

    def open_(tokens, model, *args, **keys):
        path = tmp_path / f"{len(opened)}.gguf"
        opened.append(Ours(library, write_vocabulary(path, tokens, model, *args, **keys)))
        return opened[-1]

    yield open_
    for tokenizer in opened:
        tokenizer.close()


def assert_same(lines, ours, theirs):
    """theirs(line) are the right ids."""
    for line in lines:
        assert ours.encode(line) == theirs(line), f"seed {SEED}: {line!r}"


def test_byte_level_bpe_gives_the_ids_of_tokenizers(ours, lines, corpus):
    hf = pytest.importorskip("tokenizers")
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(corpus, hf.trainers.BpeTrainer(
        vocab_size=2000, show_progress=False,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet()))
    tokens, merges = bpe_parts(tokenizer)
    subject = ours(tokens, "gpt2", "gpt-2", merges=merges)
    assert_same(lines, subject, lambda line: tokenizer.encode(line).ids)
    for line in lines[:500]:
        assert subject.decode(subject.encode(line)) == line.encode()
    rng = random.Random(SEED)
    for _ in range(300):  # bytes that are no text come back too
        data = bytes(rng.choices(b"ab \xc3\xa9\xff\xe4\xb8\n\xf0\x9f", k=rng.randint(0, 30)))
        assert subject.decode(subject.encode(data)) == data


def test_added_tokens_are_read_before_anything_else(ours, corpus):
    hf = pytest.importorskip("tokenizers")
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(corpus, hf.trainers.BpeTrainer(
        vocab_size=1000, show_progress=False,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet()))
    added = ["<tool>", "<tool>>", "    ", "  ", "ab<"]
    tokens, merges = bpe_parts(tokenizer)
    tokenizer.add_tokens([hf.AddedToken(text, normalized=False) for text in added])
    subject = ours(tokens + added, "gpt2", "gpt-2", merges=merges,
                   types=[1] * len(tokens) + [4] * len(added))
    rng = random.Random(SEED)
    texts = ["".join(rng.choice(["<tool>", ">", "a", "b", "ab", "<", " ", "   ", "tool", "é"])
                     for _ in range(rng.randint(0, 12))) for _ in range(2000)]
    assert_same(texts, subject, lambda text: tokenizer.encode(text).ids)


def test_raw_bpe_gives_the_ids_of_tokenizers(ours, lines, corpus):
    """Gemma 4's kind: characters merge over the whole line, spaces are U+2581, bytes fall back."""
    hf = pytest.importorskip("tokenizers")
    tokenizer, tokens, merges = raw_bpe(hf, corpus)
    subject = ours(tokens, "gemma4", "gemma4", merges=merges,
                   types=[2] + [6] * 256 + [1] * (len(tokens) - 257))
    newline_tokens = [t for t in tokens if "\n" in t]
    usable = [line for line in lines if newline_tokens or "\n" not in line]
    assert_same(usable, subject, lambda line: tokenizer.encode(line).ids)
    for line in lines[:500]:
        assert subject.decode(subject.encode(line)) == line.replace(SPACE, " ").encode()


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_gives_the_ids_of_tokenizers(lowercase, ours, lines, corpus):
    hf = pytest.importorskip("tokenizers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = hf.Tokenizer(hf.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = hf.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(corpus, hf.trainers.WordPieceTrainer(
        vocab_size=1500, show_progress=False, limit_alphabet=200, special_tokens=special))
    vocab = json.loads(tokenizer.to_str())["model"]["vocab"]
    words = sorted(vocab, key=vocab.get)
    tokens = [w if w in special else w[2:] if w.startswith("##") else SPACE + w for w in words]
    subject = ours(tokens, "bert", types=[3 if w in special else 1 for w in words],
                   unknown_token_id=1, cls_token_id=2, seperator_token_id=3,
                   **{"normalizer.lowercase": lowercase})
    assert_same(lines, subject, lambda line: tokenizer.encode(line).ids)
    assert subject.encode("x", plain=False)[0] == 2 and subject.encode("x", plain=False)[-1] == 3


@pytest.mark.parametrize("byte_fallback,prefix", [(True, True), (True, False), (False, True)])
def test_spm_gives_the_ids_of_sentencepiece(byte_fallback, prefix, ours, lines, corpus, tmp_path):
    spm = pytest.importorskip("sentencepiece")
    text = tmp_path / "corpus.txt"
    text.write_text("\n".join(line.replace("\n", " ").replace("\r", " ").replace("\0", " ")
                              for line in corpus), encoding="utf-8")
    spm.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "m"), model_type="bpe", vocab_size=1500,
        byte_fallback=byte_fallback, add_dummy_prefix=prefix, remove_extra_whitespaces=False,
        normalization_rule_name="identity", character_coverage=0.98, minloglevel=2,
        user_defined_symbols=["<tool>", "<b>"], split_by_whitespace=True,
        allow_whitespace_only_pieces=True, hard_vocab_limit=False)
    theirs = spm.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    n = theirs.get_piece_size()
    tokens = [theirs.id_to_piece(i) for i in range(n)]
    types = [2 if theirs.is_unknown(i) else 3 if theirs.is_control(i) else 6 if theirs.is_byte(i)
             else 4 if tokens[i] in ("<tool>", "<b>") else 1 for i in range(n)]
    subject = ours(tokens, "llama", scores=[theirs.get_score(i) for i in range(n)], types=types,
                   unknown_token_id=theirs.unk_id(), bos_token_id=theirs.bos_id(),
                   eos_token_id=theirs.eos_id(), add_space_prefix=prefix)
    assert_same(lines, subject, theirs.encode)
    if byte_fallback:
        for line in lines[:1000]:
            right = theirs.decode(theirs.encode(line)).encode()
            assert subject.decode(subject.encode(line)) == right


# Of llama.cpp's published inputs and ids, where they are at hand.
@pytest.mark.parametrize("name", ["bert-bge", "deepseek-llm", "gemma-4", "gpt-2", "llama-bpe",
                                  "llama-spm", "mpt", "phi-3", "qwen2"])
def test_published_vocabularies_give_the_published_ids(name, library, data):
    path = data / "tokenizers" / f"ggml-vocab-{name}.gguf"
    inputs = path.with_name(path.name + ".inp").read_bytes().split(b"\n__ggml_vocab_test__\n")
    expected = path.with_name(path.name + ".out").read_text().split("\n")
    if inputs[-1] == b"":
        inputs.pop()
    assert len(inputs) > 40 and len(expected) >= len(inputs)
    subject = Ours(library, path)
    try:
        for text, line in zip(inputs, expected):
            assert subject.encode(text) == [int(x) for x in line.split()], text
    finally:
        subject.close()


def test_the_command_prints_ids_pieces_and_text(verdant, ours, tmp_path):
    alphabet = [f"<0x{b:02X}>" for b in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *alphabet, SPACE, "a", SPACE + "a", '"']
    ours(tokens, "llama", scores=[-float(i) for i in range(len(tokens))],
         types=[2, 3, 3] + [6] * 256 + [1] * 4)
    path = tmp_path / "0.gguf"

    def run(*args, code=0, **more):
        done = verdant("tokenize", path, *args, **more)
        assert done.returncode == code, done.stderr
        return done

    assert json.loads(run("a", "--json").stdout) == {"ids": [1, 261]}
    assert json.loads(run("a<s>", "--json", "--plain").stdout)["ids"][0] == 261
    assert json.loads(run("", "--json", "--plain").stdout) == {"ids": []}
    assert json.loads(run("--json", "--plain", "--", "-a").stdout) == {"ids": [259, 48, 260]}
    table = run('a"\n').stdout
    assert '     261  " a"\n' in table and '     262  "\\""\n' in table and '"\\u000a"\n' in table
    text = tmp_path / "text"
    text.write_bytes(b"a\xff\0a")
    ids = json.loads(run("--file", text, "--plain", "--json").stdout)["ids"]
    assert ids == [261, 258, 3, 260]
    assert run("--decode", *ids, binary=True).stdout == b"a\xff\0a"
    assert json.loads(run("--decode", "--json", *ids).stdout) == {"text": "a\ufffd\0a"}
    text.write_text(json.dumps({"ids": ids}))
    assert run("--decode", "--file", text, binary=True).stdout == b"a\xff\0a"
    assert run("--decode", "1", "260").stdout == "<s>a"
    assert run("--decode", "--plain", "1", "260").stdout == "a"
    assert "outside the vocabulary" in run("--decode", "9999", code=1).stderr
    assert "not a token id" in run("--decode", "12x", code=1).stderr
    assert "no-such-model" in verdant("tokenize", "no-such-model", "a").stderr
    for bad in ([], ["a", "b"], ["a", "--file", text], ["--nope", "a"], ["--decode"]):
        run(*bad, code=2)
