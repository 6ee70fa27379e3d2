"""`verdant serve` over models made on the spot, for the tests that need the real server."""
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import openai

from raw_http import Server

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "gen"))
import vocab  # noqa: E402

CTX = 2048
# The last three tokens of the BPE vocabulary: of its control tokens two end an answer.
END_OF_TEXT, IM_START, IM_END = (len(vocab.bpe()[0]) + i for i in (-3, -2, -1))
NO_END = {END_OF_TEXT: -100, IM_END: -100}
MODELS = ["tiny", "org/spm"]  # of conftest.tiny_server

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


def tiny_model(path: Path, **options) -> Path:
    """A random model by tests/gen; options as its command line has them."""
    command = [sys.executable, ROOT / "tests" / "gen" / "tiny_model.py", path]
    for key, value in options.items():
        command += ["--" + key.replace("_", "-"), str(value)]
    subprocess.run([str(part) for part in command], check=True)
    return path


def start(build: Path, folder: Path, models: dict, env=None, **config) -> Server:
    """The server over {name: (path, {option: value})}, ready for work. JSON is YAML."""
    config.setdefault("listen", "127.0.0.1:0")
    config.setdefault("ledger", {"path": str(folder / "ledger.db"),
                                 "keys": str(folder / "keys")})
    config["models"] = [{"name": name, "ref": str(path), **more}
                        for name, (path, more) in models.items()]
    file = folder / "verdant.yaml"
    file.write_text(json.dumps(config))
    server = Server([build / "verdant", "serve", "--config", file], env=env)
    end = time.monotonic() + 60
    while server.ask("GET", "/readyz")[0] != 200:
        assert time.monotonic() < end and server.process.poll() is None, server.read_log()
        time.sleep(0.02)
    return server


def post(path, body, extra=b"") -> bytes:
    """A raw request."""
    text = json.dumps(body).encode()
    return (b"POST " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
            b"application/json\r\nContent-Length: " + str(len(text)).encode() + b"\r\n" + extra +
            b"\r\n" + text)


def chat(model, content="hello the world", **more):
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}


def hello(content="hello the world"):
    return [{"role": "user", "content": content}]


def client_of(server, strict=True):
    # Strict: an answer that is not of the shape the client declares raises.
    return openai.OpenAI(api_key="none", base_url=server.url + "/v1", max_retries=0, timeout=60,
                         _strict_response_validation=strict)


def energy_of(usage):
    return usage.model_extra["energy"]


def check_energy(energy):
    """The laws of docs/energy.md that one answer can show, in the microjoules that are printed."""
    def uj(value):
        return round(value * 1e6)

    words = set(energy["method"].split("+"))
    assert words <= {"rapl", "model", "hwmon"} and energy["uncertainty_pct"] > 0
    sure = energy["uncertainty"]
    both = math.hypot(sure["common_pct"], sure["independent_pct"])
    assert abs(energy["uncertainty_pct"] - both) < 0.15 or energy["uncertainty_pct"] == 100
    assert uj(energy["total_j"]) > 0
    assert uj(energy["prefill_j"]) + uj(energy["decode_j"]) == uj(energy["active_j"])
    assert uj(energy["active_j"]) + uj(energy["idle_share_j"]) == uj(energy["total_j"])
    parts = energy["components_j"]
    assert set(parts) == {"cpu", "dram", "gpu"}
    assert sum(map(uj, parts.values())) == uj(energy["total_j"])
    carbon = energy["carbon"]
    assert carbon["operational_g"] > 0 and carbon["embodied_g"] > 0
    assert math.isclose(carbon["operational_g"], energy["total_j"] / 3.6e6 *
                        carbon["intensity_g_per_kwh"], rel_tol=1e-3)
    assert {"kind", "scope", "basis", "zone", "source", "valid_at"} <= set(carbon)


def text_of(tokens):
    """As a reader of the bytes would see it."""
    return b"".join(bytes(t.bytes) for t in tokens if t.bytes is not None).decode("utf-8",
                                                                                "replace")
