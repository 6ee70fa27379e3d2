"""`verdant bench --trace`: private copies and one shared server on the same requests."""
import json
import os
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as ET

import pytest

from serving import tiny_model

TRACE = ("--trace", "poisson", "--rate", 200, "--requests", 12, "-p", 20, "-n", 10)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("trace") / "tiny.gguf", seed=3, n_ctx=512)


def children_of(pid):
    text = ""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            text += file.read()
    return [int(child) for child in text.split()]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_copies_and_a_server_answer_the_same_trace_alike(verdant, model, tmp_path):
    result = verdant("bench", model, "--copies", 3, "--shared", *TRACE, "-r", 2, "-t", 2, "--json",
                     "-o", tmp_path, "--zone", "DE")
    assert result.returncode == 0, result.stderr
    copies, shared = json.loads(result.stdout)
    assert copies["trace"]["mode"] == "copies" and copies["settings"]["processes"] == 3
    assert shared["trace"]["mode"] == "shared" and shared["settings"]["processes"] == 1
    assert copies["series"] == shared["series"]
    assert [s["order"] for s in copies["samples"]] == [0, 1]
    assert [s["order"] for s in shared["samples"]] == [1, 0]
    for run in copies, shared:
        for sample in run["samples"]:
            assert sample["answers"] == 12 and sample["joules"] > 0 and sample["idle_w"] > 0
            assert 0 < sample["ttft_s"]["p50"] <= sample["latency_s"]["p95"]
            # The window of the meter opens when the parent gets a core, on a busy machine late.
            assert sample["latency_s"]["p95"] <= sample["seconds"] + 0.5
            assert sample["memory_bytes"] > 0
        assert len(run["trace"]["answer_hashes"]) == 12
    first, second = copies["samples"][0], shared["samples"][0]
    for key in ("answers", "prompt_tokens", "answer_tokens"):
        assert first[key] == second[key]
    assert copies["trace"]["answer_hashes"] == shared["trace"]["answer_hashes"]
    assert len(set(copies["trace"]["answer_hashes"])) > 1
    assert {p.name for p in tmp_path.iterdir()} == {"copies.json", "shared.json"}
    result = verdant("report", tmp_path / "copies.json", tmp_path / "shared.json", "-o",
                     tmp_path / "r.html", "--json", "-")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["answers"] == {"n": 12, "same": 12}
    assert "only 2 pairs" in report["reasons"][0]
    note, = (n for n in report["notes"] if "a machine of its own" in n)
    metered = sum(s["joules"] for s in copies["samples"]) / 24
    apart = metered + sum(2 * s["idle_w"] * s["seconds"] for s in copies["samples"]) / 24
    told = re.search(r"the other 2 would add their idle power: ([0-9.]+) (m?)J per answer instead "
                     r"of ([0-9.]+) (m?)J", note)
    for number, milli, joules in (told[1], told[2], apart), (told[3], told[4], metered):
        assert abs(float(number) * (1e-3 if milli else 1) / joules - 1) < 0.01
    assert "private copies" in "".join(ET.parse(tmp_path / "r.html").getroot().itertext())


def test_the_cpu_time_of_all_processes_is_metered(verdant, model):
    """By the model of the machine, more joules than idling would take."""
    result = verdant("bench", model, "--copies", 2, *TRACE, "-r", 1, "--meter", "model", "--json",
                     "--requests", 60, "-n", 60)
    assert result.returncode == 0, result.stderr
    sample = json.loads(result.stdout)["samples"][0]
    assert sample["joules"] > 1.02 * sample["idle_w"] * sample["seconds"]


def test_a_trace_of_azures_shape(verdant, model, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n"
                    "2023-11-16 18:15:46.68,9,4\n2023-11-16 18:15:48.68,30,2\n")
    result = verdant("bench", model, "--shared", "--trace", path, "--speedup", 20, "-r", 1,
                     "--json")
    assert result.returncode == 0, result.stderr
    run = json.loads(result.stdout)
    sample = run["samples"][0]
    assert (sample["answers"], sample["prompt_tokens"], sample["answer_tokens"]) == (2, 39, 6)
    # The second comes after 2 s / 20; metering may begin a little late.
    assert 0.05 < sample["seconds"] < 1 and run["trace"]["name"] == "t.csv"
    path.write_text("1,2,3\n1,0,3\n")
    result = verdant("bench", model, "--shared", "--trace", path)
    assert result.returncode == 1 and "line 2" in result.stderr


def test_misuse(verdant, model):
    for args in (("--copies", 2), ("--trace", "poisson"), ("--shared", "--requests", 3),
                 ("--shared", *TRACE, "-b", 2), ("--copies", 0, *TRACE),
                 (model, "--shared", *TRACE)):
        assert verdant("bench", model, *args).returncode == 2, args


def start(build, model, *args):
    return subprocess.Popen([build / "verdant", "bench", model, *map(str, args), "--trace",
                             "poisson", "--rate", "5", "--requests", "400", "-r", "1", "--json"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_copy_that_dies_ends_it_all_with_a_word(build, model):
    process = start(build, model, "--copies", 3)
    wait_for(lambda: len(children_of(process.pid)) == 3)
    children = children_of(process.pid)
    time.sleep(0.2)
    os.kill(children[1], signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1 and out == ""
    assert "copy 2 of 3 was ended by signal 9" in err
    assert not any(alive(child) for child in children)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_bench(build, model, number):
    process = start(build, model, "--copies", 2, "--shared")
    wait_for(lambda: len(children_of(process.pid)) == 2)
    children = children_of(process.pid)
    process.send_signal(number)
    process.communicate(timeout=30)
    wait_for(lambda: not any(alive(child) for child in children), 5)


def test_a_model_that_does_not_open_is_said_by_its_copy(verdant, model, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(model.read_bytes()[:-1000])
    result = verdant("bench", broken, "--copies", 2, *TRACE, "-r", 1)
    assert result.returncode == 1 and "broken.gguf" in result.stderr


def test_more_copies_than_memory_are_refused_before_they_start(verdant, tmp_path):
    """A sparse file of a size that no machine holds 64 times."""
    big = tiny_model(tmp_path / "big.gguf", seed=1)
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) for line in file if "MemAvailable" in line) * 1024
    try:
        os.truncate(big, available // 32)
    except OSError:
        pytest.skip("no sparse file of that size here")
    result = verdant("bench", big, "--copies", 64, *TRACE, "-r", 1)
    assert result.returncode == 1 and "free" in result.stderr, result.stderr
