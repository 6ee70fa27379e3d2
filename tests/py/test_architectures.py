"""Files that claim what we cannot keep are refused, with the name of what is wrong."""

import oracles  # noqa: F401
import pytest
from oracles import tiny_model


def refused(verdant, tmp_path, change=None, **options):
    """What opening such a file says. change(builder) adds keys or tensors to it."""
    path = tmp_path / "odd.gguf"
    builder = tiny_model.Builder(str(path), tiny_model.Config(**options))
    if change:
        change(builder)
    builder.build()
    result = verdant("logits", path, "--ids", "1", "-o", tmp_path / "x")
    assert result.returncode == 1
    assert str(path) in result.stderr
    return result.stderr


@pytest.mark.parametrize("name", ["blk.1.attn_z.bias", "blk.2.attn_q.weight", "rope_other.weight"])
def test_a_tensor_that_nobody_would_read_is_named(verdant, tmp_path, name):
    assert name in refused(verdant, tmp_path, lambda b: b.vector(name, 64))


def test_a_bias_of_an_architecture_without_is_named(verdant, tmp_path):
    change = lambda b: b.vector("blk.0.attn_output.bias", 64)  # noqa: E731
    assert "blk.0.attn_output.bias" in refused(verdant, tmp_path, change, arch="qwen3")


def test_an_unknown_rope_scaling_is_named(verdant, tmp_path):
    def change(b):
        b.writer.add_string("llama.rope.scaling.type", "spiral")

    said = refused(verdant, tmp_path, change)
    assert "spiral" in said
    assert "yarn" in said


def test_longrope_without_its_factors_is_refused(verdant, tmp_path):
    def change(b):
        b.writer.add_string("llama.rope.scaling.type", "longrope")

    assert "rope_factors_short.weight" in refused(verdant, tmp_path, change)


@pytest.mark.parametrize(
    ("windows", "what"), [([True, False], "2 items"), ([2, 0, 1, 1, 1], "item 0"), (5000, "5000")]
)
def test_a_wrong_pattern_of_windows_is_said(verdant, tmp_path, windows, what):
    def change(b):
        b.writer.add_sliding_window_pattern(windows)

    assert what in refused(verdant, tmp_path, change, arch="olmo2")


def test_learned_positions_end_where_they_end(verdant, tmp_path):
    path = tmp_path / "gpt2.gguf"
    tiny_model.write_model(path, arch="gpt2", n_ctx=16)
    out = tmp_path / "logits.bin"
    ids = ",".join(["5"] * 16)
    assert verdant("logits", path, "--ids", ids, "-o", out).returncode == 0
    result = verdant("logits", path, "--ids", ids + ",5", "-o", out)
    assert result.returncode == 1
    assert "positions for 16" in result.stderr


ROUTERS = {
    "sigmoid": lambda b: b.writer.add_uint32("qwen3moe.expert_gating_func", 2),
    "expert_gating_func is 7": lambda b: b.writer.add_uint32("qwen3moe.expert_gating_func", 7),
    "expert_weights_norm": lambda b: b.writer.add_expert_weights_norm(False),
    "expert_weights_scale": lambda b: b.writer.add_expert_weights_scale(2.5),
    "expert_group_count": lambda b: b.writer.add_uint32("qwen3moe.expert_group_count", 4),
}


@pytest.mark.parametrize("what", ROUTERS)
def test_a_router_we_lack_is_named(verdant, tmp_path, what):
    assert what in refused(verdant, tmp_path, ROUTERS[what], arch="qwen3moe")


def test_the_router_that_we_have_may_be_named(verdant, tmp_path):
    path = tmp_path / "named.gguf"
    builder = tiny_model.Builder(str(path), tiny_model.Config(arch="qwen3moe"))
    builder.writer.add_uint32("qwen3moe.expert_gating_func", 1)
    builder.writer.add_expert_weights_norm(True)
    builder.build()
    result = verdant("logits", path, "--ids", "1", "-o", tmp_path / "x")
    assert result.returncode == 0, result.stderr


def test_experts_of_an_architecture_without_are_refused(verdant, tmp_path):
    def change(b):
        b.writer.add_expert_count(8)

    assert "expert_count is 8" in refused(verdant, tmp_path, change, arch="qwen3")


@pytest.mark.parametrize(("used", "what"), [(9, "expected 1 to 8"), (0, "expected 1 to 8")])
def test_more_experts_chosen_than_there_are_is_refused(verdant, tmp_path, used, what):
    assert what in refused(verdant, tmp_path, n_expert=8, n_expert_used=used)
