"""Two photos learnt by heart: every loss falls to nearly the least there is."""

from dataclasses import replace

import pytest
import torch

from hemline.config import Augment, Data, LabelHead, Loss, load_config
from hemline.data.loading import Item, TrainingSet, open_sources
from hemline.data.sample import collate
from hemline.labels import load_label_space
from hemline.losses import mask_targets
from hemline.train import train
from tests.steps import batch_of, begun, step
from tests.test_train import Record


def least_bce(batch, size):
    """What `bce` costs at the least: a cell that two things share asks for its share, whose entropy stays."""
    target, known = mask_targets(batch, size)[1:]
    entropy = -(torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target))
    return float((entropy * known).sum() / known.amax(1).sum())


def test_two_photos_can_be_learnt_by_heart(tiny_config, tmp_path):
    """Every loss of theirs falls to nearly the least there is."""
    config = replace(
        tiny_config, epochs=120, batch_size=2, lr=0.01, backbone_lr_scale=1.0, sched="onecycle", clip_grad=5.0,
        weight_decay=0.0, loss=Loss(choice=0.5), label_head=LabelHead(hidden=32, dropout=0.0),
    )  # fmt: skip
    run, both = begun(config, tmp_path), batch_of(0, 1)
    least = least_bce(both, (16, 16))
    assert least > 0.05, "some cells are shared"
    step(run, config, both)
    first = {**run.losses, "bce": run.losses["bce"] - least}
    for _ in range(119):
        step(run, config, both)
    last = {**run.losses, "bce": run.losses["bce"] - least}
    assert {"bce", "dice", "category", "nickname", "choice of collar"} <= last.keys()
    asked = [name for name in first if first[name] > 0]
    assert len(asked) > 12
    assert 0 <= last["bce"] < 0.03 * first["bce"]
    for name in asked:
        assert last[name] < (0.06 if name == "bce" else 0.01), name


@pytest.mark.slow
def test_a_run_learns_two_photos_by_heart(tmp_path):
    """The same of a whole run, with what reads photos and places them."""
    still = Augment(flip=0, crop=0, scale=(1, 1), rotate=0, colour=0)
    data = (Data(name="synthetic", options={"count": 2, "canvas": (96, 64)}),)
    alone = ["label_head.dropout=0", "loss.cross_entropy=0"]             # whose least is another
    config = replace(
        load_config("synthetic", [f"out={tmp_path}", *alone]), data=data, augment=still, validation=0.0, epochs=220,
        batch_size=2, workers=0, validate_every=1000,
    )  # fmt: skip
    record = Record()
    train(config, watcher=record)
    first, last = record.steps[0].losses, record.steps[-1].losses
    sources = open_sources(config, load_label_space(config.labels))
    photos = TrainingSet(sources, config)
    both = collate([photos[Item((config.seed, 0, number), 0, number)] for number in range(2)])
    least = least_bce(both, [side // 4 for side in config.canvas])
    assert 0 <= last["bce"] - least < 0.05 * (first["bce"] - least)
    assert {name: loss for name, loss in last.items() if loss > 0.02 and name != "bce"} == {}
