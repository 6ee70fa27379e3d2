"""`verdant bench`: its figures, its records, models in turn."""
import json

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
