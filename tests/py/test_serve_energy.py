"""Joules over HTTP: the laws of docs/energy.md on a powercap tree of our own (VERDANT_SYSFS)."""
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from raw_http import Server, sse
from serving import CHAT, NO_END, TEXT, chat, check_energy, post, start, tiny_model

DIGITS = 12  # every write has this length, so that a reader never meets the rest of an older one


class Zone:
    """One counter of powercap: microjoules below a range, where it wraps."""

    def __init__(self, folder, name, range_uj, start_uj, counted=True):
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.file = folder / "energy_uj"
        self.file.write_text(f"{start_uj:0{DIGITS}}\n")
        self.fd = os.open(self.file, os.O_WRONLY)
        self.value, self.range_uj, self.counted = start_uj, range_uj, counted
        self.total_uj = self.n_wraps = 0

    def add(self, uj):
        self.total_uj += uj
        self.n_wraps += self.value + uj >= self.range_uj
        self.value = (self.value + uj) % self.range_uj
        os.pwrite(self.fd, f"{self.value:0{DIGITS}}\n".encode(), 0)


class Powercap:
    """A machine of two packages whose counters move while `running` is set."""

    def __init__(self, root):
        tree = root / "class" / "powercap"
        self.root = root
        end = 4_000_000_000  # a range of 4 kJ; 0.8 kJ before its end
        self.zones = [
            Zone(tree / "intel-rapl:0", "package-0", end, end - 800_000_000),
            Zone(tree / "intel-rapl:0:0", "core", end, 5, counted=False),
            Zone(tree / "intel-rapl:0:1", "dram", end, end - 800_000_000),
            Zone(tree / "intel-rapl:1", "package-1", end, 123),
            Zone(tree / "intel-rapl:2", "psys", end, 77, counted=False),
        ]
        self.running, self.ending, self.paused = (threading.Event() for _ in range(3))
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        last = time.monotonic()
        for i in range(10**9):
            if self.ending.is_set():
                return
            if not self.running.is_set():
                self.paused.set()
                self.running.wait(0.05)
                last = time.monotonic()
                continue
            now = time.monotonic()
            for k, zone in enumerate(self.zones):  # 20 to 40 W, uneven
                zone.add(int((now - last) * 1e6 * (20 + (i * 7 + k * 5) % 20)))
            last = now
            time.sleep(0.001)

    def pause(self):
        self.paused.clear()
        self.running.clear()
        assert self.paused.wait(5)

    def move_before_the_end(self):
        """Paused: the zones that are near the end of their range go to 3 J before it."""
        for zone in self.zones:
            if zone.value > zone.range_uj / 2:
                zone.add(zone.range_uj - zone.value - 3_000_000)

    def counted_uj(self):
        return sum(z.total_uj for z in self.zones if z.counted)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.running.set()
        self.thread.join()
        for zone in self.zones:
            os.close(zone.fd)


def booked(server):
    """{what: microjoules} of one scrape, exactly as printed."""
    text = server.ask("GET", "/metrics")[2].decode()

    def uj(pattern):
        found = [Decimal(v) * 10**6 for v in re.findall(rf"^{pattern} (\S+)$", text, re.M)]
        assert found and all(v == int(v) for v in found)
        return int(sum(found))

    account = {what: uj(rf'verdant_account_joules_total\{{booked="{what}"\}}')
               for what in ("requests", "idle", "unattributed")}
    return {**account, "meter": uj("verdant_meter_joules_total"),
            "ended": uj(r'verdant_energy_joules_total\{component="\w+"\}')}


def check_sum(b):
    assert b["requests"] + b["idle"] + b["unattributed"] == b["meter"]


def settled(server):
    """Waits until the meter has seen all that a paused counter shows."""
    time.sleep(2.2)  # the account is settled once a second
    b = booked(server)
    check_sum(b)
    return b


@pytest.fixture
def machine(tmp_path):
    with Powercap(tmp_path / "sys") as m:
        m.running.set()
        yield m


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny") / "t.gguf", vocab="bpe", n_ctx=4096, seed=7)


def serve(build, tmp_path, model, machine, **options):
    return start(build, tmp_path, {"tiny": (model, options)},
                 env={**os.environ, "VERDANT_SYSFS": str(machine.root)})


def ask(server, i):
    """One of several kinds of requests; the energy object of its answer."""
    body = chat("tiny", f"number {i}", max_tokens=150 + 20 * (i % 5), n=1 + i % 3, seed=i,
                logit_bias=NO_END, stream=i % 2 == 0)
    status, _, answer = server.ask("POST", CHAT, body)
    assert status == 200
    if i % 2 == 0:
        answer = json.loads(sse(answer.decode())[-2])
    return answer["usage"]["energy"]


def cancel(server):
    """A request whose client leaves."""
    with server.connect() as s:
        s.sendall(post(TEXT, {"model": "tiny", "prompt": "x", "max_tokens": 4000,
                              "logit_bias": NO_END, "stream": True}))
        s.recv(2000)
        time.sleep(0.2)
        s.shutdown(socket.SHUT_RDWR)


def uj(joules):
    return round(joules * 1e6)


@pytest.mark.slow
def test_every_microjoule_of_the_meter_is_booked(build, tmp_path, model, machine):
    with serve(build, tmp_path, model, machine) as server:
        time.sleep(0.5)
        machine.pause()
        machine.move_before_the_end()
        before, counted = settled(server), machine.counted_uj()
        assert not any(z.n_wraps for z in machine.zones)
        machine.running.set()
        with ThreadPoolExecutor(7) as threads:
            answers = [threads.submit(ask, server, i) for i in range(12)]
            left = threads.submit(cancel, server)
            while not all(a.done() for a in [*answers, left]):
                check_sum(booked(server))
        server.wait_gauge("verdant_requests_running", 0)
        machine.pause()
        after = settled(server)
        energies = [a.result() for a in answers]

        assert after["meter"] - before["meter"] == machine.counted_uj() - counted
        wraps = [z.n_wraps for z in machine.zones if z.counted]
        assert wraps == [1, 1, 0]
        for energy in energies:
            check_energy(energy)
            assert energy["method"] == "rapl" and energy["uncertainty"]["common_pct"] == 5
            assert "incomplete" not in energy and "settled" not in energy
        # What the answers say, and what the one that was cancelled used, is what was booked.
        requests = after["requests"] - before["requests"]
        assert requests == after["ended"] - before["ended"]
        assert 0 < sum(uj(e["total_j"]) for e in energies) < requests
        assert after["idle"] > before["idle"]
        text = server.ask("GET", "/metrics")[2].decode()
        assert 'verdant_meter_info{method="rapl"} 1' in text
        assert 'verdant_sequences_finished_total{end="cancelled"} 1' in text
        assert "verdant_meter_gaps_total 0" in text


@pytest.mark.slow
def test_alone_and_undisturbed_an_answer_says_what_was_booked(build, tmp_path, model, machine):
    with serve(build, tmp_path, model, machine) as server:
        before = booked(server)
        energies = [ask(server, i) for i in range(4)]
        after = booked(server)
        assert sum(uj(e["total_j"]) for e in energies) == after["requests"] - before["requests"]
        # The machine drew 60 to 120 W: an answer cannot cost more than its time.
        assert all(e["total_j"] < 120 * 20 for e in energies)


def test_a_meter_that_may_not_be_read_is_said_and_never_zero(build, tmp_path, model, machine):
    for zone in machine.zones:
        zone.file.chmod(0)
    command = [build / "verdant", "serve", "--model", f"tiny={model}", "--listen", "127.0.0.1:0"]
    if os.geteuid() == 0:  # root may read everything, unless it lays that down
        lesser = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
        if shutil.which("setpriv") is None or subprocess.run([*lesser, "true"]).returncode != 0:
            pytest.skip("root cannot lay down its rights here")
        command = [*lesser, *command]
    env = {**os.environ, "VERDANT_SYSFS": str(machine.root)}
    with Server(command, env=env) as server:
        while server.ask("GET", "/readyz")[0] != 200:
            time.sleep(0.02)
        energy = ask(server, 1)
        check_energy(energy)
        assert energy["method"] == "model" and energy["uncertainty"]["common_pct"] > 30
        check_sum(booked(server))
        assert b'verdant_meter_info{method="model"} 1' in server.ask("GET", "/metrics")[2]
    assert "no meter" in server.log and "verdant doctor" in server.log
    assert re.search(r'why="[^"]*(permission|root|EACCES|may not)', server.log, re.I), server.log


def step_costs(server):
    text = server.ask("GET", "/metrics")[2].decode()
    rows = re.findall(r'^verdant_step_cost_(\w+){model="(\w+)",term="(\w+)"} (\S+)$', text, re.M)
    return {(unit, name, term): float(value) for unit, name, term, value in rows}


def test_a_model_is_calibrated_before_it_serves_and_nobody_pays(build, tmp_path, model):
    file = tmp_path / "verdant.yaml"
    models = f"models:\n  - name: one\n    ref: {model}\n  - name: two\n    ref: {model}\n"
    for calibrate in (True, False):
        file.write_text(models + f"energy:\n  calibrate: {str(calibrate).lower()}\n")
        with Server([build / "verdant", "serve", "--config", file,
                     "--listen", "127.0.0.1:0"]) as server:
            while server.ask("GET", "/readyz")[0] != 200:
                time.sleep(0.02)
            costs, sums = step_costs(server), booked(server)
            assert sums["requests"] == 0
            text = server.ask("GET", "/metrics")[2].decode()
            assert "verdant_engine_prefill_tokens_total{model=\"one\"} 0" in text
        if not calibrate:
            assert costs == {} and "calibrated" not in server.log
            continue
        assert sums["unattributed"] > 0
        terms = {"step", "prefill_token", "decode_token", "kv_read"}
        assert {key[1:] for key in costs} == {(m, t) for m in ("one", "two") for t in terms}
        assert {key[0] for key in costs} == {"seconds", "joules"}
        assert all(value > 0 for value in costs.values())
        assert server.log.count("calibrated name=") == 2


@pytest.mark.slow
def test_a_slow_meter_settles_after_the_answer(build, tmp_path, model):
    """Power that a driver shows ten times a second: windows of eleven seconds."""
    sensor = tmp_path / "sys/class/hwmon/hwmon0"
    sensor.mkdir(parents=True)
    (sensor / "name").write_text("macsmc_hwmon\n")
    (sensor / "power1_input").write_text("30000000\n")
    (sensor / "power1_label").write_text("Total System Power\n")
    env = {**os.environ, "VERDANT_SYSFS": str(tmp_path / "sys"), "VERDANT_HOME": str(tmp_path),
           "VERDANT_METER": "hwmon:macsmc_hwmon"}
    command = [build / "verdant", "serve", "--model", f"tiny={model}", "--listen", "127.0.0.1:0"]
    with Server(command, env=env) as server:
        while server.ask("GET", "/readyz")[0] != 200:
            time.sleep(0.02)
        energies = [ask(server, i) for i in range(4)]
        for energy in energies:
            check_energy(energy)
            assert energy["method"] == "hwmon"
        late = [e for e in energies if e.get("settled") is False]
        assert len(late) >= 3  # a window may close in between
        assert re.search(rb"^verdant_requests_unsettled [1-9]", server.ask("GET", "/metrics")[2],
                         re.M)
        assert all(e["uncertainty"]["independent_pct"] > 0 for e in energies)
        deadline = time.monotonic() + 60
        while True:
            sums = booked(server)
            check_sum(sums)
            if sums["ended"] == sums["requests"] > 0 or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        assert sums["ended"] == sums["requests"] > 0
        told = sum(uj(e["total_j"]) for e in energies)
        assert b"\nverdant_requests_unsettled 0\n" in server.ask("GET", "/metrics")[2]
        assert sums["requests"] / 5 < told < 5 * sums["requests"]  # the first window: a guess
