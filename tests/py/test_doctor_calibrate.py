"""`verdant doctor --calibrate` and `--fit`: known truths come back, nothing half done is left."""
import datetime
import json
import os
import random
import signal
import subprocess
import time

import pytest
from test_doctor import Ticking, make_zones

IDLE_W, FULL_W, CROWD, EXPONENT = 20.0, 90.0, 2.2, 1.4
TYPE = "Some CPU @ 2.00GHz"


def true_watts(load, spread=0.0, clock=1.0):
    spread = max(spread, load)
    duty = load / spread if spread else 0
    return IDLE_W + (FULL_W - IDLE_W) * (1 - (1 - spread) ** CROWD) \
        * (1 - (1 - duty) ** 1.4) * clock ** EXPONENT


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "sys").mkdir()
    return tmp_path


@pytest.fixture
def doctor(verdant, home):
    def run(*args, sysfs="sys", **more):
        env = {"VERDANT_HOME": str(home / "home"), "VERDANT_SYSFS": str(home / sysfs),
               "TZ": "UTC", **more.pop("env", {})}
        return verdant("doctor", *args, env=env, **more)

    return run


def table(path, rows, names="load,spread,clock_mhz,watts", sep=","):
    path.write_text("\n".join([names, *(sep.join(f"{x:.6g}" for x in row) for row in rows)]) + "\n")
    return path


def rows_of_truth(n=24, noise=0.01, seed=1):
    rng = random.Random(seed)
    rows = [(0, 0, 1800, true_watts(0, 0, 0.9))]
    for i in range(n):
        load = (i + 1) / n
        spread, clock = min(1, load + rng.random() * (1 - load)), rng.uniform(0.5, 1.1)
        rows.append((load, spread, 2000 * clock,
                     true_watts(load, spread, clock) * rng.gauss(1, noise)))
    return rows


FIT = ["--cpu-type", TYPE, "--threads", "8", "--base-mhz", "2000", "-o"]


def test_a_table_recorded_elsewhere_becomes_a_calibration(doctor, home):
    out = home / "c.json"
    done = doctor("--fit", table(home / "t.csv", rows_of_truth()), *FIT, out)
    assert done.returncode == 0, done.stderr
    made = json.loads(out.read_text())
    assert (made["cpu_type"], made["threads"], made["covers"]) == (TYPE, 8, "package")
    assert len(made["points"]) == 25
    now = next(line for line in done.stdout.splitlines() if "now:" in line)
    waiting, full = (float(now.split(word)[0].split()[-2]) for word in ("waiting", "full"))
    assert abs(waiting / IDLE_W - 1) < 0.1 and abs(full / FULL_W - 1) < 0.05
    assert "before:" in done.stdout and str(out) in done.stdout


def test_percent_semicolons_decimal_commas_and_other_names_are_understood(doctor, home):
    rows = [(100 * r[0], r[3]) for r in rows_of_truth(noise=0)]
    text = "CPU (%);Active Power (kW)\n".replace("CPU (%)", "load %") + "".join(
        f"{load:.3f};{watts / 1000:.6f}\n".replace(".", ",") for load, watts in rows)
    path = home / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    out = home / "c.json"
    done = doctor("--fit", path, *FIT, out)
    assert done.returncode == 0, done.stderr
    points = json.loads(out.read_text())["points"]
    assert points[-1]["load"] == 1 and abs(points[-1]["watts"] - rows[-1][1]) < 0.01


@pytest.mark.parametrize("text, says", [
    ("", "names of columns"),
    ("load,watts\n", "0 rows"),
    ("lod,watts\n1,2\n", "no column 'load'"),
    ("load,volts\n1,2\n", "--watts-column"),
    ("load,watts,power\n1,2,3\n", "more than one"),
    ("load,watts\n0,5\n0.5,x\n1,9\n", "line 3"),
    ("load,watts\n0,5\n0.5,-7\n1,9\n", "line 3"),
    ("load,watts\n0,5\n# a remark\n\n-0.5,7\n1,9\n", "line 5"),
    ("load,watts\n0,5\n0.05,7\n0.1,9\n", "make no curve"),
    ("load,watts\n0,5\n1,7\n", "make no curve"),
    ("load,watts\n0,90\n0.5,50\n1,10\n", "fall with the load"),
    ("load,watts\n0,1e300\n0.5,1e301\n1,1e302\n", "must be a number from 0.001"),
    ("load,watts\n0,5\0\n1,7\n", "NUL"),
])
def test_a_table_that_makes_no_sense_is_refused(doctor, home, text, says):
    path, out = home / "t.csv", home / "c.json"
    path.write_text(text)
    done = doctor("--fit", path, *FIT, out)
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert not out.exists()


def plug(home, loads, offset=0.0, period=1.0, base_w=30.0, shuffle=False, drop=(), bad=(),
         scale=1.0, iso=False, names="time,power", seed=3):
    """What a plug shows of the steps in `loads`: its clock is `offset` s ahead."""
    rng = random.Random(seed)
    rows, t = [], loads[0][0] - 20
    while t < loads[-1][1] + 20:
        load, spread = next(((l, s) for b, e, l, s in loads if b <= t < e), (0, 0))
        watts = (base_w + true_watts(load, spread)) * rng.gauss(1, 0.01) * scale
        at = t + offset
        stamp = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat() if iso \
            else f"{at:.3f}"
        rows.append(f"{stamp},{watts:.6g}")
        t += period
    rows = [r for i, r in enumerate(rows) if i not in drop]
    for i in bad:
        rows[i] = "never,unavailable"
    if shuffle:
        rng.shuffle(rows)
    path = home / "plug.csv"
    path.write_text("\n".join([names, *rows]) + "\n")
    return path


@pytest.fixture
def loads(home):
    """A ladder that ran before: rest, 1 to 8 threads, parts of their time, rest."""
    begin, rows = 1_790_000_000.0, []
    for load, spread in ((0, 0), (.125, .125), (.25, .25), (.5, .5), (1, 1), (.75, 1), (.5, 1),
                         (.25, 1), (0, 0)):
        rows.append((begin, begin + 10, load, spread))
        begin += 10
    (home / "loads.csv").write_text("begin,end,load,spread\n" + "".join(
        f"{b:.3f},{e:.3f},{l},{s}\n" for b, e, l, s in rows))
    return rows


def join(doctor, home, meter, *more):
    return doctor("--calibrate", "--loads", home / "loads.csv", "--meter-csv", meter, "--memory-gb",
                  0, *FIT, home / "c.json", *more)


@pytest.mark.parametrize("kind", [
    {}, {"offset": 7.0}, {"offset": -43.0, "iso": True}, {"offset": 3600.0}, {"shuffle": True},
    {"period": 2.5, "offset": 3.0}, {"drop": range(45, 57)}, {"bad": (3, 30)},
    {"scale": 0.001, "names": "Timestamp,Power (kW)"}, {"scale": 1000, "names": "ts,power_mW"}])
def test_a_plug_meter_s_table_is_joined_with_the_loads(doctor, home, loads, kind):
    done = join(doctor, home, plug(home, loads, **kind))
    assert done.returncode == 0, done.stderr
    made = json.loads((home / "c.json").read_text())
    assert made["covers"] == "wall" and made["meter_pct"] == 3
    for point in made["points"]:
        truth = 30 + true_watts(point["load"], point["spread"])
        assert abs(point["watts"] / truth - 1) < 0.02, point
    shown = float(done.stdout.split("its clock is ")[1].split(" s")[0])
    assert abs(shown - kind.get("offset", 0)) <= 1.5 * kind.get("period", 1.0)
    assert ("another time zone?" in done.stdout) == (kind.get("offset") == 3600.0)
    assert ("out of order" in done.stdout) == ("shuffle" in kind)
    assert ("gaps" in done.stdout) == ("drop" in kind)
    assert ("without a time" in done.stdout) == ("bad" in kind)


@pytest.mark.parametrize("kind, says", [
    ({"scale": 0.001}, "--watts-unit kW"),
    ({"scale": 1000.0}, "--watts-unit mW"),
    ({"names": "time,flow"}, "--watts-column"),
    ({"names": "zeit,power"}, "--time-column"),
    ({"offset": 4e6}, "do not cover the load"),
    ({"scale": -1.0}, "below zero"),
])
def test_a_plug_meter_s_table_that_cannot_be_right_is_refused(doctor, home, loads, kind, says):
    done = join(doctor, home, plug(home, loads, **kind))
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert not (home / "c.json").exists()


def test_a_table_of_another_machine_s_plug_is_refused(doctor, home, loads):
    path = plug(home, loads)
    rng = random.Random(4)
    names, *rows = path.read_text().splitlines()
    path.write_text("\n".join([names, *(f"{r.split(',')[0]},{rng.uniform(40, 60):.3f}"
                                        for r in rows)]) + "\n")
    done = join(doctor, home, path)
    assert done.returncode == 1 and "does not follow the load" in done.stderr


def test_columns_and_units_can_be_named(doctor, home, loads):
    done = join(doctor, home, plug(home, loads, scale=0.001, names="zeit,leistung"),
                "--time-column", "Zeit", "--watts-column", "leistung", "--watts-unit", "kW")
    assert done.returncode == 0, done.stderr
    assert json.loads((home / "c.json").read_text())["points"][-1]["watts"] > 40


def test_without_a_meter_the_loads_can_be_kept_for_later(doctor, home):
    done = doctor("--calibrate", "--seconds", 3)
    assert done.returncode == 1 and "--meter-csv" in done.stderr
    done = doctor("--calibrate", "--seconds", 3, "--save-loads", home / "mine.csv")
    assert done.returncode == 0, done.stderr
    assert "--loads" in done.stdout
    rows = [line.split(",") for line in (home / "mine.csv").read_text().splitlines()]
    assert rows[0][:4] == ["begin", "end", "load", "spread"] and len(rows) >= 7
    steps = [[float(x) for x in row] for row in rows[1:]]
    assert all(a[1] <= b[0] + 0.1 for a, b in zip(steps, steps[1:], strict=False))
    # A busy machine gives the ladder only a part of what it asks for.
    assert max(s[2] for s in steps) > max(0.05, 2 * steps[0][2]) and steps[0][3] == 0
    assert list((home / "home").iterdir()) == []


@pytest.mark.slow
def test_counters_of_this_machine_calibrate_it_and_doctor_uses_that(doctor, home):
    zones = {"intel-rapl:0": ("package-0", 40)}
    with Ticking(make_zones(home / "rapl", zones), zones):
        done = doctor("--calibrate", "--seconds", 6, sysfs="rapl")
    assert done.returncode == 0, done.stderr
    made, = (home / "home/calibration").iterdir()
    points = json.loads(made.read_text())["points"]
    assert len(points) >= 6 and all(30 < p["watts"] < 50 for p in points)
    model = json.loads(doctor("--quick", "--json").stdout)["energy"]["model"]
    assert model["calibrated"] and str(made) in model["calibration"]
    assert 25 < model["full_w"] < 55
    made.write_text("{}")
    report = doctor("--quick", "--json")
    model = json.loads(report.stdout)["energy"]["model"]
    assert report.returncode == 0 and not model["calibrated"] and "missing" in model["calibration"]


def test_who_is_interrupted_leaves_nothing(build, home):
    env = {**os.environ, "VERDANT_HOME": str(home / "home"), "VERDANT_SYSFS": str(home / "sys")}
    process = subprocess.Popen([build / "verdant", "doctor", "--calibrate", "--seconds", "30",
                                "--save-loads", home / "loads.csv"], env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) != 0
    process.stdout.close()
    process.stderr.close()
    assert list((home / "home").iterdir()) == [] and not (home / "loads.csv").exists()


def test_where_it_cannot_be_written_that_is_said(doctor, home):
    path = table(home / "t.csv", rows_of_truth())
    done = doctor("--fit", path, *FIT, "/dev/full")
    assert done.returncode == 1 and "No space" in done.stderr
    done = doctor("--fit", path, *FIT, path / "c.json")
    assert done.returncode == 1 and str(path) in done.stderr


@pytest.mark.parametrize("args", [
    ["--calibrate", "--seconds", "x"], ["--calibrate", "--seconds", "1"], ["--calibrate", "more"],
    ["--calibrate", "--loads", "x"], ["--fit"], ["--fit", "x", "--loads", "y"],
    ["--calibrate", "--covers", "moon"], ["--fit", "x", "--watts-unit", "hp"],
    ["--calibrate", "--nonsense"]])
def test_options_that_make_no_sense_are_misuse(doctor, args):
    assert doctor(*args).returncode == 2
