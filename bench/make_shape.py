#!/usr/bin/env python3
"""Writes a GGUF file with the shape of a 1.1 B-parameter Llama and random weights, for benches.

    python3 bench/make_shape.py OUT.gguf [--type f16] [--layers 22] [--experts 0] [--seed 1]

Speed does not depend on the values, only on the shape and the types: dim 2048, FFN 5632, 32 query
heads that share 4 KV heads, 32,000 tokens, no tied embeddings (TinyLlama's, Zhang et al. 2024).
Values are normal with deviation 0.02; norms are ones. Written a tensor at a time, in half a
minute. With --experts N every feed-forward becomes N experts of a quarter of its width, of which a
token passes two (Mixtral's way).
The other types are made from it: `verdant compress OUT.gguf --quant q4_k_m -o OTHER.gguf`.
"""

import argparse
import os
import sys

import gguf
import numpy as np

DIM, N_FF, N_HEAD, N_KV_HEAD, N_VOCAB = 2048, 5632, 32, 4, 32000
TYPES = {
    "f16": (np.float16, gguf.LlamaFileType.MOSTLY_F16),
    "f32": (np.float32, gguf.LlamaFileType.ALL_F32),
}


def feed_forward(i, n_experts):
    if n_experts == 0:
        yield f"blk.{i}.ffn_gate.weight", (N_FF, DIM)
        yield f"blk.{i}.ffn_up.weight", (N_FF, DIM)
        yield f"blk.{i}.ffn_down.weight", (DIM, N_FF)
        return
    yield f"blk.{i}.ffn_gate_inp.weight", (n_experts, DIM)
    yield f"blk.{i}.ffn_gate_exps.weight", (n_experts, N_FF // 4, DIM)
    yield f"blk.{i}.ffn_up_exps.weight", (n_experts, N_FF // 4, DIM)
    yield f"blk.{i}.ffn_down_exps.weight", (n_experts, DIM, N_FF // 4)


def tensors(n_layers, n_experts):
    yield "token_embd.weight", (N_VOCAB, DIM)
    for i in range(n_layers):
        kv = DIM // N_HEAD * N_KV_HEAD
        yield f"blk.{i}.attn_norm.weight", (DIM,)
        yield f"blk.{i}.attn_q.weight", (DIM, DIM)
        yield f"blk.{i}.attn_k.weight", (kv, DIM)
        yield f"blk.{i}.attn_v.weight", (kv, DIM)
        yield f"blk.{i}.attn_output.weight", (DIM, DIM)
        yield f"blk.{i}.ffn_norm.weight", (DIM,)
        yield from feed_forward(i, n_experts)
    yield "output_norm.weight", (DIM,)
    yield "output.weight", (N_VOCAB, DIM)


def add_metadata(writer, n_layers, n_experts, file_type):
    writer.add_name(f"random weights, {n_layers} layers of 2048")
    if n_experts > 0:
        writer.add_expert_count(n_experts)
        writer.add_expert_used_count(2)
    writer.add_context_length(8192)
    writer.add_embedding_length(DIM)
    writer.add_block_count(n_layers)
    writer.add_feed_forward_length(N_FF if n_experts == 0 else N_FF // 4)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_KV_HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(DIM // N_HEAD)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(N_VOCAB)
    writer.add_file_type(file_type)
    # A vocabulary of which only the size matters: control tokens, bytes, words.
    words = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    words += [f"\u2581w{i}" for i in range(N_VOCAB - len(words))]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (N_VOCAB - 259)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([-float(i) for i in range(N_VOCAB)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out")
    parser.add_argument("--type", choices=sorted(TYPES), default="f16")
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--experts", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.layers < 1:
        sys.exit(f"--layers {args.layers}: one at least")
    if args.experts == 1 or args.experts < 0:
        sys.exit(f"--experts {args.experts}: none, or two at least")
    dtype, file_type = TYPES[args.type]
    rng = np.random.default_rng(args.seed)
    part = args.out + ".part"
    writer = gguf.GGUFWriter(part, "llama")
    add_metadata(writer, args.layers, args.experts, file_type)
    all_tensors = list(tensors(args.layers, args.experts))
    for name, shape in all_tensors:
        kind = np.dtype(np.float32 if len(shape) == 1 else dtype)
        writer.add_tensor_info(name, shape, kind, int(np.prod(shape)) * kind.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, shape in all_tensors:
        if len(shape) == 1:
            writer.write_tensor_data(np.ones(shape, np.float32))
        else:
            values = rng.standard_normal(shape, np.float32)
            values *= 0.02
            writer.write_tensor_data(values.astype(dtype))
    writer.close()
    os.replace(part, args.out)


if __name__ == "__main__":
    main()
