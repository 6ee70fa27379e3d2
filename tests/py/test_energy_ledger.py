"""The ledger of a real server: it adds up while work runs, after SIGTERM, and after SIGKILL."""
import json
import os
import random
import re
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving import CHAT, NO_END, TEXT, chat, start, tiny_model

SUMS = ("requests_uj", "idle_uj", "unattributed_uj")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny") / "t.gguf", vocab="bpe", n_ctx=4096, seed=7)


def audit(verdant, ledger, *more, ok=True):
    done = verdant("energy", "audit", "--ledger", ledger, "--json", *more)
    assert done.stderr == "" and done.returncode == (0 if ok else 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is ok, json.dumps(report["violations"], indent=1)
    assert sum(report[key] for key in SUMS) == report["meter_uj"]
    return report


def metric(server, pattern):
    text = server.ask("GET", "/metrics")[2].decode()
    return [float(v) for v in re.findall(rf"^{pattern} (\S+)$", text, re.M)]


def ask(server, i):
    body = chat("tiny", f"number {i}", max_tokens=30 + 20 * (i % 5), n=1 + i % 3, seed=i,
                logit_bias=NO_END)
    status, _, answer = server.ask("POST", CHAT, body)
    assert status == 200
    return answer


def uj(joules):
    return round(joules * 1e6)


def test_answers_are_in_the_ledger_as_they_were_told(build, verdant, model, tmp_path):
    with start(build, tmp_path, {"tiny": (model, {})}) as server:
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda i: ask(server, i), range(8)))
        status, _, embedded = server.ask("POST", "/v1/embeddings",
                                         {"model": "tiny", "input": ["a", "b", "c"]})
        time.sleep(1.5)
        running = audit(verdant, tmp_path / "ledger.db")
        assert [s["end"] for s in running["sessions"]] == ["running"]
        assert server.stop() == 0
    report = audit(verdant, tmp_path / "ledger.db")
    assert [s["end"] for s in report["sessions"]] == ["clean"]
    assert report["unsettled_uj"] == report["given_up_uj"] == 0 == report["unclean_ends"]
    assert report["answers"] == 8 + (status == 200)
    db = sqlite3.connect(tmp_path / "ledger.db")
    for answer in answers:
        energy = answer["usage"]["energy"]
        row = db.execute("SELECT total_uj, prefill_uj, decode_uj, sequences, prompt_tokens, "
                         "completion_tokens, kind, model FROM answer WHERE body_id = ?",
                         [answer["id"]]).fetchone()
        usage = answer["usage"]
        assert row == (uj(energy["total_j"]), uj(energy["prefill_j"]), uj(energy["decode_j"]),
                       len(answer["choices"]), usage["prompt_tokens"], usage["completion_tokens"],
                       "chat", "tiny")
        grams, = db.execute(
            "SELECT sum(first_ug) / 1e6 FROM request AS r JOIN answer AS a ON a.session = r.session"
            " AND a.number = r.answer WHERE body_id = ?", [answer["id"]]).fetchone()
        assert grams == pytest.approx(energy["carbon"]["operational_g"], rel=1e-4)
    assert db.execute("SELECT count(*) FROM answer WHERE id NOT LIKE 'req_%'").fetchone() == (0,)
    text = verdant("energy", "audit", "--ledger", tmp_path / "ledger.db")
    assert text.returncode == 0 and "The books add up." in text.stdout


def test_a_wrong_ledger_is_told_row_by_row(build, verdant, model, tmp_path):
    with start(build, tmp_path, {"tiny": (model, {})}) as server:
        ask(server, 0)
    path = tmp_path / "ledger.db"
    audit(verdant, path)
    db = sqlite3.connect(path)
    db.execute("UPDATE share SET uj = uj - 1 WHERE request = 1")
    db.commit()
    report = audit(verdant, path, ok=False)
    assert {"share.mark", "window.shares", "request.shares"} <= {
        v["check"] for v in report["violations"]}
    done = verdant("energy", "audit", "--ledger", path)
    assert done.returncode == 1 and "do NOT add up" in done.stdout
    assert "window.shares" in done.stdout


def test_of_many_sessions_the_last_are_shown(build, verdant, model, tmp_path):
    path, n = tmp_path / "ledger.db", 60
    with start(build, tmp_path, {"tiny": (model, {})}) as server:
        ask(server, 0)
    db = sqlite3.connect(path)
    for i in range(n):  # an hour apart, the first half of them killed; their marks are wrong
        at = i * 3600 * 10**9
        db.execute("INSERT INTO session(begin_ns, mono_ns, boot_id, pid, pid_start, program, "
                   "method, pue, clean) VALUES(?, 0, 'x', 1, 1, 'p', 'rapl', 1, ?)",
                   [at, i >= n // 2])
        db.execute("INSERT INTO window(session, slot_s, begin_ns, mono_ns, length_ns, meter_uj, "
                   "cpu_uj, dram_uj, gpu_uj, requests_uj, idle_uj, unattributed_uj, method, "
                   "common_pct, independent_pct, merged, gap) SELECT max(id), ?, ?, 0, 10, 5, 5, "
                   "0, 0, 0, 5, 0, 'rapl', 1, 1, 1, 0 FROM session", [i * 3600, at])
    db.commit()
    assert len(audit(verdant, path, ok=False)["sessions"]) == n + 1
    lines = verdant("energy", "audit", "--ledger", path).stdout.splitlines()
    shown = [line for line in lines if line.startswith("session ")]
    assert len(shown) == 20 and sum("without notice" in line for line in shown) == 10
    assert shown[-1].startswith("session 1 ") and "session 61 " in shown[-2]
    assert f"{n + 1} sessions, of which {n // 2} ended without notice; {n + 1 - 20} are" in (
        "\n".join(lines))


def test_a_service_that_cannot_write_its_ledger_goes_on(build, verdant, model, tmp_path):
    """The ledger's folder is a file first, and a folder later."""
    place = tmp_path / "place"
    place.write_text("")
    with start(build, tmp_path, {"tiny": (model, {})},
               ledger={"path": str(place / "ledger.db")}) as server:
        total = sum(uj(ask(server, i)["usage"]["energy"]["total_j"]) for i in range(4))
        time.sleep(1.5)
        assert "cannot be written" in server.read_log()
        status, _, answer = server.ask("GET", "/v1/energy")
        assert status == 503 and answer["error"]["code"] == "ledger_unavailable"
        place.unlink()
        total += uj(ask(server, 5)["usage"]["energy"]["total_j"])
        end = time.monotonic() + 20
        while not (place / "ledger.db").exists():
            assert time.monotonic() < end
            time.sleep(0.1)
        assert server.stop() == 0
    report = audit(verdant, place / "ledger.db")
    assert report["requests_uj"] == total and report["answers"] == 5


def test_a_ledger_of_the_future_is_refused(build, verdant, model, tmp_path):
    path = tmp_path / "ledger.db"
    with start(build, tmp_path, {"tiny": (model, {})}):
        pass
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 1000")
    db.commit()
    db.close()
    file = tmp_path / "verdant.yaml"
    done = verdant("serve", "--config", file, timeout=20)
    assert done.returncode == 1 and "newer Verdant" in done.stderr and str(path) in done.stderr
    assert verdant("energy", "audit", "--ledger", path).returncode == 1


def test_what_is_wrong_on_the_command_line_is_said(verdant, tmp_path):
    for words in (["energy"], ["energy", "frobnicate"], ["energy", "audit", "--since", "soon"],
                  ["energy", "audit", "more"], ["energy", "audit", "--since"],
                  ["energy", "audit", "--since", "today", "--until", "yesterday"]):
        done = verdant(*words, env={"VERDANT_LEDGER": str(tmp_path / "none.db")})
        assert done.returncode == 2 and done.stdout == "" and "Try: verdant energy" in done.stderr
    done = verdant("energy", "audit", "--ledger", tmp_path / "none.db")
    assert done.returncode == 1 and "there is no ledger" in done.stderr


def test_the_environment_names_the_ledger(build, verdant, model, tmp_path):
    from raw_http import Server
    command = [build / "verdant", "serve", "--model", f"tiny={model}", "--listen", "127.0.0.1:0"]
    for name, there in (("here.db", True), ("off", False)):
        path = tmp_path / name
        env = {**os.environ, "VERDANT_HOME": str(tmp_path / "home"),
               "VERDANT_LEDGER": str(path) if there else "off"}
        with Server(command, env=env) as server:
            while server.ask("GET", "/readyz")[0] != 200:
                time.sleep(0.02)
            ask(server, 1)
        assert path.exists() is there and not (tmp_path / "home" / "ledger.db").exists()
        done = verdant("energy", "audit", env=env)
        assert done.returncode == (0 if there else 1), done.stderr
    env.pop("VERDANT_LEDGER")
    with Server(command, env=env) as server:
        assert server.stop() == 0
    done = verdant("energy", "audit", env={**env, "VERDANT_LEDGER": ""})
    assert done.returncode == 0 and (tmp_path / "home" / "ledger.db").exists()


def load(server, ending, i):
    """Requests until the server dies."""
    while not ending.is_set():
        try:
            server.ask("POST", TEXT, {"model": "tiny", "prompt": f"x{i}", "max_tokens": 40,
                                      "n": 1 + i % 3, "logit_bias": NO_END, "stream": i % 2 == 0})
        except OSError:
            return
        except Exception:  # noqa: BLE001  half an answer, of whatever shape
            return


@pytest.mark.slow
def test_the_books_add_up_after_kill_9_at_any_moment(build, verdant, model, tmp_path):
    path, rng, kills = tmp_path / "ledger.db", random.Random(4), 14
    last = 0
    for k in range(kills):
        with start(build, tmp_path, {"tiny": (model, {})}) as server:
            ending = threading.Event()
            with ThreadPoolExecutor(3) as threads:
                for i in range(3):
                    threads.submit(load, server, ending, i)
                time.sleep(rng.uniform(0, 2.5))
                server.process.send_signal(signal.SIGKILL)
                ending.set()
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        report = audit(verdant, path)
        assert report["meter_uj"] >= last
        last = report["meter_uj"]
    assert report["unclean_ends"] == len(report["sessions"]) > kills / 2
    assert report["settled_requests"] > 0 and report["unmetered_ns"] > 0
    with start(build, tmp_path, {"tiny": (model, {})}) as server:
        ask(server, 1)
    report = audit(verdant, path)
    assert report["sessions"][-1]["end"] == "clean"
    assert os.path.getsize(path) < 10_000_000
