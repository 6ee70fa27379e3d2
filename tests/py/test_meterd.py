"""verdant-meterd as its clients and its administrator see it (docs/meters.md, src/meterd)."""
import grp
import json
import os
import random
import re
import resource
import signal
import socket
import stat
import subprocess
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from raw_http import Server
from serving import tiny_model

ZONES = {"intel-rapl:0": ("package-0", 262143328850, 1000),
         "intel-rapl:0:0": ("core", 262143328850, 600),
         "intel-rapl:0:1": ("dram", 65712999613, 70),
         "intel-rapl:1": ("psys", 262143328850, 5000)}
SERVED = ["intel-rapl:0 package-0 262143328850", "intel-rapl:0:1 dram 65712999613",
          "intel-rapl:1 psys 262143328850"]


class Daemon:
    def __init__(self, program: Path, folder: Path, *options, wait=True):
        self.path = folder / "meterd.sock"
        self.log = (folder / "log").open("a+")
        self.process = subprocess.Popen(
            [program, "--socket", self.path, "--sysfs", folder / "sys", *options],
            stderr=self.log)
        if wait:
            self.wait()

    def wait(self):
        for _ in range(500):
            if self.process.poll() is not None:
                pytest.fail("the daemon ended: " + self.text())
            try:
                return self.connect().close()
            except OSError:
                time.sleep(0.01)
        pytest.fail("nothing listens")

    def text(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))  # waits while the queue is full
        client.settimeout(10)
        return client

    def end(self, with_signal=signal.SIGTERM) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(10)


def receive(client, n_lines) -> list[str]:
    data = b""
    while data.count(b"\n") < n_lines:
        piece = client.recv(65536)
        if not piece:
            break
        data += piece
    return data.decode().splitlines()


def ask(client, line: bytes, n_lines: int) -> list[str]:
    client.sendall(line)
    return receive(client, n_lines)


def drain(client) -> bytes:
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


@pytest.fixture
def program(build):
    if not (build / "verdant-meterd").exists():
        pytest.skip("this build has no verdant-meterd")
    return build / "verdant-meterd"


@pytest.fixture
def folder(tmp_path):
    for zone, (name, span, value) in ZONES.items():
        path = tmp_path / "sys/class/powercap" / zone
        path.mkdir(parents=True)
        (path / "name").write_text(name + "\n")
        (path / "max_energy_range_uj").write_text(f"{span}\n")
        (path / "energy_uj").write_text(f"{value}\n")
        (path / "energy_uj").chmod(0o400)
    return tmp_path


@pytest.fixture
def daemon(program, folder):
    running = Daemon(program, folder)
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def test_a_stranger_reads_zones_and_counters_by_the_documented_lines(daemon, folder):
    client = daemon.connect()
    assert ask(client, b"zones\n", 4) == ["zones 1 3", *SERVED]
    before = time.monotonic_ns()
    lines = ask(client, b"read\n", 4)
    assert lines[1:] == ["1000", "70", "5000"]
    tag, at_ns, n = lines[0].split()
    assert (tag, n) == ("read", "3") and before <= int(at_ns) <= time.monotonic_ns()
    (folder / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0o600)
    with (folder / "sys/class/powercap/intel-rapl:0/energy_uj").open("r+") as counter:
        counter.write("2345\n")
    assert ask(client, b"read\n", 4)[1:] == ["2345", "70", "5000"]
    assert len(ask(client, b"read\nread\nzones\n", 12)) == 12  # one after the other
    assert f"pid={os.getpid()} uid={os.getuid()} gid={os.getgid()}" in daemon.text()


def test_a_counter_that_goes_bad_is_told_by_its_errno(daemon, folder):
    path = folder / "sys/class/powercap/intel-rapl:0:1/energy_uj"
    path.chmod(0o600)
    path.write_text("seventy\n")
    assert ask(daemon.connect(), b"read\n", 4)[1:] == ["1000", "- 74", "5000"]  # EBADMSG


@pytest.mark.parametrize("request_", [b"\n", b"Read\n", b"read \n", b"read\r\n", b"\0\n", b"x" * 64,
                                      b"GET / HTTP/1.1\r\n\r\n", b"zones" * 1000, b"\xff" * 200])
def test_what_is_no_request_gets_an_error_and_a_close(daemon, request_):
    client = daemon.connect()
    client.sendall(request_)
    assert re.fullmatch(rb"error [ -~]+\n", drain(client))
    assert len(ask(daemon.connect(), b"read\n", 4)) == 4


def test_noise_from_many_clients_harms_nobody(daemon):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    good = daemon.connect()
    for _ in range(300):
        client = daemon.connect()
        pieces = [rng.choice([b"read\n", b"zones\n", b"rea", b"\n", b"zo", b"d\n",
                              rng.randbytes(rng.randrange(100))]) for _ in range(rng.randrange(6))]
        try:
            for piece in pieces:
                client.sendall(piece)
        except OSError:
            pass  # it was closed on
        if rng.random() < 0.5:
            client.shutdown(socket.SHUT_WR)
        client.close()
    assert ask(good, b"read\n", 4)[1:] == ["1000", "70", "5000"]
    assert daemon.process.poll() is None


def test_a_client_that_takes_no_answer_holds_up_only_itself(daemon):
    slow = daemon.connect()
    slow.setblocking(False)
    sent = 0
    try:
        while sent < 1 << 22:  # until both sides' buffers are full
            sent += slow.send(b"zones\n" * 1000)
    except BlockingIOError:
        pass
    assert sent > 0
    begin = time.monotonic()
    other = daemon.connect()
    for _ in range(100):
        assert ask(other, b"read\n", 4)[1:] == ["1000", "70", "5000"]
    assert time.monotonic() - begin < 5
    slow.setblocking(True)
    slow.shutdown(socket.SHUT_WR)
    assert drain(slow).count(b"zones 1 3\n") == sent // 6  # and it loses nothing


def test_one_user_has_a_bounded_number_of_places(daemon):
    clients = [daemon.connect() for _ in range(32)]
    for client in clients:
        assert len(ask(client, b"read\n", 4)) == 4
    assert drain(daemon.connect()) == b"error too many clients\n"
    clients.pop().close()
    for _ in range(100):
        try:
            assert len(ask(daemon.connect(), b"read\n", 4)) == 4
            break
        except (AssertionError, OSError):
            time.sleep(0.01)
    else:
        pytest.fail("the place was not given back")


def test_it_keeps_no_privilege(daemon):
    ask(daemon.connect(), b"read\n", 4)  # who answers has given up what it began with
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    if os.uname().machine in ("x86_64", "aarch64"):
        assert fields["Seccomp"] == "2"
    if os.geteuid() == 0:
        assert fields["Uid"].split() == fields["Gid"].split() == ["65534"] * 4
        assert fields["Groups"].strip() == ""


def test_it_runs_without_root_where_the_counters_may_be_read(program, folder):
    def become_nobody():
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
        for path in folder.parents:  # pytest's folders are ours alone
            if path != Path("/") and path.stat().st_mode & 0o001 == 0:
                path.chmod(path.stat().st_mode | 0o011)
    command = [program, "--socket", folder / "own.sock", "--sysfs", folder / "sys"]
    process = subprocess.Popen(command, preexec_fn=become_nobody, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(500):
            if (folder / "own.sock").exists() or process.poll() is not None:
                break
            time.sleep(0.01)
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(folder / "own.sock"))
        assert ask(client, b"read\n", 4)[1:] == ["1000", "70", "5000"]
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert not (folder / "own.sock").exists()  # its folder was its own: it tidied up


def test_mode_and_group_of_the_socket_are_as_told(program, folder):
    group = os.getgid()
    running = Daemon(program, folder, "--mode", "0600", "--group", grp.getgrgid(group).gr_name)
    info = running.path.stat()
    assert stat.S_IMODE(info.st_mode) == 0o600 and info.st_gid == group
    assert running.end() == 0


def test_group_of_the_socket_is_set_by_root_on_the_socket_itself(program, folder):
    if os.geteuid() != 0:
        pytest.skip("only root gives files to other groups")
    group = next((g for g in grp.getgrall() if g.gr_gid not in (0, os.getgid())), None)
    running = Daemon(program, folder, "--group", group.gr_name)
    info = running.path.stat()
    assert info.st_gid == group.gr_gid and stat.S_IMODE(info.st_mode) == 0o660
    assert running.end() == 0


def cpu_seconds(pid) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_for_one_more_client_it_does_not_spin(program, folder):
    limit = 12
    path = folder / "few.sock"
    process = subprocess.Popen(
        [program, "--socket", path, "--sysfs", folder / "sys"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))

    def connect():
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        for _ in range(500):
            try:
                client.connect(str(path))
                return client
            except OSError:
                time.sleep(0.01)
        pytest.fail("nothing listens")

    try:
        served = []
        while len(os.listdir(f"/proc/{process.pid}/fd")) < limit:
            served.append(connect())
            assert len(ask(served[-1], b"read\n", 4)) == 4
        waits = connect()  # in the queue of the socket
        waits.sendall(b"read\n")
        before = cpu_seconds(process.pid)
        time.sleep(1)
        assert cpu_seconds(process.pid) - before < 0.2
        assert len(ask(served[0], b"read\n", 4)) == 4  # others are served
        served.pop().close()
        assert len(receive(waits, 4)) == 4  # and it gets the place that is free now
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_a_log_that_nobody_reads_does_not_end_it(program, folder):
    reading, writing = os.pipe()
    process = subprocess.Popen([program, "--socket", folder / "p.sock", "--sysfs", folder / "sys"],
                               stderr=writing)
    os.close(writing)
    try:
        assert b"started" in os.read(reading, 4096)
        os.close(reading)
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(folder / "p.sock"))
                assert len(ask(client, b"read\n", 4)) == 4
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_a_living_daemon_is_not_replaced_and_a_dead_one_is(program, folder, daemon):
    second = subprocess.run([program, "--socket", daemon.path, "--sysfs", folder / "sys"],
                            capture_output=True, text=True, timeout=10)
    assert second.returncode == 1 and "already" in second.stderr
    assert len(ask(daemon.connect(), b"read\n", 4)) == 4
    daemon.end(signal.SIGKILL)
    assert daemon.path.exists()
    third = Daemon(program, folder)
    assert len(ask(third.connect(), b"read\n", 4)) == 4
    assert third.end(signal.SIGINT) == 0


def test_a_file_that_is_no_socket_is_never_removed(program, folder):
    (folder / "meterd.sock").write_text("mine")
    result = subprocess.run([program, "--socket", folder / "meterd.sock", "--sysfs",
                             folder / "sys"], capture_output=True, text=True, timeout=10)
    assert result.returncode == 1 and "no socket" in result.stderr
    assert (folder / "meterd.sock").read_text() == "mine"


def test_without_counters_it_says_why_and_leaves_no_socket(program, tmp_path):
    result = subprocess.run([program, "--socket", tmp_path / "s", "--sysfs", tmp_path],
                            capture_output=True, text=True, timeout=10)
    assert result.returncode == 1 and "there is no" in result.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("options", [["--socket"], ["--loud"], ["--mode", "rw"], ["--mode", "7777"],
                                     ["--group", "no-such-group"], ["--user", "root"],
                                     ["--user", "no-such-user"], ["extra"]])
def test_misuse_is_said_and_is_status_2(program, options):
    result = subprocess.run([program, *options], capture_output=True, text=True, timeout=10)
    assert result.returncode == 2 and "--help" in result.stderr


def test_help_has_every_option_and_the_man_page_too(program, root):
    text = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
    page = (root / "docs/verdant-meterd.1").read_text().replace("\\-", "-")
    assert "Example:" in text
    for option in re.findall(r"--[a-z]+", text):
        assert option in page, option


def test_doctor_reads_the_counters_through_it(daemon, verdant, tmp_path):
    (tmp_path / "empty").mkdir()
    result = verdant("doctor", "--quick", "--json", env={
        "VERDANT_METER": f"meterd:{daemon.path}", "VERDANT_SYSFS": str(tmp_path / "empty"),
        "VERDANT_HOME": str(tmp_path)})
    energy = json.loads(result.stdout)["energy"]
    assert energy["method"] == "rapl"
    assert {z["id"]: z["use"] for z in energy["zones"]} == {
        "intel-rapl:0": "read", "intel-rapl:0:1": "read", "intel-rapl:1": "whole"}


class Ticking:
    """A counter of 30 W, written in place as the kernel's file would be."""

    def __init__(self, path):
        path.chmod(0o600)
        self.uj, self.fd, self.stopped = 10_000_000_000, os.open(path, os.O_WRONLY), False
        self.write()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def write(self):
        os.pwrite(self.fd, f"{self.uj}\n".encode(), 0)

    def run(self):
        while not self.stopped:
            time.sleep(0.005)
            self.uj += 150_000
            self.write()

    def end(self):
        self.stopped = True
        self.thread.join()
        os.close(self.fd)


def booked(server):
    text = server.ask("GET", "/metrics")[2].decode()

    def uj(pattern):
        return int(Decimal(re.search(rf"^{pattern} (\S+)$", text, re.M)[1]) * 10**6)

    return (uj("verdant_meter_joules_total"),
            *(uj(rf'verdant_account_joules_total\{{booked="{what}"\}}')
              for what in ("requests", "idle", "unattributed")))


@pytest.mark.slow
def test_a_server_outlives_its_daemon_and_the_books_add_up(program, folder, build, tmp_path):
    """kill -9 while requests run: answers say they are incomplete, then they are whole again."""
    model = tiny_model(tmp_path / "tiny.gguf", vocab="bpe")
    counters = [Ticking(folder / "sys/class/powercap" / zone / "energy_uj")
                for zone in ("intel-rapl:0", "intel-rapl:0:1")]
    daemon = Daemon(program, folder)
    env = {**os.environ, "VERDANT_HOME": str(tmp_path), "VERDANT_METER": f"meterd:{daemon.path}"}
    try:
        with Server([build / "verdant", "serve", "--model", f"a={model}", "--listen",
                     "127.0.0.1:0"], env=env) as server:
            while server.ask("GET", "/readyz")[0] != 200:
                pass

            def answer():
                got = server.ask("POST", "/v1/completions",
                                 {"model": "a", "prompt": "x", "max_tokens": 20})[2]
                return got["usage"]["energy"]

            def until(incomplete):
                for _ in range(100):
                    energy = answer()
                    assert energy["method"] == "rapl"  # it was named: nothing stands in
                    if energy.get("incomplete", False) is incomplete:
                        return
                    time.sleep(0.05)
                pytest.fail(f"no answer was {'incomplete' if incomplete else 'whole'}")

            until(False)
            daemon.end(signal.SIGKILL)
            until(True)
            daemon = Daemon(program, folder)
            until(False)
            time.sleep(2.2)  # the account is settled once a second
            meter, *parts = booked(server)
            assert sum(parts) == meter and parts[2] > 0  # the gap is unattributed
    finally:
        daemon.end(signal.SIGKILL)
        for counter in counters:
            counter.end()
