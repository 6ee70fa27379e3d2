"""llama.cpp as an oracle, through its C API and ctypes.

Numbers that nobody here wrote: logits, perplexity, greedy text, token ids and speed from llama.cpp
v0.5.0 (prebuilt in the npm package @node-llama-cpp/linux-x64 3.22.1, fetched by get_peer.sh).

Only interface facts are retyped here: the order and width of the fields of the parameter structs. A
wrong layout would give plausible nonsense, so `_check_layout` compares the bytes that the library's
own `*_default_params` functions write with the defaults we know, and refuses to go on when they
differ.

    llama_model_params, 80 bytes               llama_context_params, 160 bytes
    0 devices, 8 buffer-type overrides          0 n_ctx 512, n_batch 2048, n_ubatch 512, n_seq_max 1
    16 n_gpu_layers -1, split_mode 1            16 n_rs_seq, n_outputs_max, n_outputs_max_per_seq 1
    24 load_mode -1, lazy_mode 1, main_gpu      28 n_threads 4, n_threads_batch 4, ctx_type
    40 four pointers                            40 rope scaling, pooling, attention, flash: all -1
    72 six bools, use_extra_bufts true          56 rope and YaRN floats (0 or -1: from the model)
                                                104 type_k, type_v (1 is f16), 128 six bools

One process may hold many models. Not thread-safe (the library is, this file is not).
"""

import ctypes as C
import os
import re
import struct
import time
from pathlib import Path

import numpy as np
from llama_structs import (
    Batch,
    ContextParams,
    ModelParams,
    QuantizeParams,
    TypeTraits,
    _bool,
    _f32,
    _i32,
    _ptr,
    _u32,
)

RELEASE = "0.5.0"
GGML_TYPE = {"f32": 0, "f16": 1}
# What llama_model_quantize makes, by the names of its command.
FTYPE = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_S": 11,
    "Q3_K_M": 12,
    "Q3_K_L": 13,
    "Q4_K_S": 14,
    "Q4_K_M": 15,
    "Q5_K_S": 16,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ2_XXS": 19,
    "IQ2_XS": 20,
    "Q2_K_S": 21,
    "IQ3_XS": 22,
    "IQ3_XXS": 23,
    "IQ1_S": 24,
    "IQ4_NL": 25,
    "IQ3_S": 26,
    "IQ3_M": 27,
    "IQ2_S": 28,
    "IQ2_M": 29,
    "IQ4_XS": 30,
    "IQ1_M": 31,
    "BF16": 32,
    "TQ1_0": 36,
    "TQ2_0": 37,
    "MXFP4_MOE": 38,
    "Q1_0": 40,
    "Q2_0": 41,
}
POOLING = {None: -1, "none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}


def find_libraries():
    """Folder of the libraries, or None. VERDANT_PEER wins over the cache of get_peer.sh."""
    home = os.environ.get("VERDANT_HOME") or os.path.join(
        os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "verdant"
    )
    for folder in (os.environ.get("VERDANT_PEER"), os.path.join(home, "peer")):
        if folder and Path(folder, f"libllama.v{RELEASE}.so").exists():
            return Path(folder)
    return None


_lib = None
_log_callback = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)
_log_lines = []


@_log_callback
def _keep_log(level, text, _user):
    if text and level >= 3:  # warnings and errors
        _log_lines.append(text.decode("utf-8", "replace"))
        del _log_lines[:-50]


def lib():
    """The loaded library; RuntimeError when it is missing or another release."""
    global _lib
    if _lib is not None:
        return _lib
    folder = find_libraries()
    if folder is None:
        raise RuntimeError("llama.cpp is not here: run tests/peer/get_peer.sh or set VERDANT_PEER")
    ggml_base = C.CDLL(str(folder / "libggml-base.so"), mode=C.RTLD_GLOBAL)
    _base_prototypes(ggml_base)
    ggml = C.CDLL(str(folder / f"libggml.v{RELEASE}.so"), mode=C.RTLD_GLOBAL)
    L = C.CDLL(str(folder / f"libllama.v{RELEASE}.so"), mode=C.RTLD_GLOBAL)
    L.llama_version.restype = C.c_char_p
    version = L.llama_version().decode()
    if not version.startswith(RELEASE):
        raise RuntimeError(f"llama.cpp {version} found, {RELEASE} wanted")
    _prototypes(L)
    _check_layout(L)
    ggml_base.ggml_log_set.argtypes = [_log_callback, _ptr]
    ggml_base.ggml_log_set.restype = None
    ggml_base.ggml_log_set(_keep_log, None)
    L.llama_log_set(_keep_log, None)
    ggml.ggml_backend_load_all_from_path.argtypes = [C.c_char_p]
    ggml.ggml_backend_load_all_from_path.restype = None
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    L.llama_backend_init()
    L.version, L.base = version, ggml_base
    _lib = L
    return L


def _base_prototypes(base):
    """Of libggml-base; checks TypeTraits by three types that we know."""
    base.ggml_get_type_traits.restype = C.POINTER(TypeTraits)
    base.ggml_get_type_traits.argtypes = [C.c_int]
    base.ggml_quantize_chunk.restype = C.c_size_t
    base.ggml_quantize_chunk.argtypes = [C.c_int, _ptr, _ptr] + [C.c_int64] * 3 + [_ptr]
    for number, known in ((2, (b"q4_0", 32, 18)), (12, (b"q4_K", 256, 144)), (0, (b"f32", 1, 4))):
        traits = base.ggml_get_type_traits(number).contents
        if (traits.name, traits.block, traits.bytes) != known:
            raise RuntimeError(f"ggml's type {number} is not {known}: another llama.cpp?")


def _prototypes(L):
    table = {
        "llama_model_default_params": (ModelParams, []),
        "llama_context_default_params": (ContextParams, []),
        "llama_model_quantize_default_params": (QuantizeParams, []),
        "llama_backend_init": (None, []),
        "llama_log_set": (None, [_log_callback, _ptr]),
        "llama_model_load_from_file": (_ptr, [C.c_char_p, ModelParams]),
        "llama_model_free": (None, [_ptr]),
        "llama_init_from_model": (_ptr, [_ptr, ContextParams]),
        "llama_free": (None, [_ptr]),
        "llama_model_get_vocab": (_ptr, [_ptr]),
        "llama_vocab_n_tokens": (_i32, [_ptr]),
        "llama_vocab_bos": (_i32, [_ptr]),
        "llama_vocab_get_add_bos": (_bool, [_ptr]),
        "llama_get_memory": (_ptr, [_ptr]),
        "llama_memory_clear": (None, [_ptr, _bool]),
        "llama_memory_seq_cp": (None, [_ptr, _i32, _i32, _i32, _i32]),
        "llama_decode": (_i32, [_ptr, Batch]),
        "llama_synchronize": (None, [_ptr]),
        "llama_encode": (_i32, [_ptr, Batch]),
        "llama_get_embeddings": (C.POINTER(_f32), [_ptr]),
        "llama_get_embeddings_seq": (C.POINTER(_f32), [_ptr, _i32]),
        "llama_model_n_embd": (_i32, [_ptr]),
        "llama_get_logits": (C.POINTER(_f32), [_ptr]),
        "llama_get_logits_ith": (C.POINTER(_f32), [_ptr, _i32]),
        "llama_tokenize": (_i32, [_ptr, C.c_char_p, _i32, C.POINTER(_i32), _i32, _bool, _bool]),
        "llama_detokenize": (_i32, [_ptr, C.POINTER(_i32), _i32, C.c_char_p, _i32, _bool, _bool]),
        "llama_model_quantize": (_u32, [C.c_char_p, C.c_char_p, C.POINTER(QuantizeParams)]),
        "llama_print_system_info": (C.c_char_p, []),
    }
    for name, (result, arguments) in table.items():
        function = getattr(L, name)
        function.restype, function.argtypes = result, arguments


def _written(L, name):
    """How many bytes NAME writes to its hidden result, and the bytes; two fills tell which."""
    function = L[name]  # L[...] is a fresh object, so the prototypes of L.name stay
    function.restype, function.argtypes = _ptr, [_ptr]
    seen = []
    for fill in (0xAA, 0x55):
        room = (C.c_ubyte * 512)(*([fill] * 512))
        function(C.addressof(room))
        seen.append(bytes(room))
    size = 1 + max(i for i in range(512) if seen[0][i] == seen[1][i])
    return size, seen[0]


def _check_layout(L):
    known = [
        (
            "llama_model_default_params",
            ModelParams,
            78,
            [
                (16, "<5i", (-1, 1, -1, 1, 0)),
                (72, "<6?", (False, False, True, False, False, False)),
            ],
        ),
        (
            "llama_context_default_params",
            ContextParams,
            160,
            [
                (0, "<9I", (512, 2048, 512, 1, 0, 0, 1, 4, 4)),
                (36, "<5i", (0, -1, -1, -1, -1)),
                (56, "<6fIf", (0, 0, -1, -1, -1, -1, 0, -1)),
                (104, "<2i", (1, 1)),
                (128, "<6?", (False, True, True, True, True, False)),
            ],
        ),
        (
            "llama_model_quantize_default_params",
            QuantizeParams,
            64,
            [(0, "<i", (0,)), (8, "<2i", (43, 43)), (16, "<6?", (False, True) + (False,) * 4)],
        ),
    ]
    for name, kind, size, facts in known:
        got, room = _written(L, name)
        if got != size or C.sizeof(kind) != (size + 7) // 8 * 8:
            raise RuntimeError(f"{name} writes {got} bytes, {size} expected: another llama.cpp?")
        for offset, form, want in facts:
            have = struct.unpack_from(form, room, offset)
            if have != want:
                raise RuntimeError(f"{name}: at byte {offset} {have}, expected {want}")


def _ints(values):
    return (_i32 * len(values))(*[int(v) for v in values])


def _tokenize(L, vocab, text, special, parse_special):
    data = text if isinstance(text, bytes) else text.encode()
    room = (_i32 * (4 * len(data) + 8))()  # a rule of normalization may make text longer
    n = L.llama_tokenize(vocab, data, len(data), room, len(room), special, parse_special)
    if n < 0:
        raise RuntimeError(f"llama_tokenize wants {-n} places")
    return list(room[:n])


class Peer:
    """A model with one context. `kv` is the type of the cache; `flash` its fused attention: False,
    True or None (llama.cpp's own choice)."""

    def __init__(
        self,
        path,
        n_ctx=512,
        n_batch=None,
        n_seq=1,
        threads=2,
        kv="f32",
        flash=False,
        extra_bufts=True,
        embeddings=False,
        pooling="none",
    ):
        L = self.L = lib()
        self.model = self.ctx = None
        mp = L.llama_model_default_params()
        mp.n_gpu_layers = 0
        mp.use_extra_bufts = extra_bufts
        _log_lines.clear()
        self.model = L.llama_model_load_from_file(str(path).encode(), mp)
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load {path}: {''.join(_log_lines)[-800:]}")
        cp = L.llama_context_default_params()
        self.n_batch = n_batch or n_ctx
        cp.n_ctx, cp.n_seq_max = n_ctx, n_seq
        cp.n_batch, cp.n_ubatch = self.n_batch, min(self.n_batch, 512)
        cp.n_outputs_max = cp.n_outputs_max_per_seq = self.n_batch
        cp.n_threads = cp.n_threads_batch = threads
        cp.type_k = cp.type_v = GGML_TYPE[kv]
        cp.flash_attn_type = -1 if flash is None else int(flash)
        cp.kv_unified = n_seq > 1
        cp.embeddings = embeddings
        if embeddings:
            cp.pooling_type = POOLING[pooling]  # None: the model's own
        self.ctx = L.llama_init_from_model(self.model, cp)
        if not self.ctx:
            raise RuntimeError(
                f"llama.cpp makes no context for {path}: {''.join(_log_lines)[-800:]}"
            )
        self.vocab = L.llama_model_get_vocab(self.model)
        self.n_vocab = L.llama_vocab_n_tokens(self.vocab)
        self.bos = L.llama_vocab_bos(self.vocab) if L.llama_vocab_get_add_bos(self.vocab) else -1

    def close(self):
        if self.ctx:
            self.L.llama_free(self.ctx)
        if self.model:
            self.L.llama_model_free(self.model)
        self.ctx = self.model = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def tokenize(self, text, special=True, parse_special=False):
        return _tokenize(self.L, self.vocab, text, special, parse_special)

    def detokenize(self, ids):
        room = C.create_string_buffer(64 * len(ids) + 64)
        n = self.L.llama_detokenize(self.vocab, _ints(ids), len(ids), room, len(room), False, True)
        return room.raw[: max(n, 0)].decode("utf-8", "replace")

    def clear(self):
        self.L.llama_memory_clear(self.L.llama_get_memory(self.ctx), True)

    def _batch(self, tokens, positions, sequences, wanted):
        n = len(tokens)
        each = [_ints([s]) for s in sequences]
        heads = (C.POINTER(_i32) * n)(*[C.cast(e, C.POINTER(_i32)) for e in each])
        return Batch(
            n, _ints(tokens), None, _ints(positions), _ints([1] * n), heads, (C.c_int8 * n)(*wanted)
        )

    def encode(self, tokens):
        """What an encoder (opened with embeddings=True) makes of the tokens: [n, n_embd]."""
        n = len(tokens)
        status = self.L.llama_encode(self.ctx, self._batch(tokens, range(n), [0] * n, [1] * n))
        if status != 0:
            raise RuntimeError(f"llama_encode: {status}: {''.join(_log_lines)[-400:]}")
        rows = self.L.llama_get_embeddings(self.ctx)
        width = self.L.llama_model_n_embd(self.model)
        return np.ctypeslib.as_array(rows, shape=(n, width)).copy()

    def embed(self, sequences):
        """Pooled embeddings (opened with embeddings=True and a pooling) of lists of tokens, all in
        one batch: [n, n_embd]."""
        tokens = [t for s in sequences for t in s]
        positions = [i for s in sequences for i in range(len(s))]
        owner = [k for k, s in enumerate(sequences) for _ in s]
        self.clear()
        status = self.L.llama_decode(
            self.ctx, self._batch(tokens, positions, owner, [1] * len(tokens))
        )
        if status != 0:
            raise RuntimeError(f"llama_decode: {status}: {''.join(_log_lines)[-400:]}")
        width = self.L.llama_model_n_embd(self.model)
        rows = [self.L.llama_get_embeddings_seq(self.ctx, k) for k in range(len(sequences))]
        return np.array([np.ctypeslib.as_array(row, shape=(width,)) for row in rows])

    def decode(self, tokens, positions, sequences=None, wanted=None):
        """One step. wanted[i] says whether token i gets logits; None: only the last."""
        n = len(tokens)
        sequences = sequences or [0] * n
        wanted = wanted if wanted is not None else [0] * (n - 1) + [1]
        batch = self._batch(tokens, positions, sequences, wanted)
        status = self.L.llama_decode(self.ctx, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode: {status}: {''.join(_log_lines)[-400:]}")

    def outputs(self, n):
        """The n rows of logits of the last step, copied: float32 [n, n_vocab]."""
        rows = self.L.llama_get_logits(self.ctx)
        return np.ctypeslib.as_array(rows, shape=(n, self.n_vocab)).copy()

    def logits(self, tokens, first=0):
        """Logits after each token from `first` on, in an empty context: [n - first, n_vocab]."""
        self.clear()
        parts = []
        for at in range(0, len(tokens), self.n_batch):
            piece = tokens[at : at + self.n_batch]
            wanted = [int(at + i >= first) for i in range(len(piece))]
            if not any(wanted):
                wanted[-1] = 1
            self.decode(piece, range(at, at + len(piece)), wanted=wanted)
            rows = self.outputs(sum(wanted))
            if at + len(piece) > first:
                parts.append(rows)
        return np.concatenate(parts)

    def greedy(self, prompt, n):
        """n greedy ids after the ids `prompt`, and for each the gap between the two best logits."""
        self.clear()
        self.decode(prompt, range(len(prompt)))
        ids, gaps = [], []
        for i in range(n):
            row = self.outputs(1)[0]
            second, best = np.partition(row, -2)[-2:]
            ids.append(int(row.argmax()))
            gaps.append(float(best - second))
            if i + 1 < n:
                self.decode([ids[-1]], [len(prompt) + i])
        return ids, gaps

    def prefill_speed(self, tokens):
        """Tokens per second of one prefill of `tokens`; only the last token gets logits."""
        self.clear()
        self.L.llama_synchronize(self.ctx)
        start = time.perf_counter()
        for at in range(0, len(tokens), self.n_batch):
            piece = tokens[at : at + self.n_batch]
            self.decode(piece, range(at, at + len(piece)))
        self.L.llama_synchronize(self.ctx)
        return len(tokens) / (time.perf_counter() - start)

    def decode_speed(self, prompt, n, sequences=1):
        """Tokens per second over n steps after `prompt`, `sequences` at once; the ids are fixed."""
        self.clear()
        for s in range(sequences):
            self.decode(prompt, range(len(prompt)), [s] * len(prompt))
        self.L.llama_synchronize(self.ctx)
        start = time.perf_counter()
        for i in range(n):
            token = prompt[i % len(prompt)]
            self.decode(
                [token] * sequences,
                [len(prompt) + i] * sequences,
                list(range(sequences)),
                [1] * sequences,
            )
            self.L.llama_get_logits(self.ctx)
        self.L.llama_synchronize(self.ctx)
        return n * sequences / (time.perf_counter() - start)


class Vocabulary:
    """The tokenizer of a file, without its weights."""

    def __init__(self, path):
        L = self.L = lib()
        mp = L.llama_model_default_params()
        mp.vocab_only, mp.n_gpu_layers = True, 0
        _log_lines.clear()
        self.model = L.llama_model_load_from_file(str(path).encode(), mp)
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load {path}: {''.join(_log_lines)[-800:]}")
        self.vocab = L.llama_model_get_vocab(self.model)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.L.llama_model_free(self.model)

    def tokenize(self, text, special=False, parse_special=False):
        """special: with BOS and EOS as the vocabulary says."""
        return _tokenize(self.L, self.vocab, text, special, parse_special)


def quantize(source, target, ftype, pure=False, threads=2, imatrix=None, types=None):
    """`target` from `source` by llama_model_quantize; imatrix: {tensor name: mean squares};
    types: {tensor name: ggml's number of a type}, for those that shall not follow ftype."""
    L = lib()
    qp = L.llama_model_quantize_default_params()
    kept = [(C.create_string_buffer(k.encode()), np.float32(v)) for k, v in (imatrix or {}).items()]
    # llama_model_imatrix_data: a name, floats, how many; the last has no name
    words = [word for k, v in kept for word in (C.addressof(k), v.ctypes.data, v.size)]
    items = (C.c_size_t * (len(words) + 3))(*words)
    qp.imatrix = C.cast(items, _ptr) if kept else None
    # llama_model_tensor_override: a regular expression, a type; the last has no expression
    names = [(C.create_string_buffer(f"^{re.escape(k)}$".encode()), t)
             for k, t in (types or {}).items()]
    words = [word for k, t in names for word in (C.addressof(k), int(t))]
    overrides = (C.c_size_t * (len(words) + 2))(*words)
    qp.tt_overrides = C.cast(overrides, _ptr) if names else None
    for field, name in (("token_embedding_type", "token_embd.weight"),
                        ("output_tensor_type", "output.weight")):
        if name in (types or {}):
            setattr(qp, field, int(types[name]))
    qp.nthread, qp.ftype, qp.pure, qp.allow_requantize = threads, FTYPE[ftype], pure, True
    status = L.llama_model_quantize(str(source).encode(), str(target).encode(), C.byref(qp))
    if status != 0:
        raise RuntimeError(f"llama_model_quantize: {status}: {''.join(_log_lines)[-400:]}")


def type_name(number):
    """ggml's name of a tensor type, in capitals: "Q4_K"."""
    return lib().base.ggml_get_type_traits(number).contents.name.decode().upper()


def type_shape(number):
    """(values, bytes) of a block."""
    traits = lib().base.ggml_get_type_traits(number).contents
    return traits.block, traits.bytes


def decode_blocks(number, raw):
    """The float32 values of uint8 blocks of a tensor type, by ggml's plain C."""
    traits = lib().base.ggml_get_type_traits(number).contents
    raw = np.ascontiguousarray(raw, np.uint8)
    if number == 0:  # F32 has no function
        return raw.view("<f4").ravel()
    out = np.empty(raw.size // traits.bytes * traits.block, np.float32)
    traits.to_float(raw.ctypes.data, out.ctypes.data, out.size)
    return out


def encode_rows(number, values, weights=None):
    """uint8 [rows, bytes] of float32 [rows, columns], by ggml's quantizer; weights[columns] is the
    importance matrix's row, None for none."""
    traits = lib().base.ggml_get_type_traits(number).contents
    values = np.ascontiguousarray(values, np.float32)
    rows, columns = values.shape
    out = np.zeros((rows, columns // traits.block * traits.bytes), np.uint8)
    weights = None if weights is None else np.ascontiguousarray(weights, np.float32)
    n = lib().base.ggml_quantize_chunk(
        number, values.ctypes.data, out.ctypes.data, 0, rows, columns,
        None if weights is None else weights.ctypes.data_as(C.POINTER(C.c_float))
    )
    if n != out.size:
        raise RuntimeError(f"ggml_quantize_chunk: {n} bytes, {out.size} expected")
    return out
