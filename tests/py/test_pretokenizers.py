"""Every pre-tokenizer against PyPI's `tokenizers` and llama.cpp, on random text of all kinds.

The vocabulary is made to tell one cut from another: its merges are trained on text that is not cut
at all, so that a word too long or too short nearly always gives other ids.
"""

import itertools
import random
import re

import pytest

pytest.importorskip("gguf")
hf = pytest.importorskip("tokenizers")
from oracles import llama_cpp, need_peer, pretokenizers  # noqa: E402
from tokenizing import (  # noqa: E402
    Ours, bpe_parts, open_library, random_line, raw_bpe, wild_line, write_vocabulary)

SEED = 20261128
FAMILIES = pretokenizers.FAMILIES
QUICK = {"gpt-2", "llama-bpe", "qwen2"}


def names(found):
    return [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in found]


@pytest.fixture(scope="module")
def library(build):
    return open_library(build)


@pytest.fixture(scope="module")
def parts():
    rng = random.Random(SEED)
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.train_from_iterator((wild_line(rng) for _ in range(5000)), hf.trainers.BpeTrainer(
        vocab_size=4000, show_progress=False,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet()))
    tokens, merges = bpe_parts(tokenizer)
    # and tokens that no merge makes: for those that take a whole word before they merge
    whole = {space + "".join(letters) for space in ("", "\u0120") for letters in
             itertools.product("abcdefgABCDEFG", repeat=3)}
    return tokens + sorted(whole - set(tokens)), merges


@pytest.fixture
def subject(library, parts, tmp_path):
    opened = []

    def open_(name):
        path = write_vocabulary(tmp_path / f"{name}.gguf", parts[0], "gpt2", name, merges=parts[1],
                                bos_token_id=0, eos_token_id=0)
        opened.append(Ours(library, path))
        return opened[-1], path

    yield open_
    for tokenizer in opened:
        tokenizer.close()


def step(what):
    pre = hf.pre_tokenizers
    if what is pretokenizers.DIGITS:
        return pre.Digits(individual_digits=True)
    if what is pretokenizers.SIGNS:
        return pre.Punctuation("contiguous")
    if what is pretokenizers.EACH_SIGN:
        return pre.Punctuation("isolated")
    return pre.Split(hf.Regex(what), "isolated")


def reference(family, parts):
    """The family by `tokenizers`."""
    tokens, merges = parts
    tokenizer = hf.Tokenizer(hf.models.BPE(
        vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m.split(" ")) for m in merges],
        ignore_merges=family.ignore_merges))
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence(
        [*map(step, family.hf),
         hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=family.gpt2),
         *map(step, family.after)])
    return tokenizer


def random_lines(n):
    rng = random.Random(SEED + 1)
    return [wild_line(rng) for _ in range(n)]


@pytest.mark.parametrize("name", names(n for n, f in FAMILIES.items() if f.hf is not None))
def test_a_pre_tokenizer_cuts_as_hugging_face_does(name, subject, parts):
    ours, theirs = subject(name)[0], reference(FAMILIES[name], parts)
    # `tokenizers` has punctuation from an older Unicode than the patterns
    old = pretokenizers.SIGNS in FAMILIES[name].hf or pretokenizers.EACH_SIGN in FAMILIES[name].hf
    for line in random_lines(2000):
        if old and re.search("[\u2e40-\u2e7f\U00010a00-\U0001ffff]", line):
            continue
        ids = ours.encode(line)
        assert ids == theirs.encode(line).ids, f"{name}: {line!r}"
        assert ours.decode(ids) == line.encode()


@pytest.mark.parametrize("name", names(n for n, f in FAMILIES.items() if f.peer == ""))
def test_a_pre_tokenizer_cuts_as_llama_cpp_does(name, subject):
    need_peer()
    ours, path = subject(name)
    with llama_cpp.Vocabulary(path) as theirs:
        for line in random_lines(1500):
            assert ours.encode(line) == theirs.tokenize(line), f"{name}: {line!r}"


@pytest.mark.parametrize("name", names(n for n, f in FAMILIES.items() if f.peer != ""))
def test_where_llama_cpp_is_said_to_cut_otherwise_it_does(name, subject):
    need_peer()
    ours, path = subject(name)
    with llama_cpp.Vocabulary(path) as theirs:
        assert any(ours.encode(line) != theirs.tokenize(line) for line in random_lines(6000)), name


@pytest.mark.parametrize("name", ["gemma4", "granite-embed-multi-311m", "sarvam-moe"])
def test_lines_without_words_merge_as_in_llama_cpp(name, library, tmp_path):
    need_peer()
    rng = random.Random(SEED)
    _, tokens, merges = raw_bpe(hf, [random_line(rng).replace("\0", "") for _ in range(2000)])
    path = write_vocabulary(
        tmp_path / "raw.gguf", tokens, "gemma4" if name == "gemma4" else "gpt2", name,
        merges=merges, types=[2] + [6] * 256 + [1] * (len(tokens) - 257), bos_token_id=257,
        eos_token_id=257)
    ours = Ours(library, path)
    with llama_cpp.Vocabulary(path) as theirs:
        for line in random_lines(1500):
            assert ours.encode(line) == theirs.tokenize(line), repr(line)
    ours.close()


@pytest.mark.slow
def test_the_vocabulary_tells_families_apart(subject):
    lines = random_lines(1500)
    seen = {}
    for name in FAMILIES:
        ours = subject(name)[0]
        ids = tuple(tuple(ours.encode(line)) for line in lines)
        assert ids not in seen, (name, seen[ids])
        seen[ids] = name


def test_every_name_of_a_family_cuts_like_its_first(subject):
    lines = random_lines(100)
    for first, family in FAMILIES.items():
        one = subject(first)[0]
        wanted = [one.encode(line) for line in lines]
        for name in family.kin.split():
            other = subject(name)[0]
            assert [other.encode(line) for line in lines] == wanted, name


def test_an_unknown_name_is_refused_and_the_known_are_told(library, parts, tmp_path):
    path = write_vocabulary(tmp_path / "x.gguf", parts[0], "gpt2", "no-such-thing", merges=parts[1])
    with pytest.raises(AssertionError) as refusal:
        Ours(library, path)
    message = str(refusal.value)
    assert "'no-such-thing'" in message
    known = re.search(r"kin of: ([^\\]*)", message).group(1).split(", ")
    assert sorted(known) == sorted([*FAMILIES, *pretokenizers.RAW])
