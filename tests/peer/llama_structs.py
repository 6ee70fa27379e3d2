"""Structs of llama.cpp v0.5.0's C API for ctypes: see llama_cpp.py, whose `_check_layout` holds
them against the library."""

import ctypes as C

_ptr, _i32, _u32, _f32, _bool = C.c_void_p, C.c_int32, C.c_uint32, C.c_float, C.c_bool


class ModelParams(C.Structure):
    _fields_ = [
        ("devices", _ptr),
        ("tensor_buft_overrides", _ptr),
        ("n_gpu_layers", _i32),
        ("split_mode", _i32),
        ("load_mode", _i32),
        ("lazy_mode", _i32),
        ("main_gpu", _i32),
        ("tensor_split", _ptr),
        ("progress_callback", _ptr),
        ("progress_user_data", _ptr),
        ("kv_overrides", _ptr),
        ("vocab_only", _bool),
        ("check_tensors", _bool),
        ("use_extra_bufts", _bool),
        ("no_host", _bool),
        ("no_alloc", _bool),
        ("load_mtp", _bool),
    ]


class ContextParams(C.Structure):
    _fields_ = [
        ("n_ctx", _u32),
        ("n_batch", _u32),
        ("n_ubatch", _u32),
        ("n_seq_max", _u32),
        ("n_rs_seq", _u32),
        ("n_outputs_max", _u32),
        ("n_outputs_max_per_seq", _u32),
        ("n_threads", _i32),
        ("n_threads_batch", _i32),
        ("ctx_type", _i32),
        ("rope_scaling_type", _i32),
        ("pooling_type", _i32),
        ("attention_type", _i32),
        ("flash_attn_type", _i32),
        ("rope_freq_base", _f32),
        ("rope_freq_scale", _f32),
        ("yarn_ext_factor", _f32),
        ("yarn_attn_factor", _f32),
        ("yarn_beta_fast", _f32),
        ("yarn_beta_slow", _f32),
        ("yarn_orig_ctx", _u32),
        ("defrag_thold", _f32),
        ("cb_eval", _ptr),
        ("cb_eval_user_data", _ptr),
        ("type_k", _i32),
        ("type_v", _i32),
        ("abort_callback", _ptr),
        ("abort_data", _ptr),
        ("embeddings", _bool),
        ("offload_kqv", _bool),
        ("no_perf", _bool),
        ("op_offload", _bool),
        ("swa_full", _bool),
        ("kv_unified", _bool),
        ("samplers", _ptr),
        ("n_samplers", C.c_size_t),
        ("ctx_other", _ptr),
    ]


class QuantizeParams(C.Structure):
    _fields_ = [
        ("nthread", _i32),
        ("ftype", _i32),
        ("output_tensor_type", _i32),
        ("token_embedding_type", _i32),
        ("allow_requantize", _bool),
        ("quantize_output_tensor", _bool),
        ("only_copy", _bool),
        ("pure", _bool),
        ("keep_split", _bool),
        ("dry_run", _bool),
        ("imatrix", _ptr),
        ("kv_overrides", _ptr),
        ("tt_overrides", _ptr),
        ("prune_layers", _ptr),
        ("tail", C.c_uint64),
    ]


class TypeTraits(C.Structure):
    """ggml_type_traits: what ggml knows of a tensor type."""

    _fields_ = [
        ("name", C.c_char_p),
        ("block", C.c_int64),
        ("block_interleave", C.c_int64),
        ("bytes", C.c_size_t),
        ("is_quantized", _bool),
        ("to_float", C.CFUNCTYPE(None, _ptr, _ptr, C.c_int64)),
        ("from_float_ref", C.CFUNCTYPE(None, _ptr, _ptr, C.c_int64)),
    ]


class Batch(C.Structure):
    _fields_ = [
        ("n_tokens", _i32),
        ("token", C.POINTER(_i32)),
        ("embd", C.POINTER(_f32)),
        ("pos", C.POINTER(_i32)),
        ("n_seq_id", C.POINTER(_i32)),
        ("seq_id", C.POINTER(C.POINTER(_i32))),
        ("logits", C.POINTER(C.c_int8)),
    ]
