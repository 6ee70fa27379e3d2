"""What the API refuses, in OpenAI's words, and what it ignores and says so."""
import openai
import pytest

from serving import CHAT, CTX, TEXT, chat, client_of, hello


@pytest.fixture(scope="module")
def client(tiny_server):
    with client_of(tiny_server) as c:
        yield c


FIELDS = {
    "temperature_high": ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    "temperature_low": ({"temperature": -0.1}, "temperature", "decimal_below_min_value"),
    "temperature_text": ({"temperature": "hot"}, "temperature", "invalid_type"),
    "top_p_high": ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
    "n_zero": ({"n": 0}, "n", "integer_below_min_value"),
    "n_large": ({"n": 129}, "n", "integer_above_max_value"),
    "n_half": ({"n": 1.5}, "n", "invalid_type"),
    "n_true": ({"n": True}, "n", "invalid_type"),
    "max_tokens_zero": ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    "max_tokens_huge": ({"max_tokens": 2**40}, "max_tokens", "integer_above_max_value"),
    "seed_text": ({"seed": "1"}, "seed", "invalid_type"),
    "stop_five": ({"stop": list("abcde")}, "stop", "array_above_max_length"),
    "stop_empty": ({"stop": ""}, "stop", "invalid_value"),
    "stop_number": ({"stop": [1]}, "stop", "invalid_type"),
    "stop_long": ({"stop": "x" * 1025}, "stop", "invalid_value"),
    "bias_list": ({"logit_bias": []}, "logit_bias", "invalid_type"),
    "bias_high": ({"logit_bias": {"1": 101}}, "logit_bias", "invalid_value"),
    "bias_id": ({"logit_bias": {"99999": 1}}, "logit_bias", "invalid_value"),
    "bias_name": ({"logit_bias": {"the": 1}}, "logit_bias", "invalid_value"),
    "bias_negative": ({"logit_bias": {"-1": 1}}, "logit_bias", "invalid_value"),
    "presence": ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value"),
    "frequency": ({"frequency_penalty": 3}, "frequency_penalty", "decimal_above_max_value"),
    "stream_text": ({"stream": "yes"}, "stream", "invalid_type"),
    "options_alone": ({"stream_options": {"include_usage": True}}, "stream_options",
                      "invalid_value"),
    "options_list": ({"stream": True, "stream_options": []}, "stream_options", "invalid_type"),
    "model_number": ({"model": 5}, "model", "invalid_type"),
    "grammar": ({"grammar": "root ::= x"}, "grammar", "unsupported_parameter"),
}
CHAT_FIELDS = {
    "messages_absent": ({"messages": None}, "messages", "missing_required_parameter"),
    "messages_text": ({"messages": "hi"}, "messages", "invalid_type"),
    "messages_empty": ({"messages": []}, "messages", "empty_array"),
    "message_number": ({"messages": [5]}, "messages[0]", "invalid_type"),
    "message_empty": ({"messages": [{}]}, "messages[0].role", "invalid_type"),
    "role_number": ({"messages": [{"role": 5, "content": "x"}]}, "messages[0].role",
                    "invalid_type"),
    "role_tool": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role",
                  "unsupported_value"),
    "content_absent": ({"messages": [{"role": "user"}]}, "messages[0].content",
                       "missing_required_parameter"),
    "content_number": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content",
                       "invalid_type"),
    "image": ({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "http://localhost/x"}}]}]},
        "messages[0].content[0]", "unsupported_value"),
    "part_number": ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]",
                    "invalid_type"),
    "tool_calls": ({"messages": [{"role": "assistant", "content": "x", "tool_calls": [{}]}]},
                   "messages[0].tool_calls", "unsupported_parameter"),
    "tools": ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
    "tool_choice": ({"tool_choice": "required"}, "tool_choice", "unsupported_parameter"),
    "json_object": ({"response_format": {"type": "json_object"}}, "response_format",
                    "unsupported_value"),
    "json_schema": ({"response_format": {"type": "json_schema", "json_schema": {}}},
                    "response_format", "unsupported_value"),
    "format_text": ({"response_format": "text"}, "response_format", "invalid_type"),
    "audio": ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
    "top_alone": ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    "top_many": ({"logprobs": True, "top_logprobs": 21}, "top_logprobs",
                 "integer_above_max_value"),
    "logprobs_number": ({"logprobs": 2}, "logprobs", "invalid_type"),
    "long": ({"messages": [{"role": "user", "content": "x " * CTX}]}, "messages",
             "context_length_exceeded"),
    "long_stream": ({"messages": [{"role": "user", "content": "x " * CTX}], "stream": True},
                    "messages", "context_length_exceeded"),
}
TEXT_FIELDS = {
    "prompt_absent": ({"prompt": None}, "prompt", "missing_required_parameter"),
    "prompt_number": ({"prompt": 5}, "prompt", "invalid_type"),
    "prompt_empty": ({"prompt": ""}, "prompt", "invalid_value"),
    "prompt_none": ({"prompt": []}, "prompt", "empty_array"),
    "prompt_id": ({"prompt": [99999]}, "prompt", "invalid_value"),
    "prompt_negative": ({"prompt": [-1]}, "prompt", "invalid_value"),
    "prompt_huge": ({"prompt": [2**62]}, "prompt", "invalid_value"),
    "prompt_mixed": ({"prompt": [1, "x"]}, "prompt", "invalid_value"),
    "prompt_deep": ({"prompt": [[[1]]]}, "prompt", "invalid_value"),
    "prompts_many": ({"prompt": ["x"] * 129}, "prompt", "integer_above_max_value"),
    "answers_many": ({"prompt": ["x"] * 20, "n": 10}, "n", "integer_above_max_value"),
    "best_of_small": ({"n": 3, "best_of": 2}, "best_of", "invalid_value"),
    "best_of_large": ({"best_of": 21}, "best_of", "integer_above_max_value"),
    "best_of_stream": ({"best_of": 2, "stream": True}, "best_of", "invalid_value"),
    "logprobs_many": ({"logprobs": 6}, "logprobs", "integer_above_max_value"),
    "echo_logprobs": ({"logprobs": 1, "echo": True}, "logprobs", "unsupported_value"),
    "suffix": ({"suffix": "end"}, "suffix", "unsupported_parameter"),
    "long": ({"prompt": [5] * CTX}, "prompt", "context_length_exceeded"),
    "long_stream": ({"prompt": [5] * CTX, "stream": True}, "prompt", "context_length_exceeded"),
}


def check_refusal(server, path, body, param, code):
    status, headers, answer = server.ask("POST", path, body)
    assert status == 400, answer
    error = answer["error"]
    assert set(answer) == {"error"} and set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code), error
    assert error["type"] == "invalid_request_error" and len(error["message"]) > 10
    assert headers["Content-Type"] == "application/json"
    return error


@pytest.mark.parametrize("name", FIELDS)
def test_a_bad_field_is_named(tiny_server, name):
    fields, param, code = FIELDS[name]
    check_refusal(tiny_server, CHAT, {**chat("tiny"), **fields}, param, code)
    check_refusal(tiny_server, TEXT, {"model": "tiny", "prompt": "x", **fields}, param, code)


@pytest.mark.parametrize("name", CHAT_FIELDS)
def test_a_bad_field_of_a_chat_is_named(tiny_server, name):
    fields, param, code = CHAT_FIELDS[name]
    check_refusal(tiny_server, CHAT, {**chat("tiny"), **fields}, param, code)


@pytest.mark.parametrize("name", TEXT_FIELDS)
def test_a_bad_field_of_a_completion_is_named(tiny_server, name):
    fields, param, code = TEXT_FIELDS[name]
    check_refusal(tiny_server, TEXT, {"model": "tiny", "prompt": "x", **fields}, param, code)


BODIES = {
    "empty": b"",
    "text": b"hello",
    "list": b"[]",
    "cut": b'{"model":"tiny",',
    "twice": b'{"model":"tiny","model":"tiny"}',
    "deep": b'{"model":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "bad_utf8": b'{"model":"\xff\xfe"}',
    "half_surrogate": b'{"model":"\\ud83d"}',
    "nul": b'{"model":"a\\u0000b"}',
    "huge_integer": b'{"model":"tiny","n":' + b"9" * 400 + b"}",
    "huge_decimal": b'{"model":"tiny","temperature":1e999}',
    "nan": b'{"model":"tiny","temperature":NaN}',
    "trailing": b'{"model":"tiny"} x',
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_bad_body_is_refused(tiny_server, path, name):
    param = {"huge_integer": "n", "huge_decimal": "temperature", "nan": "temperature",
             "bad_utf8": "model", "half_surrogate": "model", "nul": "model",
             "twice": "model"}.get(name)
    error = check_refusal(tiny_server, path, BODIES[name], param, "invalid_json")
    if name == "deep":
        assert "deep" in error["message"]


def test_the_client_raises_what_it_should(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.chat.completions.create(model="nobody", messages=hello())
    assert (e.value.status_code, e.value.code, e.value.param) == (404, "model_not_found", "model")
    assert "nobody" in e.value.message
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model="tiny", messages=hello("x " * CTX), stream=True)
    assert e.value.code == "context_length_exceeded" and str(CTX) in e.value.message
    with pytest.raises(openai.BadRequestError) as e:
        client.embeddings.create(model="tiny", input="x")
    assert (e.value.code, e.value.param) == ("unsupported_value", "model")
    with pytest.raises(openai.NotFoundError) as e:
        client.images.generate(model="tiny", prompt="x")
    assert e.value.code is None


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_ignored_is_named_and_never_refused(client, stream):
    raw = client.chat.completions.with_raw_response.create(
        model="tiny", max_tokens=2, stream=stream, user="me", store=False,
        messages=[{"role": "user", "content": [{"type": "text", "text": "x", "cache": 1}],
                   "name": "Ann"}, {"role": "user", "content": "y", "name": "Bob"}],
        extra_body={"unheard_of": {"a": [1]}, 'bad"name\r\nX-Evil: 1': 1, "x" * 100: 1,
                    **({"stream_options": {"include_obfuscation": False}} if stream else {})})
    expected = {"user", "store", "unheard_of", "(unprintable)", "messages.name",
                "messages.content.cache"} | ({"stream_options.include_obfuscation"} if stream
                                             else set())
    names = raw.headers["x-verdant-ignored"].split(", ")
    assert set(names) == expected and len(names) == len(expected)
    assert "x-evil" not in raw.headers
    plain = client.chat.completions.with_raw_response.create(
        model="tiny", messages=hello(), max_tokens=2, tools=[], tool_choice="auto",
        response_format={"type": "text"}, modalities=["text"], extra_body={"audio": None})
    assert "x-verdant-ignored" not in plain.headers


def test_a_thousand_unknown_fields_are_no_error(tiny_server):
    body = {**chat("tiny", max_tokens=1), **{f"field_{i}": i for i in range(1000)}}
    status, headers, _ = tiny_server.ask("POST", CHAT, body)
    assert status == 200 and 400 < len(headers["X-Verdant-Ignored"]) < 512
