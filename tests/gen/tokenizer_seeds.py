#!/usr/bin/env python3
"""Seeds of tests/fuzz/fuzz_tokenizer.c: tokenizer_seeds.py DIR writes one small file per kind.

Each is the length of a text (two bytes, little-endian), the text, and a vocabulary as GGUF.
"""
import io
import struct
import sys
from pathlib import Path

import gguf

SPACE = "\u2581"
BYTES = [f"<0x{b:02X}>" for b in (0, 10, 0xC3, 0xA9, 0xFF)]


def vocabulary(model, tokens, types=None, scores=None, merges=None, pre=None, keys=()):
    writer = gguf.GGUFWriter(None, "llama")
    writer.add_tokenizer_model(model)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    if types is not None:
        writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    for key, value in keys:
        add = (writer.add_array if isinstance(value, bytes) else
               writer.add_bool if isinstance(value, bool) else writer.add_uint32)
        add(f"tokenizer.ggml.{key}", value)
    out = io.BytesIO()
    writer.fout = [out]
    writer.state = gguf.gguf_writer.WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    return out.getvalue()


def rules(pairs):
    """Compiled normalization rules: every node of the trie has a block of 256 for its children."""
    units, blocks, texts = {0: 0}, 1, b""

    def block(at):
        nonlocal blocks
        if units[at] >> 10 == 0:
            units[at] |= (at ^ blocks * 256) << 10
            blocks += 1
        return at ^ units[at] >> 10

    for old, new in pairs:
        at = 0
        for byte in old:
            at = block(at) + byte
            units.setdefault(at, byte)
        value = block(at)
        units[at] |= 1 << 8
        units[value] = 1 << 31 | len(texts)
        texts += new + b"\0"
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(256 * blocks))
    return struct.pack("<I", len(trie)) + trie + texts


def seeds():
    spm = ["<unk>", "<s>", "</s>", *BYTES, SPACE, "a", "b", "ab", SPACE + "a", SPACE * 2, "<tool>"]
    types = [2, 3, 3] + [6] * len(BYTES) + [1] * 6 + [4]
    scores = [0.0] * 8 + [-float(i) for i in range(7)]
    text = "ab a  b\n<s>é\xff<tool> aab".encode() + b"\xff\xc3"
    yield "spm", text, vocabulary("llama", spm, types, scores, pre="default")
    yield "spm-no-prefix", text, vocabulary("llama", spm, types, scores,
                                            keys=[("add_space_prefix", False),
                                                  ("add_eos_token", True)])
    bpe = [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ", "ab", "abc", "Ġa", "<|im_end|>", "   "]
    types = [1] * (len(bpe) - 2) + [3, 4]
    merges = ["a b", "ab c", "Ġ a", "b c", "x y"]
    for pre in ("default", "gpt-2", "smollm", "llama-bpe", "qwen2", "qwen35", "deepseek-llm",
                "deepseek-coder", "deepseek-v3", "tekken", "gpt-4o", "falcon"):
        yield f"bpe-{pre}", b"abc  It's 1234 <|im_end|>    x\n\r\n  " + text, vocabulary(
            "gpt2", bpe, types, merges=merges, pre=pre)
    raw = [*BYTES, SPACE, "a", "b", "ab", SPACE + "ab", "\n", "\n\n"]
    yield "bpe-raw", text, vocabulary("gemma4", raw, [6] * 5 + [1] * 7,
                                      merges=["a b", SPACE + " ab", "\n \n"])
    bert = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", SPACE + "un", "able", SPACE + "a", SPACE + "."]
    yield "wordpiece", "Unable a. É中".encode() + b"\xff", vocabulary(
        "bert", bert, [3] * 4 + [1] * 4,
        keys=[("cls_token_id", 2), ("seperator_token_id", 3), ("unknown_token_id", 1)])
    ugm = ["<pad>", "</s>", "<unk>", SPACE, "a", "b", "ab", SPACE + "a", SPACE * 2, "<tool>"]
    types, scores = [3, 3, 2] + [1] * 6 + [4], [0.0] * 3 + [-2.0, -2.5, -2.5, -3.0, -3.0, -5.0, 0.0]
    yield "unigram", text, vocabulary(
        "t5", ugm, types, scores,
        keys=[("add_space_prefix", True), ("remove_extra_whitespaces", True),
              ("precompiled_charsmap",
               rules([(b"\n", b" "), ("É".encode(), b"b a"), (b"bb", b"")]))])
    yield "unigram-bytes", text, vocabulary("t5", ugm + BYTES, types + [6] * len(BYTES),
                                            scores + [0.0] * len(BYTES))
    yield "unknown-model", b"a", vocabulary("abacus", ["a"])
    yield "id-outside", b"a", vocabulary("gpt2", ["a"], merges=["a a"], keys=[("eos_token_id", 7)])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text, vocab in seeds():
        (folder / name).write_bytes(struct.pack("<H", len(text)) + text + vocab)
