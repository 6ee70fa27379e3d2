"""Which energy meters are read: --meter, VERDANT_METER, the YAML; what is said of wrong ones."""
import json
import os

import pytest

from raw_http import Server
from serving import tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf", vocab="bpe")


@pytest.fixture
def counters(tmp_path):
    """A tree of one package whose counter stands: enough to be read."""
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text("1000\n")
    return {**os.environ, "VERDANT_SYSFS": str(tmp_path / "sys"), "VERDANT_HOME": str(tmp_path),
            "VERDANT_METERD": "/nonexistent"}


def method_of(build, tiny, tmp_path, env, configured, *options):
    file = tmp_path / "verdant.yaml"
    file.write_text(f"listen: 127.0.0.1:0\nmodels:\n  - name: a\n    ref: {tiny}\n{configured}")
    with Server([build / "verdant", "serve", "--config", file, *options], env=env) as server:
        while server.ask("GET", "/readyz")[0] != 200:
            pass
        answer = server.ask("POST", "/v1/completions", {"model": "a", "prompt": "x"})[2]
        return answer["usage"]["energy"]["method"]


def test_an_option_goes_before_the_file_and_the_file_before_the_environment(build, tiny, tmp_path,
                                                                            counters):
    def ask(configured, *options):
        return method_of(build, tiny, tmp_path, counters, configured, *options)

    assert ask("") == "rapl+model"
    assert ask("energy:\n  meter: rapl\n") == "rapl"
    assert ask("energy:\n  meter: rapl\n", "--meter", "model") == "model"
    counters["VERDANT_METER"] = "model"
    assert ask("") == "model"
    assert ask("energy:\n  meter: rapl\n") == "rapl"


def test_a_meter_that_is_named_and_cannot_be_read_stops_the_server(verdant, tiny, counters):
    model = f"a={tiny}"
    for spec, said in (("watts", "no meter is called 'watts': use one of auto, model, rapl"),
                       ("psys", "no zone named psys"), ("rapl,psys", "overlap"),
                       ("meterd", "/nonexistent"), ("rapl,", "a meter's name is missing"),
                       ("model:5", "nothing may stand behind model:"),
                       ("x" * 5000, "x' (and so on): use one of auto, model, rapl")):
        result = verdant("serve", "--model", model, "--listen", "127.0.0.1:0", "--meter", spec,
                         env=counters, timeout=60)
        assert result.returncode == 1 and said in result.stderr, (spec, result.stderr)


def test_doctor_tells_what_was_named_and_cannot_be_read_and_shows_the_rest(verdant, counters):
    result = verdant("doctor", "--quick", "--json", "--meter", "psys", env=counters)
    report = json.loads(result.stdout)
    assert result.returncode == 1 and not report["can_serve"]
    assert any("psys" in problem for problem in report["problems"])
    energy = report["energy"]
    assert energy["method"] == "rapl+model"
    assert [(s["name"], s["components"]) for s in energy["sources"]][0] == (
        "rapl by powercap", ["cpu"])
    assert {refusal["name"] for refusal in energy["refused"]} >= {"nvml"}
    assert energy["energy_filtering"] in ("none", "unknown", "likely", "on")
    assert energy["sampler"] is None  # nothing is measured with --quick


@pytest.mark.slow
def test_doctor_says_what_a_reading_costs(verdant, counters):
    report = json.loads(verdant("doctor", "--json", "--meter", "rapl", env=counters).stdout)
    sampler = report["energy"]["sampler"]
    assert 0 < sampler["us_per_reading"] < 1000
    assert sampler["core_pct_at_100_hz"] == pytest.approx(sampler["us_per_reading"] / 100,
                                                          abs=0.001)


def test_run_and_bench_take_it_too(verdant, tiny, counters):
    result = verdant("run", tiny, "x", "--max-tokens", "4", "--json", "--meter", "model",
                     env=counters)
    assert json.loads(result.stdout)["usage"]["energy"]["method"] == "model"
    result = verdant("bench", tiny, "-p", "8", "-n", "4", "-r", "1", "--json", "--meter", "rapl",
                     env=counters)
    assert result.returncode == 0, result.stderr
    assert '"rapl"' in result.stdout
    assert verdant("run", tiny, "x", "--meter", "volts", env=counters).returncode == 1
