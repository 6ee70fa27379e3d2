"""docs/api.md names every field, error code and metric there is, and no other."""
import re

from serving import CHAT, chat


def docs(root):
    return (root / "docs" / "api.md").read_text()


def sources(root):
    return {f.name: f.read_text() for f in (root / "src" / "serve").glob("*.c")}


def test_every_metric_is_described(root, tiny_server):
    tiny_server.ask("POST", CHAT, chat("tiny", max_tokens=1))
    shown = set(re.findall(r"^# TYPE (\S+) ", tiny_server.ask("GET", "/metrics")[2].decode(), re.M))
    text = docs(root)
    text = text.replace("`…_refused_total`", "`verdant_http_connections_refused_total`")
    text = text.replace("verdant_engine_{prefill,decode,cached}_tokens_total", " ".join(
        f"`verdant_engine_{x}_tokens_total`" for x in ("prefill", "decode", "cached")))
    described = set(re.findall(r"`((?:verdant|process)_\w+)`", text[text.index("## Metrics"):]))
    assert shown == described


def arguments(text, call, n):
    """The n-th argument of each `call(`, where it is a string."""
    for match in re.finditer(re.escape(call) + r"\(", text):
        depth, found = 0, [""]
        for c in text[match.end():]:
            depth += (c in "([") - (c in ")]")
            if depth < 0 or len(found) > n + 1:
                break
            if c == "," and depth == 0:
                found.append("")
            else:
                found[-1] += c
        if len(found) > n and (word := re.fullmatch(r'\s*"(\w+)"', found[n])):
            yield word[1]


def test_every_error_code_is_described(root):
    used = set()
    for text in sources(root).values():
        used |= {*arguments(text, "vd_api_fail", 2), *arguments(text, "VD_BAD_PARAM", 2),
                 *arguments(text, "REFUSE", 1)}
    assert {"invalid_type", "model_not_found", "bad_framing", "slow_reader"} <= used
    text = docs(root)
    described = set(re.findall(r"`(\w+)`", text))
    assert not used - described
    table = text[text.index("| Status | `code`"):text.index("Every 503 has")]
    rows = [row.split("|")[2] for row in table.splitlines()[2:] if row]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) <= used


def test_every_field_is_described(root):
    text = docs(root)
    requests = text[text.index("## Requests"):text.index("## Answers")]
    for name in ("params.c", "chat.c", "completions.c", "embeddings.c"):
        fields = re.findall(r'\{"(\w+)", VD_FIELD_', sources(root)[name])
        assert len(fields) >= 4
        assert not [f for f in fields if f"`{f}`" not in requests], name
