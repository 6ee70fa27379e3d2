"""`verdant energy record`: a service's hours as a run record that `verdant report` reads."""
import json

import pytest

from serving import CHAT, chat, start, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny") / "t.gguf", vocab="bpe", n_ctx=512, seed=7)


def record(verdant, folder, *more):
    done = verdant("energy", "record", "--ledger", folder / "ledger.db", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def serve(build, model, folder, names):
    folder.mkdir(exist_ok=True)
    with start(build, folder, {name: (model, {}) for name in names}, zone="DE") as server:
        return [server.ask("POST", CHAT, chat(names[i % len(names)], f"number {i}",
                                              max_tokens=5 + i))[2] for i in range(6)]


def test_a_service_is_told_as_a_run(build, verdant, model, tmp_path):
    sides = []
    for name in ("before", "after"):
        answers = serve(build, model, tmp_path / name, ["tiny"])
        file = tmp_path / f"{name}.json"
        run = record(verdant, tmp_path / name)
        assert run["schema"] == "verdant.run/1" and run["kind"] == "service"
        assert run["model"]["name"] == "tiny" and run["machine"]["cpu"]
        samples = run["samples"]
        assert 1 <= len(samples) <= 2  # the hour may turn
        assert sum(s["answers"] for s in samples) == 6
        assert sum(s["answer_tokens"] for s in samples) == sum(
            a["usage"]["completion_tokens"] for a in answers)
        audit = json.loads(verdant("energy", "audit", "--json", "--ledger",
                                   tmp_path / name / "ledger.db").stdout)
        assert sum(s["joules"] for s in samples) * 1e6 == pytest.approx(audit["meter_uj"])
        assert sum(s["seconds"] for s in samples) * 1e9 == pytest.approx(audit["metered_ns"])
        assert samples[0]["latency_s"]["p50"] <= samples[0]["latency_s"]["p99"]
        grams = answers[0]["usage"]["energy"]["carbon"]["intensity_g_per_kwh"]
        assert run["carbon"]["intensity_g_per_kwh"] == pytest.approx(grams, rel=1e-3)
        assert run["carbon"]["zone"] == "DE"
        done = verdant("energy", "record", "--label", name, "-o", file, "--ledger",
                       tmp_path / name / "ledger.db")
        assert done.returncode == 0 and done.stdout == "" and json.loads(
            file.read_text())["label"] == name
        sides.append(file)
    done = verdant("report", *sides, "-o", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "before" in page and "after" in page


def test_a_record_is_of_one_model(build, verdant, model, tmp_path):
    answers = serve(build, model, tmp_path, ["a", "b"])
    done = verdant("energy", "record", "--ledger", tmp_path / "ledger.db")
    assert done.returncode == 1 and "--model" in done.stderr
    runs = {name: record(verdant, tmp_path, "--model", name) for name in "ab"}
    for name, run in runs.items():
        told = sum(a["usage"]["energy"]["total_j"] for a in answers if a["model"] == name)
        assert sum(s["joules"] for s in run["samples"]) == pytest.approx(told, rel=1e-6)
        assert sum(s["answers"] for s in run["samples"]) == 3
    for words in (["--model", "c"], ["--since", "2001-01-01", "--until", "2001-01-02"]):
        done = verdant("energy", "record", "--ledger", tmp_path / "ledger.db", *words)
        assert done.returncode == 1 and "no answer" in done.stderr
