"""File types of so few bits that nothing good comes of them unless it is known what matrices read:
refused without, and else the types of llama.cpp's quantizer, in files that llama.cpp runs."""

import ctypes
import json
import re

import numpy as np
import oracles
import pytest
from gguf import GGUFReader, GGUFWriter
from oracles import dtypes, llama_cpp, tiny_model
from test_compress import (
    MODELS,
    digest,
    runs_here_and_in_llama_cpp,
    tensors,
    types,
    write_shapes,
)

KINDS = sorted(dtypes.NEEDY_FILE_TYPES)


def write_imatrix(path, model, without=()):
    """Importances of all matrices in layers, of as many experts as each has."""
    rng = np.random.default_rng(6)
    w = GGUFWriter(str(path), "imatrix")
    w.add_type("imatrix")
    for name, t in tensors(model).items():
        if len(t.shape) < 2 or not name.startswith("blk.") or name in without:
            continue
        experts = int(t.shape[2]) if len(t.shape) > 2 else 1
        sums = np.exp(rng.standard_normal((experts, int(t.shape[0])))) * 64
        w.add_tensor(name + ".in_sum2", sums.astype(np.float32))
        w.add_tensor(name + ".counts", np.full((experts, 1), 64, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def planned_types(source, ftype):
    """{tensor: its type} that llama_model_quantize would give it, with importances, in the order of
    the file. A dry run, of which the log tells: nothing is written, and the code books of the small
    types, which take llama.cpp many seconds, are not prepared."""
    library, told = llama_cpp.lib(), []
    name, value = ctypes.create_string_buffer(b"none"), np.ones(1, np.float32)
    words = (ctypes.c_size_t * 6)(ctypes.addressof(name), value.ctypes.data, 1)
    params = library.llama_model_quantize_default_params()
    params.imatrix = ctypes.cast(words, ctypes.c_void_p)
    params.nthread, params.ftype, params.dry_run = 1, llama_cpp.FTYPE[ftype], True
    listen = type(llama_cpp._keep_log)(lambda _level, text, _user: told.append(text.decode()))
    library.llama_log_set(listen, None)
    try:
        status = library.llama_model_quantize(bytes(source), b"/dev/null", ctypes.byref(params))
    finally:
        library.llama_log_set(llama_cpp._keep_log, None)
    assert status == 0, "".join(told)[-400:]
    line = re.compile(r"^\[ *\d+/ *\d+\] (\S+) +- \[.*\], type = *(\w+), "
                      r"size =.*?(?:\((\w+)\))?$", re.M)
    return {name: (new or old).upper() for name, old, new in line.findall("".join(told))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("needy")
    tiny_model.write_model(path / "tiny.gguf", seed=11, n_embd=256, n_ff=512, n_layer=3)
    write_imatrix(path / "tiny.imatrix", path / "tiny.gguf")
    return path


@pytest.fixture(scope="module")
def run(verdant):
    """run(source, target, kind, *options): the JSON result, or, with status, what it says."""

    def run(source, target, kind, *options, status=0):
        quant = ["--quant", kind] if kind else []
        result = verdant("compress", source, "-o", target, *quant, "--json", *options)
        assert result.returncode == status, result.stderr
        assert status == 0 or not target.exists()
        return json.loads(result.stdout) if status == 0 else result.stderr

    return run


@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_has_the_type_that_llama_cpp_gives_it(run, tmp_path, model):
    oracles.need_peer()
    source, imatrix = tmp_path / "source.gguf", tmp_path / "imatrix.gguf"
    write_shapes(source, **MODELS[model])
    write_imatrix(imatrix, source)
    wrong = {}
    for kind in KINDS:
        run(source, tmp_path / "ours.gguf", kind, "--imatrix", imatrix)
        ours, theirs = types(tmp_path / "ours.gguf"), planned_types(source, kind)
        assert list(ours) == list(theirs)  # the same order, too
        wrong |= {(kind, n): (ours[n], theirs[n]) for n in ours if ours[n] != theirs[n]}
        field = GGUFReader(tmp_path / "ours.gguf").fields["general.file_type"]
        assert field.contents() == llama_cpp.FTYPE[kind]
    assert wrong == {}


def test_a_dry_run_of_llama_cpp_tells_what_it_makes(tmp_path):
    oracles.need_peer()
    write_shapes(tmp_path / "s.gguf", **MODELS["deep"])
    llama_cpp.quantize(tmp_path / "s.gguf", tmp_path / "t.gguf", "Q4_K_M")
    assert types(tmp_path / "t.gguf") == planned_types(tmp_path / "s.gguf", "Q4_K_M")


# KL divergence to the F32 logits that random weights of 256 columns show, with room.
MOST = {"IQ3_XS": 0.6, "IQ3_XXS": 1.0, "Q2_K_S": 1.5}


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_runs_here_and_in_llama_cpp(run, verdant, folder, tmp_path, kind):
    oracles.need_peer()
    target, tiny = tmp_path / "q.gguf", folder / "tiny.gguf"
    run(tiny, target, kind, "--imatrix", folder / "tiny.imatrix")
    runs_here_and_in_llama_cpp(verdant, tiny, target, MOST.get(kind, 3.0))


@pytest.mark.parametrize("kind", ["IQ3_XXS", "IQ1_M"])
def test_threads_and_kernels_do_not_change_the_file(run, folder, tmp_path, kind, monkeypatch):
    digests = set()
    for threads, level in ((1, "c"), (2, "avx2"), (5, "avx512"), (2, "neon")):
        monkeypatch.setenv("VERDANT_CPU", level)
        run(folder / "tiny.gguf", tmp_path / "t.gguf", kind, "-t", threads,
            "--imatrix", folder / "tiny.imatrix")
        digests.add(digest(tmp_path / "t.gguf"))
    assert len(digests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_without_importances_it_is_refused(run, folder, tmp_path, kind):
    message = run(folder / "tiny.gguf", tmp_path / "x.gguf", kind, status=1)
    assert "--calib FILE" in message and "--imatrix FILE" in message and "blk.0." in message


def test_a_type_of_a_single_tensor_is_refused_too(run, folder, tmp_path):
    tiny, x, names = folder / "tiny.gguf", tmp_path / "x.gguf", tmp_path / "t.json"
    names.write_text(json.dumps({"tensors": {"blk.1.ffn_up.weight": "IQ1_S"}}))
    for options in (["--tensor-type", "1.ffn_up=IQ1_S"], ["--types", names]):
        message = run(tiny, x, "Q8_0", *options, status=1)
        assert "blk.1.ffn_up.weight: IQ1_S is of no use" in message
        run(tiny, x, "Q8_0", *options, "--imatrix", folder / "tiny.imatrix")
        assert types(x)["blk.1.ffn_up.weight"] == "IQ1_S"
        x.unlink()


def test_a_matrix_that_the_file_does_not_know_is_refused(run, folder, tmp_path):
    tiny, name = folder / "tiny.gguf", "blk.1.ffn_up.weight"
    imatrix = write_imatrix(tmp_path / "i.gguf", tiny, without=[name])
    message = run(tiny, tmp_path / "x.gguf", "IQ2_XS", "--imatrix", imatrix, status=1)
    assert str(imatrix) in message and name in message and "--tensor-type" in message
    run(tiny, tmp_path / "x.gguf", "IQ2_XS", "--imatrix", imatrix, "--tensor-type",
        "1.ffn_up=Q4_K")


def test_embeddings_and_the_output_need_none(run, tmp_path):
    """As with llama.cpp: no importance file knows them."""
    source = tmp_path / "source.gguf"
    write_shapes(source, tied=False)
    run(source, tmp_path / "x.gguf", "Q8_0", "--tensor-type", "^(token_embd|output).weight=IQ2_S")
    got = types(tmp_path / "x.gguf")
    assert got["token_embd.weight"] == got["output.weight"] == "IQ2_S"


def test_a_text_is_enough(run, verdant, tmp_path):
    tiny_model.write_model(tmp_path / "m.gguf", seed=5, vocab="bpe", n_embd=256, n_ff=256,
                           n_layer=2, n_ctx=256)
    (tmp_path / "t.txt").write_text("one two three four five six seven eight " * 60)
    saved = tmp_path / "i.gguf"
    text = ["--calib", tmp_path / "t.txt", "--calib-ctx", 32, "--calib-chunks", 4]
    run(tmp_path / "m.gguf", tmp_path / "a.gguf", "IQ2_XXS", "--save-imatrix", saved, *text)
    run(tmp_path / "m.gguf", tmp_path / "b.gguf", "IQ2_XXS", "--imatrix", saved)
    assert digest(tmp_path / "a.gguf") == digest(tmp_path / "b.gguf")


def test_what_is_copied_needs_none(run, folder, tmp_path):
    low = tmp_path / "low.gguf"
    run(folder / "tiny.gguf", low, "IQ2_XXS", "--imatrix", folder / "tiny.imatrix")
    run(low, tmp_path / "again.gguf", None, "--tensor-type", "token_embd=Q8_0")
    before, after = types(low), types(tmp_path / "again.gguf")
    assert before["blk.0.attn_q.weight"] == after["blk.0.attn_q.weight"] == "IQ2_XXS"


def test_a_search_gives_them_to_matrices_that_the_file_knows(verdant, folder, tmp_path):
    tiny, name, x, y = folder / "tiny.gguf", "blk.1.ffn_up.weight", tmp_path / "x.gguf", \
        tmp_path / "y.gguf"
    imatrix = write_imatrix(tmp_path / "i.gguf", tiny, without=[name])
    search = ["--imatrix", imatrix, "--target", "bpw=3.2"]
    done = verdant("compress", tiny, "-o", x, *search, "--json")
    assert done.returncode == 0, done.stderr
    got = types(x)
    assert got[name] not in dtypes.NEEDY and set(got.values()) & set(dtypes.NEEDY)
    assert not set(got.values()) & {"IQ1_S", "IQ1_M"}  # where they are asked for alone
    (tmp_path / "t.json").write_text(done.stdout)
    again = verdant("compress", tiny, "-o", y, "--types", tmp_path / "t.json", "--imatrix", imatrix)
    assert again.returncode == 0, again.stderr
    assert digest(x) == digest(y)
    done = verdant("compress", tiny, "-o", x, *search, "--search-types", "IQ1_M,Q6_K")
    assert done.returncode == 0, done.stderr
    assert "IQ1_M" in types(x).values()


def test_a_file_mostly_of_iq2_s_is_called_iq2_m(run, folder, tmp_path):
    """IQ2_S is the name of a file of IQ2_XS."""
    x = tmp_path / "x.gguf"
    run(folder / "tiny.gguf", x, None, "--tensor-type", "blk=IQ2_S", "--imatrix",
        folder / "tiny.imatrix")
    assert GGUFReader(x).fields["general.file_type"].contents() == llama_cpp.FTYPE["IQ2_M"]
