"""Figures of docs/power-model.md, held on real measurements where the data are there."""
import importlib.util
import json
import subprocess
import sys

import pytest


def load(root, name):
    spec = importlib.util.spec_from_file_location(name, root / f"bench/energy/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(root, build, name):
    done = subprocess.run([sys.executable, root / f"bench/energy/{name}.py", "--json", "--build",
                           build], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def step_energy(root, build, data):
    if not (data / "energy/measured-llm").is_dir():
        pytest.skip("VERDANT_TEST_DATA has no energy/measured-llm")
    return run_script(root, build, "step_energy")


def test_the_affine_baseline_is_the_published_one(step_energy):
    dense = step_energy["dense"]
    assert dense["n_series"] == 25
    assert abs(dense["affine"]["median_of_series"] - 2.06) < 0.01


def test_joules_per_token_of_a_batch_size_left_out_are_within_1_8_percent(step_energy):
    assert step_energy["dense"]["ours"]["median_of_series"] <= 1.8
    for group in step_energy.values():  # chosen on no group alone: better on every one
        assert group["ours"]["median_of_series"] < group["affine"]["median_of_series"]
        assert group["ours"]["median_of_points"] < group["affine"]["median_of_points"]


def test_the_bench_program_finds_a_known_truth(root, build):
    script = load(root, "step_energy")
    points = [(b, 3.32 / b + 0.065) for b in (8, 16, 32, 64, 128, 256)]
    questions = list(script.left_out(points))
    for guess, (rest, batch, j) in zip(script.ours(build, questions), questions, strict=True):
        assert len(rest) == 5
        assert abs(guess / j - 1) < 1e-6
        assert abs(script.affine(rest, batch) / j - 1) < 1e-9


def test_the_bench_program_refuses_what_it_cannot_fit(build):
    for line in ("8 8 1 8 1\n", "8 8 1 16 -1\n", "\n", "8\n"):
        done = subprocess.run([build / "bench/energy/bench_energy", "step"], input=line, text=True,
                              capture_output=True)
        assert done.returncode == 1, line
        assert "bench_energy: " in done.stderr
