"""Sockets and processes for the tests of the server: what a good client would never send."""
import http.client
import json
import re
import signal
import socket
import subprocess
import tempfile
import time

# What a build with sanitizers says on stderr, whatever the exit status.
SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error: ")


class Server:
    """A server process that printed its address. Ends it, and fails if it did not end well."""

    def __init__(self, command, env=None, ready_timeout=120):
        # A file: a pipe that nobody reads would hold the server up at its log.
        self.stderr = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                                        stderr=self.stderr, text=True, env=env)
        self.log = None
        line = self.process.stdout.readline()
        match = re.match(r"listening on http://([0-9.]+):(\d+)$", line.strip())
        if match is None:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no address but {line!r}: {self.read_log()}")
        self.host, self.port = match[1], int(match[2])

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"

    def stop(self, sig=signal.SIGTERM, timeout=20):
        """The exit status. stderr goes to self.log."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop: {self.read_log()[-2000:]}") from None
        self.log = self.read_log()
        found = SANITIZER.search(self.log)
        assert found is None, self.log[found.start():found.start() + 8000]
        return self.process.returncode

    def read_log(self):
        self.stderr.seek(0)
        return self.stderr.read()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.log is None:
            code = self.stop()
            if kind is None:
                assert code == 0, self.log[-4000:]

    def connect(self, timeout=10):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def send(self, data: bytes, timeout=10) -> bytes:
        """Sends bytes, reads until the server closes or stays silent for `timeout`."""
        with self.connect(timeout) as s:
            try:
                s.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_all(s)

    def ask(self, method, path, body=None, headers=None, timeout=30):
        """(status, headers, JSON or text)."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            kind = answer.headers.get("Content-Type", "")
            return answer.status, answer.headers, json.loads(text) if "json" in kind else text
        finally:
            connection.close()

    def gauge(self, name) -> float:
        """The sum of a metric over its labels."""
        text = self.ask("GET", "/metrics")[2].decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if re.match(rf"{name}[ {{]", line))

    def wait_gauge(self, name, value, timeout=10):
        end = time.monotonic() + timeout
        while (now := self.gauge(name)) != value:
            assert time.monotonic() < end, f"{name} stayed at {now}, not {value}"
            time.sleep(0.02)


def read_all(s) -> bytes:
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
    except (TimeoutError, ConnectionResetError):
        pass
    return data


def split(answer: bytes):
    """(status, {header: value}, body) of one raw answer that names its length."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    return int(lines[0].split(" ")[1]), headers, body


def error_of(answer: bytes):
    """(status, error object); asserts that it is JSON of the right shape."""
    status, headers, body = split(answer)
    assert headers["content-type"] == "application/json", answer
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    return status, error


def sse(text: str):
    """The data of each event; comments are dropped."""
    return [event[6:] for event in text.split("\n\n") if event.startswith("data: ")]
