"""Guessed tokens change no answer: over HTTP, with the books adding up, and on a real model."""
import json
import os

import pytest
from serving import NO_END, TEXT, check_energy, start, tiny_model

PROMPT = "the world and the world and the world and the"
WAYS = [{"temperature": 0}, {"temperature": 0.4, "seed": 3},
        {"temperature": 1, "top_p": 0.6, "seed": 4},
        {"temperature": 0.3, "frequency_penalty": 0.1, "seed": 5}]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("speculate") / "bpe.gguf", vocab="bpe", n_ctx=512,
                      seed=7)


def ask(server, model, **more):
    status, _, body = server.ask("POST", TEXT, {"model": model, "prompt": PROMPT,
                                                "max_tokens": 60, "logit_bias": NO_END, **more})
    assert status == 200, body
    return body


def counter(server, name, model):
    text = server.ask("GET", "/metrics")[2]
    text = text if isinstance(text, str) else text.decode()
    [line] = [x for x in text.splitlines() if x.startswith(f'{name}{{model="{model}"}}')]
    return float(line.split()[-1])


def test_answers_are_those_without_guesses_and_the_books_add_up(build, verdant, tiny, tmp_path):
    models = {"plain": (tiny, {}), "lookup": (tiny, {"speculate": "lookup"}),
              "twin": (tiny, {"draft": str(tiny), "draft_tokens": 4})}
    # Plain C, whose sums do not depend on how many tokens a step has.
    with start(build, tmp_path, models, env={**os.environ, "VERDANT_CPU": "c"}) as server:
        for way in WAYS:
            plain = ask(server, "plain", **way)
            assert plain["usage"]["completion_tokens"] == 60
            for model in ("lookup", "twin"):
                body = ask(server, model, **way)
                assert body["choices"] == plain["choices"]
                check_energy(body["usage"]["energy"])
        assert counter(server, "verdant_engine_draft_tokens_total", "plain") == 0
        taken = counter(server, "verdant_engine_draft_taken_total", "twin")
        assert taken <= counter(server, "verdant_engine_draft_tokens_total", "twin")
        for model in models: # as many answer tokens computed, guessed or not
            assert counter(server, "verdant_engine_decode_tokens_total", model) == 59 * len(WAYS)
    books = verdant("energy", "audit", "--ledger", tmp_path / "ledger.db", "--json")
    assert books.returncode == 0, books.stdout + books.stderr


def test_a_draft_model_of_another_vocabulary_is_refused(verdant, tiny, tmp_path):
    other = tiny_model(tmp_path / "spm.gguf", vocab="spm", n_ctx=512, seed=7)
    result = verdant("run", tiny, "x", "--draft", other)
    assert result.returncode == 1 and result.stdout == ""
    assert "spm.gguf" in result.stderr and "vocabular" in result.stderr
    result = verdant("run", tiny, "x", "--draft", tmp_path / "none.gguf")
    assert result.returncode == 1 and "none.gguf" in result.stderr


def test_what_is_wrong_with_a_draft_model_is_said(verdant, tiny, tmp_path):
    """The tiny model's heads have 16 values, which blocks of 32 do not fit."""
    wide = tiny_model(tmp_path / "wide.gguf", vocab="bpe", n_ctx=512, seed=7, head_dim=32)
    assert verdant("run", wide, "x", "--kv", "q8_0", "--max-tokens", "2").returncode == 0
    result = verdant("run", wide, "x", "--kv", "q8_0", "--draft", tiny)
    assert result.returncode == 1 and "bpe.gguf" in result.stderr and "Q8_0" in result.stderr
    encoder = tiny_model(tmp_path / "encoder.gguf", arch="bert")
    result = verdant("run", encoder, "x", "--draft", tiny)
    assert result.returncode == 1 and "encoder.gguf" in result.stderr
    assert "draft model" in result.stderr


def test_a_fingerprint_names_how_keys_and_values_are_kept_and_no_guesses(build, tiny, tmp_path):
    models = {"plain": (tiny, {}), "guesses": (tiny, {"speculate": "lookup"}),
              "bf16": (tiny, {"kv": "bf16"}), "exact": (tiny, {"exact": True})}
    with start(build, tmp_path, models) as server:
        seen = {name: ask(server, name)["system_fingerprint"] for name in models}
    assert seen.pop("guesses") == seen["plain"]
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize("bad", [("--speculate", "often"), ("--draft-tokens", "17"),
                                 ("--draft-tokens", "0")])
def test_bad_options_are_misuse(verdant, tiny, bad):
    result = verdant("run", tiny, "x", *bad)
    assert result.returncode == 2 and bad[0] in result.stderr and bad[1] in result.stderr


def test_two_ways_to_guess_exclude_each_other(verdant, tiny):
    lookup, draft = ("--speculate", "lookup"), ("--draft", tiny)
    for command in ("run", "bench"):
        for args in ((*lookup, *draft), (*draft, *lookup)):
            result = verdant(command, tiny, *args)
            assert result.returncode == 2 and "exclude each other" in result.stderr
        result = verdant(command, tiny, "--draft-tokens", 4)
        assert result.returncode == 2 and "--draft-tokens needs" in result.stderr
    result = verdant("serve", "--model", tiny, *lookup, *draft)
    assert result.returncode == 2 and "exclude each other" in result.stderr


def test_the_configuration_says_what_excludes_what(verdant, tiny, tmp_path):
    file = tmp_path / "verdant.yaml"
    file.write_text(json.dumps({"models": [{"name": "a", "ref": str(tiny), "speculate": "lookup",
                                            "draft": str(tiny)}]}))
    result = verdant("serve", "--config", file)
    assert result.returncode != 0 and "draft" in result.stderr
    file.write_text(f"models:\n- name: a\n  ref: {tiny}\n  draft: {tmp_path}/none.gguf\n")
    result = verdant("serve", "--config", file)
    assert result.returncode == 1 and "none.gguf" in result.stderr
    assert "verdant.yaml:4: models[0].draft" in result.stderr


def test_a_real_model_writes_the_same_or_parts_at_a_near_tie(build, model, tmp_path):
    """Kernels for few and for many tokens round differently: two tokens that are nearly as likely
    may change places. Nothing else may differ."""
    models = {"plain": (model, {}), "lookup": (model, {"speculate": "lookup"})}
    near = 0.05 # natural logarithm of the odds
    with start(build, tmp_path, models) as server:
        for text in (PROMPT, "Copy: a red fox, a blue whale. A red fox, a blue",
                     "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n"):
            plain, lookup = (ask(server, name, temperature=0, logprobs=2, prompt=text)["choices"][0]
                             for name in models)
            a, b = plain["logprobs"]["tokens"], lookup["logprobs"]["tokens"]
            parts = [i for i in range(min(len(a), len(b))) if a[i] != b[i]]
            if parts:
                first, second = sorted(plain["logprobs"]["top_logprobs"][parts[0]].values())[::-1]
                assert first - second < near, (text, parts[0])
        assert counter(server, "verdant_engine_draft_taken_total", "lookup") > 0
