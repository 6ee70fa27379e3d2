#!/usr/bin/env python3
"""A forward pass of llama and gemma3 GGUF files in double precision, written from the papers.

An oracle that shares nothing with our C code: weights come through the `gguf` package, every
product and sum is float64, and nothing is clever. Good for tiny models only.

Papers: RMSNorm (Zhang and Sennrich 2019), rotary positions (Su et al. 2021), SwiGLU (Shazeer 2020),
grouped queries (Ainslie et al. 2023), position interpolation (Chen et al. 2023), YaRN (Peng et al.
2023), Gemma 3 (Gemma Team 2025). T tokens, C channels, H heads, D head dimension, V vocabulary.

    python3 tests/gen/numpy_forward.py MODEL.gguf 1,2,3 [OUT.npy]
"""

import math
import sys

from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

sys.path.insert(0, str(Path(__file__).parent))
import gguf_types  # noqa: E402,F401


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Rope:
    """Angles per position and pair, and the factor on the length of rotated vectors.

    linear: every frequency divided by the factor. llama3: divided one by one, by a tensor of the
    file. yarn: pairs that turn more than beta_fast times within the original context stay, those
    that turn fewer than beta_slow times are divided, a ramp between; vectors grow by
    1 + 0.1 ln(factor). llama.cpp v0.5.0 reads rope.scaling.attn_factor (one more factor on that
    length), but for these architectures none of the keys yarn_ext_factor, yarn_beta_fast,
    yarn_beta_slow and yarn_log_multiplier; so do we.
    """

    def __init__(
        self,
        dim,
        base,
        scaling="none",
        factor=1.0,
        divisors=None,
        orig_ctx=0,
        attn_factor=1.0,
        beta_fast=32.0,
        beta_slow=1.0,
    ):
        pair = np.arange(dim // 2)
        full = base ** (-2.0 * pair / dim)
        if divisors is not None:
            full = full / divisors.astype(np.float64)
        self.length = attn_factor
        self.frequency = full
        if scaling in ("linear", "yarn"):
            self.frequency = full / factor
        if scaling == "yarn":

            def pair_of(turns):
                return dim * math.log(orig_ctx / (turns * 2 * math.pi)) / (2 * math.log(base))

            low = max(0, math.floor(pair_of(beta_fast)))
            high = min(dim - 1, math.ceil(pair_of(beta_slow)))
            keep = 1 - np.clip((pair - low) / max(0.001, high - low), 0, 1)
            self.frequency = full / factor * (1 - keep) + full * keep
            self.length *= 1 + 0.1 * math.log(factor)

    def turn(self, x, adjacent):
        """x [T, H, D]; adjacent: pairs are (0,1), (2,3) …, else (0, D/2), (1, D/2+1) …"""
        angle = np.arange(len(x))[:, None, None] * self.frequency
        cos, sin = np.cos(angle) * self.length, np.sin(angle) * self.length
        half = x.shape[-1] // 2
        a, b = (x[..., 0::2], x[..., 1::2]) if adjacent else (x[..., :half], x[..., half:])
        out = np.empty_like(x)
        if adjacent:
            out[..., 0::2], out[..., 1::2] = a * cos - b * sin, a * sin + b * cos
        else:
            out[..., :half], out[..., half:] = a * cos - b * sin, a * sin + b * cos
        return out


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.meta = {
            f.name: f.contents()
            for f in reader.fields.values()
            if not f.name.startswith(("GGUF.", "tokenizer."))
        }
        self.arch = self.meta["general.architecture"]
        if self.arch not in ("llama", "gemma3"):
            raise ValueError(f"no NumPy forward for architecture {self.arch}")
        self.w = {}
        for t in reader.tensors:
            shape = tuple(int(n) for n in reversed(t.shape))
            self.w[t.name] = dequantize(t.data, t.tensor_type).reshape(shape).astype(np.float64)
        self.n_embd, self.n_layer = self.key("embedding_length"), self.key("block_count")
        self.n_head = self.key("attention.head_count")
        self.n_kv_head = self.key("attention.head_count_kv", self.n_head)
        self.head_dim = self.key("attention.key_length", self.n_embd // self.n_head)
        self.eps = self.key("attention.layer_norm_rms_epsilon")
        gemma = self.arch == "gemma3"
        scaling = self.key("rope.scaling.type", "none")
        self.rope = Rope(
            self.head_dim,
            self.key("rope.freq_base", 10000.0),
            scaling,
            self.key("rope.scaling.factor", 1.0),
            self.w.get("rope_freqs.weight"),
            self.key("rope.scaling.original_context_length", self.key("context_length")),
            attn_factor=self.key("rope.scaling.attn_factor", 1.0),
        )
        self.local_rope = (
            Rope(self.head_dim, self.key("rope.freq_base_swa", 10000.0)) if gemma else None
        )
        self.window = self.key("attention.sliding_window") if gemma else 0
        self.softcap = self.key("final_logit_softcapping", 0.0) if gemma else 0.0

    def key(self, name, default=None):
        value = self.meta.get(f"{self.arch}.{name}", default)
        if value is None:
            raise ValueError(f"the file lacks {self.arch}.{name}")
        return value

    def attention(self, x, at, local):
        """x [T, C] normed; local: within the sliding window, with the local base."""
        w, n = self.w, len(x)
        q = (x @ w[at + "attn_q.weight"].T).reshape(n, self.n_head, self.head_dim)
        k = (x @ w[at + "attn_k.weight"].T).reshape(n, self.n_kv_head, self.head_dim)
        v = (x @ w[at + "attn_v.weight"].T).reshape(n, self.n_kv_head, self.head_dim)
        if self.arch == "gemma3":
            q = rms_norm(q, w[at + "attn_q_norm.weight"], self.eps)
            k = rms_norm(k, w[at + "attn_k_norm.weight"], self.eps)
        rope = self.local_rope if local else self.rope
        q, k = (rope.turn(u, adjacent=self.arch == "llama") for u in (q, k))
        far = np.arange(n)[:, None] - np.arange(n)[None, :]  # how far back key j lies from query i
        hidden = (far < 0) | ((far >= self.window) if local else False)
        out = np.empty((n, self.n_head, self.head_dim))
        for h in range(self.n_head):
            g = h // (self.n_head // self.n_kv_head)
            score = q[:, h] @ k[:, g].T / math.sqrt(self.head_dim)
            out[:, h] = softmax(np.where(hidden, -np.inf, score)) @ v[:, g]
        return out.reshape(n, -1) @ w[at + "attn_output.weight"].T

    def feed_forward(self, x, at):
        w = self.w
        gate = gelu_tanh if self.arch == "gemma3" else silu
        return (gate(x @ w[at + "ffn_gate.weight"].T) * (x @ w[at + "ffn_up.weight"].T)) @ w[
            at + "ffn_down.weight"
        ].T

    def logits(self, ids):
        """float64 [T, V]: what the model says after each of the ids."""
        w, gemma = self.w, self.arch == "gemma3"
        x = w["token_embd.weight"][np.asarray(ids)]
        if gemma:
            x = x * math.sqrt(self.n_embd)
        for i in range(self.n_layer):
            at = f"blk.{i}."
            y = self.attention(
                rms_norm(x, w[at + "attn_norm.weight"], self.eps), at, local=gemma and i % 6 != 5
            )
            x = x + (rms_norm(y, w[at + "post_attention_norm.weight"], self.eps) if gemma else y)
            y = self.feed_forward(rms_norm(x, w[at + "ffn_norm.weight"], self.eps), at)
            x = x + (rms_norm(y, w[at + "post_ffw_norm.weight"], self.eps) if gemma else y)
        head = w.get("output.weight", w["token_embd.weight"])
        out = rms_norm(x, w["output_norm.weight"], self.eps) @ head.T
        return self.softcap * np.tanh(out / self.softcap) if self.softcap else out


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    rows = Model(sys.argv[1]).logits([int(i) for i in sys.argv[2].split(",")])
    if len(sys.argv) > 3:
        np.save(sys.argv[3], rows)
    else:
        print(rows)


if __name__ == "__main__":
    main()
