"""Our tokenizers against two that nobody here wrote: PyPI's `tokenizers` and `sentencepiece`.

Each test trains a small vocabulary on generated text, writes it as GGUF, and compares ids and
decoded text on thousands of random lines of mixed scripts. The text comes from a seed, which a
failure prints; characters come from blocks that all Unicode versions in question agree on.
"""
import ctypes
import json
import random

import pytest

gguf = pytest.importorskip("gguf")
SPACE = "\u2581"
SEED = 20261123

BLOCKS = [
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", " \t\n",
    ".,;:!?'\"-()[]{}<>/\\|@#$%^&*_+=~`", "äöüßéèêñçøåæœžšđþ", "ÀÉÎÕÜÇÑØŽŠÞ",
    "абвгдежзийклмнопрстуфхцчшщ", "ΑΒΓΔαβγδεζηθικλμνξοπρσς", "אבגדהוזחטיכלמנ",
    "ابتثجحخدذرزسشصضطظ", "अआइईउऊकखगघचछजझ", "ािीुूृेैोौ्ंः", "กขคงจฉชซญ",
    "中文字漢語日本国人大小一二三",
    "あいうえおかきくけこ", "アイウエオカキクケコ", "가각간갇갈나낙난한국어", "😀🦙🚀✅❤👩‍🚀", "①②½¾²³٠١٢٣०१२",
    "\u0301\u0308\u0327\u0303", "\u00a0\u2003\u3000\u2028\u200b\ufeff",
    "—–‘’“”…«»¿¡、。「」", "€£¥©®™°±×÷",
    "\x00\x01\x1f\x7f\x85\u180e\u00ad",
]
WORDS = ("the of and to in is it's I'm we've they'll you're don't I'd THE IT'S he'S hello world "
         "naïve café Straße über 123 4567 3.14 foo_bar x=y http://a.b/c don''t 'tis").split()


def random_line(rng, blocks=BLOCKS):
    parts = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(WORDS))
        elif kind < 0.5:
            parts.append(rng.choice([" ", "  ", "   ", "\n", "\n\n", " \n", "\t", "\r\n", "     "]))
        elif kind < 0.55:
            parts.append("".join(rng.choice(rng.choice(blocks)) for _ in range(rng.randint(1, 6))))
        else:
            block = rng.choice(blocks)
            parts.append("".join(rng.choice(block) for _ in range(rng.randint(1, 8))))
        if rng.random() < 0.5:
            parts.append(" ")
    return "".join(parts)


@pytest.fixture(scope="module")
def lines():
    rng = random.Random(SEED)
    return [random_line(rng) for _ in range(3000)]


@pytest.fixture(scope="module")
def corpus():
    rng = random.Random(SEED + 1)
    return [random_line(rng) for _ in range(3000)]


class Options(ctypes.Structure):
    _fields_ = [("no_bos_eos", ctypes.c_bool), ("parse_special", ctypes.c_bool)]


@pytest.fixture(scope="module")
def library(build):
    lib = ctypes.CDLL(str(build / "libverdant.so"))
    lib.vd_tokenizer_piece.restype = ctypes.c_void_p
    for name in ("vd_tokenizer_free", "vd_ids_free", "vd_text_free"):
        getattr(lib, name).argtypes = [ctypes.c_void_p]
        getattr(lib, name).restype = None
    return lib


class Ours:
    """A vocabulary file through libverdant's public C API."""

    def __init__(self, lib, path):
        self.lib, self.handle = lib, ctypes.c_void_p()
        err = ctypes.create_string_buffer(1024)
        status = lib.vd_tokenizer_open(str(path).encode(), ctypes.byref(self.handle), err)
        assert status == 0, err.raw

    def encode(self, text, plain=True):
        data = text if isinstance(text, bytes) else text.encode()
        ids, n = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        options = Options(plain, not plain)
        assert self.lib.vd_tokenizer_encode(self.handle, data, ctypes.c_size_t(len(data)),
                                            ctypes.byref(options), ctypes.byref(ids),
                                            ctypes.byref(n), None) == 0
        result = ids[:n.value]
        self.lib.vd_ids_free(ids)
        return result

    def decode(self, ids, special=False):
        array = (ctypes.c_int32 * len(ids))(*ids)
        text, n = ctypes.c_void_p(), ctypes.c_size_t()
        assert self.lib.vd_tokenizer_decode(self.handle, array, ctypes.c_size_t(len(ids)),
                                            ctypes.c_bool(special), ctypes.byref(text),
                                            ctypes.byref(n), None) == 0
        result = ctypes.string_at(text, n.value)
        self.lib.vd_text_free(text)
        return result

    def close(self):
        self.lib.vd_tokenizer_free(self.handle)


@pytest.fixture
def ours(library, tmp_path):
    opened = []

    def open_(tokens, model, pre="default", merges=None, scores=None, types=None, **keys):
        path = tmp_path / f"{len(opened)}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model(model)
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types(types or [1] * len(tokens))
        if merges is not None:
            writer.add_token_merges(merges)
        if scores is not None:
            writer.add_token_scores(scores)
        for key, value in keys.items():
            add = writer.add_bool if isinstance(value, bool) else writer.add_uint32
            add(f"tokenizer.ggml.{key}", value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        opened.append(Ours(library, path))
        return opened[-1]

    yield open_
    for tokenizer in opened:
        tokenizer.close()


def assert_same(lines, ours, theirs):
    """theirs(line) are the right ids."""
    for line in lines:
        assert ours.encode(line) == theirs(line), f"seed {SEED}: {line!r}"


# The patterns as the models' own tokenizer.json have them; ByteLevel has GPT-2's built in.
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
          r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
END = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{END}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{END}"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = O200K.replace(END, "").replace("{1,3}", "")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
             r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
             r"|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"]
BYTE_LEVEL = {
    "gpt-2": ([], True, False),
    "smollm": ([r"\p{N}"], True, False),
    "starcoder": ([r"\p{N}"], True, False),
    "llama-bpe": ([LLAMA3], False, True),
    "qwen2": ([LLAMA3.replace("{1,3}", "")], False, False),
    "qwen35": ([QWEN35], False, False),
    "gpt-4o": ([O200K], False, False),
    "tekken": ([TEKKEN], False, True),
    "deepseek-v3": ([r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK3], False, False),
    "deepseek-coder": (DEEPSEEK_CODER, False, False),
}


QUICK = {"gpt-2", "smollm", "llama-bpe"}


@pytest.mark.parametrize("pre", [pytest.param(p, marks=[] if p in QUICK else pytest.mark.slow)
                                 for p in BYTE_LEVEL])
def test_byte_level_bpe_gives_the_ids_of_tokenizers(pre, ours, lines, corpus):
    hf = pytest.importorskip("tokenizers")
    patterns, builtin, ignore_merges = BYTE_LEVEL[pre]
    tokenizer = hf.Tokenizer(hf.models.BPE(ignore_merges=ignore_merges))
    steps = [hf.pre_tokenizers.Split(hf.Regex(p), "isolated") for p in patterns]
    steps.append(hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=builtin))
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence(steps)
    tokenizer.train_from_iterator(corpus, hf.trainers.BpeTrainer(
        vocab_size=2000, show_progress=False,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    subject = ours(tokens, "gpt2", pre, merges=merges)
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
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
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
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    trained = hf.Tokenizer(hf.models.BPE())
    trained.normalizer = hf.normalizers.Replace(" ", SPACE)
    trained.pre_tokenizer = hf.pre_tokenizers.Split(hf.Regex(SPACE + r"*[^\n" + SPACE + r"]+|\n+"),
                                                    "isolated")
    trained.train_from_iterator(corpus, hf.trainers.BpeTrainer(
        vocab_size=2000, show_progress=False, limit_alphabet=150,
        special_tokens=["<unk>"] + bytes_))
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    tokenizer = hf.Tokenizer(hf.models.BPE(vocab=model["vocab"], merges=merges, byte_fallback=True,
                                           unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = trained.normalizer
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    subject = ours(tokens, "gemma4", "gemma4", merges=[" ".join(m) for m in merges],
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
