"""SparseGPT and GPTQ on one layer against the papers' algorithms, written down here in NumPy."""
import ctypes

import numpy as np
import pytest


@pytest.fixture(scope="module")
def obs(build):
    """obs(x, w, keep=, group=, mask=, step=, limit=): the new weights and the damping it took."""
    library = ctypes.CDLL(str(build / "tests" / "libverdant_shim.so"))
    library.test_obs.restype = ctypes.c_char_p

    def run(x, w, keep=1.0, group=(0, 0), mask=None, step=None, limit=7):
        x, w = np.ascontiguousarray(x, np.float64), np.array(w, np.float64, order="C")
        damping = ctypes.c_double()

        def at(a):
            return None if a is None else a.ctypes.data_as(ctypes.c_void_p)

        mask = None if mask is None else np.ascontiguousarray(mask, np.uint8)
        step = None if step is None else np.ascontiguousarray(step, np.float64)
        size = ctypes.c_size_t
        said = library.test_obs(at(x), size(len(x)), at(w), size(len(w)), size(w.shape[1]),
                                ctypes.c_double(keep), group[0], group[1], at(mask), at(step),
                                ctypes.c_double(limit), ctypes.byref(damping))
        assert said == b"", said
        return w, damping.value

    return run


def layer(seed, n=256, n_rows=256, t=2048):
    """Weights and correlated inputs of different sizes, as layers have them."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((t, n)) @ (np.eye(n) + 0.1 * rng.standard_normal((n, n)))
    return mixed * np.exp(rng.standard_normal(n)), rng.standard_normal((n_rows, n)) * 0.05


def sweep(x, w, keep=1.0, group=None, mask=None, quantize=None, block=128, damping=0.01):
    """Frantar and Alistarh 2023, algorithm 1; without pruning Frantar et al. 2022."""
    w = w.copy()
    n = w.shape[1]
    h = x.T @ x
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h += damping * np.mean(np.diag(h)) * np.eye(n)
    u = np.linalg.cholesky(np.linalg.inv(h)).T
    for begin in range(0, n, block):
        end = min(begin + block, n)
        gone = np.zeros((len(w), end - begin), bool)
        if mask is not None:
            gone = mask[:, begin:end]
        elif group is None and keep < 1:
            score = w[:, begin:end] ** 2 / np.diag(u)[begin:end] ** 2
            gone = score <= np.sort(score.ravel())[int((1 - keep) * score.size)]
        errors = np.zeros((len(w), end - begin))
        for j in range(begin, end):
            if group is not None and j % group[1] == 0:
                these = slice(j, j + group[1])
                score = w[:, these] ** 2 / np.diag(u)[these] ** 2
                least = np.argsort(score, axis=1, kind="stable")[:, :group[1] - group[0]]
                np.put_along_axis(gone[:, j - begin:j - begin + group[1]], least, True, axis=1)
            new = w[:, j] if quantize is None else quantize(w[:, j])
            new = np.where(gone[:, j - begin], 0, new)
            errors[:, j - begin] = (w[:, j] - new) / u[j, j]
            w[:, j:end] -= np.outer(errors[:, j - begin], u[j, j:end])
            w[:, j] = new
        w[:, end:] -= errors @ u[begin:end, end:]
    return w


def close(ours, theirs):
    assert np.array_equal(ours == 0, theirs == 0)
    return np.max(np.abs(ours - theirs)) <= 1e-5 * np.max(np.abs(theirs))


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.25])
def test_a_share_goes_as_in_sparsegpt(obs, keep):
    x, w = layer(1)
    ours, damping = obs(x, w, keep=keep)
    assert damping == 0.01 and close(ours, sweep(x, w, keep=keep))
    assert np.mean(ours == 0) == pytest.approx(1 - keep, abs=1e-4)


@pytest.mark.parametrize("group", [(2, 4), (4, 8), (1, 3)])
def test_groups_go_as_in_sparsegpt(obs, group):
    x, w = layer(2, n=240)
    ours, _ = obs(x, w, group=group)
    block = 128 if 128 % group[1] == 0 else 129
    assert close(ours, sweep(x, w, group=group, block=block))
    kept = np.count_nonzero(ours.reshape(len(w), -1, group[1]), axis=2)
    assert np.all(kept == group[0])


def test_a_mask_of_somebody_else_is_followed(obs):
    x, w = layer(3)
    score = np.abs(w) * np.linalg.norm(x, axis=0)  # Wanda's
    mask = score < np.median(score, axis=1, keepdims=True)
    ours, _ = obs(x, w, mask=mask)
    assert close(ours, sweep(x, w, mask=mask)) and np.array_equal(ours == 0, mask)
    # and what is left makes up for much of it
    lost = [np.linalg.norm(x @ (w - new).T) for new in (np.where(mask, 0, w), ours)]
    assert lost[1] < 0.95 * lost[0]


@pytest.mark.parametrize("keep", [1.0, 0.5])
@pytest.mark.parametrize("limit", [7, 1])
def test_rounding_is_gptqs_alone_and_with_pruning(obs, keep, limit):
    x, w = layer(4)
    step = np.max(np.abs(w), axis=1) / limit

    def quantize(column):
        return step * np.clip(np.round(column / step), -limit, limit)

    ours, _ = obs(x, w, keep=keep, step=step, limit=limit)
    theirs = sweep(x, w, keep=keep, quantize=quantize)
    assert close(ours, theirs)
    plain = step[:, None] * np.clip(np.round(w / step[:, None]), -limit, limit)
    if keep == 1:
        assert np.linalg.norm(x @ (w - ours).T) < np.linalg.norm(x @ (w - plain).T)


def test_inputs_that_are_always_zero_need_no_weights(obs):
    x, w = layer(5)
    x[:, [3, 77]] = 0
    ours, _ = obs(x, w, keep=0.5)
    assert np.all(ours[:, [3, 77]] == 0) and close(ours, sweep(x, w, keep=0.5))


def test_too_few_inputs_are_damped(obs):
    x, w = layer(6, t=10)
    ours, damping = obs(x, w, keep=0.5)
    assert damping == 0.01 and close(ours, sweep(x, w, keep=0.5))


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 300), (5, 127), (7, 129)])
def test_odd_shapes(obs, shape):
    x, w = layer(7, n=shape[1], n_rows=shape[0], t=600)
    step = np.full(shape[0], 0.02)
    ours, _ = obs(x, w, step=step)
    assert close(ours, sweep(x, w, quantize=lambda c: 0.02 * np.clip(np.round(c / 0.02), -7, 7)))
