"""`verdant carbon`: the table, a file, and the three APIs on loopback, right and wrong."""
import csv
import json
import re
import time
from datetime import datetime, timedelta, timezone

import pytest

from grids import KEY, PASSWORD, USER, Grids, body, drip, reset, silence, status, text_of

TAGS = {"intensity_g_per_kwh", "kind", "scope", "basis", "boundary", "zone", "source", "version",
        "valid_from", "valid_to", "estimated", "stale"}
ENV = {"VERDANT_ELECTRICITYMAPS_TOKEN": KEY, "VERDANT_WATTTIME_USER": USER,
       "VERDANT_WATTTIME_PASSWORD": PASSWORD}
# The provider, its zone, what 300 of its units are in g/kWh.
LIVE = [("electricitymaps", "DE", 300), ("watttime", "CAISO_NORTH", 300 * 0.45359237),
        ("uk", "GB", 307), ("uk", "13", 307)]

# ISO 3166-1 alpha-2, all officially assigned codes.
ISO = set("""\
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS
BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE
EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM
HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC
LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO
TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW""".split())


@pytest.fixture
def grids():
    with Grids() as g:
        yield g


def ask(verdant, *args, code=0, env=ENV):
    done = verdant("carbon", *args, "--json", env={"no_proxy": "127.0.0.1", **env}, timeout=60)
    assert done.returncode == code, done.stderr
    assert "hush" not in done.stdout + done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


# ---- the table -----------------------------------------------------------------------------------

def test_the_table_has_two_hundred_countries_and_every_region_resolves(verdant):
    assert len(ISO) == 249
    rows = ask(verdant, "zones")["zones"]
    countries = {r["code"] for r in rows} & ISO
    assert len(countries) >= 200, len(countries)
    codes = {r["code"] for r in rows if ":" not in r["code"]}
    regions = [r for r in rows if ":" in r["code"]]
    clouds = {}
    for r in regions:
        clouds.setdefault(r["code"].split(":")[0], []).append(r["code"])
        assert r["zone"] in codes and r["g_per_kwh"] >= 0 and r["year"] >= 2021 and r["source"]
    assert {c: len(x) >= 37 for c, x in clouds.items()} == {"aws": True, "gcp": True, "azure": True}
    assert len({r["code"] for r in rows}) == len(rows)
    for code, zone in (("aws:eu-west-1", "IE"), ("gcp:europe-west4", "NL"),
                       ("azure:westeurope", "NL"), ("AWS:US_EAST_1", "US-VA")):
        assert ask(verdant, "now", "--zone", code)["zone"] == zone


def test_a_value_of_the_table_has_every_tag(verdant):
    value = ask(verdant, "now", "--zone", "DE")
    assert set(value) == TAGS
    assert value["intensity_g_per_kwh"] == 344 and value["version"] == "2024"
    assert value["estimated"] is True and value["stale"] is False
    assert value["valid_from"] == "2024-01-01T00:00:00Z"  # of its year, not of this hour
    assert value["valid_to"] == "2025-01-01T00:00:00Z"
    assert ask(verdant, "history", "--zone", "DE", "--final")["values"] == []
    day = ask(verdant, "history", "--zone", "DE", "--to", "2026-03-02T00:00:00Z")["values"][0]
    assert (day["valid_from"], day["valid_to"]) == ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")


def test_misuse_and_help(verdant):
    for args in ((), ("tomorrow",), ("now", "then"), ("now", "--zone"), ("now", "--zone", "Germny"),
                 ("now", "--from", "2026-01-01T00:00:00Z"), ("now", "--final"),
                 ("zones", "--zone", "DE"), ("now", "--provider", "uk", "--kind", "marginal"),
                 ("now", "--provider", "oracle"), ("history", "--from", "2026-01-01"),
                 ("history", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z")):
        done = verdant("carbon", *args)
        assert done.returncode == 2 and done.stdout == "", args
    assert "DE (Germany)" in verdant("carbon", "now", "--zone", "Germny").stderr
    assert verdant("carbon", "zones", "no such word").returncode == 1
    text = verdant("carbon", "now", "--zone", "FR").stdout
    assert text.startswith("44 g CO2e/kWh  FR, estimated\naverage, lifecycle, location-based")


# ---- a file --------------------------------------------------------------------------------------

def test_a_file_is_a_provider(verdant, tmp_path):
    hour = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    file = tmp_path / "grid.csv"
    file.write_text("time,kg CO2e/MWh,estimated\n" + "".join(
        f"{text_of(hour + timedelta(hours=i))},{200 + i},{'true' if i > 0 else 'false'}\n"
        for i in range(-30, 5)))
    table = ("--provider", "csv", "--file", file)
    now = ask(verdant, "now", *table, "--zone", "DE")
    assert (now["intensity_g_per_kwh"], now["zone"], now["stale"]) == (200, "DE", False)
    day = ask(verdant, "history", *table)["values"]
    assert [v["intensity_g_per_kwh"] for v in day] == list(range(176, 201))
    assert [v["valid_to"] for v in day[:-1]] == [v["valid_from"] for v in day[1:]]
    future = ask(verdant, "history", *table, "--from", text_of(hour),
                 "--to", text_of(hour + timedelta(hours=4)))["values"]
    assert [v["estimated"] for v in future] == [False, True, True, True]
    file.write_text("time,g/kWh\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:00Z,2\n")
    assert f"{file}:3: the time '2026-01-01T00:00:00Z' stands there twice" in ask(
        verdant, "now", *table, code=1)


def test_units_of_a_file_make_the_same_grams(verdant, tmp_path):
    """344 g/kWh, said in four ways; and the trap that is none."""
    file = tmp_path / "grid.csv"
    for unit, value in (("gCO2eq/kWh", 344), ("kg/MWh", 344), ("kgCO2/kWh", 0.344),
                        ("lbs CO2 per MWh", 344 / 0.45359237)):
        file.write_text(f"time,{unit}\n2026-01-01T00:00:00Z,{value!r}\n")
        now = ask(verdant, "now", "--provider", "csv", "--file", file)
        assert abs(now["intensity_g_per_kwh"] - 344) < 1e-9, unit
    file.write_text("time,kgCO2/h\n2026-01-01T00:00:00Z,344\n")
    assert "no intensity" in ask(verdant, "now", "--provider", "csv", "--file", file, code=1)
    file.write_text("time,value\n2026-01-01T00:00:00Z,0.344\n")
    assert "carbon.unit" in ask(verdant, "now", "--provider", "csv", "--file", file, code=1)
    now = ask(verdant, "now", "--provider", "csv", "--file", file, "--unit", "kg/kWh")
    assert now["intensity_g_per_kwh"] == 344


@pytest.mark.parametrize("scope,column", [("direct", 4), ("lifecycle", 5)])
def test_a_year_of_real_hours_is_read_as_it_stands(verdant, data, scope, column):
    """A download of Electricity Maps, against Python's csv."""
    file = data / "grid" / "multi-year" / "DE.csv"
    if not file.exists():
        pytest.skip("no such data here")
    with open(file, newline="", encoding="utf-8") as text:
        rows = [r for r in csv.reader(text) if r[0].startswith("2024")]
    got = ask(verdant, "history", "--provider", "csv", "--file", file, "--scope", scope,
              "--from", "2024-01-01T00:00:00Z", "--to", "2025-01-01T00:00:00Z")["values"]
    assert len(got) == len(rows) == 8784
    assert [v["intensity_g_per_kwh"] for v in got] == [float(r[column]) for r in rows]
    assert [v["valid_from"] for v in got] == [r[0].replace(" ", "T") + "Z" for r in rows]
    assert [v["estimated"] for v in got] == [r[9] == "True" for r in rows]


# ---- the APIs as they should be ------------------------------------------------------------------

@pytest.mark.parametrize("provider,zone,value", LIVE)
def test_the_value_of_now_has_every_tag(verdant, grids, provider, zone, value):
    now = ask(verdant, "now", "--provider", provider, "--zone", zone, "--url", grids.url)
    assert set(now) == TAGS and now["zone"] == zone
    assert abs(now["intensity_g_per_kwh"] - value) < 0.001
    assert now["kind"] == ("marginal" if provider == "watttime" else "average")
    assert now["scope"] == ("lifecycle" if provider == "electricitymaps" else "direct")
    assert now["estimated"] is True and now["stale"] is False
    assert now["valid_from"] <= text_of(datetime.now(timezone.utc)) < now["valid_to"]


@pytest.mark.parametrize("provider,zone,value", LIVE)
def test_history_is_asked_for_in_pieces_and_joins(verdant, grids, provider, zone, value):
    to = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    begin = to - timedelta(days=35)
    answer = ask(verdant, "history", "--provider", provider, "--zone", zone, "--url", grids.url,
                 "--from", text_of(begin), "--to", text_of(to))
    values = answer["values"]
    assert answer["provider"] == provider and answer["zone"] == zone
    assert values[0]["valid_from"] == text_of(begin) and values[-1]["valid_to"] == text_of(to)
    for one, other in zip(values, values[1:]):
        assert one["valid_to"] == other["valid_from"]
    assert len([p for p, _ in grids.seen if p != "/login"]) > 1  # pieces; the stand-in has limits
    final = ask(verdant, "history", "--provider", provider, "--zone", zone, "--url", grids.url,
                "--from", text_of(begin), "--to", text_of(to), "--final")["values"]
    if zone == "13":  # regions have forecasts only
        assert final == []
    else:
        assert len(final) == len(values) and not any(v["estimated"] for v in final)


def test_what_is_not_closed_is_not_final(verdant, grids):
    now = datetime.now(timezone.utc)
    args = ("history", "--provider", "uk", "--zone", "GB", "--url", grids.url,
            "--from", text_of(now - timedelta(hours=3)), "--to", text_of(now + timedelta(hours=3)))
    both, final = ask(verdant, *args)["values"], ask(verdant, *args, "--final")["values"]
    assert 5 <= len(final) < len(both)
    assert {v["intensity_g_per_kwh"] for v in final} == {300}
    assert {v["intensity_g_per_kwh"] for v in both} == {300, 307}
    args = ("history", "--provider", "electricitymaps", "--zone", "FR", "--url", grids.url,
            "--from", text_of(now - timedelta(hours=20)))
    assert len(ask(verdant, *args)["values"]) - len(ask(verdant, *args, "--final")["values"]) == 2
    assert "/v3/carbon-intensity/history?zone=FR&emissionFactorType=lifecycle" in dict(grids.seen)


def test_keys_go_where_they_belong_and_nowhere_else(verdant, grids, tmp_path):
    ask(verdant, "now", "--provider", "electricitymaps", "--zone", "DE", "--url", grids.url)
    path, headers = grids.seen[-1]
    assert headers["auth-token"] == KEY and "hush" not in path
    ask(verdant, "now", "--provider", "watttime", "--zone", "CAISO_NORTH", "--url", grids.url)
    assert [p.split("?")[0] for p, _ in grids.seen[-3:]] == ["/login", "/v3/historical",
                                                             "/v3/forecast"]
    assert all("hush" not in p for p, _ in grids.seen)
    assert "Bearer" not in grids.seen[-3][1]["Authorization"]
    file = tmp_path / "key"
    file.write_text(f"{USER}:{PASSWORD}\n")
    ask(verdant, "now", "--provider", "watttime", "--zone", "CAISO_NORTH", "--url", grids.url,
        "--token-file", file, env={})
    # Plain HTTP to another host would show the key to the network.
    said = ask(verdant, "now", "--provider", "electricitymaps", "--zone", "DE", "--url",
               "http://192.0.2.1", code=1)
    assert "unencrypted" in said


def test_a_token_that_expired_is_renewed_once(verdant, grids):
    """401 in the middle: a new login, and the same question again; a second 401 is an error."""
    login = grids.reply("/login", {}, {"Authorization": ""})
    assert login[0] == 403
    grids.faults = [None, None, status(401)]  # login, historical; then forecast is refused
    now = ask(verdant, "now", "--provider", "watttime", "--zone", "CAISO_NORTH", "--url", grids.url)
    assert abs(now["intensity_g_per_kwh"] - 136.0777) < 0.001
    assert [p.split("?")[0] for p, _ in grids.seen] == ["/login", "/v3/historical", "/v3/forecast",
                                                        "/login", "/v3/forecast"]
    grids.seen.clear()
    grids.always = status(401)
    ask(verdant, "now", "--provider", "watttime", "--zone", "CAISO_NORTH", "--url", grids.url,
        code=1)
    assert [p for p, _ in grids.seen] == ["/login", "/login"] or len(grids.seen) <= 4


# ---- the APIs as they should not be --------------------------------------------------------------

FAULTS = {
    "401": (status(401), "key"),
    "403": (status(403), "403"),
    "404": (status(404), "404"),
    "429": (status(429, Retry_After="120"), "again in 120 s"),
    "500": (status(500, b"<html>sorry</html>"), "status 500"),
    "redirect": (status(302, Location="http://127.0.0.1:1/"), "status 302"),
    "html": (body(b"<!doctype html><html>Log in</html>"), "web page"),
    "truncated": (body(b'{"zone":"DE","carbonIntensity":30'), "no JSON object"),
    "list": (body(b"[1,2]"), "no JSON object"),
    "empty": (body(b""), "no JSON object"),
    "deep": (body(b"[" * 5000), "no JSON object"),
    "other": (body(b'{"hello":"world"}'), ": "),
    "huge": (body(b" " * (5 << 20)), "longer than"),
    "reset": (reset, "no answer"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("provider,zone,value", LIVE[:3])
def test_a_failing_source_is_an_error_of_one_line(verdant, grids, provider, zone, value, name):
    grids.always, said = FAULTS[name]
    for what in ("now", "history"):
        error = ask(verdant, what, "--provider", provider, "--zone", zone, "--url", grids.url,
                    code=1)
        assert len(error.splitlines()) == 1
        if not (provider == "watttime" and name in ("401", "403")):  # that is the login
            assert said in error


WRONG = {
    "electricitymaps": [
        ({"zone": "FR"}, "another zone"), ({"emissionFactorType": "direct"}, "emissionFactorType"),
        ({"datetime": "2099-01-01T00:00:00Z"}, "in the future"), ({"datetime": None}, "no time"),
        ({"carbonIntensity": None}, "no value for DE"), ({"carbonIntensity": "300"}, "no number"),
        ({"carbonIntensity": 0.3}, "not kg/kWh"), ({"carbonIntensity": 300000}, "another unit?"),
        ({"carbonIntensity": -3}, "another unit?")],
    "watttime": [
        ({"region": "PJM_DC"}, "another region"), ({"signal_type": "co2_aoer"}, "signal_type"),
        ({"units": "kg_co2_per_mwh"}, "units"), ({"units": None}, "units"),
        ({"point_time": "2099-01-01T00:00:00Z"}, "in the future"), ({"value": True}, "no number"),
        ({"value": 1e6}, "another unit?"), ({"data_point_period_seconds": 1}, "60 to 86400")],
    "uk": [
        ({"to": "2026-01-01T00:00Z"}, "before it begins"),
        ({"from": "2099-01-01T00:00Z"}, "in the future"),
        ({"forecast": 0.3, "actual": None}, "not kg/kWh"),
        ({"forecast": "x", "actual": None}, "no number"),
        ({"actual": 99999}, "another unit?"), ({"intensity": None}, "missing")],
}


def put(value, changes):
    """Every key of `changes` wherever it is found in JSON."""
    if isinstance(value, list):
        return [put(v, changes) for v in value]
    if isinstance(value, dict):
        return {k: changes[k] if k in changes else put(v, changes) for k, v in value.items()}
    return value


@pytest.mark.parametrize("provider", WRONG)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(verdant, grids, provider):
    zone = {name: z for name, z, _ in LIVE[:3]}[provider]
    right = grids.reply
    for changes, said in WRONG[provider]:
        def wrong(path, query, headers, changes=changes):
            code, value = right(path, query, headers)
            return code, value if path == "/login" else put(value, changes)
        grids.reply = wrong
        error = ask(verdant, "now", "--provider", provider, "--zone", zone, "--url", grids.url,
                    code=1)
        assert said in error, (changes, error)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [silence, drip(0.05)])
def test_the_time_for_an_answer_is_limited(verdant, grids, tmp_path, fault):
    """Ten seconds by default, however slowly bytes come."""
    grids.always = fault
    begin = time.monotonic()
    said = ask(verdant, "now", "--provider", "uk", "--zone", "GB", "--url", grids.url, code=1)
    assert "no answer" in said and 8 < time.monotonic() - begin < 25


def test_nobody_listens(verdant):
    said = ask(verdant, "now", "--provider", "uk", "--zone", "GB", "--url", "http://127.0.0.1:1",
               code=1)
    assert re.search(r"127\.0\.0\.1 gave no answer", said)
