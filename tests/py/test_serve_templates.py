"""What a client sees of the chat template: its own words when it refuses, and its limits."""

import subprocess
import sys
import time

import openai
import pytest

pytest.importorskip("gguf")
from serving import chat, client_of, start, tiny_model  # noqa: E402

PICKY = """{%- for m in messages %}
{%- if m.role == 'system' %}{{ raise_exception('no “system” here, please') }}{% endif %}
{%- if m.content == 'endless' %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}
{%- endfor %}{% endif %}
{%- if m.content == 'huge' %}{{ 'x' * 10 ** 12 }}{% endif %}
{%- if m.content == 'broken' %}{{ m.nothing.at_all }}{% endif %}
{{- m.content }}{% endfor %}"""


@pytest.fixture(scope="module")
def client(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("picky")
    plain = tiny_model(folder / "plain.gguf", vocab="bpe")
    subprocess.run([sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--chat-template",
                    PICKY, plain, folder / "picky.gguf"], check=True, capture_output=True)
    server = start(build, folder, {"picky": (folder / "picky.gguf", {})})
    with client_of(server) as c:
        yield c
    server.stop()


def refusal(client, **request):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(max_tokens=1, **request)
    return refused.value


def test_what_the_template_raises_is_a_400_in_its_own_words(client):
    for stream in (False, True):
        error = refusal(client, model="picky", stream=stream, messages=[
            {"role": "system", "content": "x"}, {"role": "user", "content": "hello"}])
        assert error.type == "invalid_request_error"
        assert "no “system” here, please" in error.body["message"]


def test_a_mistake_of_the_template_says_where(client):
    assert "line 6" in refusal(client, **chat("picky", "broken")).body["message"]


@pytest.mark.parametrize("content", ["endless", "huge"])
def test_a_template_beyond_its_limits_ends_soon_and_the_server_goes_on(client, content):
    begin = time.monotonic()
    assert refusal(client, **chat("picky", content)).body["message"]
    assert time.monotonic() - begin < 30
    answer = client.chat.completions.create(max_tokens=1, **chat("picky", "hello"))
    assert answer.usage.completion_tokens == 1
