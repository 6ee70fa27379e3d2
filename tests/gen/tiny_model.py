#!/usr/bin/env python3
"""Writes tiny random-weight GGUF models, and their logits by an independent NumPy forward.

So that a bare clone has models to test with: same seed, same file, byte for byte. Everything goes
through the `gguf` package of PyPI; nothing of Verdant's own code takes part.

    python3 tests/gen/tiny_model.py OUT.gguf --arch llama --seed 1 --type Q4_K \\
            --rope-scaling yarn --logits OUT.npy --tokens OUT.json --n-tokens 48

OUT.npy holds float64 [n_tokens, n_vocab], OUT.json {"ids": [...]}.

Weights are scaled so that logits are of order one and attention is neither flat nor one-hot: a
wrong rotation, mask or scale then moves the logits by far more than the 1e-3 of the tests.
"""

import argparse
import dataclasses
import json
import math
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, PoolingType, RopeScalingType, quants
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

sys.path.insert(0, str(Path(__file__).parent))
import dtypes  # noqa: E402
import gguf_types  # noqa: E402,F401
import vocab as vocabulary  # noqa: E402
from archs import ARCHS  # noqa: E402

# Types that the package cannot quantize: where the f16 scales of a block lie, and their sizes. The
# rest of the block may be any bytes.
SCALES = {
    Type.Q2_K: ((80, 1.0), (82, 1.5)),
    Type.Q3_K: ((108, 1.0),),
    Type.Q4_K: ((0, 1.0), (2, 7.5)),
    Type.Q5_K: ((0, 1.0), (2, 15.5)),
    Type.Q6_K: ((208, 1.0),),
    Type.IQ1_S: ((0, 1.0),),
    Type.IQ2_XXS: ((0, 1.0),),
    Type.IQ2_XS: ((0, 1.0),),
    Type.IQ2_S: ((0, 1.0),),
    Type.IQ3_XXS: ((0, 1.0),),
    Type.IQ3_S: ((0, 1.0),),
    Type.IQ4_NL: ((0, 1.0),),
    Type.IQ4_XS: ((0, 1.0),),
    Type["Q1_0"]: ((0, 1.0),),
    Type["Q2_0"]: ((0, 1.0),),
}


def put_scales(data, kind, unit):
    """Writes the scale `unit` [blocks, 1] into random blocks [blocks, bytes]."""
    if kind == Type.IQ1_M:  # four bits in the top of each of the last four 16-bit words
        words, bits = data[:, 48:].view("<u2"), unit.astype("<f2").view("<u2")
        words[:] = (words & 0x0FFF) | ((bits >> np.array([0, 4, 8, 12], "<u2")) & 0xF) << 12
    elif kind == Type.NVFP4:
        data[:, :4] = quants.NVFP4.fp32_to_ue4m3(unit)
    else:
        for at, times in SCALES[kind]:
            half = (unit * times).astype(np.float16)
            data[:, at : at + 2] = half.view(np.uint8).reshape(-1, 2)


# All that files hold; a tensor of any of them can be multiplied.
TYPES = dtypes.FLOATS + dtypes.BLOCKS


@dataclasses.dataclass
class Config:
    arch: str = "llama"  # of archs.ARCHS
    seed: int = 1
    type: str = "F32"  # of every matrix; norms stay F32, as converters write them
    vocab: str = "spm"
    n_layer: int = 2
    n_embd: int = 64
    n_head: int = 4
    n_kv_head: int = 2
    head_dim: int = 0  # 0: n_embd / n_head
    n_ff: int = 96
    # deci: neurons of each layer, and KV heads with n_head / n_kv_head query heads each
    layer_ff: object = None
    layer_groups: object = None
    n_expert: int = 0  # 0: as the architecture has them; a llama with experts is a Mixtral
    n_expert_used: int = 0
    n_ctx: int = 256
    tied: bool = False
    bias: bool = False  # the biases that some files of the architecture have
    fused_qkv: bool = False  # queries, keys and values in one tensor
    head_norms: bool = False  # command-r: norms of the heads, as Command R+ has them
    unrotated: bool = False  # granite: rope.scaling.finetuned says that there is no rotation
    rope_base: float = 0.0  # 0: the architecture's
    rope_scaling: str = "none"  # none linear llama3 yarn longrope
    rope_untyped: bool = False  # as in Phi-3 files: factors, no rope.scaling.type
    rope_factor: float = 4.0
    rope_orig_ctx: int = 32  # trained context before scaling (llama3, yarn)
    attn_factor: float = 0.0  # yarn: metadata key rope.scaling.attn_factor; 0: absent
    # yarn: rope.scaling.yarn_ext_factor (negative: absent) and yarn_beta_fast (0: absent).
    # llama.cpp reads neither for these architectures: a file that has them gives the same logits.
    ext_factor: float = -1.0
    beta_fast: float = 0.0
    window: int = 8  # sliding window of the layers that have one; 0: none
    # attention.sliding_window_pattern: a period, or a list with a bool per layer; 0: absent
    window_pattern: object = 0
    # Size of what GELU feed-forwards add to x. Small, because llama.cpp looks GELU up in a table
    # of half precision: at 1 its F32 logits are 2e-3 away from exact ones, and the tests want 1e-3.
    ffn_share: float = 0.2
    # pooling_type: none mean cls last rank; "absent", and by default none in an encoder alone
    pooling: str = ""
    softcap: float = 0.0  # final_logit_softcapping; 0: absent
    attn_softcap: float = 0.0  # attn_logit_softcapping; 0: absent

    def __post_init__(self):
        block = GGML_QUANT_SIZES[Type[self.type]][0]
        if self.n_embd % block or self.n_ff % block:
            self.n_embd, self.n_ff = 256, 512  # blocks are up to 256 wide
        arch = ARCHS[self.arch]
        self.tied = self.tied or arch.tied
        self.fused_qkv = self.fused_qkv or arch.fused_qkv
        if arch.no_rope_period:
            self.n_layer = max(self.n_layer, arch.no_rope_period + 1)
        if arch.window_pattern and self.window:  # local layers, a global one, a local one
            self.n_layer = max(self.n_layer, arch.window_pattern + 1)
        if isinstance(self.window_pattern, list):
            self.n_layer = len(self.window_pattern)
        if self.arch == "olmoe":
            self.n_kv_head = self.n_head  # llama.cpp knows no other
        if arch.experts and not self.n_expert:
            self.n_expert, self.n_expert_used = arch.experts
        if self.layer_ff or self.layer_groups:
            self.n_layer = len(self.layer_ff or self.layer_groups)
        self.head_dim = self.head_dim or self.n_embd // self.n_head
        self.rope_base = self.rope_base or arch.rope_base


def random_blocks(rng, rows, cols, kind, spread):
    """uint8 [rows, bytes]: blocks of random values, mean about 0, deviation `spread`."""
    block, size = GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows * cols // block, size), dtype=np.uint8)
    jitter = rng.uniform(0.5, 1.5, (len(data), 1))
    put_scales(data, kind, jitter / 64)
    put_scales(data, kind, jitter / 64 * (spread / dequantize(data, kind).std()))
    return data.reshape(rows, cols // block * size)


def rope_factors_llama3(dim, base, factor, original, low=1.0, high=4.0):
    """Divisors of the rotation frequencies (Llama 3.1's rule): float32 [dim/2]."""
    out = []
    for i in range(0, dim, 2):
        wavelength = 2 * math.pi * base ** (i / dim)
        turns = original / wavelength
        blend = min(1.0, max(0.0, (turns - low) / (high - low)))
        out.append(1 / ((1 - blend) / factor + blend))
    return np.array(out, np.float32)


class Builder:
    def __init__(self, path, config):
        self.config = config
        self.arch = ARCHS[config.arch]
        self.rng = np.random.default_rng(config.seed)
        self.writer = GGUFWriter(path, config.arch)

    def matrix(self, name, rows, cols, spread):
        kind = Type[self.config.type]
        if kind in SCALES or kind in (Type.IQ1_M, Type.NVFP4):
            data = random_blocks(self.rng, rows, cols, kind, spread)
        else:
            values = (self.rng.standard_normal((rows, cols)) * spread).astype(np.float32)
            data = values if kind == Type.F32 else quantize(values, kind)
        self.writer.add_tensor(name, data, raw_dtype=kind)

    def stack(self, name, n, rows, cols, spread):
        """n matrices in one tensor."""
        kind = Type[self.config.type]
        if kind in SCALES:
            data = random_blocks(self.rng, n * rows, cols, kind, spread)
        else:
            values = (self.rng.standard_normal((n * rows, cols)) * spread).astype(np.float32)
            data = values if kind == Type.F32 else quantize(values, kind)
        self.writer.add_tensor(name, data.reshape(n, rows, -1), raw_dtype=kind)

    def vector(self, name, n, mean=0.0, spread=0.2):
        """n values (or rows of them), always F32: what quantizers leave alone."""
        values = mean + spread * self.rng.standard_normal(n)
        self.writer.add_tensor(name, values.astype(np.float32))

    def norm(self, base, n, mean=1.0, bias=False):
        """Weights near `mean`, as files hold them: the converter has already added Gemma's 1."""
        self.vector(base + ".weight", n, mean, 0.2 * mean)
        if bias:
            self.vector(base + ".bias", n)

    def dense(self, base, rows, cols, spread, letter):
        """A matrix, and its bias where the architecture or this file has one."""
        self.matrix(base + ".weight", rows, cols, spread)
        if letter in self.arch.bias + (self.arch.maybe_bias if self.config.bias else ""):
            self.vector(base + ".bias", rows)

    def metadata(self):
        c, w = self.config, self.writer
        w.add_name("tiny")  # llama.cpp expects special tokens of a model named after Phi-3
        w.add_context_length(c.n_ctx)
        w.add_embedding_length(c.n_embd)
        w.add_block_count(c.n_layer)
        w.add_feed_forward_length(c.layer_ff or c.n_ff)
        group = c.n_head // c.n_kv_head
        w.add_head_count([n * group for n in c.layer_groups] if c.layer_groups else c.n_head)
        w.add_head_count_kv(c.layer_groups or c.n_kv_head)
        if self.arch.norm == "rms":
            w.add_layer_norm_rms_eps(self.arch.eps)
        else:
            w.add_layer_norm_eps(self.arch.eps)
        if self.arch.rotation:
            w.add_rope_freq_base(c.rope_base)
        if c.arch.startswith(("gemma", "deci")) or c.head_dim * c.n_head != c.n_embd:
            w.add_key_length(c.head_dim)
            w.add_value_length(c.head_dim)
        if c.arch == "llama":
            w.add_rope_dimension_count(c.head_dim)
        if self.arch.window_pattern and (c.window or not self.arch.window_optional):
            w.add_sliding_window(c.window)
        if c.window_pattern:
            w.add_sliding_window_pattern(c.window_pattern)
        if self.arch.encoder:
            w.add_causal_attention(False)
            w.add_token_type_count(2)
        if c.pooling != "absent" and (c.pooling or self.arch.encoder):
            w.add_pooling_type(PoolingType[(c.pooling or "none").upper()])
        if c.n_expert:
            w.add_expert_count(c.n_expert)
            w.add_expert_used_count(c.n_expert_used)
            if c.arch not in ("llama", "olmoe"):
                w.add_expert_feed_forward_length(64)
            if self.arch.shared_expert:
                w.add_expert_shared_feed_forward_length(c.n_ff)
        if self.arch.scaled:
            w.add_embedding_scale(3.0)
            w.add_residual_scale(0.6)
            w.add_attention_scale(0.4)
            w.add_logit_scale(1.6)
        if c.arch == "command-r":
            w.add_logit_scale(0.8)
        if c.unrotated:
            w.add_rope_scaling_finetuned(False)
        if c.attn_softcap:
            w.add_attn_logit_softcapping(c.attn_softcap)
        if c.softcap:
            w.add_final_logit_softcapping(c.softcap)
        if c.rope_scaling == "longrope":
            w.add_rope_scaling_orig_ctx_len(c.rope_orig_ctx)
            if not c.rope_untyped:
                w.add_rope_scaling_type(RopeScalingType.LONGROPE)
                w.add_rope_scaling_factor(c.rope_factor)
            if c.attn_factor:
                w.add_rope_scaling_attn_factors(c.attn_factor)
        if c.rope_scaling in ("linear", "yarn"):
            w.add_rope_scaling_type(RopeScalingType(c.rope_scaling))
            w.add_rope_scaling_factor(c.rope_factor)
        if c.rope_scaling == "yarn":
            w.add_rope_scaling_orig_ctx_len(c.rope_orig_ctx)
            if c.attn_factor:
                w.add_rope_scaling_attn_factors(c.attn_factor)
            if c.ext_factor >= 0:
                w.add_rope_scaling_yarn_ext_factor(c.ext_factor)
            if c.beta_fast:
                w.add_rope_scaling_yarn_beta_fast(c.beta_fast)

    def attention(self, at):
        c, arch, wide = self.config, self.arch, self.config.n_embd**-0.5
        q, kv = c.n_head * c.head_dim, c.n_kv_head * c.head_dim
        if c.layer_groups:
            kv = c.layer_groups[int(at.split(".")[1])] * c.head_dim
            q = kv * c.n_head // c.n_kv_head
        if c.fused_qkv:
            self.dense(at + "attn_qkv", q + 2 * kv, c.n_embd, 1.2 * wide, "q")
        else:
            self.dense(at + "attn_q", q, c.n_embd, 1.4 * wide, "q")
            self.dense(at + "attn_k", kv, c.n_embd, 1.4 * wide, "q")
            self.dense(at + "attn_v", kv, c.n_embd, wide, "q")
        self.dense(at + "attn_output", c.n_embd, q, q**-0.5, "o")
        kind = "heads" if c.head_norms else arch.qk_norm
        if kind:
            shape = {
                "head": (c.head_dim, c.head_dim),
                "heads": ((c.n_head, c.head_dim), (c.n_kv_head, c.head_dim)),
                "width": (q, kv),
            }[kind]
            self.norm(at + "attn_q_norm", shape[0])
            self.norm(at + "attn_k_norm", shape[1])

    def feed_forward(self, at):
        c, wide = self.config, self.config.n_embd**-0.5
        small = c.ffn_share if "gelu" in self.arch.ffn and "output" not in self.arch.norm_at else 1
        n_ff = c.layer_ff[int(at.split(".")[1])] if c.layer_ff else c.n_ff
        if c.n_expert:
            self.experts(at)
            return
        if self.arch.gate_in_up:
            self.matrix(at + "ffn_up.weight", 2 * c.n_ff, c.n_embd, wide)
            self.matrix(at + "ffn_down.weight", c.n_embd, c.n_ff, c.n_ff**-0.5)
            return
        if self.arch.ffn != "gelu alone":
            self.dense(at + "ffn_gate", n_ff, c.n_embd, wide, "f")
        self.dense(at + "ffn_up", n_ff, c.n_embd, wide, "f")
        self.dense(at + "ffn_down", c.n_embd, n_ff, small * n_ff**-0.5, "f")

    def experts(self, at):
        c, wide, n = self.config, self.config.n_embd**-0.5, self.config.n_expert
        f = c.n_ff if c.arch in ("llama", "olmoe") else 64
        router = self.rng.standard_normal((n, c.n_embd)) * 1.5 * wide
        self.writer.add_tensor(at + "ffn_gate_inp.weight", router.astype(np.float32))
        self.stack(at + "ffn_gate_exps.weight", n, f, c.n_embd, wide)
        self.stack(at + "ffn_up_exps.weight", n, f, c.n_embd, wide)
        self.stack(at + "ffn_down_exps.weight", n, c.n_embd, f, 2 * f**-0.5)
        if self.arch.shared_expert:
            self.vector(at + "ffn_gate_inp_shexp.weight", c.n_embd, spread=wide)
            self.matrix(at + "ffn_gate_shexp.weight", c.n_ff, c.n_embd, wide)
            self.matrix(at + "ffn_up_shexp.weight", c.n_ff, c.n_embd, wide)
            self.matrix(at + "ffn_down_shexp.weight", c.n_embd, c.n_ff, c.n_ff**-0.5)

    def norms(self, at):
        c, arch = self.config, self.arch
        share = c.ffn_share if "gelu" in arch.ffn else 1
        if "input" in arch.norm_at:
            self.norm(at + "attn_norm", c.n_embd, bias=arch.norm_bias)
            if not arch.parallel:
                self.norm(at + "ffn_norm", c.n_embd, bias=arch.norm_bias)
        if "output" in arch.norm_at:
            self.norm(at + "post_attention_norm", c.n_embd, bias=arch.norm_bias)
            self.norm(at + "post_ffw_norm", c.n_embd, share, bias=arch.norm_bias)
        if "sum" in arch.norm_at:
            self.norm(at + "attn_output_norm", c.n_embd, bias=arch.norm_bias)
            self.norm(at + "layer_output_norm", c.n_embd, bias=arch.norm_bias)

    def tensors(self, n_vocab):
        c, wide = self.config, self.config.n_embd**-0.5
        # Gemma scales the rows by sqrt(n_embd) on the way in and uses them again on the way out.
        self.matrix("token_embd.weight", n_vocab, c.n_embd, wide if c.tied else 1.0)
        if self.arch.positions:
            self.vector("position_embd.weight", (c.n_ctx, c.n_embd), spread=0.5)
        if self.arch.token_types:
            self.vector("token_types.weight", (2, c.n_embd), spread=0.5)
        if self.arch.embed_norm:
            self.norm("token_embd_norm", c.n_embd, bias=self.arch.norm_bias)
        if not self.arch.encoder:
            if not c.tied:
                self.matrix("output.weight", n_vocab, c.n_embd, wide)
            self.norm("output_norm", c.n_embd, bias=self.arch.norm_bias)
        if c.rope_scaling == "llama3":
            self.writer.add_tensor(
                "rope_freqs.weight",
                rope_factors_llama3(c.head_dim, c.rope_base, c.rope_factor, c.rope_orig_ctx),
            )
        if c.rope_scaling == "longrope":
            for name, most in (("rope_factors_short.weight", 2), ("rope_factors_long.weight", 8)):
                factors = np.sort(self.rng.uniform(1, most, c.head_dim // 2))
                self.writer.add_tensor(name, factors.astype(np.float32))
        for i in range(c.n_layer):
            at = f"blk.{i}."
            self.norms(at)
            self.attention(at)
            self.feed_forward(at)

    def build(self):
        self.metadata()
        self.tensors(vocabulary.write(self.writer, self.config.vocab))
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def write_model(path, config=None, **options):
    """Writes the model of `config` (or Config(**options)) and returns the configuration used."""
    config = config or Config(**options)
    Builder(str(path), config).build()
    return config


def random_ids(seed, n, n_vocab, first=3):
    """n token ids that any of these vocabularies has; not a text, a model does not mind."""
    return [int(i) for i in np.random.default_rng(seed + 1000).integers(first, n_vocab - 3, n)]


def n_vocab(kind):
    return len(vocabulary.spm()[0] if kind == "spm" else vocabulary.bpe()[0])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out")
    choices = {
        "arch": list(ARCHS),
        "type": TYPES,
        "vocab": ["spm", "bpe"],
        "rope_scaling": ["none", "linear", "llama3", "yarn", "longrope"],
    }
    for field in dataclasses.fields(Config):
        flag = "--" + field.name.replace("_", "-")
        if field.type is bool or field.type == "bool":
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(
                flag,
                type=type(field.default),
                default=field.default,
                choices=choices.get(field.name),
            )
    parser.add_argument("--n-tokens", type=int, default=48)
    parser.add_argument("--tokens", help="write the ids here, as JSON")
    parser.add_argument("--logits", help="write float64 logits here, as .npy")
    args = vars(parser.parse_args())
    out, n_tokens, tokens, logits = (args.pop(k) for k in ("out", "n_tokens", "tokens", "logits"))
    config = write_model(out, **args)
    ids = random_ids(config.seed, n_tokens, n_vocab(config.vocab))
    if tokens:
        Path(tokens).write_text(json.dumps({"ids": ids}))
    if logits:
        import numpy_forward

        np.save(logits, numpy_forward.Model(out).logits(ids))


if __name__ == "__main__":
    main()
