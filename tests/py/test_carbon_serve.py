"""The grid feed in `verdant serve`: grams of answers, /v1/carbon/intensity, /metrics, faults."""
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from grids import KEY, PASSWORD, USER, Grids, drip, reset, status, wait_for
from serving import CHAT, TEXT, chat, check_energy, start, tiny_model

PATH = "/v1/carbon/intensity"
ENV = {**os.environ, "VERDANT_ELECTRICITYMAPS_TOKEN": KEY, "VERDANT_WATTTIME_USER": USER,
       "VERDANT_WATTTIME_PASSWORD": PASSWORD, "no_proxy": "127.0.0.1"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf", vocab="bpe", n_ctx=512, seed=7)


@pytest.fixture
def grids():
    with Grids() as g:
        yield g


@pytest.fixture
def serve(build, tiny, tmp_path):
    def run(grids=None, hardware=None, **carbon):
        if grids is not None:
            carbon = {"url": grids.url, "period_seconds": 1, "timeout_seconds": 1, **carbon}
        env = {**ENV, "VERDANT_HOME": str(tmp_path)}
        return start(build, tmp_path, {"tiny": (tiny, {})}, env=env, zone="DE", carbon=carbon,
                     hardware=hardware or {})
    return run


def intensity(server, query=""):
    code, _, value = server.ask("GET", PATH + query)
    assert code == 200, value
    return value


def answer(server, **more):
    usage = server.ask("POST", CHAT, chat("tiny", max_tokens=6, **more))[2]["usage"]
    check_energy(usage["energy"])
    return usage


def metric(server, name):
    text = server.ask("GET", "/metrics")[2].decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
            if line.startswith(name)}


# ---- the table -------------------------------------------------------------------------------

def test_without_a_provider_the_table_answers(serve):
    with serve() as server:
        value = intensity(server)
        assert value["provider"] == "table" and value["history"] == []
        assert value["current"]["intensity_g_per_kwh"] == 344 and value["current"]["estimated"]
        assert value["feed"]["asked"] == 0 and value["feed"]["last_good"] is None
        carbon = answer(server)["energy"]["carbon"]
        assert carbon["intensity_g_per_kwh"] == 344 and carbon["version"] == "2024"
        assert not carbon["stale"] and "mixed" not in carbon and carbon["pue"] == 1
        assert metric(server, "verdant_carbon_feed_age_seconds") == {
            "verdant_carbon_feed_age_seconds": 0}
        row = intensity(server, "?zone=gcp:europe-west9")
        assert (row["name"], row["current"]["intensity_g_per_kwh"]) == ("France", 44)
        assert set(row) == {"object", "provider", "name", "current"}


def test_wrong_questions_are_errors_in_the_apis_shape(serve):
    with serve() as server:
        for query, code, name in (("?zone=Germny", 404, "zone_not_found"),
                                  ("?zone=aws:mars-1", 404, "zone_not_found"),
                                  ("?from=yesterday", 400, "invalid_value"),
                                  ("?to=2026-03-01T00:00:00", 400, "invalid_value"),
                                  ("?from=2000-01-01T00:00:00Z", 400, "invalid_value"),
                                  ("?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400,
                                   "invalid_value")):
            got, _, value = server.ask("GET", PATH + query)
            assert (got, value["error"]["code"]) == (code, name), query
            assert value["error"]["message"].endswith(".")
        assert "DE (Germany)" in server.ask("GET", PATH + "?zone=Germny")[2]["error"]["message"]
        assert intensity(server, "?to=2026-01-01T00:00:00Z")["history"] == []  # the day before it
        got, headers, _ = server.ask("POST", PATH, {})
        assert got == 405


def test_the_object_adds_up_with_pue_water_and_sci(serve):
    hardware = {"server_kg": 1000, "life_years": 4, "reserved_share": 0.5}
    with serve(pue=1.25, wue_site_l_per_kwh=0.5, wue_grid_l_per_kwh=3, hardware=hardware) as server:
        code, _, value = server.ask("POST", CHAT, chat("tiny", max_tokens=6))
        usage, energy = value["usage"], value["usage"]["energy"]
        carbon, kwh = energy["carbon"], energy["total_j"] / 3.6e6
        assert math.isclose(carbon["operational_g"], kwh * 1.25 * 344, rel_tol=1e-4)
        assert math.isclose(carbon["intensity_g_per_kwh"], 344, rel_tol=1e-4)
        assert math.isclose(carbon["water_l"], kwh * (0.5 + 1.25 * 3), rel_tol=1e-4)
        assert carbon["pue"] == 1.25
        sci, total = carbon["sci"], carbon["operational_g"] + carbon["embodied_g"]
        assert sci["tokens"] == usage["total_tokens"]
        assert math.isclose(sci["g_per_request"], total, rel_tol=1e-4)
        assert math.isclose(sci["sci_mg_per_token"], total * 1e3 / usage["total_tokens"],
                            rel_tol=1e-4)


# ---- live sources ----------------------------------------------------------------------------

@pytest.mark.parametrize("provider,zone,factor", [("electricitymaps", "DE", 1),
                                                  ("watttime", "CAISO_NORTH", 0.45359237)])
def test_answers_are_weighed_with_what_the_source_says(serve, grids, provider, zone, factor):
    grids.estimated = False
    with serve(grids, provider=provider, zone=zone) as server:
        wait_for(lambda: intensity(server)["feed"]["last_good"])
        carbon = answer(server)["energy"]["carbon"]
        assert math.isclose(carbon["intensity_g_per_kwh"], 300 * factor, rel_tol=1e-3)
        assert carbon["zone"] == zone and not carbon["stale"]
        assert carbon["kind"] == ("marginal" if provider == "watttime" else "average")
        label = (f'verdant_carbon_intensity_g_per_kwh{{provider="{provider}",zone="{zone}",'
                 f'kind="{carbon["kind"]}",scope="{carbon["scope"]}"}}')
        assert math.isclose(metric(server, "verdant_carbon_intensity_g")[label], 300 * factor,
                            rel_tol=1e-6)
        grids.value = 600
        wait_for(lambda: math.isclose(intensity(server)["current"]["intensity_g_per_kwh"],
                                      600 * factor, rel_tol=1e-5))
        assert math.isclose(answer(server)["energy"]["carbon"]["intensity_g_per_kwh"],
                            600 * factor, rel_tol=1e-3)
        assert intensity(server)["history"]
        everything = json.dumps(intensity(server)) + server.ask("GET", "/metrics")[2].decode()
    assert "hush" not in everything + server.read_log()


@pytest.mark.parametrize("provider,zone,factor", [
    ("electricitymaps", "DE", 1), ("watttime", "CAISO_NORTH", 0.45359237), ("uk", "GB", 1)])
def test_final_values_of_the_source_settle_the_ledger_again(serve, verdant, grids, tmp_path,
                                                            provider, zone, factor):
    """Booked with an estimate of 400; the source closes the time with 200."""
    grids.value = 400 - 7 * (provider == "uk")  # whose forecast is 7 above
    with serve(grids, provider=provider, zone=zone, period_seconds=600) as server:
        wait_for(lambda: intensity(server)["feed"]["last_good"])
        carbon = answer(server)["energy"]["carbon"]
        assert carbon["estimated"] and math.isclose(carbon["intensity_g_per_kwh"], 400 * factor,
                                                    rel_tol=1e-4)
    grids.value, grids.final = 200, True
    done = verdant("energy", "resettle", "--config", tmp_path / "verdant.yaml", "--ledger",
                   tmp_path / "ledger.db", "--json", env=ENV)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["changed_requests"] == 1 and told["without_final_shares"] == 0
    assert math.isclose(told["final_g"], told["first_g"] / 2, rel_tol=1e-9)
    assert math.isclose(told["first_g"], carbon["operational_g"], rel_tol=1e-3)
    assert "hush" not in done.stdout + done.stderr


@pytest.mark.slow
def test_an_answer_over_a_change_is_a_sum_over_intervals(serve, grids):
    """The intensity rises tenfold while a long answer runs: its grams lie between the two, its mean
    is by energy, and two answers' grams are the sum of theirs."""
    grids.value = 100
    with serve(grids, provider="electricitymaps", zone="DE") as server:
        wait_for(lambda: intensity(server)["feed"]["last_good"])
        for n_clients in (1, 2, 4, 8, 16):  # until the source is asked while the answers run
            grids.value = 100
            wait_for(lambda: intensity(server)["current"]["intensity_g_per_kwh"] == 100)
            n_seen = len(grids.seen)
            grids.value = 1000
            body = {"model": "tiny", "prompt": ["a b c"] * 48, "max_tokens": 400,
                    "ignore_eos": True}
            with ThreadPoolExecutor(n_clients) as clients:
                usages = list(clients.map(lambda _: server.ask("POST", TEXT, body)[2]["usage"],
                                          range(n_clients)))
            between = [u for u in usages
                       if 101 < u["energy"]["carbon"]["intensity_g_per_kwh"] < 999]
            if between:
                break
        assert between, [u["energy"]["carbon"]["intensity_g_per_kwh"] for u in usages]
        usage = between[0]
        carbon = usage["energy"]["carbon"]
        assert len(grids.seen) > n_seen
        check_energy(usage["energy"])
        assert "mixed" not in carbon  # one kind of value throughout


def test_the_service_starts_and_serves_while_the_source_is_silent(serve, grids):
    grids.always = drip(0.1)
    with serve(grids, provider="uk", zone="GB", timeout_seconds=60) as server:
        begin = time.monotonic()
        carbon = answer(server)["energy"]["carbon"]
        assert time.monotonic() - begin < 10
        assert carbon["intensity_g_per_kwh"] == 344 and carbon["zone"] == "DE"
        assert metric(server, "verdant_carbon_feed_age")["verdant_carbon_feed_age_seconds"] == -1
        begin = time.monotonic()
    assert time.monotonic() - begin < 10  # the end waits for no source


@pytest.mark.parametrize("fault", [status(500), status(401), reset, status(200, b"<html>")])
def test_the_last_known_value_stays_and_is_said_to_be_stale(serve, grids, tmp_path, fault):
    """The value was for the hour before the last: when nothing newer comes it is stale."""
    from datetime import datetime, timedelta, timezone
    grids.now = datetime.now(timezone.utc) - timedelta(hours=1)
    with serve(grids, provider="electricitymaps", zone="DE") as server:
        wait_for(lambda: intensity(server)["feed"]["last_good"])
        assert intensity(server)["current"]["stale"] is False  # an hour late is usual
        grids.always = fault
        wait_for(lambda: intensity(server)["feed"]["failing"])
        value = intensity(server)
        assert value["current"]["stale"] and value["current"]["intensity_g_per_kwh"] == 300
        assert value["feed"]["age_s"] >= 0 and value["feed"]["failed"] >= 1 and value["feed"]["why"]
        carbon = answer(server)["energy"]["carbon"]
        assert carbon["stale"] and carbon["intensity_g_per_kwh"] == 300
        assert metric(server, "verdant_carbon_intensity_stale") == {
            "verdant_carbon_intensity_stale": 1}
        assert metric(server, "verdant_carbon_feed_failures_total")[
            "verdant_carbon_feed_failures_total"] >= 1
        text = json.dumps(intensity(server)) + server.ask("GET", "/metrics")[2].decode()
    log = server.read_log()
    assert "hush" not in log + text
    assert log.count("no intensity, the last known one stays") == 1


@pytest.mark.slow
def test_retry_after_is_obeyed(serve, grids):
    grids.always = status(429, Retry_After="3600")
    with serve(grids, provider="uk", zone="GB") as server:
        wait_for(lambda: intensity(server)["feed"]["failing"])
        n = len(grids.seen)
        value = intensity(server)["feed"]
        assert "3600 s" in value["why"]
        time.sleep(1.5)
        assert len(grids.seen) == n


@pytest.mark.slow
def test_retries_back_off(serve, grids):
    """After five seconds, then ten, each shortened at random by up to a half; no storm."""
    grids.always = status(500)
    with serve(grids, provider="uk", zone="GB", period_seconds=60) as server:
        wait_for(lambda: len(grids.times) >= 3, 60)
        assert intensity(server)["feed"]["failed"] >= 2
    first, second = (b - a for a, b in zip(grids.times[:2], grids.times[1:3]))
    assert 2.4 < first and 4.9 < second


# ---- configuration ---------------------------------------------------------------------------

@pytest.mark.parametrize("carbon,said", [
    ({"provider": "oracle"}, "no carbon provider is called 'oracle'"),
    ({"provider": "electricitymaps", "zone": "DE"}, "VERDANT_ELECTRICITYMAPS_TOKEN"),
    ({"provider": "csv"}, "needs a file"),
    ({"provider": "uk", "zone": "FR"}, "regions 1 to 17"),
])
def test_a_wrong_configuration_is_said_at_the_start(verdant, tiny, tmp_path, carbon, said):
    file = tmp_path / "verdant.yaml"
    file.write_text(json.dumps({"listen": "127.0.0.1:0", "carbon": carbon,
                                "models": [{"name": "a", "ref": str(tiny)}]}))
    done = verdant("serve", "--config", file, timeout=20,
                   env={"VERDANT_ELECTRICITYMAPS_TOKEN": "", "VERDANT_HOME": str(tmp_path)})
    assert done.returncode == 1 and said in done.stderr


@pytest.mark.parametrize("provider,zone,good", [("electricitymaps", "DE", KEY),
                                                ("watttime", "CAISO_NORTH", f"{USER}:{PASSWORD}")])
def test_a_key_that_was_refused_can_be_replaced(serve, grids, tmp_path, provider, zone, good):
    key = tmp_path / "key"
    key.write_text("wrong:hush-hush\n")
    with serve(grids, provider=provider, zone=zone, token_file=str(key)) as server:
        wait_for(lambda: intensity(server)["feed"]["failing"])
        assert "hush" not in json.dumps(intensity(server))
        key.write_text(good + "\n")
        wait_for(lambda: intensity(server)["feed"]["last_good"])
        assert intensity(server)["current"]["zone"] == zone
    assert "hush" not in server.read_log()


def test_a_key_in_a_file_is_read_and_shown_nowhere(serve, grids, tmp_path):
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    with serve(grids, provider="electricitymaps", zone="FR", token_file=str(key)) as server:
        wait_for(lambda: intensity(server)["feed"]["last_good"])
        assert intensity(server)["current"]["zone"] == "FR"
    assert KEY not in server.read_log()
