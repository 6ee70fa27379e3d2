"""Parts of a transformer in double precision: norms, activations, rotary positions.

Papers: RMSNorm (Zhang and Sennrich 2019), layer norm (Ba, Kiros and Hinton 2016), GELU (Hendrycks
and Gimpel 2016), rotary positions (Su et al. 2021), position interpolation (Chen et al. 2023), YaRN
(Peng et al. 2023). T tokens, C channels, H heads, D head dimension.
"""

import math

import numpy as np


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps) * weight + bias


def cap(x, most):
    """Soft cap: as x where small, never beyond `most`; 0 is none."""
    return most * np.tanh(x / most) if most else x


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Rope:
    """Angles per position and pair, and the factor on the length of rotated vectors.

    linear: every frequency divided by the factor. llama3 and longrope: divided one by one, by a
    tensor of the file; longrope also by the factor, where the file has one. yarn: pairs that
    turn more than beta_fast times within the original context stay, those that turn fewer than
    beta_slow times are divided, a ramp between; vectors grow by 1 + 0.1 ln(factor). llama.cpp
    v0.5.0 reads rope.scaling.attn_factor (one more factor on that length), but for these
    architectures none of the keys yarn_ext_factor, yarn_beta_fast, yarn_beta_slow and
    yarn_log_multiplier; so do we.
    """

    def __init__(
        self,
        dim,
        base,
        scaling="none",
        factor=1.0,
        divisors=None,
        orig_ctx=0,
        attn_factor=1.0,
        beta_fast=32.0,
        beta_slow=1.0,
    ):
        pair = np.arange(dim // 2)
        full = base ** (-2.0 * pair / dim)
        if divisors is not None:
            full = full / divisors.astype(np.float64)
        self.length = attn_factor
        self.frequency = full
        if scaling in ("linear", "yarn", "longrope"):
            self.frequency = full / factor
        if scaling == "yarn":

            def pair_of(turns):
                return dim * math.log(orig_ctx / (turns * 2 * math.pi)) / (2 * math.log(base))

            low = max(0, math.floor(pair_of(beta_fast)))
            high = min(dim - 1, math.ceil(pair_of(beta_slow)))
            keep = 1 - np.clip((pair - low) / max(0.001, high - low), 0, 1)
            self.frequency = full / factor * (1 - keep) + full * keep
            self.length *= 1 + 0.1 * math.log(factor)

    def turn(self, x, adjacent):
        """x [T, H, D]; adjacent: pairs are (0,1), (2,3) …, else (0, D/2), (1, D/2+1) …; of the
        first values of a head where the rotation is narrower than it."""
        dim = 2 * len(self.frequency)
        if dim < x.shape[-1]:
            return np.concatenate([self.turn(x[..., :dim], adjacent), x[..., dim:]], axis=-1)
        angle = np.arange(len(x))[:, None, None] * self.frequency
        cos, sin = np.cos(angle) * self.length, np.sin(angle) * self.length
        half = x.shape[-1] // 2
        a, b = (x[..., 0::2], x[..., 1::2]) if adjacent else (x[..., :half], x[..., half:])
        out = np.empty_like(x)
        if adjacent:
            out[..., 0::2], out[..., 1::2] = a * cos - b * sin, a * sin + b * cos
        else:
            out[..., :half], out[..., half:] = a * cos - b * sin, a * sin + b * cos
        return out
