"""Tokenizers after `verdant import`: the ids of PyPI's `tokenizers` and `sentencepiece`.

Each test trains a small vocabulary, imports a folder that has it, and compares ids on 10,000 random
lines of mixed scripts.
"""
import io
import json
import random

import hf_folder
import pytest

gguf = pytest.importorskip("gguf")
hf = pytest.importorskip("tokenizers")
import test_unigram  # noqa: E402
from oracles import pretokenizers  # noqa: E402
from tokenizing import SPACE, Ours, open_library, random_line  # noqa: E402

SEED = 20261129
LLAMA3 = pretokenizers.LLAMA3
SPELT = LLAMA3.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)",
                       "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])")


@pytest.fixture(scope="module")
def library(build):
    return open_library(build)


@pytest.fixture(scope="module")
def lines():
    rng = random.Random(SEED + 7)
    return [random_line(rng) for _ in range(10_000)]


@pytest.fixture(scope="module")
def corpus():
    rng = random.Random(SEED + 1)
    return [random_line(rng) for _ in range(3000)]


@pytest.fixture
def imported(verdant, library, tmp_path):
    """imported({file name: text or bytes}, n tokens): the tokenizer, and the file's metadata."""
    opened = []

    def run(files, n_tokens, *options, config=None):
        folder = tmp_path / f"tiny{len(opened)}"
        hf_folder.write(folder, hf_folder.tensors(vocab=n_tokens), tokenizer=False, config=config)
        for name, data in files.items():
            if isinstance(data, dict):
                data = json.dumps(data)
            (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        target = tmp_path / f"{len(opened)}.gguf"
        result = verdant("import", folder, "-o", target, *options)
        assert result.returncode == 0, result.stderr
        opened.append(Ours(library, target))
        return opened[-1], gguf.GGUFReader(target)

    yield run
    for tokenizer in opened:
        tokenizer.close()


def said(reader, key):
    field = reader.get_field(f"tokenizer.ggml.{key}")
    return field.contents() if field else None


def assert_same(lines, ours, theirs):
    for line in lines:
        assert ours.encode(line) == theirs(line), f"seed {SEED}: {line!r}"


def train_bytes(steps, corpus, ignore_merges=False, vocab_size=2000):
    tokenizer = hf.Tokenizer(hf.models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence(steps)
    tokenizer.train_from_iterator(corpus, hf.trainers.BpeTrainer(
        vocab_size=vocab_size, show_progress=False,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def splits(*patterns):
    return [hf.pre_tokenizers.Split(hf.Regex(p), "isolated") for p in patterns]


def bytes_(builtin=False):
    return hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=builtin)


def step(what):
    pre = hf.pre_tokenizers
    if what is pretokenizers.DIGITS:
        return pre.Digits(individual_digits=True)
    if what in (pretokenizers.SIGNS, pretokenizers.EACH_SIGN):
        return pre.Punctuation("contiguous" if what is pretokenizers.SIGNS else "isolated")
    return pre.Split(hf.Regex(what), "isolated")


def cases():
    """What publishers write: (name in GGUF, steps, ignore_merges)."""
    digits = hf.pre_tokenizers.Digits
    made = {name: (name, [*map(step, f.hf), bytes_(f.gpt2), *map(step, f.after)], f.ignore_merges)
            for name, f in pretokenizers.FAMILIES.items() if f.hf is not None}
    made |= {
        "gpt-2 spelt": ("gpt-2", [*splits(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+"
                                          r"| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), bytes_()], False),
        "smollm split": ("smollm", [*splits(r"\p{N}"), bytes_(True)], False),
        "llama-bpe spelt": ("llama-bpe", [*splits(SPELT), bytes_()], True),
        "qwen2 inverted": ("qwen2", [
            hf.pre_tokenizers.Split(hf.Regex(pretokenizers.QWEN2), "removed", invert=True),
            bytes_()], False),
        "falcon digits": ("falcon", [
            hf.pre_tokenizers.Punctuation("contiguous"), bytes_(True),
            digits(individual_digits=False), *splits("[0-9][0-9][0-9]")], False),
        "deepseek-coder digits": ("deepseek-coder", [
            *splits("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+"),
            digits(individual_digits=True), bytes_()], False),
    }
    return made


QUICK = {"gpt-2", "smollm", "llama-bpe"}


@pytest.mark.parametrize("case", [pytest.param(c, marks=[] if c in QUICK else pytest.mark.slow)
                                  for c in cases()])
def test_bpe_over_bytes_has_the_ids_of_tokenizers(case, imported, lines, corpus):
    name, steps, ignore_merges = cases()[case]
    tokenizer = train_bytes(steps, corpus, ignore_merges)
    n = tokenizer.get_vocab_size()
    subject, reader = imported({"tokenizer.json": tokenizer.to_str()}, n)
    assert (said(reader, "model"), said(reader, "pre")) == ("gpt2", name)
    assert_same(lines, subject, lambda line: tokenizer.encode(line).ids)


def test_merges_as_texts_and_as_pairs_are_the_same(imported, corpus):
    tokenizer = json.loads(train_bytes([bytes_(True)], corpus).to_str())
    merges = [m if isinstance(m, list) else m.split(" ") for m in tokenizer["model"]["merges"]]
    found = []
    for form in (merges, [" ".join(m) for m in merges]):
        tokenizer["model"]["merges"] = form
        found.append(said(imported({"tokenizer.json": tokenizer}, 2000)[1], "merges"))
    assert found[0] == found[1] == [" ".join(m) for m in merges]


@pytest.mark.parametrize(("steps", "words"), [
    ([{"type": "Split", "pattern": {"Regex": r"\d+|\D"}, "behavior": "Isolated", "invert": False}],
     [r"\d+|\D", "--pre"]),
    ([{"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "MergedWithPrevious",
       "invert": False}], ["not isolated", "--pre"]),
    ([{"type": "Digits", "individual_digits": True}, {"type": "Whitespace"}], ["Whitespace"]),
])
def test_an_unknown_pre_tokenizer_is_shown_and_can_be_named(
        imported, verdant, tmp_path, corpus, steps, words):
    tokenizer = json.loads(train_bytes([bytes_(True)], corpus).to_str())
    last = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*steps, last]}
    folder = hf_folder.write(tmp_path / "odd", hf_folder.tensors(vocab=2000), tokenizer=False)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    result = verdant("import", folder, "-o", tmp_path / "m.gguf")
    assert result.returncode == 1
    for word in words:
        assert word in result.stderr, result.stderr
    _, reader = imported({"tokenizer.json": tokenizer}, 2000, "--pre", "gpt-2")
    assert said(reader, "pre") == "gpt-2"


def test_names_that_mean_the_same_follow_the_architecture(imported, corpus):
    steps = [hf.pre_tokenizers.Digits(individual_digits=True), bytes_(True)]
    text = train_bytes(steps, corpus, vocab_size=400).to_str()
    config = {"architectures": ["GraniteForCausalLM"]}
    assert said(imported({"tokenizer.json": text}, 400)[1], "pre") == "smollm"
    assert said(imported({"tokenizer.json": text}, 400, config=config)[1], "pre") == "refact"


def train_sentencepiece(corpus, kind, **options):
    spm = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    usual = {"vocab_size": 1200, "byte_fallback": True, "character_coverage": 0.98,
             "normalization_rule_name": "identity", "remove_extra_whitespaces": False,
             "minloglevel": 2, "num_threads": 1, "max_sentence_length": 100_000}
    spm.SentencePieceTrainer.train(sentence_iterator=iter([t for t in corpus if t]),
                                   model_writer=model, model_type=kind, **usual | options)
    return model.getvalue(), spm.SentencePieceProcessor(model_proto=model.getvalue())


def of_lines(lines):
    """SentencePiece takes no NUL; a text that is empty has no ids in ours and theirs alike."""
    return [line for line in lines if "\x00" not in line]


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_bpe_has_its_ids(imported, lines, corpus, prefix):
    data, theirs = train_sentencepiece(corpus, "bpe", add_dummy_prefix=prefix,
                                       user_defined_symbols=["<tool>"])
    subject, reader = imported({"tokenizer.model": data}, theirs.vocab_size())
    assert said(reader, "model") == "llama" and said(reader, "add_space_prefix") is prefix
    for i in range(theirs.vocab_size()):
        kind = (gguf.TokenType.UNKNOWN if theirs.is_unknown(i)
                else gguf.TokenType.CONTROL if theirs.is_control(i)
                else gguf.TokenType.BYTE if theirs.is_byte(i) else None)
        if kind is not None:
            assert said(reader, "token_type")[i] == kind
        if kind is None and said(reader, "token_type")[i] == gguf.TokenType.NORMAL:
            assert said(reader, "scores")[i] == pytest.approx(theirs.get_score(i))
    assert said(reader, "token_type")[theirs.piece_to_id("<tool>")] == gguf.TokenType.USER_DEFINED
    assert_same(of_lines(lines), subject, theirs.encode)


def test_bpe_over_characters_has_the_ids_of_tokenizers(imported, lines, corpus):
    """What becomes of a SentencePiece model in tokenizer.json: every way to make a token is a
    merge, in the order of the tokens' scores."""
    _, theirs = train_sentencepiece(corpus, "bpe")
    vocab = {theirs.id_to_piece(i): i for i in range(theirs.vocab_size())}
    normal = {t: i for t, i in vocab.items()
              if not (theirs.is_unknown(i) or theirs.is_control(i) or theirs.is_byte(i))}
    merges = []
    for text, i in normal.items():
        pairs = [(text[:k], text[k:]) for k in range(1, len(text))]
        pairs = [p for p in pairs if p[0] in normal and p[1] in normal]
        pairs.sort(key=lambda p: (normal[p[0]], normal[p[1]]))
        merges += [(theirs.get_score(i), *p) for p in pairs]
    merges.sort(key=lambda m: -m[0])
    tokenizer = hf.Tokenizer(hf.models.BPE(
        vocab=vocab, merges=[m[1:] for m in merges], unk_token="<unk>", fuse_unk=True,
        byte_fallback=True))
    tokenizer.normalizer = hf.normalizers.Sequence(
        [hf.normalizers.Prepend(SPACE), hf.normalizers.Replace(" ", SPACE)])
    subject, reader = imported({"tokenizer.json": tokenizer.to_str()}, len(vocab))
    assert said(reader, "model") == "llama" and said(reader, "add_space_prefix") is True
    kept = [line for line in lines if line]
    assert_same(kept, subject, lambda line: tokenizer.encode(line).ids)
    tokenizer.normalizer = hf.normalizers.Replace(" ", SPACE)
    subject, reader = imported({"tokenizer.json": tokenizer.to_str()}, len(vocab))
    assert said(reader, "add_space_prefix") is False
    assert_same(kept[:2000], subject, lambda line: tokenizer.encode(line).ids)


@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize("squeeze", [True, False])
def test_sentencepiece_unigram_has_its_ids(imported, lines, corpus, rule, squeeze):
    data, theirs = train_sentencepiece(corpus, "unigram", normalization_rule_name=rule,
                                       remove_extra_whitespaces=squeeze)
    subject, reader = imported({"tokenizer.model": data}, theirs.vocab_size())
    assert said(reader, "model") == "t5"
    assert said(reader, "remove_extra_whitespaces") is squeeze
    assert (said(reader, "precompiled_charsmap") is None) == (rule == "identity")
    scores, types = said(reader, "scores"), said(reader, "token_type")
    unknown = min(scores) - 10
    ties = 0
    for line in of_lines(lines):
        got, want = subject.encode(line), theirs.encode(line)
        if got == want:
            continue
        ties += 1  # two ways that are equally likely, but for the rounding of float sums
        one, other = (sum(unknown if types[i] == 2 else scores[i] for i in ids)
                      for ids in (got, want))
        assert one == pytest.approx(other, abs=1e-3), f"seed {SEED}: {line!r}"
    assert ties < len(lines) / 50


def test_unigram_has_the_ids_of_tokenizers(imported, lines, corpus):
    """XLM-R's kind: SentencePiece's table of characters, spaces made one, then Metaspace."""
    _, theirs = train_sentencepiece(corpus, "unigram", normalization_rule_name="nmt_nfkc",
                                    byte_fallback=False)
    vocab = [(theirs.id_to_piece(i), theirs.get_score(i)) for i in range(theirs.vocab_size())]
    charsmap = test_unigram.rules_of(theirs.serialized_model_proto())
    tokenizer = hf.Tokenizer(hf.models.Unigram(vocab, unk_id=theirs.unk_id()))
    tokenizer.normalizer = hf.normalizers.Sequence([
        hf.normalizers.Precompiled(charsmap), hf.normalizers.Replace(hf.Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence([
        hf.pre_tokenizers.WhitespaceSplit(),
        hf.pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")])
    subject, reader = imported({"tokenizer.json": tokenizer.to_str()}, len(vocab))
    assert said(reader, "model") == "t5" and said(reader, "remove_extra_whitespaces") is True
    assert bytes(said(reader, "precompiled_charsmap")) == charsmap
    # Their normalization goes by whole graphemes, so characters stand apart here.
    kept = ["".join(c for c in line if c.isalnum() or c in " .,;!?-") for line in lines]
    assert_same(kept, subject, lambda line: tokenizer.encode(line).ids)


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_has_the_ids_of_tokenizers(imported, lines, corpus, lowercase):
    tokenizer = hf.Tokenizer(hf.models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=10**6))
    tokenizer.normalizer = hf.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(corpus, hf.trainers.WordPieceTrainer(
        vocab_size=2000, show_progress=False, limit_alphabet=300,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    tokenizer.post_processor = hf.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    n = tokenizer.get_vocab_size()
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]",
             "pad_token": "[PAD]", "mask_token": "[MASK]"}
    subject, reader = imported(
        {"tokenizer.json": tokenizer.to_str(), "tokenizer_config.json": names}, n)
    assert said(reader, "model") == "bert"
    want = {"bos": 2, "eos": 3, "cls": 2, "seperator": 3, "unknown": 1, "padding": 0, "mask": 4}
    assert {k: said(reader, f"{k}_token_id") for k in want} == want
    # Characters on which the Unicode tables of the two may differ are left to test_tokenizers.
    plain = [t for t in lines if not set(t) & set("\x85\u180e\u00ad\u200b\ufeff\u2028")]
    assert_same(plain, subject, lambda line: tokenizer.encode(line, add_special_tokens=False).ids)
    for line in plain[:200]:
        assert subject.encode(line, plain=False) == tokenizer.encode(line).ids


def test_added_tokens_and_holes_stand_where_they_belong(imported, corpus):
    tokenizer = train_bytes([bytes_(True)], corpus, vocab_size=400)
    tokenizer.add_special_tokens([hf.AddedToken("<|end|>", special=True)])
    tokenizer.add_tokens([hf.AddedToken("<tool>", normalized=False),
                          hf.AddedToken(f"x{SPACE}y", normalized=False), "<|odd|>"])
    subject, reader = imported({"tokenizer.json": tokenizer.to_str()}, 410)
    tokens, types = said(reader, "tokens"), said(reader, "token_type")
    assert tokens[400:] == ["<|end|>", "<tool>", "x y", "<|odd|>"] + [
        f"[PAD{i}]" for i in range(404, 410)]
    kind = gguf.TokenType
    assert types[400:] == [kind.CONTROL, kind.USER_DEFINED, kind.USER_DEFINED, kind.CONTROL,
                           *[kind.UNUSED] * 6]
    assert subject.encode("a<tool>b") == tokenizer.encode("a<tool>b").ids


def test_ids_with_a_meaning_come_from_all_files(imported, corpus):
    tokenizer = train_bytes([bytes_(True)], corpus, vocab_size=400)
    tokenizer.add_special_tokens(["<s>", "</s>", "<|eot|>", "<pad>"])
    text = tokenizer.to_str()

    def ids(files, config=None):
        reader = imported({"tokenizer.json": text} | files, 404, config=config)[1]
        return [said(reader, f"{k}_token_id") for k in ("bos", "eos", "eot", "padding")]

    named = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": "<pad>"}
    assert ids({"tokenizer_config.json": named}) == [400, 401, None, 403]
    assert ids({"special_tokens_map.json": named}) == [400, 401, None, 403]
    numbers = {"bos_token_id": 400, "eos_token_id": [401, 402], "pad_token_id": 403}
    assert ids({}, config=numbers) == [400, 401, None, 403]
    ends = {"generation_config.json": {"eos_token_id": [401, 402]}}
    assert ids(ends, config=numbers) == [400, 401, 402, 403]
    assert ids(ends | {"tokenizer_config.json": named}) == [400, 401, 402, 403]


def special(reader):
    names = ("bos_token_id", "eos_token_id", "add_bos_token", "add_eos_token")
    return tuple(said(reader, name) for name in names)


def test_what_is_put_around_a_text_is_the_post_processors(imported, lines, corpus):
    tokenizer = train_bytes([bytes_(True)], corpus, vocab_size=400)
    tokenizer.add_special_tokens(["<s>", "</s>"])
    named = {"bos_token": "<s>", "eos_token": "</s>"}
    for single, want in (("<s> $A", (400, 401, True, False)),
                         ("$A </s>", (400, 401, False, True)),
                         ("<s> $A </s>", (400, 401, True, True)), (None, (400, 401, False, False))):
        if single is None:
            tokenizer.post_processor = hf.processors.ByteLevel(trim_offsets=False)
        else:
            tokenizer.post_processor = hf.processors.Sequence([
                hf.processors.ByteLevel(trim_offsets=False),
                hf.processors.TemplateProcessing(
                    single=single, special_tokens=[("<s>", 400), ("</s>", 401)])])
        subject, reader = imported(
            {"tokenizer.json": tokenizer.to_str(), "tokenizer_config.json": named}, 402)
        assert special(reader) == want
        for line in lines[:50]:
            assert subject.encode(line, plain=False) == tokenizer.encode(line).ids
    told = named | {"add_bos_token": True, "add_eos_token": False}
    _, reader = imported(
        {"tokenizer.json": tokenizer.to_str(), "tokenizer_config.json": told}, 402)
    assert special(reader) == (400, 401, True, False)


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: t["model"].update(type="WordLevel"), ["WordLevel"]),
    (lambda t: t["model"].update(vocab={"a": -1}), ["model.vocab"]),
    (lambda t: t["model"].update(vocab={"a": "x"}), ["model.vocab"]),
    (lambda t: t["model"].update(vocab=[]), ["model.vocab"]),
    (lambda t: t["model"].update(merges=["ab"]), ["merges[0]"]),
    (lambda t: t["model"].update(merges=[["a"]]), ["merges[0]"]),
    (lambda t: t.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}),
     ["add_prefix_space"]),
    (lambda t: t.update(added_tokens=[{"id": -3, "content": "x"}]), ["added token"]),
    (lambda t: t.update(added_tokens=[{"id": 3}]), ["added token"]),
])
def test_a_tokenizer_that_cannot_be_is_refused(verdant, tmp_path, corpus, change, words):
    tokenizer = json.loads(train_bytes([bytes_(True)], corpus, vocab_size=300).to_str())
    change(tokenizer)
    folder = hf_folder.write(tmp_path / "odd", hf_folder.tensors(vocab=300), tokenizer=False)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    result = verdant("import", folder, "-o", tmp_path / "m.gguf")
    assert result.returncode == 1
    for word in words:
        assert word in result.stderr, result.stderr


def test_every_cut_of_a_sentencepiece_model_is_refused_or_smaller(verdant, tmp_path, corpus):
    data, theirs = train_sentencepiece(corpus, "bpe", vocab_size=700)
    folder = hf_folder.write(
        tmp_path / "cut", hf_folder.tensors(vocab=theirs.vocab_size()), tokenizer=False)
    for size in (0, 1, 2, 5, 17, len(data) // 2, len(data) - 1):
        (folder / "tokenizer.model").write_bytes(data[:size])
        result = verdant("import", folder, "-o", tmp_path / "m.gguf")
        assert result.returncode == 1 and "tokenizer.model" in result.stderr, size
