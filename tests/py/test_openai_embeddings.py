"""/v1/embeddings as its users meet it: the official `openai` client against `verdant serve`, over
tiny random models. That the vectors are right is shown in test_embed.py; here they are compared
with those of `verdant embed`."""
import base64
import json
import threading
import time

import numpy as np
import openai
import pytest
from embeddings import TEXTS, cosine
from oracles import tiny_model
from serving import CHAT, TEXT, check_energy, client_of, energy_of, hello, post, start

PATH = "/v1/embeddings"
CTX = 256
MODELS = {
    "bert": ({"arch": "bert", "pooling": "mean"}, {}),
    "nomic": ({"arch": "nomic-bert", "pooling": "cls"}, {}),
    "silent": ({"arch": "bert", "pooling": "absent"}, {}),
    "tokens": ({"arch": "bert", "pooling": "none"}, {}),
    "told": ({"arch": "bert", "pooling": "none"}, {"pooling": "mean"}),
    "rank": ({"arch": "bert", "pooling": "rank"}, {}),
    "text": ({"arch": "llama"}, {}),
    "decoder": ({"arch": "llama", "pooling": "last"}, {}),
    "decoder-told": ({"arch": "llama"}, {"pooling": "mean"}),
    "queue": ({"arch": "bert", "pooling": "mean"}, {"max_running": 2, "max_waiting": 2}),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    made = {}
    for name, (options, more) in MODELS.items():
        made[name] = folder / f"{name}.gguf", more
        tiny_model.write_model(made[name][0], n_ctx=CTX, seed=5, **options)
    return made


@pytest.fixture(scope="module")
def server(build, files, tmp_path_factory):
    with start(build, tmp_path_factory.mktemp("server"), files) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    # Not strict: it declares lists of floats and asks for base64, which it decodes itself.
    with client_of(server, strict=False) as c:
        yield c


def vectors(answer):
    assert [d.index for d in answer.data] == list(range(len(answer.data)))
    return np.array([d.embedding for d in answer.data])


def by_command(verdant, path, texts, *options):
    result = verdant("embed", path, *options, "--json", "--", *texts)
    assert result.returncode == 0, result.stderr
    return np.array([d["embedding"] for d in json.loads(result.stdout)["data"]])


# ---- answers -------------------------------------------------------------------------------------

POOLINGS = {"bert": "mean", "nomic": "cls", "silent": "mean", "told": "mean", "decoder": "last",
            "decoder-told": "mean"}


@pytest.mark.parametrize("model", POOLINGS)
def test_an_answer_has_every_part_and_the_vectors_of_the_command(client, verdant, files, model):
    answer = client.embeddings.create(model=model, input=TEXTS)
    assert answer.object == "list" and answer.model == model
    assert all(d.object == "embedding" for d in answer.data)
    got = vectors(answer)
    assert got.shape == (len(TEXTS), 64)
    assert np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-6
    want = by_command(verdant, files[model][0], TEXTS, "--pooling", POOLINGS[model])
    assert np.abs(got - want).max() < 1e-3 and cosine(got, want).min() > 1 - 1e-5
    assert np.array_equal(got[1], got[3]), "the same text twice"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 60
    check_energy(energy_of(answer.usage))
    assert energy_of(answer.usage)["decode_j"] == 0


def test_float_and_base64_are_the_same_bits(server, client):
    asked = {"model": "bert", "input": TEXTS}
    status, _, plain = server.ask("POST", PATH, asked)
    assert status == 200
    status, _, packed = server.ask("POST", PATH, {**asked, "encoding_format": "base64"})
    assert status == 200
    for a, b in zip(plain["data"], packed["data"]):
        assert isinstance(b["embedding"], str)
        raw = base64.b64decode(b["embedding"], validate=True)
        assert np.array_equal(np.array(a["embedding"], "<f4"), np.frombuffer(raw, "<f4"))
    with client_of(server, strict=True) as strict:
        floats = strict.embeddings.create(**asked, encoding_format="float")
    packed = client.embeddings.create(**asked)
    assert np.array_equal(vectors(floats).astype("f4"), vectors(packed).astype("f4"))


def test_every_form_of_input(client, verdant, files):
    def ids(text):
        result = verdant("tokenize", files["bert"][0], text, "--json")
        return json.loads(result.stdout)["ids"]

    def ask(value):
        return vectors(client.embeddings.create(model="bert", input=value))

    want = ask(TEXTS)
    assert np.array_equal(ask(TEXTS[1]), want[1:2])
    assert np.allclose(ask(ids(TEXTS[1])), want[1:2], atol=1e-6)
    assert np.allclose(ask([ids(t) for t in TEXTS]), want, atol=1e-6)
    assert np.allclose(ask([ids(TEXTS[0]), TEXTS[1]]), want[:2], atol=1e-6)
    assert np.allclose(ask([float(i) for i in ids(TEXTS[1])]), want[1:2], atol=1e-6)


@pytest.mark.threads
def test_2048_inputs_in_their_order_and_no_more(client, server, verdant, files):
    texts = [f"{'hello ' * (i % 9)}{i}" for i in range(2048)]
    answer = client.embeddings.create(model="bert", input=texts)
    got = vectors(answer)
    assert got.shape == (2048, 64) and len(np.unique(got, axis=0)) == 2048
    some = list(range(0, 2048, 117))
    want = by_command(verdant, files["bert"][0], [texts[i] for i in some])
    assert np.abs(got[some] - want).max() < 1e-4
    check_energy(energy_of(answer.usage))
    with pytest.raises(openai.BadRequestError) as e:
        client.embeddings.create(model="bert", input=texts + ["x"])
    assert (e.value.param, e.value.code) == ("input", "array_above_max_length")
    assert server.ask("GET", "/readyz")[0] == 200


@pytest.mark.threads
def test_a_request_larger_than_the_queue_waits_for_itself(client):
    texts = [str(i) for i in range(100)]
    small = vectors(client.embeddings.create(model="queue", input=texts))
    assert np.allclose(small, vectors(client.embeddings.create(model="bert", input=texts)),
                       atol=1e-5)


def test_the_longest_text_fits_and_one_token_more_does_not(client):
    answer = client.embeddings.create(model="bert", input=[[5] * CTX, [6]])
    assert answer.usage.prompt_tokens == CTX + 1
    for value in ([[6], [5] * (CTX + 1)], ["x", "x" * 3 * CTX]):
        with pytest.raises(openai.BadRequestError) as e:
            client.embeddings.create(model="bert", input=value)
        assert (e.value.param, e.value.code) == ("input", "context_length_exceeded")
        assert "Input 1 has" in e.value.message and str(CTX) in e.value.message


def test_dimensions_are_taken_where_they_change_nothing(client):
    whole = client.embeddings.create(model="bert", input="x", dimensions=64)
    assert vectors(whole).shape == (1, 64)
    for n in (32, 65):
        with pytest.raises(openai.BadRequestError) as e:
            client.embeddings.create(model="bert", input="x", dimensions=n)
        assert (e.value.param, e.value.code) == ("dimensions", "unsupported_value")
        assert "64" in e.value.message


def test_what_is_ignored_is_named(client):
    raw = client.embeddings.with_raw_response.create(
        model="bert", input="x", user="me", extra_body={"stream": True, "truncate": "END"})
    assert set(raw.headers["x-verdant-ignored"].split(", ")) == {"user", "stream", "truncate"}
    raw = client.embeddings.with_raw_response.create(model="bert", input="x")
    assert "x-verdant-ignored" not in raw.headers


# ---- refusals ------------------------------------------------------------------------------------

BAD = {
    "no model": ({"input": "x"}, "model", "missing_required_parameter"),
    "model type": ({"model": 3, "input": "x"}, "model", "invalid_type"),
    "no input": ({}, "input", "missing_required_parameter"),
    "null input": ({"input": None}, "input", "missing_required_parameter"),
    "empty string": ({"input": ""}, "input", "invalid_value"),
    "an empty string among others": ({"input": ["x", ""]}, "input", "invalid_value"),
    "empty list": ({"input": []}, "input", "empty_array"),
    "empty list of ids": ({"input": [[1], []]}, "input", "invalid_value"),
    "number": ({"input": 3}, "input", "invalid_type"),
    "true": ({"input": True}, "input", "invalid_type"),
    "object": ({"input": {"text": "x"}}, "input", "invalid_type"),
    "list of objects": ({"input": [{"text": "x"}]}, "input", "invalid_type"),
    "null inside": ({"input": ["x", None]}, "input", "invalid_type"),
    "a number among strings": ({"input": ["x", 3]}, "input", "invalid_type"),
    "a string among ids": ({"input": [3, "x"]}, "input", "invalid_value"),
    "ids too deep": ({"input": [[[3]]]}, "input", "invalid_value"),
    "negative id": ({"input": [-1]}, "input", "invalid_value"),
    "id too large": ({"input": [[3], [10**9]]}, "input", "invalid_value"),
    "id beyond 32 bits": ({"input": [2**40]}, "input", "invalid_value"),
    "broken id": ({"input": [3.5]}, "input", "invalid_value"),
    "format": ({"input": "x", "encoding_format": "int8"}, "encoding_format", "invalid_value"),
    "format type": ({"input": "x", "encoding_format": 8}, "encoding_format", "invalid_type"),
    "dimensions type": ({"input": "x", "dimensions": "64"}, "dimensions", "invalid_type"),
    "dimensions 0": ({"input": "x", "dimensions": 0}, "dimensions", "integer_below_min_value"),
    "dimensions huge": ({"input": "x", "dimensions": 2**40}, "dimensions",
                        "integer_above_max_value"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_a_400_that_names_the_field(server, name):
    body, param, code = BAD[name]
    if "model" not in body and name != "no model":
        body = {"model": "bert", **body}
    status, _, answer = server.ask("POST", PATH, body)
    error = answer["error"]
    assert (status, error["param"], error["code"]) == (400, param, code), error
    assert error["type"] == "invalid_request_error" and len(error["message"]) > 10


@pytest.mark.parametrize("model, said", [("text", "made for text"), ("tokens", "per token"),
                                         ("rank", "scores pairs")])
def test_a_model_that_serves_no_embeddings_says_why(client, model, said):
    with pytest.raises(openai.BadRequestError) as e:
        client.embeddings.create(model=model, input="x")
    assert (e.value.param, e.value.code) == ("model", "unsupported_value")
    assert said in e.value.message and f"'{model}'" in e.value.message


def test_an_encoder_makes_no_text(client):
    asks = [lambda: client.chat.completions.create(model="bert", messages=hello()),
            lambda: client.chat.completions.create(model="bert", messages=hello(), stream=True),
            lambda: client.completions.create(model="bert", prompt="x")]
    for ask in asks:
        with pytest.raises(openai.BadRequestError) as e:
            ask()
        assert (e.value.param, e.value.code) == ("model", "unsupported_value")
        assert "/v1/embeddings" in e.value.message


def test_an_unknown_model_is_a_404(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.embeddings.create(model="nobody", input="x")
    assert (e.value.param, e.value.code) == ("model", "model_not_found")


@pytest.mark.threads
def test_other_methods_and_hostile_sizes(server):
    assert server.ask("GET", PATH)[0] == 405
    assert server.ask("POST", PATH, {"model": "bert", "input": "x" * (5 << 20)})[0] == 413
    for value in (["x"] * 200_000, [1] * 500_000, [[1]] * 200_000, "x" * (3 << 20)):
        status, _, answer = server.ask("POST", PATH, {"model": "bert", "input": value})
        assert status == 400 and answer["error"]["param"] == "input"
    deep = b'{"model":"bert","input":' + b"[" * 100 + b"]" * 100 + b"}"
    assert server.ask("POST", PATH, deep)[0] == 400
    assert server.ask("POST", PATH, b'{"model":"bert","input":"\xff"}')[0] == 400
    assert server.ask("POST", PATH, b'{"model":"bert","input":"\\u0000"}')[0] == 400


@pytest.mark.threads
def test_broken_weights_are_a_500_and_no_vector(build, tmp_path):
    path = tmp_path / "nan.gguf"
    builder = tiny_model.Builder(str(path), tiny_model.Config(arch="bert", pooling="mean"))
    add = builder.writer.add_tensor

    def broken(name, data, **more):
        add(name, data * np.float32("nan") if name.endswith("layer_output_norm.bias") else data,
            **more)

    builder.writer.add_tensor = broken
    builder.build()
    with start(build, tmp_path, {"nan": (path, {})}) as server:
        status, _, answer = server.ask("POST", PATH, {"model": "nan", "input": ["x"] * 100})
        assert status == 500 and answer["error"]["type"] == "server_error"
        assert server.ask("GET", "/readyz")[0] == 200


# ---- beside others -------------------------------------------------------------------------------

def metrics(server):
    text = server.ask("GET", "/metrics")[2].decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
            for line in text.splitlines() if line and line[0] != "#"}


@pytest.mark.threads
def test_embeddings_and_chats_of_one_model_at_once(server, client):
    """A decoder computes both in the same steps; neither changes the other."""
    def embed():
        return vectors(client.embeddings.create(model="decoder", input=TEXTS * 20))

    def say():
        return client.chat.completions.create(model="decoder", messages=hello(), max_tokens=30,
                                              temperature=0).choices[0].message.content

    vector, words = embed(), say()
    got, said = [], []
    threads = [threading.Thread(target=lambda: got.append(embed())) for _ in range(3)]
    threads += [threading.Thread(target=lambda: said.append(say())) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(got) == 3 and len(said) == 3
    assert all(np.allclose(g, vector, atol=1e-3) for g in got)
    assert all(s == words for s in said)


def test_embeddings_are_counted(server, client):
    before = metrics(server)
    n = client.embeddings.create(model="bert", input=TEXTS).usage.prompt_tokens
    after = metrics(server)

    def grown(name):
        return after.get(name, 0) - before.get(name, 0)

    assert grown('verdant_http_requests_total{route="/v1/embeddings",status="200"}') == 1
    assert grown("verdant_prompt_tokens_total") == n
    assert grown("verdant_completion_tokens_total") == 0
    assert grown('verdant_sequences_finished_total{end="stop"}') == len(TEXTS)
    assert grown('verdant_engine_prefill_tokens_total{model="bert"}') == n
    assert grown('verdant_energy_joules_total{component="cpu"}') > 0
    booked = [v for k, v in after.items() if k.startswith("verdant_account_joules_total")]
    assert abs(sum(booked) - after["verdant_meter_joules_total"]) < 1e-5


def wait_until_quiet(server, seconds=20):
    end = time.monotonic() + seconds
    while True:
        now = metrics(server)
        busy = sum(v for k, v in now.items()
                   if k.startswith(("verdant_requests_running", "verdant_requests_waiting",
                                    "verdant_http_requests_active", "verdant_kv_tokens_used",
                                    "verdant_http_bodies_bytes")))
        if busy == 0:
            return now
        assert time.monotonic() < end, now
        time.sleep(0.02)


@pytest.mark.threads
def test_a_client_that_leaves_takes_its_texts_with_it(server):
    wait_until_quiet(server)
    before = metrics(server)
    body = {"model": "bert", "input": [[7 + i % 90] * CTX for i in range(1000)]}
    for _ in range(4):
        wait_until_quiet(server)
        with server.connect() as s:
            s.sendall(post(PATH, body))
            while metrics(server)['verdant_requests_running{model="bert"}'] == 0:
                pass
    after = wait_until_quiet(server)
    finished = after['verdant_sequences_finished_total{end="stop"}'] - before.get(
        'verdant_sequences_finished_total{end="stop"}', 0)
    assert after['verdant_sequences_finished_total{end="cancelled"}'] > before.get(
        'verdant_sequences_finished_total{end="cancelled"}', 0)
    assert finished < 4 * 1000, "the rest was never begun"
    assert after["verdant_clients_left_total"] - before["verdant_clients_left_total"] == 4
    assert server.ask("POST", PATH, {"model": "bert", "input": "x"})[0] == 200


@pytest.mark.threads
def test_a_server_that_ends_finishes_what_runs_or_says_that_it_did_not(build, files, tmp_path):
    body = {"model": "bert", "input": [[7 + i % 90] * CTX for i in range(600)]}
    for drain, statuses in ((600, {200}), (0, {200, 503})):
        got = []
        server = start(build, tmp_path, {"bert": files["bert"]}, drain_seconds=max(drain, 1))
        with server:
            ask = threading.Thread(
                target=lambda s=server: got.append(s.ask("POST", PATH, body, timeout=300)))
            ask.start()
            while metrics(server)['verdant_requests_running{model="bert"}'] == 0:
                pass
            if drain == 0:  # a second signal does not wait
                server.process.terminate()
                time.sleep(0.05)
            assert server.stop(timeout=300) == 0
            ask.join()
        status, _, answer = got[0]
        assert status in statuses, answer
        if status == 200:
            assert len(answer["data"]) == 600
        else:
            assert answer["error"]["code"] == "shutting_down"


def test_no_body_is_a_400(server):
    for path in (CHAT, TEXT, PATH):
        assert server.ask("POST", path, b"")[0] == 400
