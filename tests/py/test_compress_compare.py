"""`verdant compress --compare`: the table before and after, held against eval and bench."""
import json
import re

import pytest
from oracles import tiny_model

WORDS = "the cat sat on a mat and saw the dog run to its red house by the sea "


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    tiny_model.write_model(folder / "tiny.gguf", seed=5, n_embd=256, n_ff=512, n_layer=2, n_ctx=512)
    (folder / "text").write_text(WORDS * 60)
    task = {"question": "the cat sat on", "choices": ["a mat", "red"], "answer": 0}
    (folder / "task.jsonl").write_text((json.dumps(task) + "\n") * 5)
    return folder


def compress(verdant, files, tmp_path, *options):
    return verdant("compress", files / "tiny.gguf", "-o", tmp_path / "out.gguf", "--quant", "Q4_0",
                   *options)


@pytest.fixture(scope="module")
def compared(verdant, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    done = compress(verdant, files, folder, "--compare", files / "text", "--compare-ctx", 64,
                    "--compare-chunks", 3, "--compare-task", files / "task.jsonl",
                    "--compare-limit", 4, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder / "out.gguf"


def test_quality_is_what_eval_says(verdant, files, compared):
    result, target = compared
    compare = result["compare"]
    done = verdant("eval", target, "--text", files / "text", "--against", files / "tiny.gguf",
                   "--base-precision", "fast", "--ctx", 64, "--chunks", 3, "--json")
    eval_ = json.loads(done.stdout)
    assert compare["after"]["ppl"] == pytest.approx(eval_["ppl"], rel=1e-6)
    assert compare["before"]["ppl"] == pytest.approx(eval_["base_ppl"], rel=1e-6)
    for key in ("kl_mean", "kl_stderr", "kl_99", "top1_agreement", "top1_stderr", "n_tokens"):
        assert compare[key] == pytest.approx(eval_[key], rel=1e-5), key
    for side, model in (("before", files / "tiny.gguf"), ("after", target)):
        done = verdant("eval", model, "--task", files / "task.jsonl", "--limit", 4, "--json")
        assert compare[side]["accuracy"] == json.loads(done.stdout)["accuracy"]
    assert compare["n_tasks"] == 4


def test_cost_is_that_of_the_files_and_of_the_run(files, compared):
    result, target = compared
    compare = result["compare"]
    before, after = compare["before"], compare["after"]
    assert before["file_bytes"] == (files / "tiny.gguf").stat().st_size
    assert after["file_bytes"] == target.stat().st_size
    for side in (before, after):
        for key in ("prefill_tok_s", "decode_tok_s", "j_per_tok", "prefill_j_per_tok"):
            assert side[key] > 0, key
        assert 4 << 20 < side["peak_rss_bytes"] < 1 << 30
    saved = before["j_per_tok"] - after["j_per_tok"]
    if saved > 0:
        assert compare["payback_tokens"] == pytest.approx(result["energy"]["total_j"] / saved)
    else:
        assert compare["payback_tokens"] is None


def test_the_table_has_a_row_for_each(verdant, files, tmp_path):
    done = compress(verdant, files, tmp_path, "--compare", files / "text", "--compare-ctx", 64,
                    "--compare-chunks", 2)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("ratio"):]
    for row in ("file", "memory at most", "perplexity", "KL from before", "same likeliest token",
                "reads tokens/s", "writes tokens/s", "J per token written"):
        assert re.search(rf"^{row} +\S", table, re.M), row
    assert "questions right" not in table and "J of the compression" in table


@pytest.mark.parametrize("options, words", [
    (("--compare", "nothing.txt"), "nothing.txt"),
    (("--compare", "TEXT", "--compare-task", "nothing.jsonl"), "nothing.jsonl")])
def test_what_is_not_there_is_said_before_anything_is_written(verdant, files, tmp_path, options,
                                                              words):
    options = [files / "text" if word == "TEXT" else word for word in options]
    done = compress(verdant, files, tmp_path, *options)
    assert done.returncode == 1 and words in done.stderr
    assert not (tmp_path / "out.gguf").exists()


def test_a_text_too_short_is_said_before_anything_is_written(verdant, files, tmp_path):
    (tmp_path / "short").write_text(WORDS)
    done = compress(verdant, files, tmp_path, "--compare", tmp_path / "short", "--compare-ctx", 64)
    assert done.returncode == 1 and "needs 128" in done.stderr
    assert not (tmp_path / "out.gguf").exists()


def test_a_question_too_long_leaves_the_file_that_was_made(verdant, files, tmp_path):
    task = {"question": WORDS * 60, "choices": ["a mat", "red"], "answer": 0}
    (tmp_path / "long.jsonl").write_text(json.dumps(task) + "\n")
    done = compress(verdant, files, tmp_path, "--compare", files / "text", "--compare-ctx", 64,
                    "--compare-task", tmp_path / "long.jsonl")
    assert done.returncode == 1
    assert "is written, but cannot be compared" in done.stderr
    assert (tmp_path / "out.gguf").exists() and "bits per weight" in done.stdout


@pytest.mark.parametrize("options", [("--compare-ctx", 64), ("--compare-task", "x"),
                                     ("--compare", "x", "--compare-ctx", 63),
                                     ("--compare", "x", "--compare-limit", 3)])
def test_options_that_say_nothing_are_misuse(verdant, files, tmp_path, options):
    assert compress(verdant, files, tmp_path, *options).returncode == 2
