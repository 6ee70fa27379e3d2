"""Perplexity and divergence from rows of logits, in double precision.

Perplexity as llama.cpp counts it: the whole text tokenized once, consecutive chunks of `ctx`
tokens, the first token of a chunk replaced by BOS where the vocabulary adds one, and in each chunk
the tokens at positions ctx/2+1 … ctx-1 scored (by the logits one position earlier).
"""

import math

import numpy as np


def chunks_of(ids, ctx, n_chunks=None, bos=-1):
    """Lists of ctx ids. Raises ValueError when the text is shorter than one chunk."""
    have = len(ids) // ctx
    if have == 0:
        raise ValueError(f"{len(ids)} tokens are less than one chunk of {ctx}")
    for i in range(min(have, n_chunks or have)):
        chunk = list(ids[i * ctx : (i + 1) * ctx])
        if bos >= 0:
            chunk[0] = bos
        yield chunk


def log_softmax(rows):
    """float64 log-probabilities of float rows [n, V]."""
    rows = rows.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows


class Score:
    """Sums over chunks: negative log-likelihoods and, against a base, divergence and agreement."""

    def __init__(self):
        self.nll, self.kl, self.same = [], [], []

    def add(self, rows, targets, base_rows=None, step=64):
        """rows: logits [n, V] that predict targets [n]; base_rows: those of the reference model."""
        for at in range(0, len(targets), step):
            span = slice(at, at + step)
            logq = log_softmax(rows[span])
            want = np.asarray(targets[span])
            self.nll.extend(-logq[np.arange(len(want)), want])
            if base_rows is not None:
                logp = log_softmax(base_rows[span])
                self.kl.extend((np.exp(logp) * (logp - logq)).sum(axis=1))
                self.same.extend(logp.argmax(axis=1) == logq.argmax(axis=1))

    def result(self):
        nll = np.array(self.nll)
        mean = float(nll.mean())
        out = {
            "ppl": math.exp(mean),
            "nll": mean,
            "n_tokens": len(nll),
            "ppl_stderr": math.exp(mean) * float(nll.std(ddof=1)) / math.sqrt(len(nll)),
        }
        if self.kl:
            out["kl_mean"] = float(np.mean(self.kl))
            out["kl_stderr"] = float(np.std(self.kl, ddof=1)) / math.sqrt(len(nll))
            out["kl_p99"] = float(np.quantile(self.kl, 0.99))
            out["top1_agreement"] = float(np.mean(self.same))
        return out


def perplexity(logits_of, ids, ctx=512, n_chunks=None, bos=-1, base_logits_of=None, progress=None):
    """logits_of(chunk, first) gives rows for positions first … ctx-1, such as Peer.logits."""
    score, first = Score(), ctx // 2
    for i, chunk in enumerate(chunks_of(ids, ctx, n_chunks, bos)):
        rows = logits_of(chunk, first)[:-1]
        base = base_logits_of(chunk, first)[:-1] if base_logits_of else None
        score.add(rows, chunk[first + 1 :], base)
        if progress:
            progress(i + 1, score)
    return score.result()
