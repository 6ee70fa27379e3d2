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
        (writer.add_bool if isinstance(value, bool) else writer.add_uint32)(f"tokenizer.ggml.{key}",
                                                                            value)
    out = io.BytesIO()
    writer.fout = [out]
    writer.state = gguf.gguf_writer.WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    return out.getvalue()


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
    yield "unknown-model", b"a", vocabulary("abacus", ["a"])
    yield "id-outside", b"a", vocabulary("gpt2", ["a"], merges=["a a"], keys=[("eos_token_id", 7)])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text, vocab in seeds():
        (folder / name).write_bytes(struct.pack("<H", len(text)) + text + vocab)
