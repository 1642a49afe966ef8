"""Averages weights of one network: `average(["a.safetensors", "b.safetensors"], [0.3, 0.7], "mean.safetensors")`.

Weights that were trained from the same beginning lie near each other, and their mean is often better than each ("Model
soups", Wortsman et al., 2022, https://arxiv.org/abs/2203.05482; of a network before and after it learnt more,
"WiSE-FT", https://arxiv.org/abs/2109.01903). Of weights with different beginnings the mean is worth nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hemline.checkpoint import load, save
from hemline.errors import WeightsError


def average(weights: Sequence[str | Path], shares: Sequence[float], out: str | Path) -> None:
    """Write the weighted mean of several checkpoints of one network.

    What the file says of itself is from the one with the largest share, the first of equals; its figures are left out,
    for they are not those of the mean: `hemline fit` measures it and sets its thresholds.

    Args:
        weights: Two or more `.safetensors` checkpoints.
        shares: What each counts, above 0; divided by their sum.
        out: The checkpoint to write.

    Raises:
        WeightsError: a file cannot be read, their networks or label spaces differ, or `out` is no `.safetensors` file
            in a folder that is there.
        UnwritableError: `out` cannot be written.
    """
    out = Path(out)
    if out.suffix.lower() != ".safetensors" or not out.absolute().parent.is_dir():
        raise WeightsError(f"{out}: weights are written to a .safetensors file in a folder that is there")
    if len(weights) < 2:
        raise WeightsError(f"{weights[0] if weights else 'nothing'}: a mean is of two files of weights or more")
    if len(shares) != len(weights) or not all(0 < share < float("inf") for share in shares):
        raise WeightsError(f"shares {list(shares)}: give one above 0 for each of the {len(weights)} files")
    parts = [load(path) for path in weights]
    first, about = parts[0]
    for path, (state, metadata) in zip(weights[1:], parts[1:], strict=True):
        if metadata.labels.to_dict() != about.labels.to_dict() or metadata.canvas != about.canvas:
            raise WeightsError(f"{path}: its words or its canvas are not those of {weights[0]}")
        if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in first.items()}:
            raise WeightsError(f"{path}: its network is not that of {weights[0]}")
    total = sum(shares)
    mean = {
        name: sum((share / total * state[name] for share, (state, _) in zip(shares, parts, strict=True)), 0 * tensor)
        if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }  # fmt: skip
    chosen = parts[shares.index(max(shares))][1]
    lines = None if chosen.scores is None else chosen.scores.without_curves()    # which nobody has measured
    save(out, mean, replace(chosen, metrics={}, scores=lines))
