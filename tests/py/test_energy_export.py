"""`verdant energy export`: what other programs read is what the ledger holds."""
import csv
import io
import json
import sqlite3

import pytest

from serving import CHAT, chat, start, tiny_model

# Of CodeCarbon 3: what its emissions.csv has had since version 3.0.
COLUMNS = """timestamp project_name run_id experiment_id duration emissions emissions_rate cpu_power
gpu_power ram_power cpu_energy gpu_energy ram_energy energy_consumed water_consumed country_name
country_iso_code region cloud_provider cloud_region os python_version codecarbon_version cpu_count
cpu_model gpu_count gpu_model longitude latitude ram_total_size tracking_mode on_cloud pue
wue""".split()
NAMES = ("tiny", '=a "quoted", name')
SHOWN = ("tiny", '\'=a "quoted", name')  # in CSV: no formula


@pytest.fixture(scope="module")
def books(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model = tiny_model(folder / "t.gguf", vocab="bpe", n_ctx=512, seed=7)
    with start(build, folder, {name: (model, {}) for name in NAMES}, zone="DE",
               carbon={"pue": 1.5}) as server:
        answers = [server.ask("POST", CHAT, chat(NAMES[i % 2], f"number {i}", max_tokens=4 + i,
                                                 n=1 + i % 2))[2] for i in range(6)]
    return folder / "ledger.db", answers


def export(verdant, books, kind, *more):
    done = verdant("energy", "export", "--format", kind, "--ledger", books[0], *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def uj(joules):
    return round(joules * 1e6)


def test_rows_are_answers(verdant, books):
    rows = list(csv.DictReader(io.StringIO(export(verdant, books, "csv"))))
    objects = json.loads(export(verdant, books, "json"))
    assert len(rows) == len(objects) == len(books[1])
    for row, one, answer in zip(rows, objects, books[1], strict=True):
        energy = answer["usage"]["energy"]
        assert row["answer_id"] == one["answer_id"] == answer["id"]
        assert int(row["total_uj"]) == one["total_uj"] == uj(energy["total_j"])
        assert one["model"] == answer["model"] and one["settled"] is True
        assert row["model"] == SHOWN[NAMES.index(answer["model"])]
        assert one["completion_tokens"] == answer["usage"]["completion_tokens"]
        assert one["operational_g"] == pytest.approx(energy["carbon"]["operational_g"], rel=1e-4)
        assert set(one) == set(row)


def test_codecarbon_s_columns_and_units(verdant, books, tmp_path):
    file = tmp_path / "emissions.csv"
    assert export(verdant, books, "codecarbon", "-o", file) == ""
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert list(rows[0]) == COLUMNS
    assert {row["project_name"] for row in rows} == set(SHOWN)
    total, = sqlite3.connect(books[0]).execute("SELECT sum(total_uj) FROM request").fetchone()
    energy = {key: sum(float(row[key]) for row in rows) for key in
              ("cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "emissions")}
    assert energy["energy_consumed"] * 3.6e12 == pytest.approx(total)  # kWh
    assert sum(energy[k] for k in ("cpu_energy", "gpu_energy", "ram_energy")) == pytest.approx(
        energy["energy_consumed"])
    # Germany's yearly average is a few hundred grams; PUE is in.
    per_kwh = energy["emissions"] * 1000 / energy["energy_consumed"] / 1.5
    assert 100 < per_kwh < 700
    for row in rows:
        assert float(row["emissions_rate"]) == pytest.approx(
            float(row["emissions"]) / float(row["duration"]))
        power = sum(float(row[k]) for k in ("cpu_power", "gpu_power", "ram_power"))
        assert power == pytest.approx(float(row["energy_consumed"]) * 3.6e6 /
                                      float(row["duration"]))
        assert row["country_name"] == "Germany" and row["region"] == "DE"
        assert float(row["pue"]) == 1.5 and row["on_cloud"] == "N"


def test_a_period_without_answers_has_a_head_and_no_rows(verdant, books):
    text = export(verdant, books, "csv", "--since", "2001-01-01", "--until", "2001-01-02")
    assert len(text.splitlines()) == 1
    assert json.loads(export(verdant, books, "json", "--since", "2001-01-01", "--until",
                             "2001-01-02")) == []


def test_misuse(verdant):
    for words in (["--format", "xml"], ["-o"], ["--format"], ["x"]):
        assert verdant("energy", "export", *words, env={"VERDANT_LEDGER": "x"}).returncode == 2
