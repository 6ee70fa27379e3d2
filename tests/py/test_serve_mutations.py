"""Bodies a program would never write: valid ones, mutated. The server answers each in JSON of the
right shape, and is as well afterwards as before. Under ASan it says so if it is not.

VERDANT_FUZZ_SECONDS=600 pytest tests/py/test_serve_mutations.py -m soak    goes on for longer."""
import contextlib
import copy
import http.client
import json
import os
import random
import socket
import struct
import threading
import time

import pytest

from raw_http import Server, sse
from serving import CHAT, TEXT, start, tiny_model

pytestmark = pytest.mark.threads

CTX = 128
SEEDS = [
    (CHAT, {"model": "tiny", "messages": [{"role": "user", "content": "hello the world"}],
            "max_tokens": 5, "temperature": 0.7, "top_p": 0.9, "n": 2, "seed": 3}),
    (CHAT, {"model": "tiny", "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "<|im_end|>", "refusal": None, "tool_calls": None}],
        "stream": True, "stream_options": {"include_usage": True}, "logprobs": True,
        "top_logprobs": 3, "stop": ["x", "the"], "max_completion_tokens": 9}),
    (CHAT, {"model": "tiny", "messages": [{"role": "developer", "content": "\u00e9\U0001f600"}],
            "logit_bias": {"5": 100, "6": -100, "7": 2.5}, "presence_penalty": 1,
            "frequency_penalty": -1, "repetition_penalty": 1.2, "min_p": 0.1, "typical_p": 0.9,
            "top_k": 5, "response_format": {"type": "text"}, "tools": [], "user": "me"}),
    (TEXT, {"model": "tiny", "prompt": "a story of", "max_tokens": 7, "echo": True, "best_of": 3,
            "n": 2, "suffix": None}),
    (TEXT, {"model": "tiny", "prompt": [[1, 2, 3], "x", [4]], "logprobs": 2, "stream": True,
            "stop": "e"}),
]
NASTY = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-45, 1e-300, 1e308, 127, 128, 129, 255, 256, 65536,
    2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, -2**63, "", " ", "a", "\x01", "\x7f", "\ufdd0",
    "\ufffd", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "\u00e9" * 40, "x" * 5000,
    "\U0001f600",
    "{{ messages }}", "{% for i in range(9999999) %}", "%s%n", "../../etc/passwd", [], {}, [[]],
    [None], [{}], {"type": "text"}, {"type": "text", "text": "x"}, [0] * 200, ["a"] * 200,
    {str(i): 1 for i in range(1100)}, {"role": "user", "content": "x"}, [[[[[[1]]]]]],
]
RAW = [b"1e999", b"-1e999", b"1E400", b"9" * 400, b"NaN", b"Infinity", b"\"\\u0000\"",
       b"\"\\ud800\"", b"\"\\udc00\\ud800\"", b"\"\xff\"", b"\"\xc0\x80\"", b"\"\xed\xa0\x80\"",
       b"[" * 300, b"{\"a\":" * 90, b"\"\\x\"",
       b"01", b"+1", b".5", b"'a'", b"/**/1", b"tru", b"", b"\x00", b"\"\n\""]


def walk(value, path=()):
    """All places in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from walk(value[key], (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from walk(item, (*path, i))


def mutate(rng, body):
    """One to three changes of structure, and now and then of bytes."""
    body = json.loads(json.dumps(body))
    hole = None
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = [p for p in walk(body) if p]
        if not places:
            break
        *above, last = rng.choice(places)
        parent = body
        for step in above:
            parent = parent[step]
        kind = rng.random()
        if kind < 0.6:
            parent[last] = copy.deepcopy(rng.choice(NASTY))
        elif kind < 0.7:
            del parent[last]
        elif kind < 0.8 and isinstance(parent, dict):
            parent[rng.choice(["", "a" * 300, "b\"\r\n", "\u00e9", "n", "model", "stream"])] = 1
        elif kind < 0.9:
            parent[last] = hole = "@hole@"
        else:
            parent[last] = [copy.deepcopy(parent[last]) for _ in range(rng.choice([1, 2, 5]))]
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if hole:
        text = text.replace(b'"@hole@"', rng.choice(RAW))
    if rng.random() < 0.15:
        text = bytearray(text)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text) or 1)
            text[at:at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        text = bytes(text)
    if rng.random() < 0.05:
        text = text[:rng.randrange(len(text) + 1)]
    return text


def check(status, headers, answer):
    kind = headers.get("Content-Type", "")
    if status != 200:
        assert status in (400, 404, 503), status
        error = json.loads(answer)["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"]
    elif kind.startswith("text/event-stream"):
        events = sse(answer.decode())
        assert events[-1] == "[DONE]"
        assert all("choices" in json.loads(e) for e in events[:-1])
    else:
        usage = json.loads(answer.decode())["usage"]
        assert usage["energy"]["total_j"] >= 0


def barrage(server, rng, until):
    """Sends mutated bodies on one connection until `until()` says so; their number by status."""
    seen = {}
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    while not until(sum(seen.values())):
        path, body = rng.choice(SEEDS)
        text = mutate(rng, body)
        try:
            connection.request("POST", path, text)
            answer = connection.getresponse()
            data = answer.read()
            check(answer.status, answer.headers, data)
        except Exception as e:
            raise AssertionError(f"{path} {text[:3000]!r}") from e
        seen[answer.status] = seen.get(answer.status, 0) + 1
    connection.close()
    return seen


def leave_early(server, rng, until):
    """Clients that send a part, or all, or two requests, and go, one way or another."""
    while not until():
        path, body = rng.choice(SEEDS)
        text = mutate(rng, body) if rng.random() < 0.3 else json.dumps(body).encode()
        data = (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
                .encode() + text) * rng.choice([1, 1, 2])
        with server.connect() as s:
            s.sendall(data[:rng.randrange(len(data))] if rng.random() < 0.3 else data)
            time.sleep(rng.choice([0, 0, 0.001, 0.01]))
            if rng.random() < 0.3:
                s.settimeout(0.05)  # a part of a request gets no answer
                with contextlib.suppress(TimeoutError):
                    s.recv(rng.choice([1, 100, 5000]))
            if rng.random() < 0.5:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif rng.random() < 0.3:
                s.shutdown(socket.SHUT_WR)


def check_server(server: Server):
    server.wait_gauge("verdant_requests_running", 0, timeout=60)
    server.wait_gauge("verdant_http_requests_active", 0)
    assert server.gauge("verdant_http_bodies_bytes") == 0
    assert server.gauge("verdant_kv_tokens_used") == 0
    path, body = SEEDS[0]
    assert server.ask("POST", path, body)[0] == 200


@pytest.fixture(scope="module")
def server(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    model = tiny_model(folder / "t.gguf", vocab="bpe", n_ctx=CTX, seed=7)
    with start(build, folder, {"tiny": (model, {})}) as s:
        yield s


@pytest.mark.slow
def test_mutated_bodies_are_answered(server):
    seen = barrage(server, random.Random(1), lambda n: n >= 400)
    assert seen[200] > 50 and seen[400] > 100, seen
    check_server(server)


@pytest.mark.soak
def test_mutated_bodies_are_answered_for_a_while(server):
    seed = random.randrange(2**32)
    print("seed", seed)
    end = time.monotonic() + float(os.environ.get("VERDANT_FUZZ_SECONDS", "120"))
    leavers = [threading.Thread(target=leave_early, args=(server, random.Random(seed + 1 + i),
                                                          lambda: time.monotonic() > end))
               for i in range(2)]
    for thread in leavers:
        thread.start()
    try:
        print(barrage(server, random.Random(seed), lambda n: time.monotonic() > end))
    finally:
        for thread in leavers:
            thread.join()
    check_server(server)
