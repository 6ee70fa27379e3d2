"""Meters other than RAPL, seen from outside: `verdant doctor` on libraries, trees and an exporter
that these tests make."""
import http.server
import json
import threading

import pytest


@pytest.fixture
def doctor(verdant, tmp_path):
    def run(meter, *args, env=None):
        (tmp_path / "home").mkdir(exist_ok=True)
        env = {"VERDANT_SYSFS": str(tmp_path / "sys"), "VERDANT_HOME": str(tmp_path / "home"),
               "VERDANT_CPU": "", **(env or {})}
        result = verdant("doctor", "--json", "--meter", meter, *args, env=env)
        assert result.stderr == ""
        return json.loads(result.stdout)

    return run


@pytest.fixture
def exporter():
    """A page of metrics on loopback; give it a text or a status."""
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.n_asked += 1
            fails = self.server.n_asked > self.server.n_good
            self.send_response(500 if fails else self.server.status)
            self.end_headers()
            self.wfile.write(self.server.text.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.status, server.text, server.n_asked, server.n_good = 200, "", 0, 1 << 60
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url_of(exporter):
    return f"prometheus:http://127.0.0.1:{exporter.server_port}/metrics"


def make(path, **files):
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(str(text) + "\n")


def test_watts_of_an_exporter_are_the_machines(doctor, exporter):
    exporter.text = '# TYPE p_watts gauge\np_watts{outlet="1",row="a"} 50\np_watts{outlet="2"} 7\n'
    energy = doctor(url_of(exporter) + '#p_watts{outlet="1",row="a"}&refresh=0.2&pct=1')["energy"]
    assert energy["method"] == "prometheus" and energy["why"] is None
    [source] = energy["sources"]
    assert source["components"] == ["cpu", "dram", "gpu"] and source["refresh_ms"] == 400
    assert source["uncertainty_pct"] == pytest.approx((1 + 4) ** 0.5)
    assert 25 < energy["watts"]["waiting"] < 75  # of the last refreshes, in a second


def test_a_meter_too_slow_to_be_watched_has_unknown_watts_and_not_zero(doctor, exporter):
    exporter.text = "p_watts 50\n"
    energy = doctor(url_of(exporter) + "#p_watts&refresh=5")["energy"]
    assert energy["method"] == "prometheus" and energy["watts"] is None


def test_a_meter_that_is_lost_while_doctor_looks_is_said_with_what_follows(doctor, exporter):
    exporter.text, exporter.n_good = "p_watts 50\n", 3
    report = doctor(url_of(exporter) + "#p_watts&refresh=0.2")
    assert report["energy"]["watts"] is None and report["energy"]["sources"][0]["lost"]
    assert any("prometheus" in note and "incomplete" in note for note in report["notes"])
    exporter.n_good = 1 << 60
    report = doctor(url_of(exporter) + "#p_watts&refresh=0.2")
    assert not any("incomplete" in note for note in report["notes"])


@pytest.mark.parametrize("status, text, words", [
    (500, "", "status 500"), (200, "<html>", "a web page"), (200, "q_watts 1\n", "no metric"),
    (200, "p_watts NaN\n", "says nan")])
def test_an_exporter_that_gives_no_figure_is_a_problem(doctor, exporter, status, text, words):
    exporter.status, exporter.text = status, text
    report = doctor(url_of(exporter) + "#p_watts", "--quick")
    assert not report["can_serve"]
    assert any(words in problem for problem in report["problems"]), report["problems"]


def test_a_battery_on_mains_power_is_not_zero_watts(doctor, tmp_path):
    battery = tmp_path / "sys/class/power_supply/BAT0"
    make(battery, type="Battery", status="Charging", power_now=20000000)
    energy = doctor("battery")["energy"]
    assert energy["sources"][0]["lost"] is True and energy["watts"] is None
    (battery / "status").write_text("Discharging\n")
    assert doctor("battery", "--quick")["energy"]["sources"][0]["lost"] is False


def test_sensors_that_are_there_are_listed(doctor, tmp_path):
    make(tmp_path / "sys/class/hwmon/hwmon0", name="ina3221", power1_label="VDD_GPU",
         power1_input=9000000)
    [problem] = doctor("hwmon:x", "--quick")["problems"]
    assert "there are: ina3221/VDD_GPU" in problem
    source = doctor("hwmon:ina3221/VDD_GPU@gpu", "--quick")["energy"]["sources"][0]
    assert source["name"] == "hwmon: ina3221/VDD_GPU" and source["components"] == ["gpu"]


def test_gpus_are_metered_by_their_library(doctor, build, tmp_path):
    stub = tmp_path / "stub"
    stub.write_text("0 1\nGPU-aa P40 -3 50000 0\n")
    env = {"VERDANT_NVML_LIBRARY": str(build / "tests/unit/energy/nvml_stub.so"),
           "VERDANT_NVML_STUB": str(stub), "CUDA_VISIBLE_DEVICES": "0"}
    energy = doctor("nvml", env=env)["energy"]
    assert energy["sources"][0]["method"] == "nvml-power"
    assert energy["sources"][0]["components"] == ["gpu"]
    assert 45 < energy["watts"]["waiting"] < 55
    stub.write_text("0 1\nGPU-aa P40 -3 -3 0\n")
    [problem] = doctor("nvml", "--quick", env=env)["problems"]
    assert "GPU 0 shows neither energy nor power" in problem


def test_a_socket_left_out_for_a_broken_one_is_not_said_to_be_read(verdant, tmp_path):
    for i, value in enumerate(("1000", "noise")):
        make(tmp_path / f"sys/class/powercap/intel-rapl:{i}", name=f"package-{i}",
             max_energy_range_uj=262143328850, energy_uj=value)
    text = verdant("doctor", "--quick", env={"VERDANT_SYSFS": str(tmp_path / "sys"),
                                             "VERDANT_METER": "", "VERDANT_METERD": "/nonexistent",
                                             "VERDANT_HOME": str(tmp_path)}).stdout
    assert "package-0       readable, and not used" in text
    assert "package-1       not readable" in text and "model of the machine" in text
