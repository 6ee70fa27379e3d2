"""Sentence embeddings of a BERT folder of Hugging Face in double precision, from its own files:
config.json, model.safetensors, tokenizer.json. Written from the paper (Devlin et al. 2018) and from
Sentence-BERT's mean over all tokens (Reimers and Gurevych 2019); GELU is the erf form that these
models were trained with."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import tokenizers
from numpy_parts import layer_norm, softmax

erf = np.vectorize(math.erf)


def read_safetensors(path):
    """{name: float64 array} of a file of F32 tensors and integers."""
    data = Path(path).read_bytes()
    (n,) = struct.unpack_from("<Q", data)
    table = json.loads(data[8 : 8 + n])
    kinds = {"F32": "<f4", "I64": "<i8"}
    out = {}
    for name, about in table.items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            raw = np.frombuffer(data[8 + n + begin : 8 + n + end], kinds[about["dtype"]])
            out[name] = raw.reshape(about["shape"]).astype(np.float64)
    return out


class Bert:
    def __init__(self, folder):
        folder = Path(folder)
        self.w = read_safetensors(folder / "model.safetensors")
        self.config = json.loads((folder / "config.json").read_text())
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def dense(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def norm(self, x, name):
        weight, bias = self.w[name + ".weight"], self.w[name + ".bias"]
        return layer_norm(x, weight, bias, self.config["layer_norm_eps"])

    def layer(self, x, at):
        heads = self.config["num_attention_heads"]
        q, k, v = (
            self.dense(x, f"{at}attention.self.{part}").reshape(len(x), heads, -1)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[-1])
        mixed = np.einsum("hij,jhd->ihd", softmax(scores), v).reshape(len(x), -1)
        attended = x + self.dense(mixed, at + "attention.output.dense")
        x = self.norm(attended, at + "attention.output.LayerNorm")
        hidden = self.dense(x, at + "intermediate.dense")
        hidden = hidden / 2 * (1 + erf(hidden / math.sqrt(2)))
        return self.norm(x + self.dense(hidden, at + "output.dense"), at + "output.LayerNorm")

    def embed(self, text):
        """float64 [C] of length 1."""
        ids = self.tokenizer.encode(text).ids
        x = self.w["embeddings.word_embeddings.weight"][ids]
        x = x + self.w["embeddings.position_embeddings.weight"][: len(ids)]
        x = x + self.w["embeddings.token_type_embeddings.weight"][0]
        x = self.norm(x, "embeddings.LayerNorm")
        for i in range(self.config["num_hidden_layers"]):
            x = self.layer(x, f"encoder.layer.{i}.")
        mean = x.mean(axis=0)
        return mean / np.linalg.norm(mean)
