"""The mean of weights: tensors by hand, what the file says, and what has no mean."""

from dataclasses import replace

import pytest
import torch

from hemline.averaging import average
from hemline.checkpoint import load, save
from hemline.errors import WeightsError
from tests.lines import as_said, curve
from tests.toy import SPACE, metadata


@pytest.fixture
def files(tmp_path):
    """Two checkpoints, of 1 and of 5."""
    paths = []
    for number, name in ((1.0, "one"), (5.0, "five")):
        state = {"w": torch.full((2, 3), number), "b": torch.tensor([number]), "steps": torch.tensor(int(number))}
        paths.append(tmp_path / f"{name}.safetensors")
        scores = as_said(SPACE, photo={"coat": curve((0.5, 0.9, 0.9))})
        save(paths[-1], state, metadata(name=name, metrics={"mean_iou": 0.5}, scores=scores))
    return paths


def test_the_mean_by_hand(files, tmp_path):
    average(files, [1, 3], tmp_path / "mean.safetensors")
    state, about = load(tmp_path / "mean.safetensors")
    assert torch.equal(state["w"], torch.full((2, 3), 4.0))
    assert torch.equal(state["b"], torch.tensor([4.0]))
    assert state["steps"].item() == 1
    assert about.name == "five"                          # has the largest share
    assert about.metrics == {}                           # nobody has measured the mean
    assert about.scores == as_said(SPACE)                # whose curves are unknown
    average(files, [2, 2], tmp_path / "mean.safetensors")
    assert load(tmp_path / "mean.safetensors")[1].name == "one"


def test_what_has_no_mean(files, tmp_path):
    out = tmp_path / "mean.safetensors"
    other = tmp_path / "other.safetensors"
    state, about = load(files[0])
    for shares in ([1], [1, 0], [1, float("nan")]):
        with pytest.raises(WeightsError, match="give one above 0 for each of the 2 files"):
            average(files, shares, out)
    with pytest.raises(WeightsError, match="two files"):
        average(files[:1], [1], out)
    save(other, state | {"w": torch.zeros(3, 2)}, about)
    with pytest.raises(WeightsError, match=r"other\.safetensors: its network is not that of"):
        average([files[0], other], [1, 1], out)
    renamed = SPACE.to_dict() | {"name": "renamed"}
    save(other, state, replace(about, labels=type(SPACE).from_dict(renamed)))
    with pytest.raises(WeightsError, match="its words or its canvas"):
        average([files[0], other], [1, 1], out)
    with pytest.raises(WeightsError, match=r"written to a \.safetensors file"):
        average(files, [1, 1], tmp_path / "mean.onnx")
    assert not out.exists()
