"""/v1/energy, receipts and the comment in streams: the real server, and OpenAI's client."""
import base64
import http.client
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from urllib.parse import quote, urlencode

import pytest

from raw_http import sse
from serving import CHAT, NO_END, TEXT, chat, client_of, hello, start, tiny_model

MODELS = ("tiny", "other")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("energy")


@pytest.fixture(scope="module")
def server(build, place):
    path = tiny_model(place / "t.gguf", vocab="bpe", n_ctx=2048, seed=7)
    with start(build, place, {name: (path, {}) for name in MODELS}) as s:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda i: s.ask("POST", CHAT, chat(
                MODELS[i % 2], f"number {i}", max_tokens=10 + i, n=1 + i % 2, seed=i,
                logit_bias=NO_END)), range(10)))
        yield s


def uj(joules):
    return round(joules * 1e6)


def audit(verdant, place):
    done = verdant("energy", "audit", "--ledger", place / "ledger.db", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def get(server, path, status=200):
    got, _, answer = server.ask("GET", path)
    assert got == status, answer
    return answer


# ---- sums ----------------------------------------------------------------------------------------

def test_sums_add_up_to_the_audit(server, verdant, place):
    while True:  # the service goes on metering: two looks at the same moment of the books
        before, sums, after = (audit(verdant, place), get(server, "/v1/energy"),
                               audit(verdant, place))
        if before["meter_uj"] <= sums["meter_uj"] == after["meter_uj"]:
            break
    for key in ("meter_uj", "requests_uj", "idle_uj", "unattributed_uj"):
        assert sums[key] == after[key] and sums[key.replace("_uj", "_j")] * 1e6 == pytest.approx(
            sums[key], abs=1)
    assert sums["requests"] == after["answers"] >= 10
    assert sums["completion_tokens"] > 0 and sums["j_per_token"] == pytest.approx(
        sums["ended_uj"] / 1e6 / sums["completion_tokens"])
    assert sums["object"] == "energy" and sums["operational_g"] > 0 < sums["embodied_g"]


@pytest.mark.parametrize("by", ["model", "hour", "day"])
def test_groups_add_up_to_the_whole(server, by):
    sums = get(server, f"/v1/energy?group_by={by}&since=7d")
    keys = ["requests_uj", "requests", "completion_tokens", "prompt_tokens", "ended_uj"]
    keys += [] if by == "model" else ["meter_uj", "idle_uj", "unattributed_uj"]
    for key in keys:
        assert sum(g[key] for g in sums["groups"]) == sums[key], key
    assert sum(g["operational_g"] for g in sums["groups"]) == pytest.approx(sums["operational_g"])
    if by == "model":
        assert [g["model"] for g in sums["groups"] if g["model"]] == sorted(MODELS)
        one = get(server, "/v1/energy?model=tiny&since=7d")
        assert one["requests_uj"] == next(g["requests_uj"] for g in sums["groups"]
                                          if g["model"] == "tiny")
        assert "meter_uj" not in one


def test_a_period_without_anything_is_zeros(server):
    sums = get(server, "/v1/energy?since=2001-01-01&until=2001-01-02T10:30&group_by=hour")
    assert sums["meter_uj"] == sums["requests"] == 0 and sums["groups"] == []
    assert sums["j_per_token"] is None


@pytest.mark.parametrize("query,param", [
    ("since=soon", "since"), ("until=never", "until"), ("group_by=mood", "group_by"),
    ("since=2026-01-02&until=2026-01-01", "until"), ("color=green", None),
    ("since=2026-02-31", "since"), ("since=-1", "since"), ("since=1e9", "since"),
    ("since=99999999999999999999999", "since"), ("since=1'%20OR%20'1'='1", "since"),
    ("since=2026-11-28T24:00", "since"), ("until=", "until"),
    ("until=1970-01-01&since=7d", "until"),
])
def test_a_wrong_query_is_a_400(server, query, param):
    error = get(server, f"/v1/energy?{query}", 400)["error"]
    assert error["param"] == param and error["type"] == "invalid_request_error"


def test_a_name_is_never_sql(server):
    for name in ("x' OR '1'='1", '"; DROP TABLE answer; --', "tiny' --"):
        sums = get(server, "/v1/energy?" + urlencode({"model": name}))
        assert sums["requests"] == sums["requests_uj"] == 0
        get(server, f"/v1/energy/requests/{quote(name)}", 404)


def test_what_is_not_there_is_a_404(server):
    for path in ("requests/req_0", "receipts/req_0"):
        error = get(server, f"/v1/energy/{path}", 404)["error"]
        assert error["code"] == "energy_not_found"
    assert server.ask("POST", "/v1/energy", {})[0] == 405


# ---- one request ---------------------------------------------------------------------------------

def test_a_request_is_found_by_both_ids_at_once(server):
    status, headers, answer = server.ask("POST", CHAT, chat("tiny", n=3, max_tokens=9))
    one = get(server, f"/v1/energy/requests/{answer['id']}")
    assert one == get(server, f"/v1/energy/requests/{headers['x-request-id']}")
    told, settled = answer["usage"]["energy"], one["usage"]["energy"]
    assert settled["settled"] is True
    for key in ("total_j", "active_j", "prefill_j", "decode_j", "idle_share_j", "components_j"):
        assert told[key] == settled[key]
    for key in ("operational_g", "embodied_g"):
        assert told["carbon"][key] == pytest.approx(settled["carbon"][key], rel=1e-4)
    assert one["usage"]["completion_tokens"] == answer["usage"]["completion_tokens"]
    assert sum(s["total_uj"] for s in one["sequences"]) == uj(told["total_j"])
    assert len(one["sequences"]) == 3 and one["model"] == "tiny" and one["kind"] == "chat"


def test_many_questions_at_once_are_answered(server):
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda i: server.ask("GET", "/v1/energy?group_by=model")[0],
                                   range(60)))
    assert answers == [200] * 60


def test_questions_that_wait_for_the_disk_keep_no_request_waiting(server, place):
    """Another program locks the ledger, so that each question waits for seconds."""
    server.ask("GET", "/v1/energy")
    db = sqlite3.connect(place / "ledger.db", isolation_level=None, timeout=30)
    with ThreadPoolExecutor(6) as threads:
        db.execute("BEGIN IMMEDIATE")
        server.ask("POST", CHAT, chat("tiny", "to be written", max_tokens=2))
        questions = [threads.submit(server.ask, "GET", "/v1/energy") for _ in range(6)]
        time.sleep(0.3)
        status = server.ask("POST", CHAT, chat("tiny", "now", max_tokens=2))[0]
        pending = sum(not q.done() for q in questions)
        behind = next(as_completed(questions)).result()[2]
        db.execute("ROLLBACK")
        assert status == 200 and pending >= 3
        assert behind["lag_s"] > 1  # it waited in vain, and says what is missing
        assert [q.result()[0] for q in questions] == [200] * 6
    assert "lag_s" not in get(server, "/v1/energy")


def test_the_answer_says_first_what_it_is(server):
    assert list(server.ask("GET", "/v1/energy")[2])[0] == "object"


# ---- streams -------------------------------------------------------------------------------------

def comments(text):
    return [line for line in text.split("\n") if line.startswith(": energy ")]


@pytest.mark.parametrize("path,body", [(CHAT, chat("tiny")), (TEXT, {"model": "tiny",
                                                                    "prompt": "x"})])
def test_a_stream_that_asks_for_no_usage_says_its_energy_in_a_comment(server, path, body):
    body = {**body, "stream": True, "max_tokens": 5, "logit_bias": NO_END}
    status, headers, answer = server.ask("POST", path, body)
    text = answer.decode()
    assert status == 200 and len(comments(text)) == 1
    assert text.index(": energy ") < text.index("data: [DONE]")
    energy = json.loads(comments(text)[0].removeprefix(": energy "))
    one = get(server, f"/v1/energy/requests/{headers['x-request-id']}")
    assert energy["total_j"] == one["usage"]["energy"]["total_j"] > 0
    with_usage = server.ask("POST", path, {**body, "stream_options": {"include_usage": True}})
    assert comments(with_usage[2].decode()) == []
    assert json.loads(sse(with_usage[2].decode())[-2])["usage"]["energy"]["total_j"] > 0


def test_the_official_client_is_not_disturbed(server):
    with client_of(server) as client:
        for more in ({}, {"stream_options": {"include_usage": True}}):
            stream = client.chat.completions.with_raw_response.create(
                model="tiny", messages=hello(), max_tokens=6, stream=True, logit_bias=NO_END,
                extra_headers={"X-Verdant-Receipt": "1"}, **more)
            chunks = list(stream.parse())
            assert chunks[0].choices[0].delta.role == "assistant"
            usage = [c.usage for c in chunks if c.usage is not None]
            assert len(usage) == 1 and usage[0].completion_tokens == 6
            assert usage[0].model_extra["energy"]["total_j"] > 0
            assert usage[0].model_extra["receipt"]["payload"]["completion_tokens"] == 6


# ---- receipts ------------------------------------------------------------------------------------

def canonical(payload):
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_signature(receipt, place):
    """By a program of somebody else's."""
    key, signature = (base64.b64decode(receipt[k], validate=True) for k in ("key", "signature"))
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        Ed25519PublicKey.from_public_bytes(key).verify(signature, canonical(receipt["payload"]))
        return
    except ImportError:
        pass
    if shutil.which("openssl") is None:
        pytest.skip("neither python3-cryptography nor openssl is here")
    # RFC 8410: an Ed25519 public key in DER is this prefix and its 32 bytes.
    der = bytes.fromhex("302a300506032b6570032100") + key
    files = {"key": der, "sig": signature, "data": canonical(receipt["payload"])}
    for name, data in files.items():
        (place / name).write_bytes(data)
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey",
                           place / "key", "-rawin", "-in", place / "data", "-sigfile",
                           place / "sig"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_answer_is_signed_when_that_is_asked_for(server, verdant, place, tmp_path):
    plain = server.ask("POST", CHAT, chat("tiny", max_tokens=4))[2]
    assert "receipt" not in plain["usage"]
    status, headers, answer = server.ask("POST", CHAT, chat("tiny", n=2, max_tokens=4),
                                         {"X-Verdant-Receipt": "1"})
    receipt = answer["usage"]["receipt"]
    payload = receipt["payload"]
    assert payload["id"] == headers["x-request-id"] and payload["answer_id"] == answer["id"]
    assert payload["energy"]["total_uj"] == uj(answer["usage"]["energy"]["total_j"])
    assert payload["energy"]["settled"] is True and payload["sequences"] == 2
    assert payload["completion_tokens"] == answer["usage"]["completion_tokens"]
    assert payload["carbon"]["zone"] == answer["usage"]["energy"]["carbon"]["zone"]
    check_signature(receipt, tmp_path)

    key = get(server, "/v1/energy/key")
    assert key == {"object": "energy.key", "algorithm": "Ed25519", "key": receipt["key"]}
    printed = verdant("energy", "key", "--keys", place / "keys")
    assert printed.stdout.strip() == key["key"]
    assert stat.S_IMODE(os.stat(place / "keys" / "receipt.key").st_mode) == 0o600
    secret = (place / "keys" / "receipt.key").read_text().strip()
    assert secret not in server.read_log() and key["key"] in server.read_log()

    later = get(server, f"/v1/energy/receipts/{answer['id']}")
    check_signature(later, tmp_path)
    assert later["payload"]["energy"] == payload["energy"]
    assert abs(later["payload"]["carbon"]["operational_ng"]
               - payload["carbon"]["operational_ng"]) <= 1

    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(receipt, indent=1))  # as people store it
    for more in ([], ["--key", key["key"]]):
        done = verdant("energy", "verify", file, *more)
        assert done.returncode == 0 and "is whole and signed" in done.stdout
    done = verdant("energy", "verify", file, "--json", "--key", key["key"])
    assert json.loads(done.stdout) == payload
    wrong = base64.b64encode(bytes(32)).decode()
    assert verdant("energy", "verify", file, "--key", wrong).returncode == 1
    text = canonical(receipt)
    assert json.loads(text) == receipt
    for at in range(0, len(text), 97):
        file.write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1:])
        assert verdant("energy", "verify", file).returncode == 1


def test_embeddings_and_completions_are_signed_too(server, tmp_path):
    for path, body in ((TEXT, {"model": "tiny", "prompt": ["a", "b"], "max_tokens": 3}),
                       ("/v1/embeddings", {"model": "tiny", "input": ["a", "b"]})):
        status, headers, answer = server.ask("POST", path, body, {"X-Verdant-Receipt": "1"})
        if status != 200:  # this model's file names no pooling
            continue
        check_signature(answer["usage"]["receipt"], tmp_path)
        assert answer["usage"]["receipt"]["payload"]["sequences"] == 2


@pytest.mark.parametrize("wanted,given", [("1", True), ("true", True), ("0", False), ("", False),
                                          ("false", False), ("1, 1", False)])
def test_the_header_asks_by_1_or_true(server, wanted, given):
    usage = server.ask("POST", CHAT, chat("tiny", max_tokens=2),
                       {"X-Verdant-Receipt": wanted})[2]["usage"]
    assert ("receipt" in usage) is given


def leave(server):
    """The id of a request whose client went, and what the ledger says of it."""
    client = http.client.HTTPConnection(server.host, server.port, timeout=30)
    client.request("POST", CHAT, json.dumps(chat("tiny", max_tokens=1500, stream=True,
                                                 logit_bias=NO_END)))
    answer = client.getresponse()
    request_id = answer.headers["x-request-id"]
    answer.read(200)
    answer.close()
    client.close()
    end = time.monotonic() + 30
    while server.ask("GET", f"/v1/energy/requests/{request_id}")[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    return request_id, get(server, f"/v1/energy/requests/{request_id}")


def test_an_answer_that_nobody_waited_for_has_a_receipt_too(server):
    for _ in range(10):  # on a busy machine an answer may be ready before its client has gone
        request_id, one = leave(server)
        receipt = get(server, f"/v1/energy/receipts/{request_id}")["payload"]
        assert receipt["energy"]["total_uj"] == uj(one["usage"]["energy"]["total_j"]) > 0
        assert receipt["completion_tokens"] == one["usage"]["completion_tokens"]
        if [s["finish"] for s in one["sequences"]] == ["cancelled"]:
            return
    raise AssertionError("no client left in time")


def test_a_server_without_ledger_says_so(build, place, tmp_path):
    with start(build, tmp_path, {"tiny": (place / "t.gguf", {})}, ledger={"off": True}) as s:
        assert s.ask("POST", CHAT, chat("tiny", max_tokens=2))[2]["usage"]["energy"]["total_j"] > 0
        assert get(s, "/v1/energy", 404)["error"]["code"] == "no_ledger"
        assert get(s, "/v1/energy/key", 404)["error"]["code"] == "no_receipts"
    assert not (tmp_path / "ledger.db").exists()


def test_show_is_a_table_of_today(server, verdant, place):
    server.ask("POST", CHAT, chat("other", max_tokens=2))
    time.sleep(1.5)
    done = verdant("energy", "show", "--ledger", place / "ledger.db")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0].split()[:3] == ["model", "requests", "tok"]
    assert {line.split()[0] for line in lines} >= {"tiny", "other", "idle", "meter"}
    assert len({len(line) for line in lines if line.split()[0] in ("tiny", "other")}) == 1
    sums = json.loads(verdant("energy", "show", "--ledger", place / "ledger.db", "--json",
                              "--by", "day").stdout)
    assert sums["groups"][0]["from"].endswith("T00:00:00Z")
