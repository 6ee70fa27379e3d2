"""bench/side_by_side.py: pairs in turn, going on, and the arithmetic of its tables."""
import json
import resource
import subprocess
import sys

import pytest

from serving import tiny_model


OTHERS = 99  # whatever else the machine does meanwhile


def run(root, build, results, *args):
    command = [sys.executable, root / "bench/side_by_side.py", results, "--build", build, "-t", "1",
               "--others", OTHERS]
    return subprocess.run([*map(str, command), *map(str, args)], capture_output=True, text=True,
                          timeout=120)


def rows_of(path, key="row"):
    return [x for x in map(json.loads, path.read_text().splitlines()) if key in x]


@pytest.fixture(scope="module")
def model(tmp_path_factory, build):
    llama_cpp = pytest.importorskip("oracles").llama_cpp
    if llama_cpp.find_libraries() is None or not (build / "bench/peer_bench").exists():
        pytest.skip("llama.cpp is not here (tests/peer/get_peer.sh)")
    return tiny_model(tmp_path_factory.mktemp("sides") / "tiny.f32.gguf")


def test_pairs_are_measured_in_turn_and_it_goes_on(root, build, model, tmp_path):
    results = tmp_path / "r.jsonl"
    result = run(root, build, results, model, "-r", 2, "--only", "64 0 1", "--seconds", 0)
    assert result.returncode == 75 and "go on" in result.stderr and len(rows_of(results)) == 1
    result = run(root, build, results, model, "-r", 2, "--only", "64 0 1")
    assert result.returncode == 0, result.stderr
    rows = rows_of(results)
    assert sorted(x["row"] for x in rows) == ["decode 64 0 1"] * 2 + ["prefill 64 0 1"] * 2
    assert all(x[side]["tokens"] == 64 for x in rows for side in ("ours", "theirs"))
    assert len(rows_of(results, "limits")) == 1
    table = run(root, build, results, "--table").stdout
    assert "### tiny" in table and "| F32 | prefill 64 |" in table and "Spread" in table
    assert "tiny.f32" in table.split("### Loading and memory")[1]
    again = run(root, build, results, model, "-r", 2, "--only", "64 0 1")
    assert again.returncode == 0 and len(rows_of(results)) == len(rows)
    assert "; 1 thread; " in table
    text = results.read_text().splitlines(keepends=True)  # as if stopped before the limits
    results.write_text("".join(x for x in text if '"limits"' not in x))
    again = run(root, build, results, model, "-r", 2, "--only", "64 0 1")
    assert again.returncode == 0 and len(rows_of(results, "limits")) == 1


def test_decode_beside_busy_processes(root, build, model, tmp_path):
    results = tmp_path / "r.jsonl"
    result = run(root, build, results, "--fair", model, "-r", 1)
    assert result.returncode == 0, result.stderr
    fair = rows_of(results, "fair")[0]["fair"]
    assert all(fair[k][s] > 0 for k in ("alone", "beside") for s in ("ours", "theirs"))
    assert "busy process" in run(root, build, results, "--table").stdout


def test_disturbed_pairs_stand_in_no_table(root, build, tmp_path):
    lines = [line("prefill 512 0 1", v, 50, others=o) for v, o in ((100, 0.04), (10, 0.06))]
    results = tmp_path / "r.jsonl"
    results.write_text("".join(json.dumps(x) + "\n" for x in lines))
    table = run(root, build, results, "--table", "--others", 0.05).stdout
    assert "| Q4_0 | prefill 512 | 100 | 50.0 | 2.00 |  |  | 1 |" in table


MACHINE = {"cpu": "a cpu", "cores": 2, "kernel": "6", "threads": 2, "date": "2026-01-02 03:04",
           "load": 0.1, "version": "abc"}


def line(row, ours, theirs, **more):
    return {"model": "m.q4_0", "row": row, "machine": MACHINE,
            "ours": {"tok_s": ours, "kv_bytes": 1000, **more},
            "theirs": {"tok_s": theirs, "kv_bytes": 1000, **more}}


def test_the_tables_are_medians_ratios_and_limits(root, build, tmp_path):
    deep = {"context_tokens": 4096, "context_s": 2.0}
    lines = [line("prefill 512 0 1", v, 50) for v in (90, 100, 130)]
    lines += [line("decode 32 0 8", 400, 100), line("decode 32 4096 1", 20, 10, **deep)]
    lines += [{"model": "m.q4_0", "head": {"weight_bytes": 1_000_000, "prefill_products": 10**9,
                                           "decode_products": 2 * 10**9},
               "limits": {"int8_vnni_tops": 1.0, "bf16_dot_tflops": 0.5, "f32_fma_tflops": 0.2,
                          "read": [{"bytes": 1_000_000, "gb_s": 0.101}]}}]
    results = tmp_path / "r.jsonl"
    results.write_text("".join(json.dumps(x) + "\n" for x in lines))
    table = run(root, build, results, "--table").stdout
    # Products: 1e12 / (2 * 1e9) = 500. Memory: 0.101e9 / (1e6 + 8 * 1000) * 8 = 802, above the
    # products' 250; one sequence: 0.101e9 / 1,001,000 = 100.9.
    prefill = "| Q4_0 | prefill 512 | 100 | 50.0 | 2.00 | 500 (products) | 20 % | 3 | ± 20 % |"
    assert prefill in table
    assert "| Q4_0 | decode, batch 8 | 400 | 100 | 4.00 | 250 (products) | 160 % | 1 |" in table
    assert "| Q4_0 | decode at 4096 | 20.0 | 10.0 | 2.00 | 101 (memory) | 20 % | 1 |" in table
    assert "| Q4_0 | prefill 4096 | 2,048 | 2,048 | 1.00 |" in table


def test_nothing_measured_is_no_table(root, build, tmp_path):
    result = run(root, build, tmp_path / "none.jsonl", "--table")
    assert result.returncode == 1 and "nothing was measured" in result.stderr


def test_a_line_that_was_cut_off_is_replaced(root, build, model, tmp_path):
    results = tmp_path / "r.jsonl"
    whole = json.dumps(line("prefill 64 0 1", 100, 50)) + "\n"
    results.write_text(whole + whole[:40])
    shown = run(root, build, results, "--table")
    assert shown.returncode == 0 and ":2: cut off" in shown.stderr
    assert results.read_text() == whole + whole[:40]  # a table writes nothing
    result = run(root, build, results, model, "-r", 1, "--only", "decode 64 0 1")
    assert result.returncode == 0, result.stderr
    assert [x["model"] for x in rows_of(results)] == ["m.q4_0", "tiny.f32"]


@pytest.mark.parametrize("text", ["{\n", "3\n", "{}\n", "words\n\n"])
def test_a_file_of_something_else_is_kept(root, build, tmp_path, text):
    results = tmp_path / "r.jsonl"
    results.write_text(text)
    result = run(root, build, results, "--table")
    assert result.returncode == 1 and "r.jsonl:1: no line of this program" in result.stderr
    assert results.read_text() == text


def test_what_would_go_wrong_is_said_at_once(root, build, tmp_path):
    model, other, plain = (tmp_path / x for x in ("a.q4_0.gguf", "b/a.q4_0.gguf", "plain.gguf"))
    other.parent.mkdir()
    for path in (model, other, plain):
        path.write_text("")
    results = tmp_path / "r.jsonl"
    for args, word in (([tmp_path / "no.q4_0.gguf"], "there is no file"), ([plain], "MODEL.TYPE"),
                       ([model, other], "two files"), ([model, "--only", "fly"], "no row holds"),
                       ([model, "--only", "("], "regular expression"),
                       ([model, "-r", 0], "1 at least"),
                       ([model, "--build", tmp_path], "there is no")):
        result = run(root, build, results, *args)
        assert result.returncode == 2 and word in result.stderr, result.stderr
    if not (build / "bench/peer_bench").exists():
        pytest.skip("no peer_bench on this processor")
    result = run(root, build, tmp_path / "no" / "r.jsonl", model)
    assert result.returncode == 1 and "cannot write" in result.stderr
    result = run(root, build, results, model)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "ended with status" in result.stderr and results.read_text() == ""


def test_limits(build):
    program = build / "bench/limits"
    if not program.exists():
        pytest.skip("no limits on this processor")
    out = json.loads(subprocess.run([program, "-t", "1", "4000000"], capture_output=True,
                                    check=True, text=True).stdout)
    assert out["threads"] == 1 and out["read"][0]["gb_s"] > 0
    assert 4_000_000 <= out["read"][0]["bytes"] < 4_000_000 + 2 * 2**20
    for bad in ("0", "-4", "x"):
        assert subprocess.run([program, bad], capture_output=True).returncode == 2
    too_much = subprocess.run([program, "-t", "1", str(2**40)], capture_output=True, text=True,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS,
                                                                    (2**33, 2**33)))
    assert too_much.returncode == 1 and "no memory" in too_much.stderr


def test_a_set_is_made_once(root, build, tmp_path):
    source = tiny_model(tmp_path / "source.gguf")
    command = [sys.executable, root / "bench/make_set.py", tmp_path / "set", "--types", "q8_0,q4_0",
               "--verdant", build / "verdant", f"tiny={source}"]
    for _ in range(2):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert sorted(p.name for p in (tmp_path / "set").iterdir()) == ["tiny.q4_0.gguf",
                                                                        "tiny.q8_0.gguf"]
    assert done.stderr == ""
    for args, word in ((["tiny=nowhere.gguf"], "there is no file nowhere.gguf"),
                       ([f"={source}"], "is not NAME=SOURCE"),
                       ([f"x={source}", "--verdant", tmp_path / "no"], "No such file")):
        bad = subprocess.run(list(map(str, [*command[:3], *args])), capture_output=True, text=True)
        assert bad.returncode != 0 and word in bad.stderr and "Traceback" not in bad.stderr
