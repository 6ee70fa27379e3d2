"""`verdant compress --calib` that is interrupted goes on where it was, to the same bytes."""
import errno
import json
import os
import resource
import signal
import struct
import subprocess
import time

import pytest
from oracles import tiny_model

N_LAYER = 10


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    tiny_model.write_model(folder / "tiny.gguf", seed=5, n_embd=256, n_ff=256, n_layer=N_LAYER,
                           n_ctx=512)
    (folder / "text").write_text("the cat sat on a mat and saw the dog run home by the sea " * 400)
    return folder


OPTIONS = {"obs": ["--prune", "obs:0.5", "--quant", "Q4_0"], "wanda": ["--prune", "wanda:2:4"],
           "quant": ["--quant", "Q4_K_M"], "gptq": ["--quant", "Q4_K_M", "--gptq"],
           "awq": ["--quant", "Q4_K_M", "--gptq", "--awq", "auto"]}


def command(build, files, target, *options):
    return [build / "verdant", "compress", files / "tiny.gguf", "-o", target, "--calib",
            files / "text", "--calib-ctx", "64", "--calib-chunks", "8", "--json",
            *map(str, options)]


def run(build, files, target, *options):
    return subprocess.run(command(build, files, target, *options), capture_output=True, text=True,
                          timeout=120, check=False)


def interrupted(build, files, target, sign, *options):
    """Ends it by a signal once a layer is kept; what it said and the layers that are kept."""
    state = target.with_name(target.name + ".work") / "state.json"
    with subprocess.Popen(command(build, files, target, "--keep-every", 0, *options),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while not state.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        process.send_signal(sign)
        _, error = process.communicate(timeout=60)
    assert process.returncode != 0, "it was done before it could be interrupted"
    assert not target.exists()
    return error, json.loads(state.read_text())["layer"]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("how", OPTIONS)
def test_it_goes_on_to_the_same_bytes(build, files, tmp_path, how, sign):
    whole = run(build, files, tmp_path / "whole.gguf", *OPTIONS[how])
    assert whole.returncode == 0, whole.stderr
    target = tmp_path / "parts.gguf"
    error, kept = interrupted(build, files, target, sign, *OPTIONS[how])
    assert 1 <= kept < N_LAYER
    if sign == signal.SIGINT:
        assert "layers are kept in" in error and "the same command" in error
    done = run(build, files, target, *OPTIONS[how])
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    first, second = json.loads(whole.stdout), json.loads(done.stdout)
    assert second["resumed_layers"] == kept and "resumed_layers" not in first
    for key in ("edited", "sparsity_edited", "calib_tokens", "file_bytes_after", "weighted",
                "tensors_gptq", "damping", "diagonal_only"):
        assert first.get(key) == second.get(key), key
    assert sorted(p.name for p in tmp_path.iterdir()) == ["parts.gguf", "whole.gguf"]


def test_importances_of_all_layers_are_written(build, files, tmp_path):
    options = ["--quant", "Q4_0", "--save-imatrix"]
    assert run(build, files, tmp_path / "a.gguf", *options, tmp_path / "a.imatrix").returncode == 0
    target = tmp_path / "b.gguf"
    options += [tmp_path / "b.imatrix"]
    interrupted(build, files, target, signal.SIGKILL, *options)
    assert run(build, files, target, *options).returncode == 0
    assert target.read_bytes() == (tmp_path / "a.gguf").read_bytes()
    assert (tmp_path / "b.imatrix").read_bytes() == (tmp_path / "a.imatrix").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_other_work_is_not_touched(build, files, tmp_path):
    target = tmp_path / "q.gguf"
    interrupted(build, files, target, signal.SIGKILL, *OPTIONS["quant"])
    other = run(build, files, target, *OPTIONS["obs"])
    assert other.returncode == 1 and "another compression" in other.stderr
    assert "q.gguf.work" in other.stderr and not target.exists()
    assert run(build, files, target, *OPTIONS["quant"]).returncode == 0


def test_another_model_is_known_by_its_metadata(build, files, tmp_path):
    """Its weights are the same; what the layers compute is not."""
    source, target = tmp_path / "tiny.gguf", tmp_path / "q.gguf"
    data = (files / "tiny.gguf").read_bytes()
    key = b"llama.attention.layer_norm_rms_epsilon"
    at = data.index(key) + len(key) + 4
    source.write_bytes(data)
    interrupted(build, tmp_path, target, signal.SIGKILL, "--calib", files / "text",
                *OPTIONS["quant"])
    source.write_bytes(data[:at] + struct.pack("<f", 0.5) + data[at + 4:])
    done = run(build, tmp_path, target, "--calib", files / "text", *OPTIONS["quant"])
    assert done.returncode == 1 and "another compression" in done.stderr


def test_keep_rates_of_a_file_of_types_count(build, files, tmp_path):
    types, target = tmp_path / "types.json", tmp_path / "q.gguf"
    options = ["--prune", "wanda:0.5", "--types", types]
    name = "blk.5.ffn_up.weight"
    types.write_text(json.dumps({"tensors": {name: {"type": "Q8_0", "keep": 0.5}}}))
    interrupted(build, files, target, signal.SIGKILL, *options)
    types.write_text(json.dumps({"tensors": {name: {"type": "Q8_0", "keep": 0.25}}}))
    done = run(build, files, target, *options)
    assert done.returncode == 1 and "another compression" in done.stderr


def test_damage_is_said_and_not_built_on(build, files, tmp_path):
    target, folder = tmp_path / "q.gguf", tmp_path / "q.gguf.work"
    interrupted(build, files, target, signal.SIGKILL, *OPTIONS["quant"])
    whole = {p.name: p.read_bytes() for p in folder.iterdir()}
    state = json.loads(whole["state.json"])
    stream = next(name for name in whole if name.startswith("stream."))

    def flipped(name):
        data = bytearray(whole[name])
        data[state["data_bytes"] // 2 if name == "data" else len(data) // 2] ^= 1
        return bytes(data)

    def changed(**values):
        return json.dumps({**state, **values}).encode()

    for name, data, words in [
            ("data", flipped("data"), "has been changed"),
            (stream, flipped(stream), "has been changed"),
            ("state.json", changed(tensors=state["tensors"] + 1), "does not begin layer"),
            ("state.json", changed(tensors=10 ** 9), "does not begin layer"),
            ("state.json", changed(layer=state["layer"] + 1), "does not begin layer"),
            ("state.json", changed(data_bytes=state["data_bytes"] - 1), "shorter"),
            ("state.json", changed(more={**state["more"], "edited": -1}), "something else")]:
        (folder / name).write_bytes(data)
        done = run(build, files, target, *OPTIONS["quant"])
        assert done.returncode == 1 and words in done.stderr, (name, words, done.stderr)
        assert "q.gguf.work" in done.stderr and not target.exists()
        for name, data in whole.items():
            (folder / name).write_bytes(data)
    assert run(build, files, target, *OPTIONS["quant"]).returncode == 0


def test_a_damaged_folder_is_said(build, files, tmp_path):
    target = tmp_path / "q.gguf"
    interrupted(build, files, target, signal.SIGKILL, *OPTIONS["quant"])
    folder = tmp_path / "q.gguf.work"
    stream = next(folder.glob("stream.*"))
    os.truncate(stream, 100)
    done = run(build, files, target, *OPTIONS["quant"])
    assert done.returncode == 1 and "another size" in done.stderr and not target.exists()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert run(build, files, target, *OPTIONS["quant"]).returncode == 0


def limited(most):
    """A disk on which no file can be larger."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_a_full_disk_says_what_is_kept(build, files, tmp_path):
    whole, target = tmp_path / "whole.gguf", tmp_path / "q.gguf"
    assert run(build, files, whole, *OPTIONS["quant"]).returncode == 0
    most = whole.stat().st_size - 1000
    done = subprocess.run(command(build, files, target, "--keep-every", 0, *OPTIONS["quant"]),
                          capture_output=True, text=True, timeout=120, check=False,
                          preexec_fn=lambda: limited(most))
    assert done.returncode == 1 and not target.exists()
    assert f"q.gguf: {os.strerror(errno.EFBIG)}; " in done.stderr
    assert "of 10 layers are kept in" in done.stderr and "q.gguf.work" in done.stderr
    assert run(build, files, target, *OPTIONS["quant"]).returncode == 0
    assert target.read_bytes() == whole.read_bytes()
    # Too little for anything: nothing is left.
    done = subprocess.run(command(build, files, tmp_path / "x.gguf", *OPTIONS["quant"]),
                          capture_output=True, text=True, timeout=120, check=False,
                          preexec_fn=lambda: limited(1000))
    assert done.returncode == 1 and os.strerror(errno.EFBIG) in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["q.gguf", "whole.gguf"]


def test_a_folder_of_somebody_else_stays(build, files, tmp_path):
    folder = tmp_path / "x.gguf.work"
    folder.mkdir()
    (folder / "data").write_text("mine")
    done = run(build, files, tmp_path / "x.gguf", *OPTIONS["quant"])
    assert done.returncode == 1 and "holds other files" in done.stderr
    assert (folder / "data").read_text() == "mine" and not (tmp_path / "x.gguf").exists()


def test_a_quick_run_leaves_no_folder(build, files, tmp_path):
    assert run(build, files, tmp_path / "q.gguf", *OPTIONS["quant"]).returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["q.gguf"]


def test_what_a_killed_save_left_goes_too(build, files, tmp_path):
    target = tmp_path / "q.gguf"
    interrupted(build, files, target, signal.SIGKILL, *OPTIONS["quant"])
    for name in ("stream.9", "imatrix.9.gguf"):
        (tmp_path / "q.gguf.work" / name).write_bytes(b"half")
    assert run(build, files, target, *OPTIONS["quant"]).returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["q.gguf"]


@pytest.mark.parametrize("options", [["--calib", "text", "-o", "text"],
                                     ["--imatrix", "text", "-o", "text"],
                                     ["--calib", "text", "-o", "q.gguf", "--save-imatrix", "text"],
                                     ["--calib", "text", "-o", "q", "--save-imatrix", "q"],
                                     ["--compare", "text", "-o", "text"]])
def test_no_other_file_of_the_command_is_replaced(verdant, files, tmp_path, options):
    text = tmp_path / "text"
    text.write_text("words")
    paths = [tmp_path / o if not o.startswith("-") else o for o in options]
    done = verdant("compress", files / "tiny.gguf", "--quant", "Q4_0", *paths)
    assert done.returncode == 2 and "would replace" in done.stderr
    assert text.read_text() == "words" and [p.name for p in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize("what", ["neurons:0.5", "layers:0.5", "width:0.5"])
def test_cuts_need_a_text_and_not_importances(verdant, files, tmp_path, what):
    done = verdant("compress", files / "tiny.gguf", "-o", tmp_path / "q.gguf", "--prune", what,
                   "--imatrix", files / "text", "--quant", "Q4_0")
    assert done.returncode == 2 and "needs a text" in done.stderr
