"""`verdant eval` against NumPy in double precision: divergence from a base, multiple choice."""

import bz2
import json
import random
import signal
import subprocess

import numpy as np
import oracles
import pytest
import writing
from oracles import metrics, multiple_choice, numpy_forward, tiny_model

EXACT_TASK = ("--precision", "exact", "--kv", "f32", "-t", 1)
EXACT = (*EXACT_TASK, "--base-precision", "exact")
TEXT = "the river and the boat were not for you. he and she are in it, his and her own. " * 30


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Paths of two tiny models with one vocabulary, the second the first in four bits."""
    folder = tmp_path_factory.mktemp("eval")
    for name, kind in (("base", "F32"), ("other", "Q4_0")):
        tiny_model.write_model(folder / f"{name}.gguf", vocab="bpe", type=kind)
    return folder / "base.gguf", folder / "other.gguf"


def test_divergence_from_a_base_is_numpys(two, verdant, tmp_path):
    base, other = two
    text = tmp_path / "text"
    text.write_text(TEXT)
    ids = json.loads(verdant("tokenize", base, "--file", text, "--json").stdout)["ids"]
    mine, theirs = numpy_forward.Model(other), numpy_forward.Model(base)
    want = metrics.perplexity(
        lambda chunk, first: mine.logits(chunk)[first:],
        ids,
        ctx=48,
        n_chunks=3,
        base_logits_of=lambda chunk, first: theirs.logits(chunk)[first:],
    )
    result = verdant(
        *("eval", other, "--text", text, "--against", base, "--ctx", 48, "--chunks", 3),
        *("--json", *EXACT),
    )
    assert result.returncode == 0, result.stderr
    got = json.loads(result.stdout)
    for key in ("ppl", "ppl_stderr", "kl_mean", "kl_stderr"):
        assert got[key] == pytest.approx(want[key], rel=1e-4), key
    assert got["kl_99"] == pytest.approx(want["kl_p99"], rel=1e-4)
    assert got["top1_agreement"] == pytest.approx(want["top1_agreement"])
    n = want["n_tokens"]
    assert 0 < want["top1_agreement"] < 1, "the models are too alike, or too different, to test"
    spread = np.sqrt(want["top1_agreement"] * (1 - want["top1_agreement"]) / (n - 1))
    assert got["top1_stderr"] == pytest.approx(spread)
    assert got["base_ppl"] == pytest.approx(
        metrics.perplexity(lambda c, first: theirs.logits(c)[first:], ids, 48, 3)["ppl"], rel=1e-4
    )


def test_a_model_against_itself_does_not_diverge(two, verdant, tmp_path):
    text = tmp_path / "text"
    text.write_text(TEXT)
    args = ("eval", two[0], "--text", text, "--against", two[0], "--ctx", 48, "--chunks", 2)
    got = json.loads(verdant(*args, "--json", *EXACT).stdout)
    assert got["kl_mean"] == got["kl_99"] == 0
    assert got["top1_agreement"] == 1 and got["top1_stderr"] == 0
    assert got["ppl"] == got["base_ppl"]
    shown = verdant(*args, *EXACT).stdout
    assert "99 % KL" in shown and "100.00 +- 0.00 %" in shown


def test_coarser_keys_and_values_diverge_more(verdant, model, tmp_path):
    text = tmp_path / "text"
    text.write_text(TEXT)
    kl = {}
    for kind in ("f32", "f16", "q8_0", "q4_0"):
        result = verdant(
            *("eval", model, "--text", text, "--against", model, "--ctx", 96, "--chunks", 1),
            *("--kv", kind, "--base-kv", "f32", "--base-precision", "fast", "--json"),
        )
        assert result.returncode == 0, result.stderr
        kl[kind] = json.loads(result.stdout)["kl_mean"]
    assert kl["f32"] < 1e-9
    assert kl["f32"] < kl["f16"] < kl["q8_0"] < kl["q4_0"] < 1
    wrong = verdant("eval", model, "--text", text, "--kv", "q5_0")
    assert wrong.returncode == 2 and "expected f16, bf16, f32, q8_0 or q4_0" in wrong.stderr


def test_options_of_the_base_are_its_own(verdant, tmp_path):
    wrong = verdant("eval", "m", "--text", tmp_path, "--against", "m", "--base-kv", "q5_0")
    assert wrong.returncode == 2 and "--base-kv is 'q5_0'" in wrong.stderr
    for args in (("--base-kv", "f32"), ("--base-precision", "fast")):
        alone = verdant("eval", "m", "--text", tmp_path, *args)
        assert alone.returncode == 2 and "--against" in alone.stderr


@pytest.mark.parametrize(
    "token,instead,status", [("the", "thx", 1), ("<|im_start|>", "<|im_begin|>", 0)]
)
def test_tokens_of_the_text_mean_the_same_to_the_base(
    two, verdant, tmp_path, token, instead, status
):
    """Those that the text does not have may differ, as reserved ones of a chat version do."""
    base, text = tmp_path / "base.gguf", tmp_path / "text"
    text.write_text(TEXT)
    entry = [len(t.encode()).to_bytes(8, "little") + t.encode() for t in (token, instead)]
    raw = two[0].read_bytes()
    assert raw.count(entry[0]) == 1
    base.write_bytes(raw.replace(*entry))
    args = ("--text", text, "--against", base, "--ctx", 48, "--chunks", 2)
    result = verdant("eval", two[0], *args)
    assert result.returncode == status, result.stderr
    assert ("another text in the base" in result.stderr) == (status == 1)


def test_chunks_beyond_what_the_model_was_trained_for_are_noted(two, verdant, tmp_path):
    text = tmp_path / "text"
    text.write_text(TEXT)
    for ctx, noted in ((256, False), (258, True)):
        result = verdant("eval", two[0], "--text", text, "--ctx", ctx)
        assert result.returncode == 0, result.stderr
        assert ("trained for 256 tokens" in result.stderr) == noted


# ---- questions with choices -------------------------------------------------------------------

WORDS = (
    "the river boat was not for you and her his that with are all on in is it of to he she they "
    "an old small green house went down at night when it rained"
).split()


@pytest.fixture(scope="module", params=["spm", "bpe"])
def tiny(request, tmp_path_factory):
    """A tiny model (spm's vocabulary adds BOS, bpe's does not)."""
    path = tmp_path_factory.mktemp("tasks") / f"{request.param}.gguf"
    tiny_model.write_model(path, vocab=request.param, seed=3)
    return path


def made_up_tasks(n, seed=4):
    """[(question, choices, answer)]; some choices begin alike, some are equal or prefixes."""
    rng = random.Random(seed)

    def some(low, high):
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))

    tasks = []
    for i in range(n):
        choices = [some(1, 7) for _ in range(rng.randint(2, 5))]
        if i % 4 == 1:
            choices = [f"the boat {choice}" for choice in choices]
        if i % 4 == 2:
            choices[1] = choices[0] + " " + choices[1]
        if i % 4 == 3:
            choices[1] = choices[0]
        tasks.append((some(3, 30), choices, rng.randrange(len(choices))))
    return tasks


def numpy_answers(verdant, path, prompts):
    """prompts: per task the whole texts. Per task [(sum, count)], in float64."""
    model = numpy_forward.Model(path)
    out = []
    for texts in prompts:
        tokens = [json.loads(verdant("tokenize", path, t, "--json").stdout)["ids"] for t in texts]
        shared = 0
        while shared + 1 < min(map(len, tokens)) and len({ids[shared] for ids in tokens}) == 1:
            shared += 1
        scores = []
        for ids in tokens:
            rows = metrics.log_softmax(model.logits(ids)[shared - 1 : -1])
            scores.append((rows[np.arange(len(rows)), ids[shared:]].sum(), len(rows)))
        out.append(scores)
    return out


def run_tasks(verdant, path, file, scores, *options):
    result = verdant("eval", path, "--task", file, "--json", "--scores", scores, *options)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout), [json.loads(line) for line in scores.read_text().splitlines()]


def check(got, rows, want, tasks):
    """got, rows: what verdant says; want: per task [(sum, count)]."""
    right, right_norm = [], []
    for row, scores, (_, _, answers) in zip(rows, want, tasks, strict=True):
        assert row["log_probs"] == pytest.approx([s for s, _ in scores], abs=2e-4)
        assert row["n_tokens"] == [n for _, n in scores]
        sums = [s for s, _ in scores]
        means = [s / n for s, n in scores]
        right.append(sums.index(max(sums)) in answers)
        right_norm.append(means.index(max(means)) in answers)
    n = len(tasks)
    for key, hits, error in (
        ("accuracy", right, "stderr"),
        ("accuracy_norm", right_norm, "stderr_norm"),
    ):
        share = np.mean(hits)
        assert got[key] == pytest.approx(share), key
        assert got[error] == pytest.approx(np.std(hits, ddof=1) / np.sqrt(n)), key
    assert 0 < np.mean(right) < 1 and right != right_norm, "these tasks test nothing"
    assert got["n"] == n
    assert got["chance"] == pytest.approx(np.mean([len(a) / len(c) for _, c, a in tasks]))


@pytest.mark.slow
def test_answers_are_numpys(tiny, verdant, tmp_path):
    tasks = made_up_tasks(16)
    file = tmp_path / "tasks.jsonl"
    file.write_text(
        "\n\n".join(
            json.dumps({"question": q, "choices": c, "answer": a, "id": 7}) for q, c, a in tasks
        )
    )
    want = numpy_answers(verdant, tiny, [[f"{q} {x}" for x in c] for q, c, _ in tasks])
    got, rows = run_tasks(verdant, tiny, file, tmp_path / "scores", *EXACT_TASK)
    check(got, rows, want, [(q, c, {a}) for q, c, a in tasks])
    assert [row["line"] for row in rows] == list(range(1, 32, 2))
    few, some_rows = run_tasks(
        verdant, tiny, file, tmp_path / "few", "--limit", 7, *EXACT_TASK, "-t", 2
    )
    assert few["n"] == 7 and [r["line"] for r in some_rows] == [r["line"] for r in rows[:7]]


@pytest.mark.slow
def test_bare_questions_are_asked_as_questions(tiny, verdant, tmp_path):
    tasks = [(q, c, {a, 0}) for q, c, a in made_up_tasks(12, seed=5)]
    file = tmp_path / "arc.jsonl"
    with file.open("w") as f:
        for q, c, answers in tasks:
            task = {"centerpiece": q, "options": c, "correct_options_idx": sorted(answers)}
            f.write(json.dumps(task) + "\n")
    for options, form in (((), "Question: {}\nAnswer: {}"), (("--format", "plain"), "{} {}")):
        want = numpy_answers(verdant, tiny, [[form.format(q, x) for x in c] for q, c, _ in tasks])
        got, rows = run_tasks(verdant, tiny, file, tmp_path / "scores", *options, *EXACT_TASK)
        check(got, rows, want, tasks)
        assert got["format"] == ("plain" if options else "qa")


@pytest.mark.slow
def test_hellaswags_text_is_read_packed_and_plain(tiny, verdant, tmp_path):
    tasks = [(q, (c * 4)[:4], a % 4) for q, c, a in made_up_tasks(12, seed=6)]
    text = "".join(f"{q}\n{a}\n" + "".join(f"{x}\n" for x in c) for q, c, a in tasks)
    plain, packed = tmp_path / "h.txt", tmp_path / "h.txt.bz2"
    plain.write_text(text)
    packed.write_bytes(bz2.compress(text.encode()))
    want = numpy_answers(verdant, tiny, [[f"{q} {x}" for x in c] for q, c, _ in tasks])
    got, rows = run_tasks(verdant, tiny, packed, tmp_path / "scores", *EXACT_TASK)
    check(got, rows, want, [(q, c, {a}) for q, c, a in tasks])
    _, same = run_tasks(verdant, tiny, plain, tmp_path / "scores", *EXACT_TASK)
    assert same == rows
    _, drawn = run_tasks(
        verdant, tiny, plain, tmp_path / "scores", "--draw", "--limit", 5, *EXACT_TASK
    )
    assert [(r["line"] - 1) // 6 for r in drawn] == multiple_choice.drawn(12, 5)


def test_tasks_that_are_wrong_are_refused_with_their_line(tiny, verdant, tmp_path):
    good = json.dumps({"question": "the", "choices": ["boat", "river"], "answer": 0}) + "\n"
    for bad, word in (
        (good + "\n" + good[:-4], ":3: bad JSON"),
        (good + json.dumps({"question": "a", "choices": ["b"], "answer": 0}), ":2: "),
        (good + json.dumps({"question": "a" * 4000, "choices": ["b", "c"], "answer": 0}), "line 2"),
        ("", "no task"),
    ):
        file = tmp_path / "bad.jsonl"
        file.write_text(bad)
        result = verdant("eval", tiny, "--task", file, "--scores", tmp_path / "scores")
        assert result.returncode == 1 and word in result.stderr, result.stderr
        assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.jsonl"]
    file.write_bytes(bz2.compress(good.encode() * 50)[:-10])
    result = verdant("eval", tiny, "--task", file)
    assert result.returncode == 1 and "cut short" in result.stderr
    assert verdant("eval", tiny, "--task", tmp_path / "absent").returncode == 1


def test_scores_are_never_written_over_what_is_read(tiny, verdant, tmp_path):
    task = {"question": "the", "choices": ["boat", "river"], "answer": 0}
    tasks, model = tmp_path / "tasks.jsonl", tmp_path / "m.gguf"
    tasks.write_text(json.dumps(task) + "\n")
    model.symlink_to(tiny)
    before = tiny.read_bytes()
    for target in (tasks, model, tiny):
        result = verdant("eval", tiny, "--task", tasks, "--scores", target)
        assert result.returncode == 1 and "another file" in result.stderr
    result = verdant("logits", tiny, "--ids", "1,2", "-o", model)
    assert result.returncode == 1 and "itself" in result.stderr
    assert tiny.read_bytes() == before
    assert json.loads(tasks.read_text()) == task


def test_an_interrupted_run_leaves_no_scores(tiny, build, tmp_path):
    writing.need_nameless_files(tmp_path)
    tasks, folder = tmp_path / "tasks.jsonl", tmp_path / "scores"
    task = {"question": "the river " * 30, "choices": ["boat", "river"], "answer": 0}
    tasks.write_text((json.dumps(task) + "\n") * 5000)
    folder.mkdir()
    command = [build / "verdant", "eval", tiny, "--task", tasks, "--scores", folder / "s"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    writing.wait_until(process, folder)
    process.send_signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    assert list(folder.iterdir()) == []


def test_options_of_texts_and_tasks_do_not_mix(tiny, verdant, tmp_path):
    for args in (
        (),
        ("--text", "a", "--task", "b"),
        ("--task", "b", "--ctx", 64),
        ("--task", "b", "--against", tiny),
        ("--text", "b", "--limit", 1),
        ("--text", "b", "--draw"),
        ("--task", "b", "--format", "odd"),
        ("--task", "b", "--limit", 0),
    ):
        assert verdant("eval", tiny, *args).returncode == 2, args


@pytest.mark.parametrize("name", ["arc-easy.jsonl", "piqa.jsonl"])
def test_real_tasks_are_read(verdant, data, tmp_path, name):
    """All of the file; 200 of them are computed."""
    model, file = tmp_path / "m.gguf", data / "tasks" / name
    tiny_model.write_model(model, vocab="spm", n_ctx=2048)
    got, rows = run_tasks(verdant, model, file, tmp_path / "scores", "-t", 1, "--limit", 200)
    tasks = [json.loads(line) for line in file.read_text().splitlines()[:200]]
    assert [len(row["log_probs"]) for row in rows] == [len(t["options"]) for t in tasks]
    assert got["accuracy"] == np.mean(
        [r["picked"] in t["correct_options_idx"] for r, t in zip(rows, tasks, strict=True)]
    )


def hellaswag_drawn(data, n):
    """(file, the n tasks of it that llama-perplexity draws)"""
    file = data / "tasks" / "hellaswag_val_full.txt.bz2"
    tasks = multiple_choice.read_hellaswag(file)
    return file, [tasks[i] for i in multiple_choice.drawn(len(tasks), n)]


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """The model's weights in F32."""
    path = tmp_path_factory.mktemp("whole") / "f32.gguf"
    oracles.dequantize.dequantize_file(model, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hellaswag_val_full.txt.bz2", "arc-easy.jsonl", "piqa.jsonl"])
def test_choices_are_scored_as_llama_cpp_scores_them(verdant, model, whole, data, tmp_path, name):
    """Whole weights and no rounded activation on either side: what is left is summation order."""
    oracles.need_peer()
    n, form, draw = 8, multiple_choice.QA, ()
    if name.startswith("hellaswag"):
        file, tasks = hellaswag_drawn(data, n)
        form, draw = multiple_choice.PLAIN, ("--draw",)
    else:
        file = data / "tasks" / name
        tasks = multiple_choice.read_options(file)[:n]
    theirs = multiple_choice.run(whole, tasks, threads=1, kv="f32", flash=False, form=form)
    options = (*draw, "--limit", n, *EXACT_TASK)
    _, rows = run_tasks(verdant, model, file, tmp_path / "s", *options)
    for mine, peers in zip(rows, theirs, strict=True):
        assert mine["n_tokens"] == peers["n_tokens"]
        off = np.subtract(mine["log_probs"], peers["log_probs"]) / mine["n_tokens"]
        assert np.abs(off).max() < 1e-4


@pytest.mark.soak
def test_hellaswag_is_within_half_a_point_of_llama_cpp(verdant, model, data, tmp_path):
    oracles.need_peer()
    file, tasks = hellaswag_drawn(data, 400)
    theirs = multiple_choice.run(model, tasks, threads=1)
    got, _ = run_tasks(
        verdant, model, file, tmp_path / "s", "--draw", "--limit", len(tasks), "-t", 1
    )
    for key, hits in (("accuracy", "right"), ("accuracy_norm", "right_norm")):
        assert abs(got[key] - np.mean([row[hits] for row in theirs])) <= 0.005, key
