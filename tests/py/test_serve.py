"""`verdant serve` as a process: clients that leave, signals, a thousand streams, metrics."""
import json
import shutil
import signal
import socket
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import gguf
import openai
import pytest

from raw_http import Server, error_of, read_all, sse
from serving import CHAT, NO_END, TEXT, chat, post, start, tiny_model

N_PROMPT = 6000


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory):
    """Slow enough that a step of 32 tokens takes tens of milliseconds."""
    path = tmp_path_factory.mktemp("slow") / "slow.gguf"
    return tiny_model(path, vocab="bpe", n_ctx=8192, seed=3, n_embd=512, n_layer=8, n_head=8,
                      n_kv_head=8, n_ff=1536)


@pytest.fixture(scope="module")
def slow(build, slow_model, tmp_path_factory):
    options = {"exact": True, "step_tokens": 32}
    with start(build, tmp_path_factory.mktemp("serve"), {"slow": (slow_model, options)}) as s:
        yield s


def prefill(**more):
    """A prompt that takes hundreds of steps to read, and no two the same."""
    prefill.n += 1
    return {"model": "slow", "prompt": [(i * 7 + prefill.n) % 200 for i in range(N_PROMPT)],
            "max_tokens": 5, **more}


prefill.n = 0


def decode(**more):
    return {"model": "slow", "prompt": "the", "max_tokens": 5000, "logit_bias": NO_END, **more}


def until(what, timeout=20):
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


def leave(s, how):
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


# ---- clients that leave --------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_client_that_leaves_frees_the_engine_within_a_step(slow, phase, stream, how):
    steps, tokens = "verdant_engine_steps_total", f"verdant_engine_{phase}_tokens_total"
    left = slow.gauge("verdant_clients_left_total")
    began = slow.gauge(tokens)
    with slow.connect() as s:
        s.sendall(post(TEXT, (prefill if phase == "prefill" else decode)(stream=stream)))
        until(lambda: slow.gauge(tokens) > began + 3)
        assert slow.gauge("verdant_requests_running") == 1
        at = slow.gauge(steps)
        leave(s, how)
        slow.wait_gauge("verdant_requests_running", 0)
    # The one that ran when it left, and one that may have begun while we looked.
    assert slow.gauge(steps) - at <= 3
    assert slow.gauge(tokens) - began < N_PROMPT / 4
    slow.wait_gauge("verdant_http_requests_active", 0)
    slow.wait_gauge("verdant_kv_tokens_used", 0)
    assert slow.gauge("verdant_clients_left_total") == left + 1


def test_all_answers_of_a_client_that_leaves_end(slow):
    with slow.connect() as s:
        s.sendall(post(TEXT, decode(n=4, stream=True)))
        until(lambda: slow.gauge("verdant_requests_running") == 4)
    slow.wait_gauge("verdant_requests_running", 0)


def test_a_client_that_leaves_while_waiting_never_runs(build, slow_model, tmp_path):
    options = {"exact": True, "max_running": 1}
    with start(build, tmp_path, {"slow": (slow_model, options)}) as server:
        first, second = server.connect(), server.connect()
        first.sendall(post(TEXT, decode(stream=True)))
        server.wait_gauge("verdant_requests_running", 1)
        second.sendall(post(TEXT, prefill()))
        server.wait_gauge("verdant_requests_waiting", 1)
        prompts = server.gauge("verdant_engine_prefill_tokens_total")
        second.close()
        server.wait_gauge("verdant_requests_waiting", 0)
        first.close()
        server.wait_gauge("verdant_requests_running", 0)
        assert server.gauge("verdant_engine_prefill_tokens_total") == prompts


def test_a_full_queue_is_a_503_that_says_when_to_come_back(build, slow_model, tmp_path):
    options = {"exact": True, "max_running": 1, "max_waiting": 1}
    with start(build, tmp_path, {"slow": (slow_model, options)}) as server:
        held = [server.connect(), server.connect()]
        for i, s in enumerate(held):
            s.sendall(post(TEXT, decode(stream=True)))
            server.wait_gauge(f"verdant_requests_{('running', 'waiting')[i]}", 1)
        status, headers, answer = server.ask("POST", TEXT, decode())
        assert status == 503 and answer["error"]["code"] == "overloaded"
        assert headers["Retry-After"] == "1" and headers["x-should-retry"] == "true"
        assert answer["error"]["type"] == "server_error"
        for s in held:
            s.close()


def test_a_client_that_comes_too_early_tries_again_by_itself(build, tmp_path):
    model = tiny_model(tmp_path / "t.gguf", vocab="bpe")
    with Server([build / "verdant", "serve", "--model", f"tiny={model}", "--listen",
                 "127.0.0.1:0"]) as server:
        status, headers, answer = server.ask("GET", "/v1/models")
        assert status == 503 and answer["error"]["code"] == "loading"
        assert headers["Retry-After"] == "1" and server.ask("GET", "/readyz")[0] == 503
        with openai.OpenAI(api_key="none", base_url=server.url + "/v1", max_retries=10) as client:
            answer = client.completions.create(model="tiny", prompt="x", max_tokens=1)
        assert answer.usage.completion_tokens == 1


# ---- signals -------------------------------------------------------------------------------------

def test_sigterm_while_the_model_is_loaded_ends_well(build, slow_model):
    with Server([build / "verdant", "serve", "--model", f"slow={slow_model}", "--listen",
                 "127.0.0.1:0"]) as server:
        assert server.stop() == 0


def test_sigterm_drains_a_running_stream(build, slow_model, tmp_path):
    with ThreadPoolExecutor(1) as threads, start(build, tmp_path,
                                                 {"slow": (slow_model, {})}) as server:
        running = threads.submit(server.ask, "POST", CHAT, chat("slow", stream=True, max_tokens=150,
                                                                logit_bias=NO_END))
        until(lambda: server.gauge("verdant_engine_decode_tokens_total") > 5)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.ask("GET", "/readyz")[0] == 503)
        assert server.gauge("verdant_requests_running") == 1, "choose a longer answer"
        assert server.ask("GET", "/healthz")[0] == 200
        assert server.ask("OPTIONS", CHAT)[0] == 200
        status, headers, answer = server.ask("POST", CHAT, chat("slow"))
        assert status == 503 and answer["error"]["code"] == "shutting_down"
        assert headers["Connection"] == "close" and headers["Retry-After"] == "1"
        events = sse(running.result(30)[2].decode())
        assert events[-1] == "[DONE]"
        last = json.loads(events[-2])
        assert last["choices"][0]["finish_reason"] == "length"
        assert last["usage"]["completion_tokens"] == 150
        assert server.process.wait(10) == 0


@pytest.mark.slow
def test_a_second_sigterm_does_not_wait(build, slow_model, tmp_path):
    server = start(build, tmp_path, {"slow": (slow_model, {"exact": True})})
    with server:
        stream, whole = server.connect(), server.connect()
        stream.sendall(post(TEXT, decode(stream=True)))
        whole.sendall(post(TEXT, decode()))
        server.wait_gauge("verdant_requests_running", 2)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.ask("GET", "/readyz")[0] == 503)
        time.sleep(0.5)
        assert server.gauge("verdant_requests_running") == 2, "the first waits"
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert time.monotonic() - begin < 5
        assert b'"code":"shutting_down"' in read_all(stream)
        status, error = error_of(read_all(whole))
        assert status == 503 and error["code"] == "shutting_down"


@pytest.mark.slow
def test_what_is_not_done_after_drain_seconds_is_cut(build, slow_model, tmp_path):
    with start(build, tmp_path, {"slow": (slow_model, {"exact": True})},
               drain_seconds=1) as server:
        with server.connect() as s:
            s.sendall(post(TEXT, decode(stream=True)))
            server.wait_gauge("verdant_requests_running", 1)
            begin = time.monotonic()
            assert server.stop() == 0
            assert 0.9 < time.monotonic() - begin < 8
            assert b'"code":"shutting_down"' in read_all(s)


def test_a_taken_port_is_said_so(slow, slow_model, verdant):
    done = verdant("serve", "--model", f"a={slow_model}", "--listen", f"127.0.0.1:{slow.port}")
    assert done.returncode == 1 and "--listen" in done.stderr and str(slow.port) in done.stderr


# ---- a thousand streams --------------------------------------------------------------------------

def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


@pytest.mark.slow
def test_a_thousand_open_streams_take_at_most_30_kib_each(build, tmp_path):
    if "asan" in build.name or "tsan" in build.name:
        pytest.skip("a sanitizer's memory is not the program's")
    # Wide enough that no stream is done with its 8,000 tokens while they are counted.
    model = tiny_model(tmp_path / "t.gguf", vocab="bpe", n_ctx=8192, seed=7, n_embd=512, n_layer=8,
                       n_head=8, n_kv_head=1, n_ff=1536)
    options = {"kv_tokens": 16384, "exact": True}
    with start(build, tmp_path, {"tiny": (model, options)}) as server:
        # The KV cache is the model's: all of it is touched before anything is measured.
        for k in range(1, 20):
            prompt = [i * k % 251 for i in range(1000)]
            assert server.ask("POST", TEXT, {"model": "tiny", "prompt": prompt})[0] == 200
        before = resident_kib(server.process.pid)
        sockets = [server.connect() for _ in range(1000)]
        ask = post(CHAT, chat("tiny", "hello " * 20, stream=True, max_tokens=8000,
                              logit_bias=NO_END))
        for s in sockets:
            s.sendall(ask)
        until(lambda: server.gauge("verdant_requests_running") +
              server.gauge("verdant_requests_waiting") == 1000)
        time.sleep(2)
        assert server.gauge("verdant_http_requests_active") == 1000
        each = (resident_kib(server.process.pid) - before) / 1000
        print(f"{each:.1f} KiB per open stream")
        for s in sockets:
            s.close()
        server.wait_gauge("verdant_requests_running", 0)
        server.wait_gauge("verdant_http_requests_active", 0)
        assert server.ask("POST", CHAT, chat("tiny", max_tokens=2))[0] == 200
    assert each <= 30


# ---- a broken model ------------------------------------------------------------------------------

@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_computes_nonsense_is_the_servers_fault(build, tmp_path, stream):
    model = tiny_model(tmp_path / "nan.gguf", vocab="bpe")
    reader = gguf.GGUFReader(model, "r+")
    next(t for t in reader.tensors if t.name == "output_norm.weight").data[:] = float("nan")
    reader.data.flush()
    with start(build, tmp_path, {"nan": (model, {})}) as server:
        status, headers, answer = server.ask("POST", CHAT, chat("nan", stream=stream))
        if stream:
            assert status == 200
            answer = json.loads(sse(answer.decode())[-2])
        else:
            assert status == 500 and headers["x-should-retry"] == "false"
        assert answer["error"]["type"] == "server_error" and answer["error"]["code"] is None
        assert server.ask("GET", "/readyz")[0] == 200
    assert "request failed status=" in server.log


# ---- metrics -------------------------------------------------------------------------------------

def test_promtool_accepts_the_metrics(tiny_server):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    tiny_server.ask("POST", CHAT, chat("tiny", max_tokens=3))
    status, headers, text = tiny_server.ask("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    assert b'verdant_requests_running{model="org/spm"} 0' in text


def test_the_log_says_what_happened_and_not_what_was_said(build, tmp_path):
    model = tiny_model(tmp_path / "t.gguf", vocab="bpe")
    with start(build, tmp_path, {"tiny": (model, {})}) as server:
        server.ask("POST", CHAT, chat("tiny", "xyzzy", max_tokens=2))
        server.ask("POST", CHAT, {"model": "xyzzy"})
        server.ask("GET", "/xyzzy?xyzzy")
    assert "status=200" in server.log and "status=404" in server.log
    assert "joules=" in server.log and "xyzzy" not in server.log
