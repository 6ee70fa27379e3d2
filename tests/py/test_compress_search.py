"""`verdant compress --target`: the types of least divergence for a file's bytes.

Divergences are recomputed by a forward pass in NumPy, the knapsack by an exact dynamic program over
what the search itself measured and left in its journal.
"""
import errno
import fcntl
import json
import math
import os
import re
import resource
import signal
import subprocess
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize
from oracles import numpy_forward, tiny_model

N_EMBD, N_FF, N_LAYER, CTX, CHUNKS, MEASURED = 64, 96, 2, 32, 12, 3
TYPES = "Q2_0,IQ4_NL,Q5_1,Q8_0"
WORDS = ("the of and a to in is you that it he was for on are as with his they at be this have "
         "from or one had by word but not what all were we when your can said there").split()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "tiny.gguf"
    tiny_model.write_model(path, seed=9, vocab="bpe", n_embd=N_EMBD, n_ff=N_FF, n_layer=N_LAYER,
                           n_ctx=256)
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(2)
    path = tmp_path_factory.mktemp("search") / "calib.txt"
    path.write_text(" ".join(rng.choice(WORDS, 20000)))
    return path


@pytest.fixture(scope="module")
def likely(tiny, tmp_path_factory):
    """A text that the model finds likelier than others: only then does a change make it worse. Each
    word is the likeliest that is one token, so that the text is read back as it was made."""
    model = numpy_forward.Model(tiny)
    pieces = GGUFReader(tiny).fields["tokenizer.ggml.tokens"].contents()
    words = np.array([i for i, piece in enumerate(pieces) if re.fullmatch("\u0120[a-z]+", piece)])
    rng = np.random.default_rng(4)
    ids = []
    while len(ids) < CTX * CHUNKS:
        if len(ids) % CTX < 4:
            ids.append(int(rng.choice(words)))
            continue
        logits = model.logits(ids[len(ids) // CTX * CTX:])[-1][words]
        ids.append(int(words[rng.choice(np.argsort(logits)[-3:])]))
    path = tmp_path_factory.mktemp("likely") / "likely.txt"
    path.write_text("".join(pieces[i].replace("\u0120", " ") for i in ids))
    return path


def arguments(source, target, text, goal, *options, types=TYPES, measured=MEASURED):
    return ["compress", source, "-o", target, "--target", goal, "--calib", text, "--calib-ctx", CTX,
            "--calib-chunks", max(CHUNKS, measured), "--search-chunks", measured, "--search-types",
            types, *options]


@pytest.fixture
def search(verdant, tiny, text, tmp_path):
    """search(goal, *options): the JSON result and the new file."""

    def run(goal, *options, name="out.gguf", calib=text, **more):
        target = tmp_path / name
        done = verdant(*arguments(tiny, target, calib, goal, "--json", *options, **more))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), target

    return run


def types(path):
    return {t.name: t.tensor_type.name for t in GGUFReader(path).tensors}


def chunks_of(verdant, model, text, n):
    """n of the CHUNKS of the text, from all its parts: those that are compared."""
    ids = json.loads(verdant("tokenize", model, "--file", text, "--json").stdout)["ids"]
    chunks = [ids[i * CTX:(i + 1) * CTX] for i in (k * CHUNKS // n for k in range(n))]
    adds_bos = GGUFReader(model).get_field("tokenizer.ggml.add_bos_token")
    if adds_bos is not None and adds_bos.contents():
        bos = GGUFReader(model).get_field("tokenizer.ggml.bos_token_id").contents()
        chunks = [[bos, *chunk[1:]] for chunk in chunks]
    return chunks


def log_probabilities(path, chunks):
    """Of the second half of each chunk but its last position, [positions, V]."""
    rows = []
    for chunk in chunks:
        logits = numpy_forward.Model(path).logits(chunk)[CTX // 2:CTX - 1]
        rows.append(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    return np.concatenate(rows)


def divergence(verdant, before, after, text, n):
    """KL in nats, and the ratio of perplexities less 1."""
    chunks = chunks_of(verdant, before, text, n)
    p, q = log_probabilities(before, chunks), log_probabilities(after, chunks)
    nexts = np.concatenate([chunk[CTX // 2 + 1:] for chunk in chunks])
    at = np.arange(len(nexts))
    return (np.mean(np.sum(np.exp(p) * (p - q), axis=1)),
            math.expm1(np.mean(p[at, nexts] - q[at, nexts])))


# ---- what is found -------------------------------------------------------------------------------

@pytest.mark.parametrize("goal", ["bpw=5.5", "loss=5%"])
def test_the_point_is_rounded_by_gptq(verdant, search, tiny, text, tmp_path, goal):
    """As in two steps: its types, then --types and --gptq. What is told is of the file."""
    plain, first = search(goal)
    result, target = search(goal, "--gptq", name="rounded.gguf")
    assert result["tensors"] == plain["tensors"] and result["tensors_gptq"] > 0
    (tmp_path / "types.json").write_text(json.dumps(plain))
    again = tmp_path / "again.gguf"
    done = verdant("compress", tiny, "-o", again, "--types", tmp_path / "types.json", "--calib",
                   text, "--calib-ctx", CTX, "--calib-chunks", max(CHUNKS, MEASURED), "--gptq")
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == again.read_bytes() != first.read_bytes()
    kl, loss = divergence(verdant, tiny, target, text, MEASURED)
    assert result["chosen"]["kl"] == pytest.approx(kl, rel=2e-3) != plain["chosen"]["kl"]
    assert result["chosen"]["loss"] == pytest.approx(loss, abs=1e-4)


def test_a_loss_that_rounding_would_exceed_is_not_exceeded(verdant, search, tiny, text):
    """Drift in full harms here, with so little text."""
    limit = search("bpw=4.6")[0]["chosen"]["loss"] * 1.001
    goal = f"loss={100 * limit:.6f}%"
    result, target = search(goal, "--gptq", "--drift", "1", name="rounded.gguf")
    plain = search(goal, name="plain.gguf")
    assert result["tensors_gptq"] == 0 and result["gptq_left_out"] is True
    assert result["chosen"]["loss"] <= limit
    assert target.read_bytes() == plain[1].read_bytes()


def test_where_nothing_can_be_rounded_that_is_said(verdant, search, tiny, text, tmp_path):
    result, target = search("bpw=32", "--gptq")
    assert result["tensors_gptq"] == 0 and "gptq_left_out" not in result
    assert target.read_bytes() == search("bpw=32", name="plain.gguf")[1].read_bytes()
    done = verdant(*arguments(tiny, tmp_path / "again.gguf", text, "bpw=32", "--gptq"))
    assert "nothing could be rounded" in done.stdout


def test_a_rounded_point_takes_the_place_of_what_a_link_leads_to(search, tmp_path):
    (tmp_path / "there").mkdir()
    old, link = tmp_path / "there" / "old.gguf", tmp_path / "link.gguf"
    old.write_bytes(b"old")
    old.chmod(0o640)
    link.symlink_to(old)
    search("bpw=5.5", "--gptq", name="link.gguf")
    assert link.is_symlink() and old.stat().st_mode & 0o777 == 0o640
    assert old.read_bytes() == search("bpw=5.5", "--gptq", name="b.gguf")[1].read_bytes()
    assert not list(tmp_path.glob("**/*.search.gguf"))


def test_the_divergence_is_that_of_the_file(verdant, search, tiny, text):
    result, target = search("bpw=6")
    chosen = result["chosen"]
    assert chosen["bits_per_weight"] <= 6
    assert target.stat().st_size <= chosen["file_bytes"] <= target.stat().st_size + 256
    kl, loss = divergence(verdant, tiny, target, text, MEASURED)
    assert chosen["kl"] == pytest.approx(kl, rel=2e-3)
    assert chosen["loss"] == pytest.approx(loss, abs=1e-4)
    assert result["scored_tokens"] == MEASURED * (CTX // 2 - 1)
    assert result["calib_tokens"] == CHUNKS * CTX
    written = types(target)
    assert {name: written[name] for name in result["tensors"]} == result["tensors"]
    assert set(result["tensors"].values()) <= {*TYPES.split(","), "F32"}
    assert all(kind == "F32" for name, kind in written.items() if name not in result["tensors"])


def test_the_front_falls(search):
    result, _ = search("bpw=6")
    front = result["front"]
    assert len(front) > 10
    for a, b in zip(front, front[1:]):
        assert a["file_bytes"] > b["file_bytes"]
        assert a["kl_predicted"] <= b["kl_predicted"]
    assert front[0]["kl_predicted"] == 0  # every tensor as it is


def test_it_is_no_worse_than_one_type_for_all(verdant, search, tiny, text, tmp_path):
    """At the bytes that IQ4_NL takes everywhere; of random matrices none matters much more than
    another, so that it is hardly better either."""
    plain = tmp_path / "plain.gguf"
    done = verdant("compress", tiny, "-o", plain, "--tensor-type", "weight=IQ4_NL", "--calib", text,
                   "--calib-ctx", CTX, "--calib-chunks", CHUNKS)
    assert done.returncode == 0, done.stderr
    result, target = search(f"bytes={plain.stat().st_size + 256}")
    assert target.stat().st_size <= plain.stat().st_size + 256
    assert result["chosen"]["kl"] < 1.01 * divergence(verdant, tiny, plain, text, MEASURED)[0]


def lines_of(journal):
    return dict(next(iter(json.loads(line).items())) for line in
                journal.read_text().splitlines()[1:])


def costs(journal, path):
    """{tensor: {bytes: cost}} as the header of candidates.c says: in proportion to the error, or
    between two measured ones on the line through their logarithms."""
    lines, items = lines_of(journal), {}
    for t in GGUFReader(path).tensors:
        errors = {key.split()[1]: value[0] for key, value in lines.items()
                  if re.fullmatch(rf"error \S+ {re.escape(t.name)}", key)}
        if not errors:
            continue
        known = sorted((errors[kind], value[0]) for kind, value in
                       ((key.split()[1], v) for key, v in lines.items()
                        if re.fullmatch(rf"kl \S+ {re.escape(t.name)}", key)))
        options = {}
        for kind, error in errors.items():
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
            n = t.n_elements // block * size
            n = -(-n // 32) * 32
            low = max((k for k in known if k[0] <= error), default=known[0])
            high = min((k for k in known if k[0] >= error), default=known[-1])
            if error == 0:
                cost = 0.0
            elif low[0] < error < high[0] and low[1] > 0:
                part = math.log(error / low[0]) / math.log(high[0] / low[0])
                cost = low[1] * (high[1] / low[1]) ** part
            else:
                near = low if error >= low[0] else high
                cost = near[1] * error / near[0]
            options[n] = min(cost, options.get(n, math.inf))
        items[t.name] = options
    return items


def least(items, budget):
    """The exact optimum: all sums of bytes that can be, each with its least cost."""
    best = {0: 0.0}
    for options in items.values():
        new = {}
        for used, cost in best.items():
            for n, more in options.items():
                if used + n <= budget and cost + more < new.get(used + n, math.inf):
                    new[used + n] = cost + more
        best = new
    return min(best.values())


@pytest.fixture(scope="module")
def measured(verdant, tiny, text, tmp_path_factory):
    """The journal of a search whose target cannot be met."""
    target = tmp_path_factory.mktemp("journal") / "none.gguf"
    done = verdant(*arguments(tiny, target, text, "bytes=1000"))
    assert done.returncode == 1
    return target.with_name("none.gguf.search"), done


def test_the_knapsack_is_within_a_hair_of_the_optimum(search, measured, tiny, tmp_path):
    items = costs(measured[0], tiny)
    assert len(items) == 7 * N_LAYER + 2
    for bpw in (3, 4.3, 5.2, 6.6, 9):
        (tmp_path / "out.gguf.search").write_bytes(measured[0].read_bytes())
        result, _ = search(f"bpw={bpw}")
        assert result["resumed"] == len(lines_of(measured[0]))
        n_all = result["values"]
        fixed = sum(-(-t.n_bytes // 32) * 32 for t in GGUFReader(tiny).tensors
                    if t.name not in items)
        optimum = least(items, int(bpw * n_all / 8 - fixed))
        assert result["chosen"]["kl_predicted"] >= optimum * (1 - 1e-5)
        assert result["chosen"]["kl_predicted"] <= optimum * 1.001


# ---- by errors alone -----------------------------------------------------------------------------

def test_an_importance_file_is_enough_for_errors(verdant, tiny, text, tmp_path):
    """No model is computed. The chosen types' squared errors, weighted, are those of the file; what
    the file knows nothing of counts as all others do on average."""
    importance, target = tmp_path / "i.gguf", tmp_path / "e.gguf"
    done = verdant("compress", tiny, "--calib", text, "--calib-ctx", CTX, "--calib-chunks", CHUNKS,
                   "--save-imatrix", importance)
    assert done.returncode == 0, done.stderr
    done = verdant("compress", tiny, "-o", target, "--target", "bpw=5", "--imatrix", importance,
                   "--search-types", TYPES, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["chosen"]["kl"] is None and result["ppl_before"] is None
    sums = {t.name: np.array(t.data, np.float64) for t in GGUFReader(importance).tensors}
    means = {name: (sums[name + ".in_sum2"] / sums[name + ".counts"]).ravel()
             for name in result["tensors"] if name + ".in_sum2" in sums}
    assert len(means) >= 7 * N_LAYER
    average = np.concatenate(list(means.values())).mean()
    old, new = ({t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(path).tensors}
                for path in (tiny, target))
    error = sum(np.sum(np.square(old[name] - new[name], dtype=np.float64) *
                       means.get(name, average)) for name in result["tensors"])
    assert result["chosen"]["weighted_error"] == pytest.approx(error, rel=0.02)  # some rows of each
    assert target.stat().st_size <= result["chosen"]["file_bytes"]
    assert {p.name for p in tmp_path.iterdir()} == {"i.gguf", "e.gguf", "e.gguf.svg"}


@pytest.mark.parametrize("options, words", [
    (["--target", "loss=1%", "--imatrix", "i.gguf"], "measured on a text"),
    (["--target", "bpw=5", "--imatrix", "i.gguf", "--calib", "t"], "not both"),
])
def test_what_errors_alone_cannot_say(verdant, tiny, tmp_path, options, words):
    done = verdant("compress", tiny, "-o", tmp_path / "x.gguf", *options)
    assert done.returncode == 2 and words in done.stderr


# ---- building again, going on --------------------------------------------------------------------

def test_types_and_importance_build_the_same_bytes(verdant, search, tiny, tmp_path):
    importance, names, again = (tmp_path / name for name in ("i.gguf", "s.json", "again.gguf"))
    result, target = search("bpw=5", "--save-imatrix", importance)
    names.write_text(json.dumps(result))
    done = verdant("compress", tiny, "-o", again, "--types", names, "--imatrix", importance)
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == target.read_bytes()


def test_threads_change_nothing(search):
    one, two = search("bpw=5", "-t", 1, name="1.gguf"), search("bpw=5", "-t", 3, name="3.gguf")
    assert one[1].read_bytes() == two[1].read_bytes()


def test_a_killed_search_goes_on(verdant, build, search, tiny, text, tmp_path):
    whole, target = search("bpw=5", measured=20)
    other = tmp_path / "other.gguf"
    journal = tmp_path / "other.gguf.search"
    command = [build / "verdant", *arguments(tiny, other, text, "bpw=5", "--json", measured=20)]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        while process.poll() is None and (not journal.exists() or
                                          journal.read_bytes().count(b"\n") < 20):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL and not other.exists()
    result, _ = search("bpw=5", name="other.gguf", measured=20)
    assert result["resumed"] >= 18
    assert other.read_bytes() == target.read_bytes()
    assert result["chosen"] == whole["chosen"]
    assert not journal.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"out.gguf", "out.gguf.svg", "other.gguf",
                                                     "other.gguf.svg"}


@pytest.mark.parametrize("words", ["my notes", "my notes\n", '{"sear\n', "{"])
def test_a_file_that_is_no_journal_is_left(verdant, tiny, text, tmp_path, words):
    mine = tmp_path / "out.gguf.search"
    mine.write_text(words)
    done = verdant(*arguments(tiny, tmp_path / "out.gguf", text, "bpw=5"))
    if words == "{":  # what a search that was killed at once may leave
        assert done.returncode == 0 and not mine.exists()
    else:
        assert done.returncode == 1 and "in the way" in done.stderr
        assert mine.read_text() == words


def test_a_full_disk_is_named(build, tiny, text, tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # within the journal's first line

    command = [build / "verdant", *arguments(tiny, tmp_path / "out.gguf", text, "bpw=5")]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=60, check=False, preexec_fn=limit)
    assert done.returncode == 1
    assert f"out.gguf.search: cannot be written: {os.strerror(errno.EFBIG)}" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["out.gguf.search"]


def test_another_search_for_the_same_file_is_left_alone(verdant, tiny, text, tmp_path):
    journal, squares = tmp_path / "out.gguf.search", tmp_path / "out.gguf.search.imatrix"
    squares.write_text("the other's")
    with journal.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = verdant(*arguments(tiny, tmp_path / "out.gguf", text, "bpw=5"))
    assert done.returncode == 1 and "another search" in done.stderr
    assert squares.read_text() == "the other's" and journal.read_text() == ""


@pytest.mark.parametrize("numbers", ["[-1.0, -5.0, 0.0]", "[0.1, 1e30, 0.0]"])
def test_sizes_that_cannot_be_are_measured_again(verdant, tiny, text, tmp_path, numbers):
    """Of the sparse form; elsewhere a number that is no float is a damaged line."""
    target, journal = tmp_path / "out.gguf", tmp_path / "out.gguf.search"
    command = arguments(tiny, target, text, "bytes=1000", "--sparse")
    assert verdant(*command).returncode == 1
    lines = journal.read_text()
    spoiled = re.sub(r'("packed [^"]*"):\[[^\]]*\]', rf"\1:{numbers}", lines)
    assert spoiled.count(numbers) > 10
    journal.write_text(spoiled)
    smallest = verdant(*command)
    journal.write_text(lines)
    assert smallest.stderr == verdant(*command).stderr
    journal.write_text(re.sub(r'("packed [^"]*"):\[[^\]]*\]', r"\1:[1e39,1.0,0.0]", lines))
    assert "damaged" in verdant(*command).stderr


def test_a_line_cut_short_is_measured_again(search, measured, tmp_path):
    whole, target = search("bpw=5")
    cut = measured[0].read_bytes()
    (tmp_path / "cut.gguf.search").write_bytes(cut[:len(cut) // 2])
    result, again = search("bpw=5", name="cut.gguf")
    assert 0 < result["resumed"] < len(lines_of(measured[0]))
    assert again.read_bytes() == target.read_bytes()


@pytest.mark.parametrize("line", ['{"kl Q8_0 a":[1,2]}', '{"kl Q8_0 a":[1,2,"3"]}', "[]", "x"])
def test_a_damaged_journal_is_named(verdant, tiny, text, measured, tmp_path, line):
    target = tmp_path / "bad.gguf"
    head, rest = measured[0].read_text().split("\n", 1)
    (tmp_path / "bad.gguf.search").write_text(f"{head}\n{line}\n{rest}")
    done = verdant(*arguments(tiny, target, text, "bpw=5"))
    assert done.returncode == 1 and not target.exists()
    assert "bad.gguf.search" in done.stderr and "line 2" in done.stderr


def test_the_journal_of_another_search_is_begun_anew(verdant, search, tiny, text, measured,
                                                     tmp_path):
    whole, target = search("bpw=5")
    other = tmp_path / "other.gguf"
    (tmp_path / "other.gguf.search").write_text(
        measured[0].read_text().replace('{"search":"1 model ', '{"search":"1 model f'))
    done = verdant(*arguments(tiny, other, text, "bpw=5", "--json"))
    assert done.returncode == 0 and "anew" in done.stderr
    assert json.loads(done.stdout)["resumed"] == 0
    assert other.read_bytes() == target.read_bytes()


# ---- targets -------------------------------------------------------------------------------------

def test_what_cannot_be_met_says_what_can(measured):
    journal, done = measured
    assert not journal.with_name("none.gguf").exists()
    assert {p.name for p in journal.parent.iterdir()} == {"none.gguf.search"}
    smallest = int(re.search(r"the smallest file is (\d+) bytes", done.stderr)[1])
    assert smallest > 1000 and "nothing was written" in done.stderr


def test_a_loss_takes_few_bytes(verdant, search, tiny, likely):
    """And those that it says: the perplexity is recomputed by NumPy."""
    chosen = []
    for loss in ("0.1%", "1%", "5%"):
        result, target = search(f"loss={loss}", calib=likely, measured=CHUNKS)
        assert result["chosen"]["loss"] <= float(loss[:-1]) / 100
        chosen.append(result["chosen"])
    assert chosen[0]["file_bytes"] > chosen[1]["file_bytes"] > chosen[2]["file_bytes"]
    _, loss = divergence(verdant, tiny, target, likely, CHUNKS)
    assert loss == pytest.approx(chosen[2]["loss"], abs=1e-4)


def test_a_loss_within_too_few_bytes(verdant, tiny, likely, tmp_path):
    target = tmp_path / "both.gguf"
    done = verdant(*arguments(tiny, target, likely, "loss=0.1%,bpw=2.6", measured=CHUNKS))
    assert done.returncode == 1 and not target.exists()
    assert re.search(r"the nearest is \d.*% with \d+ bytes", done.stderr)


def test_speed_and_joules_are_measured(verdant, search, tiny, text, measured, tmp_path):
    result, target = search("tps=1,jpt=1000")
    assert result["chosen"]["tokens_per_s"] >= 1 and result["chosen"]["j_per_token"] <= 1000
    assert result["chosen"]["kl"] == 0  # nothing stands against the largest
    assert {p.name for p in tmp_path.iterdir()} == {"out.gguf", "out.gguf.svg"}
    (tmp_path / "fast.gguf.search").write_bytes(measured[0].read_bytes())
    done = verdant(*arguments(tiny, tmp_path / "fast.gguf", text, "tps=1e9"))
    assert done.returncode == 1 and "tokens per second cannot be had" in done.stderr
    assert not (tmp_path / "fast.gguf").exists()


@pytest.mark.parametrize("goal", ["", "bytes", "bytes=", "bytes=0", "bytes=-1", "bytes=1T", "bpw=x",
                                  "bpw=4bits", "loss=1%,loss=2%", "size=3", "bytes=1e30", "tps=nan",
                                  "bpw=4,", "jpt=0x10", "loss=1k"])
def test_bad_targets_are_misuse(verdant, tiny, text, tmp_path, goal):
    done = verdant(*arguments(tiny, tmp_path / "x.gguf", text, goal))
    assert done.returncode == 2 and "--target is" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options, words", [
    (["--target", "bpw=4"], "--calib"),
    (["--target", "bpw=4", "--calib", "t", "--quant", "Q8_0"], "--target chooses"),
    (["--target", "bpw=4", "--calib", "t", "--prune", "magnitude:0.5"], "--target chooses"),
    (["--quant", "Q8_0", "--search-types", "Q8_0"], "--search"),
    (["--target", "bpw=4", "--calib", "t", "--search-types", "Q8_0,Q9"], "Q9"),
    (["--quant", "Q8_0", "--picture", "x.svg"], "--picture"),
])
def test_options_that_do_not_go_together(verdant, tiny, tmp_path, options, words):
    done = verdant("compress", tiny, "-o", tmp_path / "x.gguf", *options)
    assert done.returncode == 2 and words in done.stderr


def test_a_text_too_short_and_the_model_itself(verdant, tiny, text, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("a b c")
    done = verdant(*arguments(tiny, tmp_path / "x.gguf", short, "bpw=4"))
    assert done.returncode == 1 and "too few" in done.stderr
    done = verdant(*arguments(tiny, tiny, text, "bpw=4"))
    assert done.returncode == 1 and "the model itself" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"short.txt"}


def test_types_that_suit_no_rows_are_said(verdant, tiny, likely, tmp_path):
    """Rows of 64."""
    for goal in "bpw=4", "loss=1%":
        done = verdant(*arguments(tiny, tmp_path / "x.gguf", likely, goal, types="Q4_K,Q6_K"))
        assert done.returncode == 1 and "--search-types" in done.stderr
        assert not (tmp_path / "x.gguf").exists()


def test_before_and_after_in_one_result(search, likely, text):
    result, target = search("bpw=6", "--compare", likely, "--compare-ctx", CTX, "--compare-chunks",
                            4)
    compare = result["compare"]
    assert compare["kl_mean"] > 0 and compare["before"]["ppl"] > 0 and compare["after"]["ppl"] > 0


# ---- the picture and the table -------------------------------------------------------------------

def test_the_picture_shows_the_front(search, tmp_path):
    picture = tmp_path / "front.svg"
    result, _ = search("bpw=6", "--picture", picture)
    root = ET.parse(picture).getroot()
    space = "{http://www.w3.org/2000/svg}"
    dots = [c for c in root.iter(space + "circle") if c.get("class") == "sum"]
    drawn = [p for p in result["front"] if p["kl_predicted"] >= 1e-6]
    assert len(dots) == len(drawn) + 1  # and one in the legend
    xs = [float(c.get("cx")) for c in dots[1:]]
    ys = [float(c.get("cy")) for c in dots[1:]]
    assert xs == sorted(xs, reverse=True) and ys == sorted(ys, reverse=True)
    words = " ".join(t.text for t in root.iter(space + "text"))
    assert "megabytes" in words and "nats per token" in words and "chosen" in words
    assert "prefers-color-scheme:dark" in picture.read_text()


def test_the_table_names_the_chosen_point(verdant, tiny, text, tmp_path):
    done = verdant(*arguments(tiny, tmp_path / "t.gguf", text, "bpw=6"))
    assert done.returncode == 0
    marked = [line for line in done.stdout.splitlines() if line.startswith("> ")]
    assert len(marked) == 1 and float(marked[0].split()[2]) <= 6
    assert (tmp_path / "t.gguf.svg").exists()
