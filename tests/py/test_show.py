"""`verdant show`: verdicts on right and wrong files, and what it prints of good ones."""
import csv
import json
import struct
import subprocess
import sys

import pytest


def rows(directory):
    with open(directory / "MANIFEST.tsv") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def check_rows(verdant, directory, wanted):
    for row in wanted:
        mode = ["--metadata"] if row["load_mode"] == "metadata-only" else []
        result = verdant("show", directory / row["file"], *mode)
        assert result.returncode == (0 if row["expected"] == "accept" else 1), (row, result)
        if result.returncode == 1:
            assert result.stdout == "" and "byte " in result.stderr, row


@pytest.mark.slow
def test_generated_files_get_their_verdict(verdant, root, tmp_path):
    generator = root / "tests/gen/gguf_malformed.py"
    subprocess.run([sys.executable, generator, tmp_path], check=True)
    all_rows = rows(tmp_path)
    assert len(all_rows) > 1000
    check_rows(verdant, tmp_path, all_rows[::5])  # the unit test walks over all of them
    for row in all_rows[::5]:
        if row["expected"] == "accept":
            result = verdant("show", tmp_path / row["file"], "--metadata", "--json", "--tensors")
            json.loads(result.stdout)


def test_files_of_other_makers_get_their_verdict(verdant, data):
    check_rows(verdant, data / "gguf-malformed", rows(data / "gguf-malformed"))


def test_vocabulary_only_files_of_any_architecture_are_shown(verdant, data):
    files = sorted((data / "tokenizers").glob("*.gguf"))
    assert len(files) >= 9
    for file in files:
        assert "vocabulary" in verdant("show", file).stdout
        shown = json.loads(verdant("show", file, "--json").stdout)
        assert shown["architecture"] and shown["vocabulary"] and shown["n_tensors"] == 0


def gguf(pairs):
    def text(s):
        return struct.pack("<Q", len(s)) + s
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    for key, kind, payload in pairs:
        out += text(key) + struct.pack("<I", kind) + payload
    return out


def test_control_characters_of_a_file_never_reach_the_terminal(verdant, tmp_path):
    evil = b"\x1b]0;title\x07\r\x00\xc2\x9b31m\xff\xe2\x80\xae"
    file = tmp_path / "evil.gguf"
    text = struct.pack("<Q", len(evil)) + evil
    file.write_bytes(gguf([(b"general.name", 8, text), (evil, 9, struct.pack("<IQ", 8, 1) + text)]))
    shown = verdant("show", file, binary=True)
    assert shown.returncode == 0
    assert not any(b in shown.stdout.replace(b"\n", b"") for b in range(0x20))
    assert b"\xc2\x9b" not in shown.stdout and b"\xff" not in shown.stdout
    assert b"\xe2\x80\xae" not in shown.stdout
    metadata = json.loads(verdant("show", file, "--json").stdout)["metadata"]
    assert metadata[0]["value"] == evil.decode(errors="replace")


def test_numbers_that_json_cannot_say_are_strings(verdant, tmp_path):
    file = tmp_path / "numbers.gguf"
    file.write_bytes(gguf([
        (b"nan", 6, struct.pack("<f", float("nan"))), (b"inf", 12, struct.pack("<d", 1e999)),
        (b"max", 10, b"\xff" * 8), (b"min", 11, struct.pack("<q", -2**63)),
        (b"tenth", 6, struct.pack("<f", 0.1)), (b"yes", 7, b"\5")]))
    shown = {kv["key"]: kv["value"] for kv in json.loads(verdant("show", file, "--json").stdout)[
        "metadata"]}
    assert shown == {"nan": "nan", "inf": "inf", "max": str(2**64 - 1), "min": -2**63,
                     "tenth": 0.1, "yes": True}


@pytest.mark.parametrize("args", [[], ["a", "b"], ["--nonsense", "a"]])
def test_misuse_is_told(verdant, args):
    result = verdant("show", *args)
    assert result.returncode == 2 and "--help" in result.stderr


def test_a_model_that_is_not_there_says_what_to_do(verdant, tmp_path):
    result = verdant("show", "smollm2", env={"VERDANT_HOME": str(tmp_path)})
    assert result.returncode == 1 and "verdant pull smollm2" in result.stderr


def test_the_default_model_is_shown_as_it_is(verdant, model):
    shown = json.loads(verdant("show", model, "--json", "--tensors").stdout)
    assert shown["architecture"] == "llama" and shown["parameters"] == 134515008
    assert shown["context_length"] == 8192 and shown["chat_template"] is True
    assert len(shown["tensors"]) == shown["n_tensors"] == 272
    assert sum(t["bytes"] for t in shown["tensors"]) == sum(w["bytes"] for w in shown["weights"])
