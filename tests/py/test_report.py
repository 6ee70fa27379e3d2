"""`verdant report`: two records side by side, as words, JSON and a page."""
import json
import math
import re
import xml.etree.ElementTree as ET

import pytest

from runs import record, write


@pytest.fixture
def make(verdant, tmp_path):
    """Writes two records, reports on them; gives (report, root of the page, stdout)."""

    def run(a, b, *options):
        html, out = tmp_path / "r.html", tmp_path / "r.json"
        result = verdant("report", write(tmp_path, "a", a), write(tmp_path, "b", b), "-o", html,
                         "--json", out, *options)
        assert result.returncode == 0, result.stderr
        return json.loads(out.read_text()), ET.fromstring(html.read_text()), result.stdout

    return run


def comparison(report, name):
    return next(c for c in report["comparisons"] if c["id"] == name)


def at(report, path):
    for key in path.split("."):
        report = report[int(key)] if isinstance(report, list) else report[key]
    return report


def test_the_paired_ratio_is_that_of_the_logarithms(make):
    a, b = record("big", 0.10, 0.01), record("small", 0.07, 0.008, seed=2)
    report, _, words = make(a, b)
    logs = [math.log((y["decode"]["joules"] * 64 + y["prefill"]["joules"] * 64) /
                     (x["decode"]["joules"] * 64 + x["prefill"]["joules"] * 64))
            for x, y in zip(a["samples"], b["samples"], strict=True)]
    mean = sum(logs) / 12
    half = 2.2009852 * math.sqrt(sum((x - mean) ** 2 for x in logs) / 11 / 12)
    found = comparison(report, "j_per_answer")
    assert found["ratio"] == pytest.approx(math.exp(mean), rel=1e-9)
    assert found["low"] == pytest.approx(math.exp(mean - half), rel=1e-6)
    assert found["high"] == pytest.approx(math.exp(mean + half), rel=1e-6)
    assert found["b"] / found["a"] == pytest.approx(found["ratio"], rel=1e-9)
    assert report["paired"] and found["verdict"] == "better" and found["n_pairs"] == 12
    assert re.match(r"- B needs 0\.\d{3}x the joules per answer of A \(95 % interval", words)
    assert comparison(report, "decode_tok_s")["verdict"] == "better"


def test_no_difference_is_said_only_where_the_interval_holds_one(make):
    report, _, words = make(record("one", 0.1, 0.01), record("two", 0.1, 0.01, seed=5))
    found = comparison(report, "j_per_answer")
    assert found["low"] <= 1 <= found["high"] and found["verdict"] == "no difference"
    assert "No difference in joules per answer" in words
    report, _, words = make(record("one", 0.1, 0.01), record("two", 0.11, 0.01, seed=5))
    assert comparison(report, "j_per_answer")["verdict"] == "worse"
    assert "No difference in joules" not in words


def test_the_independent_part_of_the_meter_widens_and_the_common_part_does_not(make):
    def width(**meter):
        a = record("one", 0.1, 0.01, meter=meter)
        report, _, _ = make(a, record("two", 0.08, 0.01, seed=3, meter=meter))
        found = comparison(report, "j_per_answer")
        return math.log(found["high"] / found["low"]), comparison(report, "s_per_answer")

    narrow, time = width(common_pct=5)
    assert width(common_pct=50)[0] == pytest.approx(narrow)
    wide, same_time = width(independent_pct=10)
    sigma = math.log(1.1) / 1.6448536
    assert wide == pytest.approx(math.hypot(narrow, 2 * 1.959964 * math.sqrt(2) * sigma), rel=1e-4)
    assert same_time == time


@pytest.mark.parametrize("change, word", [
    ({"series": "other"}, "not measured in turn"),
    ({"machine": {"id": "m2", "cpu": "Other CPU"}}, "different machines"),
    ({"meter": {"method": "model"}}, "metered differently"),
    ({"meter": {"incomplete": True}}, "meter failed"),
    ({"n": 9}, "only 9 pairs"),
])
def test_what_prevents_a_paired_statement_is_said(make, change, word):
    report, page, words = make(record("one", 0.1, 0.01), record("two", 0.07, 0.01, **change))
    found = comparison(report, "j_per_answer")
    assert not report["paired"] and found["verdict"] == "unpaired"
    assert found["low"] is None and found["high"] is None
    assert any(word in reason for reason in report["reasons"]), report["reasons"]
    assert word in words and "no paired statement" in words
    assert "No difference in joules" not in words
    assert word in "".join(page.itertext())


def test_every_number_of_the_page_is_in_the_json(make, tmp_path, verdant):
    cost = write(tmp_path, "cost", {"seconds": 3, "energy": {"total_j": 61.5}})
    report, page, _ = make(record("one", 0.1, 0.01), record("two", 0.07, 0.008, seed=2), "--cost",
                           cost, "--pue", 1.2, "--wue-grid", 1.8)
    figures = page.findall(".//data")
    assert len(figures) > 80
    for figure in figures:
        assert float(figure.get("value")) == pytest.approx(at(report, figure.get("data-path")),
                                                           rel=1e-12), figure.attrib
    text = "".join(page.itertext())
    for sentence in report["summary"] + report["notes"]:
        assert sentence in text


PREFIX = {"G": 1e9, "M": 1e6, "k": 1e3, "m": 1e-3, "µ": 1e-6, "n": 1e-9}


def test_what_is_read_is_what_is_meant(make):
    """The text of a figure is its value, to three digits, with its prefix undone."""
    _, page, _ = make(record("one", 0.1, 0.01), record("two", 0.07, 0.008, seed=2))
    checked = 0
    for figure in page.findall(".//data"):
        match = re.fullmatch(r"([\d.,e+-]+)(?: ?(.*))?", figure.text)
        number, unit = float(match[1].replace(",", "")), match[2] or ""
        if len(unit) > 1 and unit[0] in PREFIX and unit not in ("kWh",):
            number *= PREFIX[unit[0]]
        value = float(figure.get("value"))
        if unit == "%" and figure.get("data-path").endswith("share"):
            value *= 100
        if figure.get("data-path").endswith("_kg") and unit.endswith("g"):
            value *= 1000
        assert number == pytest.approx(value, rel=6e-3, abs=1e-12), (figure.text, figure.attrib)
        checked += 1
    assert checked > 60


def test_the_page_stands_alone_and_can_be_read_aloud(make):
    _, page, _ = make(record("one", 0.1, 0.01), record("two", 0.07, 0.008, seed=2))
    assert page.get("lang") == "en"
    for element in page.iter():
        assert element.tag not in ("script", "link", "img", "iframe", "object", "base")
        for key, value in element.attrib.items():
            assert key not in ("href", "src", "style") and not key.startswith("on")
            assert "//" not in value and "javascript:" not in value
    style = page.find("head/style").text
    assert "//" not in style and "@import" not in style
    assert not re.search(r"url\((?!#)", style)
    charts = page.findall(".//svg")
    assert len(charts) >= 3
    ids = [e.get("id") for e in page.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for chart in charts:
        assert chart.get("role") == "img" and chart.find("title").text and chart.find("desc").text
        assert set(chart.get("aria-labelledby").split()) <= set(ids)
    for section in page.findall(".//section"):
        assert section.find("h2") is not None
        if section.find("figure") is not None:
            assert section.find(".//table") is not None, "a chart without a table"
    assert page.findall(".//h1") and len(page.findall(".//h1")) == 1


def test_hostile_names_are_text(make):
    name = "<script>alert('x')</script>\"&\t\u202e"
    report, page, _ = make(record(name, 0.1, 0.01), record("b]]>--", 0.07, 0.01, seed=2,
                                                           label="<img src=x onerror=y>"))
    assert page.findall(".//script") == [] and page.findall(".//img") == []
    text = "".join(page.itertext())
    assert "<script>alert('x')</script>" in text and "<img src=x onerror=y>" in text
    assert report["sides"][0]["name"] == name


def test_grams_water_and_a_year(make):
    carbon = {"pue": 1.5, "wue_site_l_per_kwh": 0.5, "wue_grid_l_per_kwh": 2}
    report, _, _ = make(record("one", 0.1, 0.01, carbon=carbon), record("two", 0.07, 0.01),
                        "--requests-per-day", 5000)
    answer, year = (report["footprint"][0][key] for key in ("per_answer", "per_year"))
    kwh = answer["joules"] / 3.6e6
    assert answer["operational_g"] == pytest.approx(kwh * 1.5 * 344)
    assert answer["embodied_g"] == pytest.approx(1e6 * answer["machine_s"] / (4 * 365.25 * 86400))
    assert answer["sci_g"] == pytest.approx(answer["operational_g"] + answer["embodied_g"])
    assert answer["water_l"] == pytest.approx(kwh * (0.5 + 1.5 * 2))
    assert year["kwh"] == pytest.approx(kwh * 1.5 * 5000 * 365)
    assert year["total_kg"] == pytest.approx(answer["sci_g"] * 5000 * 365 / 1000)
    assert "water_l" not in report["footprint"][1]["per_answer"]
    busy = year["busy_share"]
    assert busy == pytest.approx(5000 * 365 * answer["machine_s"] / (365 * 86400))
    assert year["always_on_kwh"] == pytest.approx(
        year["kwh"] + 10 * (1 - busy) * 365 * 86400 / 3.6e6 * 1.5)


def test_break_even(make, tmp_path):
    cost = write(tmp_path, "cost", {"what": "training", "energy": {"total_j": 5000}})
    report, _, words = make(record("one", 0.1, 0.01), record("two", 0.07, 0.01, seed=2), "--cost",
                            cost)
    energy, even = comparison(report, "j_per_answer"), report["break_even"]
    assert even["costs"] == [{"what": "training", "joules": 5000}]
    assert even["requests"] == pytest.approx(5000 / (energy["a"] - energy["b"]), rel=1e-9)
    assert even["requests_low"] < even["requests"] < even["requests_high"]
    assert "saved again after" in words
    report, _, words = make(record("one", 0.07, 0.01), record("two", 0.1, 0.01, seed=2), "--cost",
                            cost)
    assert "requests" not in report["break_even"] and "do not save" in words


def test_a_busy_machine_is_noted(make):
    busy, quiet = {"load_average": 3.5}, {"load_average": 0.1}
    report, _, _ = make(record("one", 0.1, 0.01, machine=busy), record("two", 0.07, 0.01))
    assert any("load average before the measurement was 3.50" in n for n in report["notes"])
    report, _, _ = make(record("one", 0.1, 0.01, machine=quiet), record("two", 0.07, 0.01))
    assert not any("load average" in n for n in report["notes"])


def test_quality_is_joined_by_the_model_file(make, verdant, tmp_path):
    a, b = record("one", 0.1, 0.01), record("two", 0.07, 0.01)
    evals = []
    for side, ppl in ((a, 20.5), (b, 21.25)):
        path = write(tmp_path, f"eval-{ppl}", {
            "schema": "verdant.run/1", "kind": "eval", "model": side["model"],
            "quality": {"text": "t.txt", "ppl": ppl, "ppl_stderr": 0.1}})
        evals.append(path)
    report, page, words = make(a, b, *evals)
    assert [side["quality"]["ppl"] for side in report["sides"]] == [20.5, 21.25]
    assert "perplexity is 21.3, A's 20.5" in words or "perplexity is 21.2, A's 20.5" in words
    stranger = write(tmp_path, "eval-x", {"schema": "verdant.run/1", "kind": "eval",
                                          "model": {"name": "x", "sha256": "f" * 64},
                                          "quality": {"ppl": 3}})
    result = verdant("report", tmp_path / "a.json", tmp_path / "b.json", stranger)
    assert result.returncode == 1 and "another model" in result.stderr


@pytest.mark.parametrize("text, word", [
    ("{", "bad JSON"), ("[]", "array"), ("{}", "schema"), ("", "bad JSON"),
    ('{"schema":"verdant.run/2"}', "verdant.run/2"),
    ('{"schema":"verdant.run/1","kind":"bench"}', "model is missing"),
])
def test_bad_records_leave_no_report(verdant, tmp_path, text, word):
    good = write(tmp_path, "good", record("one", 0.1, 0.01))
    bad, html = tmp_path / "bad.json", tmp_path / "r.html"
    bad.write_text(text)
    for pair in ((good, bad), (bad, good)):
        result = verdant("report", *pair, "-o", html)
        assert result.returncode == 1 and word in result.stderr and "bad.json" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.json", "good.json"]


@pytest.mark.parametrize("value, word", [(0, "is 0"), (-1, "joules"), ("NaN", "JSON"),
                                         (None, "joules is missing"), ('"x"', "joules")])
def test_numbers_that_are_none_are_refused(verdant, tmp_path, value, word):
    good = write(tmp_path, "good", record("one", 0.1, 0.01))
    broken = record("two", 0.1, 0.01)
    broken["samples"][3]["decode"]["joules"] = 123.25
    text = json.dumps(broken).replace("123.25", "null" if value is None else str(value))
    (tmp_path / "bad.json").write_text(text)
    result = verdant("report", good, tmp_path / "bad.json", "-o", tmp_path / "r.html")
    assert result.returncode == 1 and word in result.stderr, result.stderr
    assert not (tmp_path / "r.html").exists()


def test_kinds_that_do_not_go_together_are_refused(verdant, tmp_path):
    bench = write(tmp_path, "bench", record("one", 0.1, 0.01))
    service = record("two", 0.1, 0.01)
    service.update(kind="service", samples=[{"seconds": 5, "joules": 40, "answers": 3,
                                             "answer_tokens": 90, "prompt_tokens": 30}])
    result = verdant("report", bench, write(tmp_path, "service", service))
    assert result.returncode == 1 and "cannot be compared" in result.stderr


def test_misuse_and_outputs_that_are_inputs(verdant, tmp_path):
    path = write(tmp_path, "a", record("one", 0.1, 0.01))
    for args in ((path,), (path, path, "--pue", "0.5"), (path, path, "--requests-per-day", "nan")):
        assert verdant("report", *args).returncode == 2
    assert verdant("report", path, tmp_path / "none.json").returncode == 1
    for option in ("-o", "--json"):
        result = verdant("report", path, path, option, path)
        assert result.returncode == 1 and "elsewhere" in result.stderr
    assert json.loads(path.read_text())["kind"] == "bench"
    result = verdant("report", path, path, "--zone", "XX-nowhere")
    assert result.returncode == 1 and "zone" in result.stderr
    three = verdant("report", path, path, path)
    assert three.returncode == 1 and "third" in three.stderr


def test_service_records_are_compared_without_a_window_of_their_own(make):
    def service(joules, series):
        made = record("m", 0.1, 0.01, series=series)
        made.update(kind="service", samples=[
            {"seconds": 100, "joules": joules, "answers": 50, "answer_tokens": 4000,
             "prompt_tokens": 9000}])
        return made

    report, _, words = make(service(900, "x"), service(600, "y"))
    found = comparison(report, "j_per_answer")
    assert (found["a"], found["b"]) == (pytest.approx(18), pytest.approx(12))
    assert not report["paired"] and "no paired statement" in words
    assert found["title"] == "Energy per answer"
    assert "j_per_answer_own_window" not in [c["id"] for c in report["comparisons"]]


def test_a_record_is_not_compared_with_itself(verdant, tmp_path):
    made = record("one", 0.1, 0.01)
    a, b = write(tmp_path, "a", made), write(tmp_path, "b", {**made, "label": "renamed"})
    result = verdant("report", a, b, "-o", tmp_path / "r.html")
    assert result.returncode == 1 and "very same measurements" in result.stderr
    assert not (tmp_path / "r.html").exists()


def test_a_ratio_that_is_not_one_does_not_read_as_one(make):
    a, b = record("one", 0.1, 0.01), record("two", 0.1, 0.01)
    for x in b["samples"]:
        x["prefill"]["joules"] *= 1.002
        x["decode"]["joules"] *= 1.002
    report, page, words = make(a, b)
    assert comparison(report, "j_per_answer")["verdict"] == "worse"
    assert "B needs 1.002x the joules per answer of A (95 % interval 1.002 to 1.002)" in words


@pytest.mark.parametrize("joules", [1e-320, 1e-300, 1e-10])
def test_joules_too_small_for_a_quotient_are_refused_by_name(verdant, tmp_path, joules):
    bad = record("one", 0.1, 0.01)
    bad["samples"][3]["decode"]["joules"] = joules
    result = verdant("report", write(tmp_path, "a", bad), write(tmp_path, "b", record("two", 1, 1)))
    assert result.returncode == 1
    assert "samples[3].decode.joules must be a number of at least 1e-9" in result.stderr


def test_a_load_that_no_single_machine_can_carry_is_said(make):
    a, b = record("one", 0.1, 0.01), record("two", 0.07, 0.001)
    report, _, words = make(a, b, "--requests-per-day", "200000")
    busy = [side["per_year"]["busy_share"] for side in report["footprint"]]
    assert busy[0] > 1 > busy[1]
    most = math.floor(86400 / report["footprint"][0]["per_answer"]["machine_s"])
    assert f"with A: it gives at most {most:,} of the 200,000 answers a day" in words
    assert f"that of {math.ceil(busy[0])} machines" in words
    assert "serve the stated load with B" not in words


def test_page_and_json_need_two_names(verdant, tmp_path):
    out = tmp_path / "r"
    result = verdant("report", write(tmp_path, "a", record("one", 0.1, 0.01)),
                     write(tmp_path, "b", record("two", 0.1, 0.01, seed=2)), "-o", out, "--json",
                     out)
    assert result.returncode == 1 and "both the page and the JSON" in result.stderr
    assert not out.exists()


def test_what_a_record_does_not_say_of_quality_and_grid_is_no_figure(make):
    a = record("one", 0.1, 0.01)
    del a["carbon"]["scope"], a["carbon"]["server_kg"]
    b = record("two", 0.1, 0.01, seed=2, carbon={"kind": "marginal"}, quality={"kl_mean": 0.1})
    report, _, words = make(a, b)
    assert "(null)" not in json.dumps(report) and "unknown %" not in words
    assert any("average unknown; marginal lifecycle" in note for note in report["notes"])
    assert any("SCI holds the electricity alone" in note for note in report["notes"])


def test_a_load_beyond_one_machine_keeps_the_others_waiting_too(make):
    a, b = record("one", 0.1, 0.01), record("two", 0.07, 0.001)
    report, _, _ = make(a, b, "--requests-per-day", "200000")
    year = report["footprint"][0]["per_year"]
    assert year["machines"] == math.ceil(year["busy_share"]) > 1
    waiting = (year["machines"] - year["busy_share"]) * 365 * 86400
    assert year["always_on_kwh"] == pytest.approx(year["kwh"] + 10 * waiting / 3.6e6)


def test_a_name_neither_turns_our_words_nor_leaves_the_chart(make):
    a = record("one", 0.1, 0.01, label="\u202eleft\u2066" + "W" * 60)
    b = record("two", 0.07, 0.01, label="\u5927" * 60)
    _, page, _ = make(a, b)
    text = "".join(page.itertext())
    assert "left" in text and "\u202e" not in text and "\u2066" not in text
    names = [t.text for t in page.iter("text") if t.get("class") == "name"]
    assert "A  left" + "W" * 10 + "\u2026" in names and "B  " + "\u5927" * 12 + "\u2026" in names
    assert [e.text for e in page.iter("bdi")] == ["left" + "W" * 60, "\u5927" * 60]


def test_every_chart_names_its_axis(make):
    _, page, _ = make(record("one", 0.1, 0.01), record("two", 0.07, 0.01, costs=[
        {"what": "compression", "joules": 70}]))
    text = "".join(page.itertext())
    for name in ("joules per answer", "CO2e of a year of answers", "joules spent in all",
                 "answers given", "B / A: left of 1"):
        assert name in text
