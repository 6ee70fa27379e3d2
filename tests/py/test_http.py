"""The server against clients that are slow, broken, hostile or gone, over a machine that stands in
for the engine (tests/unit/serve/fake.h): no model is needed."""
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

from raw_http import Server, error_of, read_all, split, sse

CHAT = "/v1/chat/completions"

pytestmark = pytest.mark.threads


@pytest.fixture(scope="module")
def binary(build):
    path = build / "tests" / "unit" / "serve" / "fake_server"
    assert path.exists(), "build with -Dtests=true -Dprogram=true"
    return path


@pytest.fixture
def serve(binary):
    """Starts servers with options and stops them all."""
    started = []

    def start(**options):
        server = Server([binary, *(f"{k}={v}" for k, v in options.items())])
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__(None)


@pytest.fixture(scope="module")
def server(binary):
    with Server([binary, "step_us=200"]) as s:
        yield s


def chat(content="hi", **more):
    return {"model": "fake", "messages": [{"role": "user", "content": content}], **more}


def post(body, extra=b"", version=b"1.1"):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return (b"POST " + CHAT.encode() + b" HTTP/" + version + b"\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: " + str(len(body)).encode() +
            b"\r\n" + extra + b"\r\n" + body)


# ---- what libmicrohttpd lets through -------------------------------------------------------------

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
BAD_FRAMING = {
    "length_and_chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "two_lengths": b"Content-Length: 4\r\nContent-Length: 9\r\n",
    "the_same_length_twice": b"Content-Length: 0\r\nContent-Length: 0\r\n",
    "gzip_then_chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "two_encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "unknown_encoding": b"Transfer-Encoding: cow\r\n",
    "negative_length": b"Content-Length: -1\r\n",
    "length_with_plus": b"Content-Length: +4\r\n",
    "hex_length": b"Content-Length: 0x4\r\n",
    "empty_length": b"Content-Length:\r\n",
    "list_of_lengths": b"Content-Length: 4, 4\r\n",
}


@pytest.mark.parametrize("name", BAD_FRAMING)
def test_a_body_of_doubtful_length_is_refused_and_the_connection_closed(server, name):
    answer = server.send(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\n" +
                         BAD_FRAMING[name] + b"\r\n0\r\n\r\n" + SMUGGLED, timeout=5)
    status, error = error_of(answer)
    assert status == 400 and error["code"] == "bad_framing"
    assert split(answer)[1]["connection"] == "close"
    assert len(re.findall(rb"HTTP/1.1 \d+ ", answer)) == 1, "the smuggled request was answered"


@pytest.mark.parametrize("name", BAD_FRAMING)
def test_a_later_request_of_a_connection_is_checked_as_strictly(server, name):
    first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server.connect(5) as s:
        s.sendall(first)
        assert b'{"status":"ok"}' in s.recv(65536)
        s.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\n" +
                  BAD_FRAMING[name] + b"\r\n0\r\n\r\n" + SMUGGLED)
        answer = read_all(s)
    # What libmicrohttpd refuses by itself it says in HTML, and its head twice.
    assert answer.startswith(b"HTTP/1.1 400") and b" 404 " not in answer


@pytest.mark.parametrize("path", ["/v1/models%00/x", "/healthz%00", "/v1/models?x=%00"])
def test_a_nul_in_the_url_is_refused(server, path):
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    status, error = error_of(server.send(request, timeout=5))
    assert status == 400 and error["code"] == "bad_url"
    with server.connect(5) as s:  # and in a later request
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        s.recv(65536)
        s.sendall(request)
        assert error_of(read_all(s))[0] == 400


BAD_HEADS = {
    "not_http": (b"hello\r\n\r\n", 400),
    "tls": (bytes.fromhex("16030100a5010000a10303"), 400),
    "http2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "http09": (b"GET /\r\n\r\n", 400),
    "bare_lf": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "no_host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two_hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: b\r\n\r\n", 400),
    "folded": (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400),
    "space_before_colon": (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    "nul_in_header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: \x00b\r\n\r\n", 400),
    "no_colon": (b"GET / HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n", 400),
    "absolute_url": (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "long_url": (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "endless_url": (b"GET /" + b"a" * 40000, 414),
    "long_header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 40000 + b"\r\n\r\n", 431),
    "many_headers": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "huge_length": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 30 +
                    b"\r\n\r\n", 413),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_head_gets_a_json_error(server, name):
    request, expected = BAD_HEADS[name]
    status, _ = error_of(server.send(request, timeout=5))
    assert status == expected
    assert server.ask("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("later", [False, True])
def test_the_largest_head_allowed_is_answered(server, later):
    start, end = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"Connection: close\r\n\r\n"
    each = (16 * 1024 - len(start) - len(end)) // 98
    fields = b"".join(b"A%02d: %s\r\n" % (i, b"b" * (each - 7)) for i in range(98))
    with server.connect(5) as s:
        if later:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            s.recv(65536)
        s.sendall(start + fields + end)
        assert split(read_all(s))[0] == 200


def test_a_head_that_comes_byte_by_byte_is_read(server):
    with server.connect() as s:
        for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":
            s.send(bytes([byte]))
        assert split(read_all(s))[0] == 200


def test_pipelined_requests_are_answered_in_order(server):
    requests = b"".join(post(chat(str(i), max_tokens=40)) for i in range(3))
    answer = server.send(requests + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
                         b"Connection: close\r\n\r\n")
    positions = [answer.find(f"user: {i}".encode()) for i in range(3)] + [answer.find(b'"ok"')]
    assert positions == sorted(positions) and positions[0] > 0


def test_expect_100_continue_is_answered(server):
    body = json.dumps(chat(max_tokens=2)).encode()
    with server.connect() as s:
        s.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue"
                  b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
        assert s.recv(100).startswith(b"HTTP/1.1 100")
        s.sendall(body)
        assert split(read_all(s))[0] == 200


def test_a_chunked_body_is_read(server):
    body = json.dumps(chat(max_tokens=2)).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:7], body[7:])) + b"0\r\n\r\n"
    answer = server.send(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
                         b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks)
    assert split(answer)[0] == 200


def test_http_1_0_gets_a_stream_that_ends_with_the_connection(server):
    answer = server.send(post(chat(max_tokens=3, stream=True), version=b"1.0"))
    assert answer.endswith(b"data: [DONE]\n\n") and b"chunked" not in answer


# ---- bodies --------------------------------------------------------------------------------------

BAD_BODIES = {
    "empty": (b"", None),
    "not_json": (b"hello", None),
    "array": (b"[]", None),
    "bad_utf8": (b'{"model":"fake","messages":"\xff"}', "messages"),
    "cut": (b'{"model":"fake","messages":[{"role":"user","content":"h', "messages"),
    "deep": (b'{"model":"fake","messages":' + b"[" * 5000 + b"]" * 5000 + b"}", None),
    "twice": (b'{"model":"fake","n":1,"n":2}', "n"),
    "huge_real": (b'{"model":"fake","messages":[],"temperature":1e999}', "temperature"),
    "huge_int": (b'{"model":"fake","messages":[],"seed":9223372036854775808}', "seed"),
    "nan": (b'{"model":"fake","messages":[],"temperature":NaN}', "temperature"),
    "nul": (b'{"model":"fa\\u0000ke","messages":[]}', "model"),
    "lone_surrogate": (b'{"model":"fake","messages":[{"role":"user","content":"\\ud800"}]}',
                       "messages"),
    "trailing": (b'{"model":"fake"} x', None),
    "comment": (b'{"model":"fake" /* c */}', "model"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_is_no_json_gets_400_and_the_server_goes_on(server, name):
    body, param = BAD_BODIES[name]
    status, headers, answer = server.ask("POST", CHAT, body)
    assert status == 400 and answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"] == param
    assert server.ask("GET", "/healthz")[0] == 200


@pytest.mark.slow
def test_a_body_over_the_limit_gets_413_however_it_is_sent(serve):
    server = serve(body_bytes_max=10000)
    big = chat("x" * 20000)
    assert server.ask("POST", CHAT, big)[0] == 413
    body = json.dumps(big).encode()
    chunked = server.send(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" %
                          (len(body), body), timeout=2)
    assert error_of(chunked)[0] == 413
    assert server.ask("POST", CHAT, b"x" * 30_000_000)[0] == 413, "the answer was lost in a reset"
    with server.connect() as s:  # with Expect: no body is asked for
        s.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue"
                  b"\r\nContent-Length: 20000\r\n\r\n")
        assert error_of(s.recv(65536))[0] == 413
    assert server.ask("POST", CHAT, chat(max_tokens=1))[0] == 200
    server.wait_gauge("verdant_http_bodies_bytes", 0)


def test_a_get_with_a_body_does_not_smuggle_it(server):
    answer = server.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                         b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" %
                         (len(SMUGGLED), SMUGGLED))
    assert answer.count(b"HTTP/1.1 200") == 2 and b"404" not in answer


# ---- slow clients --------------------------------------------------------------------------------

def trickle(server, start, piece, period, limit=8):
    """Sends `piece` every `period` s until the server answers or closes; (answer, seconds)."""
    begin = time.monotonic()
    with server.connect() as s:
        s.sendall(start)
        s.settimeout(period)
        data = b""
        while time.monotonic() - begin < limit:
            try:
                data += (got := s.recv(65536))
                if not got:
                    return data, time.monotonic() - begin
            except TimeoutError:
                s.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                return data, time.monotonic() - begin
    raise AssertionError("the server let it go on")


def test_a_head_that_never_ends_gets_408(serve):
    server = serve(head_ms=600)
    answer, seconds = trickle(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ", b"b", 0.1)
    assert error_of(answer)[0] == 408 and seconds < 4


def test_a_body_that_never_ends_gets_408(serve):
    server = serve(body_ms=600)
    answer, seconds = trickle(server, b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
                              b"Content-Length: 9999\r\n\r\n{", b" ", 0.1)
    assert error_of(answer)[0] == 408 and seconds < 4
    server.wait_gauge("verdant_http_requests_active", 0)


def test_a_later_head_that_never_ends_is_cut(serve):
    server = serve(head_ms=400, body_ms=600, idle_ms=600)
    _, seconds = trickle(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT", b"T",
                         0.1)
    assert seconds < 4


def test_silent_connections_are_closed(serve):
    server = serve(head_ms=400)
    with server.connect(5) as s:
        assert error_of(read_all(s))[0] == 408


# ---- clients that leave --------------------------------------------------------------------------

def leave(s, how):
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half":
        s.shutdown(socket.SHUT_WR)
    else:
        s.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_generation_within_a_step(serve, stream, how):
    server = serve(step_us=5000, endless=1, ctx_tokens=1_000_000)
    s = server.connect()
    s.sendall(post(chat(stream=stream)))
    server.wait_gauge("verdant_requests_running", 1)
    leave(s, how)
    begin = time.monotonic()
    server.wait_gauge("verdant_requests_running", 0)
    assert time.monotonic() - begin < 0.5
    server.wait_gauge("verdant_http_requests_active", 0)
    assert server.gauge("verdant_clients_left_total") == 1


WHOLE, BAD = post(chat(max_tokens=2)), post({"model": "nobody"})
LAST_WORDS = {
    "a_part_of_the_head": WHOLE[:40],
    "the_head": WHOLE[:WHOLE.index(b"\r\n\r\n") + 4],
    "a_part_of_the_body": WHOLE[:-5],
    "a_request_and_a_head": WHOLE + WHOLE[:40],
    "a_request_and_a_part": WHOLE + WHOLE[:-5],
    "two_requests": WHOLE + WHOLE,
    "two_bad_requests": BAD + BAD,
    "a_bad_request_and_a_part": BAD + WHOLE[:-5],
    "a_get_and_a_part": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + WHOLE[:-5],
}


@pytest.mark.parametrize("how", ["close", "reset", "half"])
@pytest.mark.parametrize("what", LAST_WORDS)
def test_a_client_that_leaves_at_any_moment_is_forgotten(server, what, how):
    """libmicrohttpd misses an end that comes together with data; and the gate may notice it while a
    request is on its way from one thread to another."""
    left = []
    for i in range(20):
        left.append(s := server.connect())
        s.sendall(LAST_WORDS[what])
        if i % 3 == 1:
            s.settimeout(0.01)
            try:
                s.recv(1)  # with answers unread, a close is a reset
            except TimeoutError:
                pass
        leave(s, how)
    server.wait_gauge("verdant_http_requests_active", 0, timeout=5)
    server.wait_gauge("verdant_http_connections", 1, timeout=5)
    for s in left:
        s.close()


def test_a_get_of_a_client_that_sends_no_more_is_answered(server):
    with server.connect(5) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        s.shutdown(socket.SHUT_WR)
        assert read_all(s).count(b'{"status":"ok"}') == 3


def test_a_client_that_leaves_before_the_first_token_ends_its_generation(serve):
    server = serve(step_us=300_000)
    s = server.connect()
    s.sendall(post(chat()))
    server.wait_gauge("verdant_requests_running", 1)
    s.close()
    server.wait_gauge("verdant_requests_running", 0, timeout=2)


def test_a_thousand_clients_leave_at_once(serve):
    server = serve(step_us=20000, endless=1, ctx_tokens=1_000_000)
    sockets = [server.connect() for _ in range(1000)]
    for i, s in enumerate(sockets):
        s.sendall(post(chat(stream=i % 2 == 0)))
    server.wait_gauge("verdant_requests_running", 1000, timeout=30)
    for s in sockets:
        s.close()
    begin = time.monotonic()
    server.wait_gauge("verdant_requests_running", 0)
    server.wait_gauge("verdant_http_connections", 1)
    assert time.monotonic() - begin < 3
    assert server.ask("POST", CHAT, chat(max_tokens=1))[0] == 200


@pytest.mark.slow
def test_a_reader_that_stops_is_cut_and_others_go_on(serve):
    server = serve(endless=1, ctx_tokens=100_000_000, stream_bytes_max=65536)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((server.host, server.port))
    s.sendall(post(chat(stream=True)))
    server.wait_gauge("verdant_slow_readers_total", 1, timeout=60)
    assert server.ask("POST", CHAT, chat(max_tokens=3))[0] == 200
    server.wait_gauge("verdant_requests_running", 0)
    s.settimeout(5)
    events = sse(read_all(s).decode("utf-8", "replace").replace("\r\n", ""))
    s.close()
    assert events
    server.wait_gauge("verdant_http_requests_active", 0)


# ---- overload ------------------------------------------------------------------------------------

def test_requests_over_the_limit_get_503_with_retry_after(serve):
    server = serve(step_us=20000, endless=1, max_streams=3)
    sockets = [server.connect() for _ in range(3)]
    for s in sockets:
        s.sendall(post(chat(stream=True)))
    server.wait_gauge("verdant_requests_running", 3)
    status, headers, answer = server.ask("POST", CHAT, chat())
    assert status == 503 and answer["error"]["code"] == "overloaded"
    assert headers["Retry-After"] == "1" and headers["x-should-retry"] == "true"
    assert server.ask("GET", "/healthz")[0] == 200
    sockets.pop().close()
    server.wait_gauge("verdant_requests_running", 2)
    status, _, _ = server.ask("POST", CHAT, chat(max_tokens=2))
    assert status == 200
    for s in sockets:
        s.close()


def test_a_full_engine_gives_503(serve):
    server = serve(step_us=20000, endless=1, max_waiting=2)
    status, headers, answer = server.ask("POST", CHAT, chat(n=3))
    assert status == 503 and headers["Retry-After"] == "1"
    server.wait_gauge("verdant_requests_running", 0)


def test_connections_over_the_limit_get_503_and_never_hang(serve):
    server = serve(max_connections=20)
    idle = [server.connect() for _ in range(20)]
    for s in idle:
        s.sendall(b"GET / HT")
    time.sleep(0.3)
    begin = time.monotonic()
    for _ in range(5):
        answer = server.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, error = error_of(answer)
        assert status == 503 and split(answer)[1]["retry-after"] == "1"
    assert time.monotonic() - begin < 2
    for s in idle:
        s.close()
    end = time.monotonic() + 5
    while server.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                      )[9:12] != b"200":
        assert time.monotonic() < end


# ---- stopping ------------------------------------------------------------------------------------

def test_sigterm_lets_streams_finish_and_refuses_new_work(serve):
    server = serve(step_us=20000, drain_ms=8000)
    s = server.connect()
    s.sendall(post(chat("x" * 30, stream=True), b"Connection: close\r\n"))
    server.wait_gauge("verdant_requests_running", 1)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert server.ask("GET", "/readyz")[0] == 503
    assert server.ask("GET", "/healthz")[0] == 200
    status, headers, answer = server.ask("POST", CHAT, chat())
    assert status == 503 and answer["error"]["code"] == "shutting_down"
    assert headers["Connection"] == "close"
    assert b"data: [DONE]" in read_all(s)
    assert server.stop() == 0


@pytest.mark.parametrize("stream", [True, False])
def test_what_does_not_finish_in_time_is_told_so(serve, stream):
    server = serve(step_us=5000, endless=1, ctx_tokens=1_000_000, drain_ms=200)
    s = server.connect()
    s.sendall(post(chat(stream=stream)))
    server.wait_gauge("verdant_requests_running", 1)
    begin = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begin < 5
    answer = read_all(s)
    assert b"shutting_down" in answer
    if not stream:
        assert error_of(answer)[0] == 503


def test_stopping_with_a_thousand_open_streams_ends_well(serve):
    server = serve(step_us=50000, endless=1, ctx_tokens=1_000_000, drain_ms=100)
    sockets = [server.connect() for _ in range(1000)]
    for i, s in enumerate(sockets):
        s.sendall(post(chat(stream=i % 2 == 0)))
    server.wait_gauge("verdant_requests_running", 1000, timeout=30)
    assert server.stop() == 0, server.log[-3000:]
    for s in sockets:
        s.close()


# ---- who may ask ---------------------------------------------------------------------------------

@pytest.mark.parametrize("host,status", [
    ("localhost", 200), ("localhost:1234", 200), ("127.0.0.1", 200), ("[::1]:80", 200),
    ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("192.168.1.1", 403), ("", 403)])
def test_a_loopback_server_answers_only_for_loopback_hosts(server, host, status):
    answer = server.send(f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                         .encode())
    assert split(answer)[0] == status


def test_pages_of_other_origins_are_refused(server):
    assert server.ask("POST", CHAT, chat(max_tokens=1), {"Origin": "http://evil.example"})[0] == 403
    assert server.ask("POST", CHAT, chat(max_tokens=1), {"Origin": "null"})[0] == 403
    status, headers, _ = server.ask("POST", CHAT, chat(max_tokens=1),
                                    {"Origin": "http://localhost:3000"})
    assert status == 200 and headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    status, headers, _ = server.ask("OPTIONS", CHAT, None, {"Origin": "http://localhost:3000"})
    assert status == 200 and "POST" in headers["Access-Control-Allow-Methods"]


def test_wrong_methods_and_unknown_urls_are_said_so(server):
    status, headers, answer = server.ask("GET", CHAT)
    assert status == 405 and "POST" in headers["Allow"] and answer["error"]["message"]
    assert server.ask("PUT", "/v1/models", "x")[0] == 405
    status, _, answer = server.ask("GET", "/v2/nothing")
    assert status == 404 and answer["error"]["code"] is None
    assert server.ask("GET", "/../../etc/passwd")[0] == 404
    answer = server.send(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert split(answer)[0] == 200 and split(answer)[2] == b""


def test_each_answer_names_its_request(server):
    ids = {server.ask("GET", "/healthz")[1]["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


# ---- metrics and memory --------------------------------------------------------------------------

def test_promtool_accepts_the_metrics(server):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    server.ask("POST", CHAT, chat(max_tokens=3))
    text = server.ask("GET", "/metrics")[2]
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


@pytest.mark.slow
def test_a_thousand_open_streams_take_at_most_30_kib_each(serve, build):
    if "asan" in build.name or "tsan" in build.name:
        pytest.skip("a sanitizer's memory is not the program's")
    server = serve(step_us=100_000, endless=1, ctx_tokens=1_000_000)
    warm = [server.ask("POST", CHAT, chat(max_tokens=1))[0] for _ in range(3)]
    assert warm == [200] * 3
    before = resident_kib(server.process.pid)
    sockets = [server.connect() for _ in range(1000)]
    for s in sockets:
        s.sendall(post(chat("hello " * 20, stream=True)))
    server.wait_gauge("verdant_requests_running", 1000, timeout=30)
    time.sleep(2)  # all of them stream
    each = (resident_kib(server.process.pid) - before) / 1000
    print(f"{each:.1f} KiB per open stream")
    for s in sockets:
        s.close()
    assert each <= 30


def test_no_prompt_or_answer_is_logged(serve):
    server = serve()
    server.ask("POST", CHAT, chat("a very secret word: xyzzy"))
    server.ask("POST", CHAT, b'{"model":"fake","messages":"xyzzy"}')
    server.stop()
    assert "route=/v1/chat/completions" in server.log and "xyzzy" not in server.log
