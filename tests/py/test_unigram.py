"""Unigram vocabularies against PyPI's `sentencepiece` and `tokenizers` and against llama.cpp.

SentencePiece adds scores up as floats: where two ways to cover a text are equally likely it may
take the other one, so its ids count as the same where their scores have the same sum.
"""

import random

import pytest

pytest.importorskip("gguf")
spm = pytest.importorskip("sentencepiece")
from oracles import llama_cpp, need_peer  # noqa: E402
from tokenizing import (  # noqa: E402
    SPACE, Ours, open_library, random_line, wild_line, write_vocabulary)

SEED = 20261129
# rule of normalization, merges spaces, adds a space in front, has tokens for bytes
KINDS = [("nmt_nfkc", True, True, False), ("nmt_nfkc", False, True, True),
         ("nfkc_cf", True, False, True), ("identity", False, False, False),
         ("identity", True, True, True)]
PLAIN = KINDS[0]  # T5's, and XLM-RoBERTa's


class Vocabulary:
    """A model trained by sentencepiece, and the same as GGUF."""

    def __init__(self, folder, kind):
        rule, merge, prefix, byte_tokens = kind
        rng = random.Random(SEED)
        text = folder / "corpus.txt"
        text.write_text("\n".join("".join(c if c >= " " else " " for c in random_line(rng))
                                  for _ in range(3000)), encoding="utf-8")
        spm.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(folder / "m"), model_type="unigram", vocab_size=1500,
            byte_fallback=byte_tokens, add_dummy_prefix=prefix, remove_extra_whitespaces=merge,
            normalization_rule_name=rule, character_coverage=0.98, minloglevel=2,
            hard_vocab_limit=False)
        self.theirs = spm.SentencePieceProcessor(model_file=str(folder / "m.model"))
        ids = range(self.theirs.get_piece_size())
        self.tokens = [self.theirs.id_to_piece(i) for i in ids]
        self.scores = [self.theirs.get_score(i) for i in ids]
        self.types = [2 if self.theirs.is_unknown(i) else 3 if self.theirs.is_control(i)
                      else 6 if self.theirs.is_byte(i) else 1 for i in ids]
        self.rules = rules_of((folder / "m.model").read_bytes())
        keys = {"precompiled_charsmap": self.rules} if self.rules else {}
        self.path = write_vocabulary(
            folder / "v.gguf", self.tokens, "t5", scores=self.scores, types=self.types,
            unknown_token_id=0, bos_token_id=1, eos_token_id=2, add_space_prefix=prefix,
            remove_extra_whitespaces=merge, **keys)

    def sum(self, ids):
        unknown = min(s for s, t in zip(self.scores, self.types) if t == 1) - 10
        return sum(unknown if self.types[i] == 2 else self.scores[i] for i in ids)


def fields(data):
    """The fields of a protocol buffer: (number, value)."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            n = {1: 8, 5: 4}.get(key & 7) or number()
            yield key >> 3, data[at:at + n]
            at += n


def rules_of(model):
    """NormalizerSpec.precompiled_charsmap of a ModelProto."""
    return next((value for number, spec in fields(model) if number == 3
                 for inner, value in fields(spec) if inner == 2), b"")


@pytest.fixture(scope="module", params=KINDS, ids=lambda k: "-".join(map(str, k)))
def vocabulary(request, tmp_path_factory):
    return Vocabulary(tmp_path_factory.mktemp("unigram"), request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return Vocabulary(tmp_path_factory.mktemp("plain"), PLAIN)


@pytest.fixture(scope="module")
def library(build):
    return open_library(build)


def wild_lines(n):
    rng = random.Random(SEED + 1)
    return [wild_line(rng) for _ in range(n)]


def test_sentencepiece_gives_these_ids_or_others_as_likely(vocabulary, library):
    ours, theirs = Ours(library, vocabulary.path), vocabulary.theirs
    ties = 0
    for line in wild_lines(1500):
        got, want = ours.encode(line), theirs.encode(line)
        if got == want:
            continue
        ties += 1
        assert sorted("".join(vocabulary.tokens[i] for i in got)) == sorted(
            "".join(vocabulary.tokens[i] for i in want)), repr(line)
        assert abs(vocabulary.sum(got) - vocabulary.sum(want)) < 1e-3, repr(line)
    ours.close()
    assert ties < 30


def test_text_comes_back_where_nothing_is_lost(tmp_path_factory, library):
    vocabulary = Vocabulary(tmp_path_factory.mktemp("bytes"), ("identity", False, True, True))
    ours = Ours(library, vocabulary.path)
    for line in wild_lines(1000):
        assert ours.decode(ours.encode(line)) == line.replace(SPACE, " ").encode()
    rng = random.Random(SEED)
    for _ in range(300):
        data = bytes(rng.choices(b"ab \xc3\xa9\xff\xe4\xb8\n\xf0\x9f", k=rng.randint(0, 30)))
        assert ours.decode(ours.encode(data)) == data
    ours.close()


def test_llama_cpp_gives_these_ids(plain, library):
    need_peer()
    ours = Ours(library, plain.path)
    with llama_cpp.Vocabulary(plain.path) as theirs:
        for line in wild_lines(1500):
            assert ours.encode(line) == theirs.tokenize(line), repr(line)
            assert ours.encode(line, plain=False) == theirs.tokenize(line, True, True), repr(line)
        rng = random.Random(SEED)
        for _ in range(300):  # bytes that are no text are U+FFFD
            data = bytes(rng.choices(b"ab \xc3\xa9\xff\xe4\xb8\n\xf0\x9f", k=rng.randint(0, 30)))
            assert ours.encode(data) == theirs.tokenize(data), data
    ours.close()


def test_tokenizers_gives_these_ids(plain, library):
    """Their normalization goes by whole graphemes, so characters stand apart here."""
    hf = pytest.importorskip("tokenizers")
    theirs = hf.Tokenizer(hf.models.Unigram(list(zip(plain.tokens, plain.scores)), unk_id=0))
    theirs.normalizer = hf.normalizers.Precompiled(plain.rules)
    theirs.pre_tokenizer = hf.pre_tokenizers.Sequence(
        [hf.pre_tokenizers.WhitespaceSplit(), hf.pre_tokenizers.Metaspace(SPACE, "always")])
    ours = Ours(library, plain.path)
    rng = random.Random(SEED + 2)
    for _ in range(1500):
        line = "".join(c for c in random_line(rng) if c.isalnum() or c in " .,;!?-")
        assert ours.encode(line) == theirs.encode(line).ids, repr(line)
    ours.close()
