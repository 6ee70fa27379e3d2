#!/usr/bin/env python3
"""A forward pass of GGUF files in double precision, written from the papers.

An oracle that shares nothing with our C code: weights come through the `gguf` package, every
product and sum is float64, and nothing is clever. Good for tiny models only. archs.py says what the
blocks of each architecture are made of; numpy_parts.py has norms, activations and positions.

Papers: SwiGLU (Shazeer 2020), grouped queries (Ainslie et al. 2023), Gemma 3 (Gemma Team 2025). T
tokens, C channels, H heads, D head dimension, V vocabulary.

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
from archs import ARCHS  # noqa: E402
from numpy_parts import Rope, cap, gelu_tanh, layer_norm, rms_norm, silu, softmax  # noqa: E402


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.meta = {
            f.name: f.contents()
            for f in reader.fields.values()
            if not f.name.startswith(("GGUF.", "tokenizer."))
        }
        self.name = self.meta["general.architecture"]
        if self.name not in ARCHS:
            raise ValueError(f"no NumPy forward for architecture {self.name}")
        self.arch = ARCHS[self.name]
        self.w = {}
        for t in reader.tensors:
            shape = tuple(int(n) for n in reversed(t.shape))
            self.w[t.name] = dequantize(t.data, t.tensor_type).reshape(shape).astype(np.float64)
        self.read_numbers()
        self.read_positions()

    def read_numbers(self):
        self.n_embd, self.n_layer = self.key("embedding_length"), self.key("block_count")
        self.n_head = self.key("attention.head_count")
        self.n_kv_head = self.key("attention.head_count_kv", self.n_head)
        first = self.n_head[0] if isinstance(self.n_head, list) else self.n_head
        self.head_dim = self.key("attention.key_length", self.n_embd // first)
        rms = self.arch.norm == "rms"
        self.eps = self.key("attention.layer_norm_rms_epsilon" if rms else
                            "attention.layer_norm_epsilon")
        windows = self.arch.window_pattern
        default = 0 if self.arch.window_optional or not windows else None
        self.window = self.key("attention.sliding_window", default)
        self.window_pattern = self.key("attention.sliding_window_pattern", windows)
        caps = self.arch.softcaps or (0.0, 0.0)
        self.attn_softcap = self.key("attn_logit_softcapping", caps[0])
        self.softcap = self.key("final_logit_softcapping", caps[1])
        self.attn_scale = self.key("attention.scale", 1 / math.sqrt(self.head_dim))
        self.embed_scale = math.sqrt(self.n_embd) if self.arch.embed_scaled else 1.0
        self.embed_scale = self.key("embedding_scale", self.embed_scale)
        self.residual_scale = self.key("residual_scale", 1.0)
        self.logit_scale = self.key("logit_scale", 1.0)
        if self.arch.scaled:
            self.logit_scale = 1 / self.logit_scale
        self.rotated = self.arch.rotation and self.key("rope.scaling.finetuned", True)
        self.no_rope_period = self.arch.no_rope_period
        self.expert_sum = self.arch.expert_sum

    def read_positions(self):
        n_rot = self.key("rope.dimension_count", self.head_dim)
        self.orig_ctx = self.key("rope.scaling.original_context_length", self.key("context_length"))

        def rope(factors):
            return Rope(
                n_rot,
                self.key("rope.freq_base", 10000.0),
                self.key("rope.scaling.type", "none"),
                self.key("rope.scaling.factor", 1.0),
                self.w.get(factors),
                self.orig_ctx,
                attn_factor=self.key("rope.scaling.attn_factor", 1.0),
            )

        self.rope = rope("rope_freqs.weight")
        self.rope_long = None  # LongRoPE: where the context is longer than what was trained first
        if "rope_factors_long.weight" in self.w:
            self.rope = rope("rope_factors_short.weight")
            self.rope_long = rope("rope_factors_long.weight")
        self.local_rope = self.rope
        if self.name == "gemma3":
            self.local_rope = Rope(n_rot, self.key("rope.freq_base_swa", 10000.0))
        elif self.name == "olmo2":  # windows never see a stretched position
            self.local_rope = Rope(n_rot, self.key("rope.freq_base", 10000.0))

    def key(self, name, default=None):
        value = self.meta.get(f"{self.name}.{name}", default)
        if value is None:
            raise ValueError(f"the file lacks {self.name}.{name}")
        return value

    def norm(self, x, base, heads=None):
        """x normalized by the tensors of that name; as it is where there are none. With heads, x is
        [T, H * D] and each head is normalized by itself."""
        weight = self.w.get(base + ".weight")
        if weight is None:
            return x
        if heads:
            x = x.reshape(len(x), heads, -1)
        if self.arch.norm == "rms":
            out = rms_norm(x, weight, self.eps)
        else:
            out = layer_norm(x, weight, self.w.get(base + ".bias", 0.0), self.eps)
        return out.reshape(len(x), -1)

    def dense(self, x, base):
        return x @ self.w[base + ".weight"].T + self.w.get(base + ".bias", 0.0)

    def is_local(self, layer):
        pattern = self.window_pattern
        if not self.window or not pattern:
            return False
        return pattern[layer] if isinstance(pattern, list) else layer % pattern != pattern - 1

    def heads(self, at):
        """How many for queries, for keys and values; a list in the metadata has them by layer."""
        layer = int(at.split(".")[1])
        return (n[layer] if isinstance(n, list) else n for n in (self.n_head, self.n_kv_head))

    def queries_keys_values(self, x, at):
        """Three arrays [T, heads * D]."""
        if at + "attn_qkv.weight" in self.w:
            q, kv = (n * self.head_dim for n in self.heads(at))
            return np.split(self.dense(x, at + "attn_qkv"), [q, q + kv], axis=1)
        return (self.dense(x, at + f"attn_{letter}") for letter in "qkv")

    def attention(self, x, layer):
        """x [T, C] normed."""
        at, n, local = f"blk.{layer}.", len(x), self.is_local(layer)
        q, k, v = self.queries_keys_values(x, at)
        n_head, n_kv_head = self.heads(at)
        by_head = self.arch.qk_norm != "width"
        q = self.norm(q, at + "attn_q_norm", n_head if by_head else None)
        k = self.norm(k, at + "attn_k_norm", n_kv_head if by_head else None)
        q = q.reshape(n, n_head, self.head_dim)
        k, v = (u.reshape(n, n_kv_head, self.head_dim) for u in (k, v))
        period = self.no_rope_period
        if self.rotated and not (period and (layer + 1) % period == 0):
            rope = self.rope_long if self.rope_long and n > self.orig_ctx else self.rope
            rope = self.local_rope if local else rope
            q, k = (rope.turn(u, self.arch.rotation == "adjacent") for u in (q, k))
        far = np.arange(n)[:, None] - np.arange(n)[None, :]  # how far back key j lies from query i
        hidden = (far < 0) | ((far >= self.window) if local else False)
        hidden &= not self.arch.encoder
        out = np.empty((n, n_head, self.head_dim))
        for h in range(n_head):
            g = h // (n_head // n_kv_head)
            score = cap(q[:, h] @ k[:, g].T * self.attn_scale, self.attn_softcap)
            out[:, h] = softmax(np.where(hidden, -np.inf, score)) @ v[:, g]
        return self.dense(out.reshape(n, -1), at + "attn_output")

    def feed_forward(self, x, layer):
        at = f"blk.{layer}."
        if at + "ffn_gate_inp.weight" in self.w:
            return self.mixture(x, layer)
        unit = silu if self.arch.ffn == "silu" else gelu_tanh
        up = self.dense(x, at + "ffn_up")
        if self.arch.gate_in_up:
            gate, up = np.split(up, 2, axis=1)
            return self.dense(unit(gate) * up, at + "ffn_down")
        if self.arch.ffn == "gelu alone":
            return self.dense(unit(up), at + "ffn_down")
        return self.dense(unit(self.dense(x, at + "ffn_gate")) * up, at + "ffn_down")

    def mixture(self, x, layer):
        """x [T, C] through the experts that the router chooses for each token."""
        at, w = f"blk.{layer}.", self.w
        probable = softmax(x @ w[at + "ffn_gate_inp.weight"].T)
        out = np.zeros_like(x)
        for t, p in enumerate(probable):
            chosen = np.argsort(-p, kind="stable")[: self.key("expert_used_count")]
            weights = p[chosen] / p[chosen].sum() if self.expert_sum else p[chosen]
            for e, weight in zip(chosen, weights):
                gate, up, down = (w[f"{at}ffn_{n}_exps.weight"][e] for n in ("gate", "up", "down"))
                out[t] += weight * (down @ (silu(gate @ x[t]) * (up @ x[t])))
        if self.arch.shared_expert:
            gate, up, down = (w[f"{at}ffn_{n}_shexp.weight"] for n in ("gate", "up", "down"))
            share = 1 / (1 + np.exp(-x @ w[at + "ffn_gate_inp_shexp.weight"]))
            out += share[:, None] * ((silu(x @ gate.T) * (x @ up.T)) @ down.T)
        return out

    def block(self, x, layer):
        at = f"blk.{layer}."
        first = self.norm(x, at + "attn_norm")
        y = self.norm(self.attention(first, layer), at + "post_attention_norm")
        if self.arch.parallel:
            return x + y + self.feed_forward(first, layer)
        x = self.norm(x + y * self.residual_scale, at + "attn_output_norm")
        y = self.feed_forward(self.norm(x, at + "ffn_norm"), layer) * self.residual_scale
        return self.norm(x + self.norm(y, at + "post_ffw_norm"), at + "layer_output_norm")

    def embed(self, ids):
        x = self.w["token_embd.weight"][np.asarray(ids)] * self.embed_scale
        if self.arch.token_types:
            x = x + self.w["token_types.weight"][0]
        if self.arch.positions:
            x = x + self.w["position_embd.weight"][: len(ids)]
        return self.norm(x, "token_embd_norm")

    def hidden(self, ids):
        """float64 [T, C]: what leaves the last block."""
        x = self.embed(ids)
        for layer in range(self.n_layer):
            x = self.block(x, layer)
        return x

    def outputs(self, ids):
        """What the model is for: embeddings [T, C] of an encoder, else logits [T, V]."""
        return self.hidden(ids) if self.arch.encoder else self.logits(ids)

    def logits(self, ids):
        """float64 [T, V]: what the model says after each of the ids."""
        head = self.w.get("output.weight", self.w["token_embd.weight"])
        logits = self.norm(self.hidden(ids), "output_norm") @ head.T
        return cap(logits * self.logit_scale, self.softcap)


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
