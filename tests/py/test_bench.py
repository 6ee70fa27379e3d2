"""`verdant bench`: its figures, its records, models in turn."""
import json
import subprocess
from xml.etree import ElementTree

import pytest

from serving import tiny_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    return [tiny_model(folder / f"{name}.gguf", seed=seed) for name, seed in (("one", 1),
                                                                              ("two", 2))]


def bench(verdant, *args):
    result = verdant("bench", *args, "-p", 16, "-n", 4, "-t", 1, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_one_model_keeps_its_figures_and_carries_a_record(verdant, models):
    out = bench(verdant, models[0], "-r", 3)
    for phase in ("prefill", "decode"):
        assert out[phase]["tok_s_min"] <= out[phase]["tok_s"] <= out[phase]["tok_s_max"]
    assert out["j_per_tok"] > 0 and out["runs"] == 3 and out["threads"] == 1
    assert out["energy_method"] == out["meter"]["method"]
    assert out["schema"] == "verdant.run/1" and out["kind"] == "bench"
    assert out["model"]["name"] == "one" and len(out["model"]["sha256"]) == 64
    assert out["model"]["bytes"] == models[0].stat().st_size
    assert len(out["samples"]) == 3 and "pair" not in out["samples"][0]
    decode = sorted(s["decode"]["joules"] for s in out["samples"])
    assert out["j_per_tok"] == pytest.approx(decode[1] / 4)


def test_models_run_in_turn_and_their_samples_are_pairs(verdant, models, tmp_path):
    folder = tmp_path / "new" / "runs"
    out = bench(verdant, *models, "-r", 4, "-o", folder, "--zone", "DE")
    assert [run["model"]["name"] for run in out] == ["one", "two"]
    assert out[0]["series"] == out[1]["series"]
    orders = [[s["order"] for s in run["samples"]] for run in out]
    assert orders == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert [s["pair"] for s in out[1]["samples"]] == [0, 1, 2, 3]
    for name, run in zip(("one", "two"), out, strict=True):
        record = json.loads((folder / f"{name}.json").read_text())
        assert record["samples"] == run["samples"] and record["carbon"]["zone"] == "DE"
        assert all(s[phase]["tokens"] == n for s in record["samples"]
                   for phase, n in (("prefill", 16), ("decode", 4)))


def test_bench_eval_and_report_work_together(verdant, models, tmp_path):
    bench(verdant, *models, "-r", 10, "-o", tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and looked at the world " * 20)
    evals = []
    for model in models:
        result = verdant("eval", model, "--text", text, "--ctx", 16, "--chunks", 2, "--json")
        assert result.returncode == 0, result.stderr
        figures = json.loads(result.stdout)
        assert figures["quality"]["ppl"] == figures["ppl"]
        evals.append(tmp_path / f"{model.stem}-eval.json")
        evals[-1].write_text(result.stdout)
    result = verdant("report", tmp_path / "one.json", tmp_path / "two.json", *evals, "-o",
                     tmp_path / "r.html", "--json", "-")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["paired"] and report["reasons"] == []
    assert all(side["quality"]["ppl"] > 1 for side in report["sides"])
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")


def test_the_same_model_twice_has_two_records(verdant, models, tmp_path):
    bench(verdant, models[0], models[0], "-r", 1, "-o", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one-2.json", "one.json"]


def test_misuse(verdant, models, tmp_path):
    for args in ((), ("-r", 0, models[0]), (models[0], "--zone", "Atlantis")):
        assert verdant("bench", *args).returncode == 2
    (tmp_path / "file").write_text("")
    result = verdant("bench", models[0], "-p", 4, "-n", 2, "-r", 1, "-o", tmp_path / "file")
    assert result.returncode == 1 and "file" in result.stderr


def test_the_building_stands_in_the_records(verdant, models, tmp_path):
    bench(verdant, models[0], "-r", 1, "-o", tmp_path, "--pue", 1.4, "--wue-site", 0.5)
    carbon = json.loads((tmp_path / "one.json").read_text())["carbon"]
    assert carbon["pue"] == 1.4 and carbon["wue_site_l_per_kwh"] == 0.5
    assert "wue_grid_l_per_kwh" not in carbon
    trace = verdant("bench", models[0], "--copies", 2, "--shared", "--trace", "poisson", "--rate",
                    200, "--requests", 4, "-p", 8, "-n", 2, "-r", 1, "--wue-grid", 3, "--json")
    assert [run["carbon"]["wue_grid_l_per_kwh"] for run in json.loads(trace.stdout)] == [3, 3]
    assert verdant("bench", models[0], "--pue", 0.9).returncode == 2


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_measured(verdant, tmp_path):
    (tmp_path / "file").write_text("")
    result = verdant("bench", tmp_path / "no-such.gguf", "-o", tmp_path / "file")
    assert result.returncode == 1 and "a file of that name" in result.stderr


def test_what_a_step_reads_is_said_beside_the_bandwidth(verdant, models):
    out = bench(verdant, models[0], "-r", 3, "-b", 2)
    reads = out["decode_reads"]
    assert 0 < reads["weight_bytes"] <= models[0].stat().st_size
    bytes_of_step = reads["weight_bytes"] + 2 * reads["kv_bytes"]
    assert reads["gb_s"] == pytest.approx(bytes_of_step * out["decode"]["tok_s"] / 2 * 1e-9)
    assert reads["bandwidth_bytes"] >= reads["weight_bytes"]
    assert reads["of_bandwidth"] == pytest.approx(reads["gb_s"] / reads["bandwidth_gb_s"])
    assert out["load_s"] > 0 and 0 < out["pss_bytes"] < 2 * out["peak_rss_bytes"]
    text = verdant("bench", models[0], "-p", 4, "-n", 2, "-r", 1, "-t", 1).stdout
    assert ", 1 thread, " in text
    rows = [x for x in text.splitlines() if x.startswith(("prefill ", "decode "))]
    [head] = [x for x in text.splitlines() if x.endswith("J/token")]
    assert len(rows) == 2 and all(x[head.index("J/token") - 1:][:2].strip() == "0" for x in rows)
    assert "a decode step reads" in text and "% of the" in text and "loaded in" in text


def test_depth_is_context_that_is_not_counted(verdant, models):
    near, far = (bench(verdant, models[0], "-r", 2, "-d", depth) for depth in (0, 100))
    assert near["depth"] == 0 and far["depth"] == 100
    assert far["decode_reads"]["kv_bytes"] > 10 * near["decode_reads"]["kv_bytes"]
    for sample in far["samples"]:
        assert sample["decode"]["tokens"] == 4
        assert 16 <= sample["prefill"]["tokens"] < 16 + 32  # a last page may be computed again
    assert "behind 100 tokens" in verdant("bench", models[0], "-p", 4, "-n", 2, "-r", 1, "-t", 1,
                                          "--depth", 100).stdout


def work(build, model, lines, *args):
    return subprocess.run([build / "verdant", "bench", model, "--work", "-", "-t", "1", *args],
                          input=lines, capture_output=True, text=True, timeout=60)


def test_lines_of_work_are_measured_as_they_come(build, models):
    lines = "prefill 8 0 1\ndecode 5 0 3\ndecode 5 40 1\ndecode 5 40 1\nprefill 8 40 2\n"
    rooms = "".join(f"room {line}\n" for line in lines.splitlines())
    result = work(build, models[0], rooms + lines)
    assert result.returncode == 0, result.stderr
    head, *done, end = map(json.loads, result.stdout.splitlines())
    assert head["threads"] == 1 and head["weight_bytes"] > 0 and head["load_s"] > 0
    assert [d["phase"] for d in done] == ["prefill", "decode", "decode", "decode", "prefill"]
    assert [d["tokens"] for d in done[:4]] == [8, 15, 5, 5] and 16 <= done[4]["tokens"] < 48
    assert done[2]["context_tokens"] == 40 and done[3]["context_tokens"] < 40  # the rest is kept
    for d in done:
        assert d["tok_s"] == pytest.approx(d["tokens"] / d["seconds"]) and d["joules"] > 0
    assert end["peak_rss_bytes"] > 0


@pytest.mark.parametrize("lines, word", [
    ("fly 8 0 1\n", "prefill|decode"), ("decode 8 0\n", "prefill|decode"),
    ("decode -8 0 1\n", "prefill|decode"), ("decode 0 0 1\n", "N is 1"),
    ("room \n", "prefill|decode"), (" \n", "prefill|decode"),
    ("decode 8 0 1 1\n", "prefill|decode"),
    ("decode8 0 1\n", "prefill|decode"), ("decode 4 0 257\n", "BATCH 1 to 256"),
    (f"decode {2**32 + 4} 0 1\n", "N is 1"), (f"decode {2**64 + 4} 0 1\n", "N is 1"),
    (f"decode 4 0 1{' ' * 300}\n", "at most 254 characters"),
    ("decode 4 0 1\ndecode 4 0 2\n", "more room")])
def test_lines_that_are_no_work_are_refused(build, models, lines, word):
    result = work(build, models[0], lines)
    assert result.returncode == 1 and word in result.stderr


def test_options_that_lines_replace_are_refused(build, models):
    for args in (("-b", "2"), ("-p", "4"), ("-n", "4"), ("-r", "1"), ("--zone", "DE"),
                 ("--pue", "1.2"), ("-o", "x")):
        assert work(build, models[0], "", *args).returncode == 2
    assert work(build, models[0], "", models[1]).returncode == 2


def test_a_sweep_names_the_best_and_draws_all(verdant, models, tmp_path):
    page = tmp_path / "sweep.html"
    result = verdant("bench", models[0], "--sweep", "-t", 2, "-n", 4, "-r", 2, "-o", page, "--json")
    assert result.returncode == 0, result.stderr
    out = json.loads(result.stdout)
    points = out["points"]
    assert [(p["threads"], p["batch"]) for p in points] == \
        [(t, b) for t in (1, 2) for b in (1, 2, 4, 8, 16)]
    assert all(0 < p["tok_s_min"] <= p["tok_s"] <= p["tok_s_max"] for p in points)
    assert out["fastest"] == max(points, key=lambda p: p["tok_s"])
    assert out["least_energy"] == min(points, key=lambda p: p["j_per_tok"])
    assert out["runs"] == 2 and out["answer_tokens"] == 4 and out["model"] == "one"
    root = ElementTree.fromstring(page.read_text().split("<!DOCTYPE html>\n")[1])
    charts = root.findall(".//svg")
    assert len(charts) == 2 and all(len(c.findall("circle")) == 10 for c in charts)
    assert len(root.findall(".//tbody/tr")) == 10
    assert "Least energy per token" in page.read_text() and "2 threads" in page.read_text()


def test_a_sweep_as_a_table(verdant, models):
    result = verdant("bench", models[0], "--sweep", "-t", 1, "-n", 2, "-r", 1, "-d", 20)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "behind 20" in lines[0] and len([x for x in lines if x.startswith("      1 ")]) == 5
    assert "fastest:" in result.stdout and "least energy:" in result.stdout


def test_misuse_of_a_sweep(verdant, models, tmp_path):
    for args in (("-b", 2), (models[1],), ("--work", "-"), ("-p", 4), ("--zone", "DE")):
        assert verdant("bench", models[0], "--sweep", *args).returncode == 2
    # Said before anything is measured: the model is not even looked for.
    for path, word in ((tmp_path / "no" / "x.html", "x.html"), (tmp_path, "is a directory")):
        result = verdant("bench", "no-such.gguf", "--sweep", "-o", path)
        assert result.returncode == 1 and word in result.stderr
        assert "no-such" not in result.stderr
    result = verdant("bench", "no-such.gguf", "--sweep", "-o", tmp_path / "x.html")
    assert result.returncode == 1 and "no-such" in result.stderr
    result = verdant("bench", models[0], "--sweep", "-t", 1, "-n", 1, "-r", 1, "-o", "/dev/full")
    assert result.returncode == 1 and "No space left" in result.stderr
    assert list(tmp_path.iterdir()) == []


def peer_bench(build):
    path = build / "bench/peer_bench"
    if not path.exists():
        pytest.skip("no peer_bench on this processor")
    return path


def test_the_peer_takes_the_same_lines(build, models):
    llama_cpp = pytest.importorskip("oracles").llama_cpp
    folder = llama_cpp.find_libraries()
    if folder is None:
        pytest.skip("llama.cpp is not here (tests/peer/get_peer.sh)")
    lines = "room decode 5 0 3\nprefill 8 0 1\ndecode 5 0 3\ndecode 5 40 1\ndecode 5 40 1\n"
    result = subprocess.run([peer_bench(build), models[0], "-t", "1", "--peer", folder],
                            input=lines, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    head, *done, end = map(json.loads, result.stdout.splitlines())
    assert head["peer"].startswith("llama.cpp 0.5.0") and "cpu" in head["cpu_library"]
    assert [d["tokens"] for d in done] == [8, 15, 5, 5] and end["peak_rss_bytes"] > 0
    assert [d["context_tokens"] for d in done] == [0, 16, 40, 0]
    for line in ("decode 1", f"decode {2**32 + 4} 0 1", "decode 4 0 257", "decode 4 -1 1", "fly"):
        result = subprocess.run([peer_bench(build), models[0], "--peer", folder], input=line,
                                capture_output=True, text=True, timeout=60)
        assert result.returncode == 1 and "prefill|decode" in result.stderr


def test_a_peer_that_is_not_there_is_said(build, models, tmp_path):
    result = subprocess.run([peer_bench(build), models[0], "--peer", tmp_path], input="",
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "tests/peer/get_peer.sh" in result.stderr


OTHER_LIBRARY = """
#include <string.h>
const char *llama_version(void) { return "VERSION"; }
void *llama_model_default_params(void *place) { memset(place, 0, SIZE); return place; }
"""


@pytest.mark.parametrize("version, size, word", [("0.6.0", 78, "0.6.0 found, v0.5.0 wanted"),
                                                 ("0.5.0", 90, "writes 90 bytes, 78 expected"),
                                                 ("0.5.0", 78, "the defaults at byte 16")])
def test_another_llama_cpp_is_refused(build, models, tmp_path, version, size, word):
    source = OTHER_LIBRARY.replace("VERSION", version).replace("SIZE", str(size))
    for name in ("libggml-base.so", "libggml.v0.5.0.so", "libllama.v0.5.0.so"):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / name, "-x", "c", "-"],
                       input=source, text=True, check=True)
    result = subprocess.run([peer_bench(build), models[0], "--peer", tmp_path], input="",
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and word in result.stderr
