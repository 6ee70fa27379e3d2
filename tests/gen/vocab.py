"""Small vocabularies that real tokenizers accept: SPM with byte tokens, and byte-level BPE."""

from gguf import TokenType

PIECES = (
    "th he in er an re on at en nd st es ng ed to it is or ar al and the ing ion ent her of was "
    "that his with for not you are"
).split()


def spm():
    """(tokens, scores, types): <unk> <s> </s>, 256 bytes, pieces, letters."""
    tokens, scores = ["<unk>", "<s>", "</s>"], [0.0, 0.0, 0.0]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    for byte in range(256):
        tokens.append(f"<0x{byte:02X}>")
        scores.append(0.0)
        types.append(TokenType.BYTE)
    pieces = []
    for piece in PIECES:  # a piece must be reachable by merging two smaller ones
        for word in (piece, "\u2581" + piece):
            pieces += [word[:n] for n in range(2, len(word) + 1)]
    letters = ["\u2581"] + list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ.,!?'\n0123é")
    for rank, piece in enumerate(list(dict.fromkeys(pieces)) + letters):
        tokens.append(piece)
        scores.append(-float(rank))
        types.append(TokenType.NORMAL)
    return tokens, scores, types


def byte_alphabet():
    """The printable character that byte-level BPE uses for each byte."""
    kept = set(range(0x21, 0x7F)) | set(range(0xA1, 0xAD)) | set(range(0xAE, 0x100))
    moved = iter(range(256, 512))
    return [chr(b) if b in kept else chr(next(moved)) for b in range(256)]


def bpe():
    """(tokens, merges, types): 256 bytes, merged pieces, three control tokens."""
    alphabet = byte_alphabet()
    tokens, merges = list(alphabet), []
    for piece in PIECES:
        for word in (piece, alphabet[0x20] + piece):
            for n in range(2, len(word) + 1):
                if word[:n] not in tokens:
                    merges.append(f"{word[:n - 1]} {word[n - 1]}")
                    tokens.append(word[:n])
    types = [TokenType.NORMAL] * len(tokens) + [TokenType.CONTROL] * 3
    return tokens + ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], merges, types


def write(writer, kind):
    """Adds the vocabulary `kind` (spm or bpe) to a GGUFWriter; returns the number of tokens."""
    if kind == "spm":
        tokens, scores, types = spm()
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(scores)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(True)
    else:
        tokens, merges, types = bpe()
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(merges)
        writer.add_bos_token_id(len(tokens) - 3)
        writer.add_eos_token_id(len(tokens) - 3)
        writer.add_add_bos_token(False)
    writer.add_token_list(tokens)
    writer.add_token_types([int(t) for t in types])
    return len(tokens)
