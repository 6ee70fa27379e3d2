"""`verdant compress --recover PROGRAM`: the seam at which a pruned model is trained again."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.quants import dequantize
from oracles import tiny_model

# What it does to the values of a matrix is the body of `change(student, teacher)`.
PROGRAM = """#!{python}
import sys
import numpy as np
from gguf import GGUFReader
student, teacher, target = sys.argv[1:]
open({log!r}, "w").write(repr(sys.argv[1:]))
data = bytearray(open(student, "rb").read())
teachers = {{t.name: t for t in GGUFReader(teacher).tensors}}
def change(name, x, y):
    {change}
for t in GGUFReader(student).tensors:
    if t.name.startswith("blk.") and "norm" not in t.name:
        x = np.frombuffer(data, np.float32, t.n_elements, t.data_offset).copy()
        x = change(t.name, x, np.asarray(teachers[t.name].data, np.float32).reshape(-1))
        data[t.data_offset:t.data_offset + t.n_bytes] = np.float32(x).tobytes()
print("trained")
open(target, "wb").write(data)
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("recover") / "tiny.gguf"
    tiny_model.write_model(path, seed=5, n_embd=256, n_ff=512, n_layer=2)
    return path


@pytest.fixture
def program(tmp_path):
    """program(change) -> the path of one that writes change(name, student, teacher)."""

    def write(change):
        path = tmp_path / "train.py"
        path.write_text(PROGRAM.format(python=sys.executable, log=str(tmp_path / "log"),
                                       change=change))
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def compress(verdant, tiny, tmp_path):
    (tmp_path / "out").mkdir()

    def run(*options):
        target = tmp_path / "out" / "q.gguf"
        done = verdant("compress", tiny, "-o", target, *options)
        assert sorted(p.name for p in target.parent.iterdir()) == \
            (["q.gguf"] if done.returncode == 0 else [])
        return done, target

    return run


def matrices(path):
    return {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(path).tensors
            if t.name.startswith("blk.") and "norm" not in t.name}


def test_what_is_trained_is_what_is_quantized(compress, program, tiny, tmp_path, verdant):
    train = program("return np.where(x != 0, y * np.float32(1.5), 0)")
    done, target = compress("--prune", "magnitude:0.5", "--recover", train, "--json")
    assert done.returncode == 0, done.stderr
    assert "trained" in done.stderr and json.loads(done.stdout)["sparsity_edited"] == 0.5
    before, after = matrices(tiny), matrices(target)
    for name, x in after.items():
        assert np.mean(x == 0) == pytest.approx(0.5, abs=1e-5), name
        np.testing.assert_array_equal(x[x != 0], (before[name] * np.float32(1.5))[x != 0])
    student, teacher, written = eval((tmp_path / "log").read_text())
    assert teacher == str(tiny) and student != teacher and written.endswith(".gguf")
    assert not os.path.exists(student) and not os.path.exists(written)
    # Then quantized: as that model is by itself.
    trained = tmp_path / "trained.gguf"
    trained.write_bytes(target.read_bytes())
    done, target = compress("--prune", "magnitude:0.5", "--quant", "Q8_0", "--recover", train)
    assert done.returncode == 0, done.stderr
    alone = tmp_path / "alone.gguf"
    assert verdant("compress", trained, "-o", alone, "--quant", "Q8_0").returncode == 0
    assert alone.read_bytes() == target.read_bytes()


def test_a_quantized_student_is_in_floats(compress, program, verdant, tiny, tmp_path):
    quantized = tmp_path / "q8.gguf"
    assert verdant("compress", tiny, "-o", quantized, "--quant", "Q8_0").returncode == 0
    path = tmp_path / "look.py"
    path.write_text(f"#!{sys.executable}\nimport shutil, sys\nfrom gguf import GGUFReader\n"
                    "kinds = {t.tensor_type.name for t in GGUFReader(sys.argv[1]).tensors}\n"
                    "assert kinds <= {'F32', 'F16'}\nshutil.copy(sys.argv[1], sys.argv[3])\n")
    path.chmod(0o755)
    done = verdant("compress", quantized, "-o", tmp_path / "out.gguf", "--prune", "2:4",
                   "--quant", "Q8_0", "--recover", path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("change, words", [
    ("return x + 1", "where the weight was pruned"),
    ("return x * np.float32('nan')", "no number to work with"),
    ("sys.exit(3)", "ended with status 3"),
    ("import os; os.kill(os.getpid(), 11)", "signal 11")])
def test_what_is_wrong_with_the_training_is_said(compress, program, change, words):
    done, _ = compress("--prune", "magnitude:0.5", "--recover", program(change))
    assert done.returncode == 1 and words in done.stderr, done.stderr


def test_zeros_may_change_where_nothing_is_pruned(compress, program, verdant, tiny, tmp_path):
    """Those of a quantized model, say."""
    zeros, target = tmp_path / "zeros.gguf", tmp_path / "clipped.gguf"
    assert verdant("compress", tiny, "-o", zeros, "--prune", "magnitude:0.5").returncode == 0
    done = verdant("compress", zeros, "-o", target, "--clip", "p99", "--recover",
                   program("return x + 1"))
    assert done.returncode == 0, done.stderr
    assert all(np.all(x != 0) for x in matrices(target).values())


def test_a_program_that_does_nothing_is_not_enough(compress, tmp_path):
    done, _ = compress("--prune", "2:4", "--recover", "true")
    assert done.returncode == 1 and "wrote no" in done.stderr
    done, _ = compress("--prune", "2:4", "--recover", tmp_path / "none")
    assert done.returncode == 1 and "cannot be started" in done.stderr


def test_other_tensors_are_refused(compress, tmp_path):
    other = tmp_path / "other.gguf"
    tiny_model.write_model(other, seed=5, n_embd=128, n_ff=512, n_layer=2)
    path = tmp_path / "swap.sh"
    path.write_text(f"#!/bin/sh\ncp {other} \"$3\"\n")
    path.chmod(0o755)
    done, _ = compress("--prune", "2:4", "--recover", path)
    assert done.returncode == 1 and "another shape" in done.stderr


def test_it_ends_with_its_parent(build, tiny, tmp_path):
    path = tmp_path / "long.sh"
    path.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    path.chmod(0o755)
    command = [build / "verdant", "compress", tiny, "-o", tmp_path / "q.gguf", "--prune", "2:4",
               "--recover", path]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 30
        while not (tmp_path / "pid").exists() and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 1 and "stopped" in error
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.sh", "pid"]


def started(build, tiny, tmp_path, script):
    """The command, when its program runs."""
    path = tmp_path / "long.sh"
    path.write_text(f"#!/bin/sh\n{script}\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    path.chmod(0o755)
    process = subprocess.Popen([build / "verdant", "compress", tiny, "-o", tmp_path / "q.gguf",
                                "--prune", "2:4", "--recover", path], stderr=subprocess.PIPE,
                               text=True)
    end = time.monotonic() + 30
    while not (tmp_path / "pid").exists() and time.monotonic() < end:
        time.sleep(0.01)
    return process


def test_a_program_that_does_not_listen_is_killed(build, tiny, tmp_path):
    process = started(build, tiny, tmp_path, "trap '' TERM")
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1 and "stopped" in error
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.sh", "pid"]


def test_what_a_killed_run_left_goes_with_the_next(build, tiny, tmp_path):
    """But not what a run that goes on holds."""
    process = started(build, tiny, tmp_path,
                      'echo half > "$3"; mkdir -p "$3.steps/1"; echo half > "$3.steps/1/2"')
    desk, = tmp_path.glob(".verdant-recover-*")
    command = [build / "verdant", "compress", tiny, "-o", tmp_path / "r.gguf", "--prune", "2:4",
               "--recover", "true"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1
    assert sorted(p.name for p in desk.iterdir()) == ["recovered.gguf", "recovered.gguf.steps",
                                                       "student.gguf"]
    process.kill()
    process.wait(timeout=30)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    process.communicate(timeout=30)
    assert desk.exists()
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.sh", "pid"]


def test_there_must_be_something_to_recover(verdant, tiny, tmp_path):
    done = verdant("compress", tiny, "-o", tmp_path / "q.gguf", "--recover", "true", "--quant",
                   "Q8_0")
    assert done.returncode == 2 and "--recover trains" in done.stderr


@pytest.mark.parametrize("more", [["--prune", "wanda:0.5"], ["--threshold", "p50"]])
@pytest.mark.parametrize("trained", [False, True])
def test_gptq_keeps_zeros(compress, program, tmp_path, more, trained):
    (tmp_path / "text").write_text("the cat sat on a mat and saw the dog run home " * 100)
    if trained:
        more = [*more, "--recover", program("return x")]
    options = ["--calib", tmp_path / "text", "--calib-ctx", 64, "--calib-chunks", 4]
    done, target = compress(*more, *options, "--quant", "Q4_0", "--pure", "--gptq")
    assert done.returncode == 0, done.stderr
    for name, x in matrices(target).items():
        assert np.mean(x == 0) > 0.499, name


def test_columns_are_scaled_once(verdant, tiny, tmp_path):
    """The student has the weights as they were, pruned: none is scaled before the training."""
    quantized = tmp_path / "q8.gguf"
    assert verdant("compress", tiny, "-o", quantized, "--quant", "Q8_0").returncode == 0
    (tmp_path / "text").write_text("the cat sat on a mat and saw the dog run home " * 100)
    path = tmp_path / "look.py"
    path.write_text(f"#!{sys.executable}\nimport shutil, sys\nimport numpy as np\n"
                    "from gguf import GGUFReader\nfrom gguf.quants import dequantize\n"
                    "x, y = ({t.name: dequantize(t.data, t.tensor_type)\n"
                    "         for t in GGUFReader(p).tensors} for p in sys.argv[1:3])\n"
                    "for n in y:\n"
                    "    assert np.allclose(x[n], np.where(x[n] == 0, 0, y[n]), rtol=1e-3), n\n"
                    "shutil.copy(sys.argv[1], sys.argv[3])\n")
    path.chmod(0o755)
    done = verdant("compress", quantized, "-o", tmp_path / "out.gguf", "--prune", "wanda:0.5",
                   "--recover", path, "--calib", tmp_path / "text", "--calib-ctx", 64,
                   "--calib-chunks", 4, "--quant", "Q4_0", "--awq", "0.5")
    assert done.returncode == 0, done.stderr
