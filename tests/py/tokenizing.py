"""Tokenizers for the suites: random text, vocabularies written as GGUF, ours through the C API."""

import ctypes
import json
import unicodedata

import gguf

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

# Where tokenizers disagree: white space, line ends, cases, marks, numbers, ideographs and their
# edges, emoji, contractions.
ODD = ("\u2028 \u2029 \x85 \xa0 \u3000 \u200d \u200b \ufeff \ufffd \ud7ff \ue000 \u180e "
       "\u202f \u205f \x1c \x1d \x1e \x1f \x7f \u00ad \u0345 \u01c5 \u1e9e \u017f \u212a "
       "\u0130 \u0131 \ufb01 \u00aa \u00ba \u00b2 \u00bd \u2167 \u2177 \u2460 \u0663 "
       "\u096b \u0e53 \u3007 \u4e00 \u9fa5 \u9fa6 \u9fff \u0800 \ua000 \uac00 \ud7a3 "
       "\u1100 \u3131 \u3042 \u30a2 \uff71 \uff21 \uff11 \uff01 \u2026 \u2018 \u2019 "
       "\u201c \u2014 \u3002 \u3001 \u06d4 \u060c \u0964 \U0001f469\u200d\U0001f680 "
       "\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e9\U0001f1ea e\u0301 \u0e01\u0e47 "
       "\u0928\u093f \u1000 \u1780 \u0ea5 \U00010400 \U0001e900 \U0001d400 \U0001d7d8 "
       "\U000e0001 \u0294 \u01bb \u01c0 \u2135 \u1d2c \u02b0 \u24d0").split(" ")
CONTRACTIONS = ("'s 'S 't 'T 're 'RE 'Re 've 'VE 'm 'M 'll 'LL 'lL 'd 'D '\u017f \u2019s 'x '' "
                "'re' 'sa 'Ll1").split(" ")
BREAKS = ["\n", "\n\n", "\n\n\n", " \n", "\n ", " \n ", "\t", "\t\t", "\r", "\r\n", "\r\n\r\n",
          "\t\n", "  \n  \n  ", "\v", "\f", "\xa0", " \xa0", "\u3000 ", "\u2028\n", "  ", "     "]
ASCII_SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def assigned():
    """Characters by category; not the surrogates, and none that later versions assign."""
    found = {}
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        if category not in ("Cs", "Cn"):
            found.setdefault(category, []).append(chr(code))
    return list(found.values())


ASSIGNED = assigned()


def wild_part(rng):
    def some(source, most):
        return "".join(rng.choice(source) for _ in range(rng.randint(1, most)))

    kind = rng.random()
    if kind < 0.14:
        return rng.choice(BREAKS)
    if kind < 0.20:
        return rng.choice("    \n\t") * rng.randint(1, 40)
    if kind < 0.28:
        return rng.choice(CONTRACTIONS)
    if kind < 0.38:
        return some(ODD, 3)
    if kind < 0.50:
        return some(rng.choice(ASSIGNED), 4)
    if kind < 0.58:
        return some("0123456789", 14)
    if kind < 0.64:
        return some(ASCII_SIGNS, 5)
    if kind < 0.74:
        return rng.choice(WORDS)
    if kind < 0.87:
        return some("abcdefgABCDEFG", 8)
    return some(rng.choice(BLOCKS), 6)


def wild_line(rng):
    """Any characters in any order, and much of what pre-tokenizers treat apart."""
    return "".join(wild_part(rng) + (" " if rng.random() < 0.35 else "")
                   for _ in range(rng.randint(0, 9)))


def write_vocabulary(path, tokens, model, pre="default", merges=None, scores=None, types=None,
                     **keys):
    """A GGUF file of no weights that llama.cpp opens too; keys stand under tokenizer.ggml."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(len(tokens))
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types or [1] * len(tokens))
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    for key, value in keys.items():
        add = (writer.add_array if isinstance(value, bytes) else
               writer.add_bool if isinstance(value, bool) else writer.add_uint32)
        add(f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def bpe_parts(tokenizer):
    """(tokens, merges as GGUF has them) of a tokenizer of PyPI's `tokenizers`."""
    model = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    return sorted(model["vocab"], key=model["vocab"].get), merges


def raw_bpe(hf, corpus):
    """(tokenizer, tokens, merges) as Gemma 4's: <unk>, 256 bytes, characters and what merges."""
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    trained = hf.Tokenizer(hf.models.BPE())
    trained.normalizer = hf.normalizers.Replace(" ", SPACE)
    trained.pre_tokenizer = hf.pre_tokenizers.Split(
        hf.Regex(SPACE + r"*[^\n" + SPACE + r"]+|\n+"), "isolated")
    trained.train_from_iterator(corpus, hf.trainers.BpeTrainer(
        vocab_size=2000, show_progress=False, limit_alphabet=150,
        special_tokens=["<unk>"] + bytes_))
    tokens, merges = bpe_parts(trained)
    tokenizer = hf.Tokenizer(hf.models.BPE(
        vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m.split(" ")) for m in merges],
        byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = trained.normalizer
    return tokenizer, tokens, merges


class Options(ctypes.Structure):
    _fields_ = [("no_bos_eos", ctypes.c_bool), ("parse_special", ctypes.c_bool)]


def open_library(build):
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
