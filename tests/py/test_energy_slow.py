"""A slow meter (a plug, by Prometheus): answers are estimates, the ledger has the last word."""
import json
import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving import CHAT, NO_END, chat, start, tiny_model


class Plug(BaseHTTPRequestHandler):
    def do_GET(self):
        watts = 60 + 20 * math.sin(time.monotonic() * 3)
        body = f"# TYPE plug_power_watts gauge\nplug_power_watts {watts:.1f}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def plug():
    with ThreadingHTTPServer(("127.0.0.1", 0), Plug) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"prometheus:http://127.0.0.1:{server.server_port}/metrics#plug_power_watts&refresh=1"
        server.shutdown()
        thread.join()


def uj(joules):
    return round(joules * 1e6)


@pytest.mark.slow
def test_what_was_told_is_settled_later(build, verdant, plug, tmp_path):
    model = tiny_model(tmp_path / "t.gguf", vocab="bpe", n_ctx=4096, seed=7)
    env = {**os.environ, "VERDANT_METER": plug, "no_proxy": "127.0.0.1"}
    ledger = tmp_path / "ledger.db"

    def ask(i):
        body = chat("tiny", f"number {i}", max_tokens=100, n=1 + i % 2, logit_bias=NO_END)
        status, headers, answer = server.ask("POST", CHAT, body, {"X-Verdant-Receipt": "1"})
        assert status == 200
        return headers["x-request-id"], answer["usage"]

    def audit():
        done = verdant("energy", "audit", "--ledger", ledger, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    with start(build, tmp_path, {"tiny": (model, {})}, env=env) as server:
        with ThreadPoolExecutor(3) as threads:
            told = list(threads.map(ask, range(6)))
        late = [(id, usage) for id, usage in told if usage["energy"].get("settled") is False]
        assert late, told
        for id, usage in late:
            assert usage["receipt"] == {"url": f"/v1/energy/receipts/{id}"}
        id, usage = late[-1]
        end = time.monotonic() + 60
        path = f"/v1/energy/requests/{id}"
        while not (one := server.ask("GET", path)[2])["usage"]["energy"]["settled"]:
            assert one["usage"]["energy"]["total_j"] == usage["energy"]["total_j"]
            audit()  # sums hold meanwhile, too
            assert time.monotonic() < end
            time.sleep(0.5)
        receipt = server.ask("GET", usage["receipt"]["url"])[2]
        assert receipt["payload"]["energy"]["settled"] is True
        assert receipt["payload"]["energy"]["total_uj"] == uj(one["usage"]["energy"]["total_j"])
        (tmp_path / "receipt.json").write_text(json.dumps(receipt))
        assert verdant("energy", "verify", tmp_path / "receipt.json").returncode == 0
        settled = [server.ask("GET", f"/v1/energy/requests/{id}")[2]["usage"]["energy"]
                   for id, _ in told]
        assert all(e["settled"] for e in settled)
    report = audit()
    assert report["unsettled_uj"] == 0 and report["settled_requests"] == report["requests"] == 9
    assert sum(uj(e["total_j"]) for e in settled) == report["requests_uj"]
