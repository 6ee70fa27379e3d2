"""The API as its users meet it: the official `openai` client and curl against `verdant serve`.

The models are tiny and random: a bare clone has them, and their text is noise with broken UTF-8 in
it. test_openai_errors.py has what is refused, test_openai_sense.py a model that makes sense."""
import asyncio
import itertools
import json
import math
import shutil
import subprocess

import openai
import pytest

from raw_http import sse
from serving import (CHAT, CTX, END_OF_TEXT, IM_END, IM_START, MODELS, NO_END, TEXT, chat,
                     check_energy, client_of, energy_of, hello, text_of)


@pytest.fixture(scope="module")
def client(tiny_server):
    with client_of(tiny_server) as c:
        yield c


@pytest.fixture(scope="module")
def text_client(tiny_server):
    """Not strict: the client declares `finish_reason` of a completion's chunk as never null, which
    it is at OpenAI too."""
    with client_of(tiny_server, strict=False) as c:
        yield c


# ---- models --------------------------------------------------------------------------------------

def test_models_are_listed_and_found_by_name(client):
    models = client.models.list().data
    assert [m.id for m in models] == MODELS
    for model in models:
        assert model.object == "model" and model.owned_by == "verdant"
        assert model.created > 1_600_000_000 and model.model_extra["context_length"] == CTX
    assert client.models.retrieve("tiny") == models[0]
    assert client.models.retrieve("org/spm") == models[1]
    with pytest.raises(openai.NotFoundError) as e:
        client.models.retrieve("nobody")
    assert e.value.code == "model_not_found" and e.value.param == "model"


# ---- answers -------------------------------------------------------------------------------------

@pytest.mark.parametrize("model", MODELS)
def test_a_chat_answer_has_every_part(client, model):
    answer = client.chat.completions.create(model=model, messages=hello(), max_tokens=5, seed=1)
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert answer.model == model and answer.system_fingerprint.startswith("fp_")
    choice = answer.choices[0]
    assert choice.index == 0 and choice.finish_reason in ("stop", "length")
    assert choice.message.role == "assistant" and choice.message.refusal is None
    assert isinstance(choice.message.content, str) and choice.logprobs is None
    usage = answer.usage
    assert usage.prompt_tokens > 5 and 1 <= usage.completion_tokens <= 5
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    check_energy(energy_of(usage))


@pytest.mark.parametrize("model", MODELS)
def test_a_completion_has_every_part(client, model):
    answer = client.completions.create(model=model, prompt="hello the world", seed=1)
    assert answer.object == "text_completion" and answer.id.startswith("cmpl-")
    assert answer.model == model and answer.system_fingerprint.startswith("fp_")
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens <= 16, "max_tokens is 16 unless given"
    check_energy(energy_of(answer.usage))


def test_max_tokens_by_either_name(client):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = client.chat.completions.create(model="tiny", messages=hello(), logit_bias=NO_END,
                                                **{name: 7})
        assert answer.usage.completion_tokens == 7
        assert answer.choices[0].finish_reason == "length"
    answer = client.chat.completions.create(model="tiny", messages=hello(), logit_bias=NO_END,
                                            max_tokens=50, max_completion_tokens=3)
    assert answer.usage.completion_tokens == 3, "the newer name wins"


def test_an_answer_may_fill_the_context_and_no_more(client):
    answer = client.completions.create(model="tiny", prompt=[5] * (CTX - 10), max_tokens=10_000,
                                       logit_bias=NO_END)
    assert answer.usage.completion_tokens == 10 and answer.choices[0].finish_reason == "length"
    answer = client.chat.completions.create(model="tiny", messages=hello("a" * (CTX - 100)),
                                            logit_bias=NO_END)
    assert answer.usage.total_tokens == CTX, "without max_tokens, until the context is full"


def test_an_end_token_ends_the_answer(client):
    answer = client.completions.create(model="tiny", prompt="x", max_tokens=5,
                                       logit_bias={END_OF_TEXT: 100})
    assert answer.choices[0].finish_reason == "stop" and answer.choices[0].text == ""
    assert answer.usage.completion_tokens == 1


@pytest.mark.parametrize("model", MODELS)
def test_seeds(client, model):
    def text(seed):
        return client.completions.create(model=model, prompt="the", max_tokens=20,
                                         seed=seed).choices[0].text

    assert text(3) == text(3)
    texts = {text(seed) for seed in (3, 4, -1, 2**63 - 1, -2**63)}
    assert len(texts) == 5
    free = {client.completions.create(model=model, prompt="the", max_tokens=20).choices[0].text
            for _ in range(3)}
    assert len(free) == 3, "without a seed each answer is drawn anew"


def test_n_answers_differ_and_the_first_is_that_of_one(client):
    def ask(n):
        return client.completions.create(model="tiny", prompt="the", max_tokens=20, n=n, seed=5)

    four, one = ask(4), ask(1)
    assert [c.index for c in four.choices] == [0, 1, 2, 3]
    assert len({c.text for c in four.choices}) == 4
    assert four.choices[0].text == one.choices[0].text
    assert four.usage.prompt_tokens == one.usage.prompt_tokens
    assert four.usage.completion_tokens > one.usage.completion_tokens


def test_temperature_near_zero_is_greedy(client):
    texts = {client.completions.create(model="tiny", prompt="the", max_tokens=20,
                                       temperature=t).choices[0].text for t in (0, 1e-30, 1e-300)}
    assert len(texts) == 1
    for more in ({"top_p": 1e-9}, {"extra_body": {"top_k": 1}}, {"extra_body": {"min_p": 1}}):
        assert client.completions.create(model="tiny", prompt="the", max_tokens=20,
                                         **more).choices[0].text in texts


# ---- log probabilities ---------------------------------------------------------------------------

@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_chat_logprobs_spell_the_answer(client, model, seed):
    choice = client.chat.completions.create(model=model, messages=hello(), max_tokens=60, seed=seed,
                                            logprobs=True, top_logprobs=4).choices[0]
    tokens = choice.logprobs.content
    assert text_of(tokens) == choice.message.content
    assert choice.logprobs.refusal is None
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 4
        best = [t.logprob for t in token.top_logprobs]
        assert best == sorted(best, reverse=True) and best[0] >= token.logprob
        assert sum(map(math.exp, best)) <= 1.0001
        for t in [token, *token.top_logprobs]:
            if t.bytes is not None and not t.token.startswith("bytes:"):
                assert bytes(t.bytes).decode() == t.token


def test_chat_logprobs_without_top_are_those_with_it(client):
    def ask(**more):
        return client.chat.completions.create(model="tiny", messages=hello(), max_tokens=8, seed=2,
                                              logprobs=True, **more).choices[0].logprobs.content

    assert [t.logprob for t in ask()] == [t.logprob for t in ask(top_logprobs=3)]
    assert all(t.top_logprobs == [] for t in ask())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_completion_logprobs_have_offsets_into_the_text(client, model, seed):
    choice = client.completions.create(model=model, prompt="the", max_tokens=80, seed=seed,
                                       logprobs=2).choices[0]
    found = choice.logprobs
    n = len(found.tokens)
    assert n > 0 and len(found.token_logprobs) == len(found.top_logprobs) == n
    assert len(found.text_offset) == n and found.text_offset == sorted(found.text_offset)
    for token, logprob, top, at in zip(found.tokens, found.token_logprobs, found.top_logprobs,
                                       found.text_offset, strict=True):
        assert logprob <= 0 and top[token] == logprob and 2 <= len(top) <= 3
        if not token.startswith("bytes:") and not token.startswith("<"):
            assert choice.text[at:at + len(token)] == token
    zero = client.completions.create(model=model, prompt="the", max_tokens=80, seed=seed,
                                     logprobs=0).choices[0].logprobs
    assert zero.token_logprobs == found.token_logprobs and not zero.top_logprobs


def test_a_control_token_has_a_name_and_no_text(client):
    choice = client.chat.completions.create(model="tiny", messages=hello(), max_tokens=3,
                                            logprobs=True, logit_bias={IM_START: 100}).choices[0]
    assert choice.message.content == "" and choice.finish_reason == "length"
    assert [(t.token, t.bytes) for t in choice.logprobs.content] == [("<|im_start|>", None)] * 3


# ---- stop ----------------------------------------------------------------------------------------

def greedy(client, model="tiny", **more):
    return client.completions.create(model=model, prompt="a story of", max_tokens=120,
                                     temperature=0, **more)


def stream_text(stream):
    """(text, finish reasons, tokens with log probabilities) of a completion's stream."""
    text, reasons, tokens = "", [], []
    for chunk in stream:
        for c in chunk.choices:
            text += c.text
            reasons += [c.finish_reason] if c.finish_reason else []
            tokens += c.logprobs.tokens if c.logprobs else []
    return text, reasons, tokens


@pytest.mark.parametrize("model", MODELS)
def test_stop_strings_never_show_also_across_tokens(text_client, model):
    whole = greedy(text_client, model, logprobs=0).choices[0]
    starts = whole.logprobs.text_offset
    assert len(whole.text) > 60
    cases = []
    for i in range(3, len(starts) - 3, 3):
        a, b = starts[i] - 1, starts[i] + 2  # a character of one token, two of the next ones
        cases += [whole.text[a:b], whole.text[a:b + 5]]
    cases = [c for c in cases if c.isprintable() and "�" not in c and len(c) > 1]
    assert len(cases) > 5
    for stop in cases:
        expected = whole.text[:whole.text.index(stop)]
        choice = greedy(text_client, model, stop=stop, logprobs=0).choices[0]
        assert choice.text == expected and choice.finish_reason == "stop"
        text, reasons, tokens = stream_text(greedy(text_client, model, stop=[stop, "never"],
                                                   stream=True, logprobs=0))
        assert text == expected and reasons == ["stop"]
        shown = choice.logprobs.tokens if choice.logprobs else []
        assert tokens == shown
        # All tokens that begin in the text, and none that begins behind it.
        assert len(shown) == len([s for s in starts if s < len(expected)])


def test_the_stop_string_that_is_complete_first_wins(client):
    whole = greedy(client).choices[0].text
    early, late = whole[20:23], whole[40:43]
    cut = min(whole.index(early), whole.index(late))
    choice = greedy(client, stop=[late, early, "zzzz", "yyyy"]).choices[0]
    assert choice.text == whole[:cut]


def test_a_stop_that_does_not_come_changes_nothing(client):
    whole = greedy(client).choices[0]
    choice = greedy(client, stop=[whole.text[-3:] + "#", "a story of"]).choices[0]
    assert choice.text == whole.text and choice.finish_reason == whole.finish_reason


# ---- bias and penalties --------------------------------------------------------------------------

def test_logit_bias_bans_and_forces(client):
    plain = greedy(client, logprobs=0).choices[0]
    first = client.chat.completions.create(model="tiny", messages=hello(), max_tokens=1,
                                           temperature=0, logprobs=True).choices[0]
    letter = ord("Q")
    forced = greedy(client, logit_bias={letter: 100}).choices[0]
    assert forced.text == "Q" * 120 and plain.text != forced.text
    banned = greedy(client, logit_bias={letter: -100, str(letter + 1): 100}).choices[0]
    assert banned.text == "R" * 120
    assert first.logprobs.content, "log probabilities are of the model, not of the bias"
    with_bias = client.completions.create(model="tiny", prompt="a story of", max_tokens=1,
                                          logit_bias={letter: 100}, logprobs=0).choices[0]
    assert with_bias.logprobs.token_logprobs[0] < -0.1


def test_penalties_spread_the_tokens(client):
    few = {ord(c): 100 for c in "ABCDE"}

    def counts(**more):
        text = client.completions.create(model="tiny", prompt="x", max_tokens=100, temperature=0,
                                         logit_bias=few, **more).choices[0].text
        assert len(text) == 100 and set(text) <= set("ABCDE")
        return sorted(text.count(c) for c in "ABCDE")

    spread = counts(frequency_penalty=2)
    assert spread[-1] - spread[0] < counts()[-1] - counts()[0]
    assert spread[-1] - spread[0] <= 8
    hoard = counts(frequency_penalty=-2)
    assert hoard[-1] > 90
    assert counts(extra_body={"repetition_penalty": 1.5}) != counts()

    # What was said weighs 2 less (or more) from then on: more (or fewer) letters are said.
    def kinds(penalty):
        texts = [client.completions.create(model="tiny", prompt=p, max_tokens=60, temperature=0,
                                           logit_bias=few, presence_penalty=penalty).choices[0].text
                 for p in "xyz"]
        return sum(len(set(text)) for text in texts)

    assert kinds(2) > kinds(-2)


# ---- streams -------------------------------------------------------------------------------------

@pytest.mark.parametrize("model", MODELS)
def test_a_chat_stream_says_what_the_whole_answer_says(client, model):
    ask = {"model": model, "messages": hello(), "max_tokens": 60, "temperature": 0}
    whole = client.chat.completions.create(**ask)
    chunks = list(client.chat.completions.create(**ask, stream=True))
    assert len({(c.id, c.created, c.model, c.system_fingerprint, c.object) for c in chunks}) == 1
    assert chunks[0].object == "chat.completion.chunk"
    deltas = [c.choices[0].delta for c in chunks]
    assert deltas[0].role == "assistant" and deltas[0].content == ""
    assert all(d.role is None for d in deltas[1:])
    assert "".join(d.content or "" for d in deltas) == whole.choices[0].message.content
    reasons = [c.choices[0].finish_reason for c in chunks]
    assert reasons[-1] == whole.choices[0].finish_reason and not any(reasons[:-1])
    assert deltas[-1].content is None, "the last chunk carries no text"
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    check_energy(energy_of(chunks[-1].usage))


@pytest.mark.parametrize("n", [1, 3])
def test_include_usage_adds_one_chunk(client, n):
    ask = {"model": "tiny", "messages": hello(), "max_tokens": 9, "seed": 1, "n": n}
    chunks = list(client.chat.completions.create(**ask, stream=True,
                                                 stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and all(len(c.choices) == 1 for c in chunks[:-1])
    assert all(c.usage is None for c in chunks[:-1])
    whole = client.chat.completions.create(**ask)
    for field in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert getattr(chunks[-1].usage, field) == getattr(whole.usage, field)
    check_energy(energy_of(chunks[-1].usage))
    texts = [""] * n
    for c in itertools.chain.from_iterable(c.choices for c in chunks):
        texts[c.index] += c.delta.content or ""
    assert texts == [c.message.content for c in whole.choices]


def test_without_include_usage_the_last_chunk_of_all_carries_it(client):
    chunks = list(client.chat.completions.create(model="tiny", messages=hello(), max_tokens=9,
                                                 n=3, stream=True))
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert sum(1 for c in chunks if c.choices[0].finish_reason) == 3


@pytest.mark.parametrize("model", MODELS)
def test_a_completion_stream_says_what_the_whole_answer_says(text_client, model):
    whole = greedy(text_client, model, logprobs=1).choices[0]
    text, reasons, tokens = stream_text(greedy(text_client, model, logprobs=1, stream=True))
    assert text == whole.text and reasons == [whole.finish_reason]
    assert tokens == whole.logprobs.tokens


def test_the_stream_helper_of_the_client_works(client):
    # The helper raises where an answer is cut by its length, so this one stops by itself.
    ask = {"model": "tiny", "messages": hello(), "seed": 3, "logit_bias": {IM_END: 2.5}}
    with client.chat.completions.stream(**ask, logprobs=True,
                                        stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds and "content.done" in kinds
    whole = client.chat.completions.create(**ask)
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"
    check_energy(energy_of(final.usage))


EMOJI = "\N{GRINNING FACE}"


def test_a_character_is_never_halved(client, tiny_server):
    """Only the four bytes of an emoji may be drawn: now and then they fall into place."""
    bias = {str(b): 100 for b in EMOJI.encode()}  # ids 0-255 are the bytes
    ask = {"model": "tiny", "messages": hello(), "max_tokens": 1500, "seed": 11, "temperature": 2,
           "logit_bias": bias, "logprobs": True}
    status, _, raw = tiny_server.ask("POST", CHAT, {**ask, "stream": True})
    assert status == 200
    events = [json.loads(e) for e in sse(raw.decode()) if e != "[DONE]"]  # decode() is strict
    pieces = [e["choices"][0]["delta"].get("content", "") for e in events]
    assert EMOJI in pieces, "no emoji in 1,500 tokens: choose another seed"
    whole = client.chat.completions.create(**ask).choices[0]
    assert "".join(pieces) == whole.message.content == text_of(whole.logprobs.content)


# ---- the cache -----------------------------------------------------------------------------------

def test_cached_tokens_are_exact_on_a_repeat(client):
    ask = {"model": "tiny", "messages": hello("something only this test says " * 8),
           "max_tokens": 4, "seed": 1}
    first, second = (client.chat.completions.create(**ask) for _ in range(2))
    assert first.usage.prompt_tokens_details.cached_tokens < 16
    n = second.usage.prompt_tokens
    # Whole pages of 16; the last token is always computed, for its logits.
    assert second.usage.prompt_tokens_details.cached_tokens == (n - 1) // 16 * 16
    assert second.choices[0].message.content == first.choices[0].message.content
    chunks = list(client.chat.completions.create(**ask, stream=True))
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens == (n - 1) // 16 * 16


# ---- the kinds of prompts ------------------------------------------------------------------------

def test_prompts_as_string_strings_tokens_and_mixed(client):
    def texts(prompt, **more):
        return client.completions.create(model="tiny", prompt=prompt, temperature=0, max_tokens=9,
                                         **more)

    ids = [ord(c) for c in "zq"]
    one, two = texts("zq"), texts("xj")
    assert texts(ids).choices[0].text == one.choices[0].text, "tokens of the same bytes"
    both = texts(["zq", "xj"])
    assert [c.text for c in both.choices] == [one.choices[0].text, two.choices[0].text]
    assert [c.index for c in both.choices] == [0, 1]
    assert both.usage.prompt_tokens == one.usage.prompt_tokens + two.usage.prompt_tokens
    assert [c.text for c in texts([ids, ids]).choices] == [one.choices[0].text] * 2
    mixed = texts(["xj", ids])
    assert [c.text for c in mixed.choices] == [two.choices[0].text, one.choices[0].text]
    pairs = texts(["zq", "xj"], n=2)
    assert [c.index for c in pairs.choices] == [0, 1, 2, 3]
    assert pairs.choices[0].text == pairs.choices[1].text == one.choices[0].text
    assert pairs.choices[2].text == two.choices[0].text


def test_echo_puts_the_prompt_in_front(text_client):
    plain = greedy(text_client).choices[0].text
    assert greedy(text_client, echo=True).choices[0].text == "a story of" + plain
    assert stream_text(greedy(text_client, echo=True, stream=True))[0] == "a story of" + plain
    ids = [ord(c) for c in "zq"]
    answer = text_client.completions.create(model="tiny", prompt=ids, echo=True, max_tokens=1)
    assert answer.choices[0].text.startswith("zq")


def test_best_of_shows_the_likeliest(client):
    ask = {"model": "tiny", "prompt": "the", "max_tokens": 12, "seed": 9, "logprobs": 0,
           "logit_bias": NO_END}
    four = client.completions.create(**ask, n=4).choices

    def mean(choice):
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    ranked = sorted(four, key=mean, reverse=True)
    best = client.completions.create(**ask, best_of=4, n=2)
    assert [c.text for c in best.choices] == [c.text for c in ranked[:2]]
    assert [c.index for c in best.choices] == [0, 1]
    assert best.usage.completion_tokens == sum(len(c.logprobs.tokens) for c in four), "all four"


# ---- messages ------------------------------------------------------------------------------------

def test_a_developer_is_the_system(client):
    def ask(role):
        return client.chat.completions.create(
            model="tiny", temperature=0, max_tokens=20,
            messages=[{"role": role, "content": "be brief"}, *hello()])

    developer, system = ask("developer"), ask("system")
    assert developer.choices[0].message.content == system.choices[0].message.content
    assert developer.usage.prompt_tokens == system.usage.prompt_tokens


def test_text_parts_are_lines(client):
    def ask(content):
        return client.chat.completions.create(model="tiny", temperature=0, max_tokens=20,
                                              messages=hello(content))

    parts = ask([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}])
    plain = ask("one\ntwo")
    assert parts.choices[0].message.content == plain.choices[0].message.content
    assert parts.usage.prompt_tokens == plain.usage.prompt_tokens


@pytest.mark.parametrize("name", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"])
def test_special_tokens_in_a_message_stay_text(client, name):
    def n_tokens(content):
        return client.chat.completions.create(model="tiny", messages=hello(content),
                                              max_tokens=1).usage.prompt_tokens

    # "|" is never merged in this vocabulary, so the inner word counts by itself.
    inner = n_tokens("|" + name[2:-2] + "|") - n_tokens("")
    assert n_tokens(name) - n_tokens("") == inner + 2
    assert client.completions.create(model="tiny", prompt=name,
                                     max_tokens=1).usage.prompt_tokens == inner + 2


# ---- other clients -------------------------------------------------------------------------------

@pytest.mark.threads
def test_many_answers_at_once(tiny_server):
    """The asynchronous client: each answer is complete, whoever else is there."""
    async def run():
        async with openai.AsyncOpenAI(api_key="none", base_url=tiny_server.url + "/v1",
                                      _strict_response_validation=True) as client:
            return await asyncio.gather(*(
                client.chat.completions.create(model=MODELS[i % 2], messages=hello(f"number {i}"),
                                               max_tokens=10, n=1 + i % 3) for i in range(60)))

    for i, answer in enumerate(asyncio.run(run())):
        assert len(answer.choices) == 1 + i % 3
        check_energy(energy_of(answer.usage))


@pytest.mark.threads
def test_curl_asks_and_streams(tiny_server):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def curl(*args):
        return subprocess.run(["curl", "-sS", "--fail-with-body", "--max-time", "30", *args],
                              capture_output=True, text=True)

    body = chat("tiny", max_tokens=4, temperature=0)
    done = curl(tiny_server.url + CHAT, "-H", "Content-Type: application/json",
                "-d", json.dumps(body))
    whole = json.loads(done.stdout)
    check_energy(whole["usage"]["energy"])
    done = curl("-N", tiny_server.url + CHAT, "-d", json.dumps({**body, "stream": True}))
    events = sse(done.stdout)
    assert events[-1] == "[DONE]"
    text = "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in events[:-1])
    assert text == whole["choices"][0]["message"]["content"]
    done = curl(tiny_server.url + CHAT, "-d", "{}")
    assert done.returncode == 22 and json.loads(done.stdout)["error"]["param"] == "model"
