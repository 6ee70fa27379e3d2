"""What the tests of embeddings share: texts, and pooling in double precision."""

import json

import numpy as np

TEXTS = [
    "hello",
    "hello the world",
    "the world hello the hello world",
    "hello the world",  # twice: the same vector
    "Grüße, 世界! 🌍 é",
    "a " * 60,
]


def pool(rows, pooling, normalize=True):
    """float64 [C] of rows [T, C], or [T, C] without pooling."""
    x = {
        "none": lambda: rows,
        "mean": lambda: rows.mean(axis=0),
        "cls": lambda: rows[0],
        "last": lambda: rows[-1],
    }[pooling]()
    return x / np.linalg.norm(x, axis=-1, keepdims=True) if normalize else x


def rows_of(model, ids):
    """float64 [T, C]: what a numpy_forward.Model makes of the ids before pooling."""
    return model.norm(model.hidden(ids), "output_norm")


def tokens_of(verdant, path, text):
    """Ids as embeddings see them: with what begins and ends a text, special tokens not read."""
    result = verdant("tokenize", path, text, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["ids"]


def cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
