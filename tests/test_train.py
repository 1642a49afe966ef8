"""Training: the files of a run, stopping and resuming, refusals, and whether anything is learnt at all."""

import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F

from hemline.checkpoint import load, load_network, load_state
from hemline.config import Config, Data, Loss, load_config
from hemline.data import synthetic
from hemline.data.sample import PREDICTED, WHOLE_PHOTO
from hemline.errors import ConfigError, DataError, DeviceError, StoppedError, WeightsError
from hemline.heads.unet import UNet
from hemline.train import train


@pytest.fixture
def config(tiny_config, tmp_path):
    """Three epochs of three steps: of seventeen drawn photos the split leaves twelve."""
    data = (Data(name="synthetic", options={"count": 17, "canvas": [64, 64]}),)
    return replace(tiny_config, epochs=3, data=data, validation=0.2, batch_size=4, out=str(tmp_path))


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    """A folder with the run `tiny` after its first epoch, trained once: copy it, or only read it."""
    kept = {}

    def run(config):
        if not kept:
            kept["folder"] = tmp_path_factory.mktemp("one_epoch")
            kept["best"] = train(replace(config, epochs=1, out=str(kept["folder"])))
        return kept["best"]

    return run


class Record:
    """A watcher that remembers, and may do something at a step."""

    def __init__(self, at=None, do=None):
        self.steps, self.epochs, self.at, self.do = [], [], at, do

    def begin(self, config, folder, device, num_photos):
        self.begun = (folder, device, num_photos)

    def step(self, report):
        self.steps.append(report)
        if self.at == (report.epoch, report.step):
            self.do()

    def epoch(self, report):
        self.epochs.append((report.epoch, report.best))

    def end(self):
        self.ended = True


def test_a_run_leaves_what_it_promises(config, tmp_path):
    record = Record()
    best = train(config, watcher=record)
    folder = tmp_path / "tiny"
    assert best == folder / "best.safetensors"
    assert record.begun[:2] == (folder, "cpu")
    assert [e for e, _ in record.epochs] == [1, 2, 3]
    assert record.epochs[0][1], "the first validation is the best so far"
    assert {"bce", "dice", "category", "nickname"} <= set(record.steps[0].losses)
    assert record.steps[-1].seconds_left == 0
    assert load_config(folder / "config.yaml") == config
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert 0 < lines[0]["seconds"] < lines[1]["seconds"] < lines[2]["seconds"]
    assert not list(folder.glob("*.tmp"))
    network, metadata = load_network(best)
    assert metadata.canvas == (64, 64)
    assert metadata.recipe == config.to_dict()
    assert metadata.data == [{"name": "synthetic", "terms": "Drawn by Hemline; no terms.", "photos": record.begun[2]}]
    for chosen in ("label_thresholds", "instance_scores", "instance_areas"):
        assert getattr(metadata, chosen) == tuple(metadata.metrics[chosen])
    assert len(metadata.instance_areas) == len(metadata.instance_scores) == len(metadata.labels.categories)
    output = network(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), torch.ones(1, 64, 64, dtype=torch.uint8))
    assert torch.isfinite(output.masks).all()


def test_one_seed_gives_one_run(config):
    config = replace(config, epochs=2)
    first, _ = load(train(config))
    again, _ = load(train(replace(config, name="again")))
    other, _ = load(train(replace(config, name="other", seed=1)))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


STOPPED_RUN = """
import os, sys
import torch
from hemline.config import load_config
from hemline.errors import StoppedError
from hemline.train import train

class Stop:
    steps = 0
    def begin(self, *_): pass
    def epoch(self, *_): pass
    def end(self): pass
    def step(self, report):
        self.steps += 1
        if (report.epoch, report.step) == (1, 2):
            assert report.num_steps == 3, "the middle of an epoch is meant"
            os.killpg(0, int(sys.argv[2]))  # the workers get it too, as from Ctrl-C in a terminal

torch.set_num_threads(int(sys.argv[3]))
stop = Stop()
try:
    train(load_config(sys.argv[1]), watcher=stop)
except StoppedError as error:
    print(f"{stop.steps} steps; {error}")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 0), (signal.SIGTERM, 2)])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(config, number, workers, tmp_path):
    """Stopped in the middle of an epoch; the resumed run ends with the very weights of one that was not stopped."""
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(yaml.safe_dump(replace(config, workers=workers).to_dict()), encoding="utf-8")
    threads = torch.get_num_threads()  # sums differ in their last bits with the number of threads
    command = [sys.executable, "-W", "error", "-c", STOPPED_RUN, str(recipe_file), str(int(number)), str(threads)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, start_new_session=True)
    assert said.stdout.startswith("5 steps; stopped in epoch 2 of 3"), said.stdout + said.stderr
    rest = Record()
    resumed, _ = load(train(config, resume=True, watcher=rest))
    assert len(rest.steps) == 4, "the step in hand was the last before the stop"
    whole, _ = load(train(replace(config, name="whole")))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_refusals_come_before_any_harm(config, tmp_path):
    with pytest.raises(ConfigError, match="batch_size"):
        train(replace(config, batch_size=0))
    with pytest.raises(DataError, match="no photo is left to train on"):
        train(replace(config, validation=0.999))
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="device=cpu"):
            train(replace(config, device="cuda"))
    assert not (tmp_path / "tiny").exists()
    train(replace(config, epochs=1))
    before = (tmp_path / "tiny" / "best.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        train(config)
    assert (tmp_path / "tiny" / "best.safetensors").read_bytes() == before


def test_a_loss_that_is_no_number_stops_the_run_and_says_what_to_do(config, monkeypatch):
    from hemline import mask_losses

    monkeypatch.setattr(mask_losses, "SMOOTH", math.nan)
    with pytest.raises(StoppedError, match=r"loss is nan .*dice nan.* at epoch 1, step 1: lower lr.*and begin anew"):
        train(config)
    monkeypatch.undo()
    train(replace(config, epochs=1))                     # as it is told: nothing is in the way
    monkeypatch.setattr(mask_losses, "SMOOTH", math.nan)
    with pytest.raises(StoppedError, match=r"at epoch 2, step 1: lower lr.*and --resume goes on"):
        train(config, resume=True)


def test_a_gradient_that_is_no_number_never_reaches_the_weights(config, monkeypatch):
    import hemline.train

    monkeypatch.setattr(hemline.train.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    with pytest.raises(StoppedError, match=r"gradient's norm is inf at epoch 1, step 1: lower lr"):
        train(config)


def test_everything_is_refused_before_data_is_read(config, monkeypatch):
    def opened(*_):
        raise AssertionError("data is read")

    monkeypatch.setattr("hemline.begin.open_sources", opened)
    with pytest.raises(ConfigError, match=r"(?s)2 things are wrong.*backbone.name: .*no pyramid.*init: "):
        train(replace(config, backbone=replace(config.backbone, name="vit_tiny_patch16_224"), init=__file__))
    with pytest.raises(WeightsError, match="no run to resume"):
        train(config, resume=True)


def test_one_photo_where_batch_norm_needs_two(config):
    data = (Data(name="synthetic", options={"count": 1}),)
    alone = replace(config, epochs=1, canvas=(32, 32), data=data, validation=0.0)
    with pytest.raises(ConfigError, match="batch_size: a step of 1 photo on a canvas of 32 x 32"):
        train(alone)
    train(replace(alone, canvas=(64, 64)))


def test_an_epoch_measured_again_stands_once(config, tmp_path):
    train(replace(config, epochs=2))
    file = tmp_path / "tiny/metrics.jsonl"
    first, second = file.read_text().splitlines()
    file.write_text("\n".join([first, second, second.replace('"epoch": 2', '"epoch": 3'), '{"epoch": 1, cut']))
    train(config, resume=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert file.read_text().splitlines()[:2] == [first, second]
    assert lines[2]["seconds"] > lines[1]["seconds"], "the time of earlier starts counts"


def test_own_head(config):
    """A head of one's own is trained, saved, and needed again to load."""
    from hemline.backbone import Backbone

    backbone = Backbone("mobilenetv2_035")
    make = partial(UNet, backbone.channels, backbone.strides, 29, widths=[8, 8, 8], kernel_size=5)
    best = train(replace(config, epochs=1), head=make())
    network, _ = load_network(best, head=make())
    assert isinstance(network.mask_head, UNet)
    assert network.mask_head.classifier.in_channels == 8


@pytest.mark.parametrize(("masks", "says"), [("overlapping", "must answer 29$"), ("exclusive", "30, nobody the last$")])
def test_own_head_that_answers_too_few_maps(config, masks, says):
    from hemline.backbone import Backbone

    backbone = Backbone("mobilenetv2_035")
    head = UNet(backbone.channels, backbone.strides, 28, widths=[8, 8, 8])
    with pytest.raises(ConfigError, match=says):
        train(replace(config, masks=masks, loss=Loss(bce=0, cross_entropy=1)), head=head)


def test_starting_from_weights_keeps_what_fits(one_epoch, config):
    first = one_epoch(config)
    state, _ = load(first)
    wider = replace(config.label_head, hidden=20)
    frozen = replace(config, name="next", init=str(first), epochs=1, lr=1e-12, model_ema_decay=0.0, label_head=wider)
    after, _ = load(train(frozen))
    weight = "mask_head.classifier.weight"
    torch.testing.assert_close(after[weight], state[weight], rtol=0, atol=1e-5)
    assert after["label_head.shared.0.weight"].shape != state["label_head.shared.0.weight"].shape


def test_another_label_space_keeps_what_was_learnt_of_the_same_words(one_epoch, config, tmp_path):
    """Rows of the last layers follow their names, also where both spaces have as many of them."""
    first = one_epoch(config)
    state, metadata = load(first)
    space = metadata.labels.to_dict()
    space["categories"][3]["name"] = "poncho"
    space["categories"].reverse()
    for group in space["groups"]:
        for label in group["labels"]:
            label["carried_by"] = []
    space["alike"] = []
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(space))
    own = replace(config, labels=str(tmp_path / "own.yaml"))
    after, other = load(train(replace(own, name="next", init=str(first), lr=1e-12, model_ema_decay=0.0, epochs=1)))
    for layer in ("mask_head.classifier", "label_head.classifiers.0"):
        for kind in ("weight", "bias"):
            old, new = state[f"{layer}.{kind}"], after[f"{layer}.{kind}"]
            same = [torch.allclose(new[row], old[metadata.labels.find(c.name).index], rtol=0, atol=1e-5)
                    for row, c in enumerate(other.labels.categories) if c.name != "poncho"]
            assert all(same)
            assert len(same) == len(metadata.labels.categories) - 1
    poncho = other.labels.find("poncho").index
    weight = "mask_head.classifier.weight"
    assert not any(torch.allclose(after[weight][poncho], row) for row in state[weight])


def test_weights_of_another_trunk_are_no_start(one_epoch, config):
    first = one_epoch(config)
    other = replace(config, name="next", init=str(first), backbone=replace(config.backbone, name="resnet10t"))
    with pytest.raises(ConfigError, match=r"the trunk of .* is mobilenetv2_035, not the recipe's resnet10t"):
        train(other)


def test_options_that_no_head_can_have_are_refused(config):
    for options, sentence in (({"widths": [1]}, "must have 3 entries"), ({"kernel_size": 2}, "must be odd")):
        with pytest.raises(ConfigError, match=f"head: unet: .*{sentence}"):
            train(replace(config, head=replace(config.head, options=options)))


def test_a_resumed_run_takes_its_new_rates_and_a_refused_one_changes_nothing(config, tmp_path):
    train(replace(config, epochs=1))
    record = Record()
    train(replace(config, epochs=2, lr=config.lr / 8, weight_decay=0.125), resume=True, watcher=record)
    whole = Record()
    train(replace(config, name="whole", epochs=2), watcher=whole)
    rates = [step.lr for step in whole.steps if step.epoch == 1]
    assert [step.lr for step in record.steps] == pytest.approx([rate / 8 for rate in rates])
    state = load_state(tmp_path / "tiny/state.pt")
    assert {group["weight_decay"] for group in state["optimizer"]["param_groups"]} == {0.0, 0.125}
    kept = (tmp_path / "tiny/config.yaml").read_text()
    narrow = replace(config, epochs=3, label_head=replace(config.label_head, hidden=9))
    with pytest.raises(WeightsError, match=r"size mismatch for network\.label_head"):
        train(narrow, resume=True)
    assert (tmp_path / "tiny/config.yaml").read_text() == kept
    with pytest.raises(WeightsError, match="no run to resume"):
        train(replace(config, name="never"), resume=True)
    assert not (tmp_path / "never").exists()


def test_an_epoch_goes_on_where_it_stood_with_other_batches(config):
    """Three steps of four photos an epoch; stopped after two, the third goes on as two steps of two."""
    with pytest.raises(StoppedError):
        train(replace(config, epochs=1), watcher=Record(at=(0, 2), do=lambda: signal.raise_signal(signal.SIGTERM)))
    rest = Record()
    train(replace(config, epochs=1, batch_size=2), resume=True, watcher=rest)
    assert [(step.step, step.num_steps) for step in rest.steps] == [(5, 6), (6, 6)]


def test_where_nothing_is_held_out_the_last_weights_are_the_best(config, tmp_path):
    data = (replace(config.data[0], options={"count": 4, "canvas": [64, 64]}),)
    best = train(replace(config, data=data, validation=0.0, epochs=2))
    assert best.read_bytes() == (tmp_path / "tiny/last.safetensors").read_bytes()


def recipe(tmp_path, **changes):
    config = load_config("synthetic", ["workers=2", f"out={tmp_path}"])
    return replace(config, **changes)


class Shuffled(synthetic.Synthetic):
    """Drawn photos whose labels and segments are those of other photos."""

    def __getitem__(self, index):
        own = super().__getitem__(index)
        generator = np.random.default_rng(index)
        other = super().__getitem__(int(generator.integers(len(self))))
        return replace(other, photo=own.photo, key=own.key)


def learnt(best):
    report = load(best)[1].metrics
    (part,) = report["sets"]
    return part["masks"]["mean_iou"]["value"], part["labels"]["mean_average_precision"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [synthetic.Synthetic, Shuffled])
def test_drawn_figures_are_learnt_and_shuffled_ones_are_not(dataset, tmp_path, monkeypatch):
    """The embedded default reaches what no broken trainer does, in minutes; shuffled labels teach nothing."""
    import hemline.data

    monkeypatch.setitem(hemline.data.DATASETS, "synthetic", dataset)
    mean_iou, mean_ap = learnt(train(recipe(tmp_path)))
    print(f"{dataset.__name__}: mean IoU {mean_iou:.3f}, mean average precision {mean_ap:.3f}")
    if dataset is Shuffled:
        assert mean_iou < 0.20                            # where on a photo garments are, and no more
        assert mean_ap < 0.70
    else:
        assert mean_iou > 0.25
        assert mean_ap > 0.75


def test_synthetic_speaks_of_garments_where_they_are_drawn():
    """What the tests above rely on: every region of a drawn photo is drawn or the whole photo."""
    config = Config(name="x", epochs=1)
    from hemline.data import build_dataset
    from hemline.labels import load_label_space

    sample = build_dataset(config.data[0], load_label_space("street"))[0]
    assert {r.segments for r in sample.regions} <= {WHOLE_PHOTO, *((s,) for s in range(1, len(sample.targets)))}
    assert PREDICTED not in {r.segments for r in sample.regions}

def test_exclusive_masks_have_no_threshold(config):
    """A pixel is whatever is likeliest, nobody among it, whatever `mask_threshold` says."""
    loss = Loss(bce=0, cross_entropy=1)
    config = replace(config, masks="exclusive", mask_threshold=0.2, loss=loss, labels="outfit5", epochs=1)
    network, metadata = load_network(train(config))
    assert metadata.mask_thresholds == (0.5,) * 5
    pixels = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits = network.mask_head(network.backbone(pixels)).logits                # (1, 6, h, w), the last is nobody
        answered = network.dense(pixels).logits
    assert logits.shape[1] == 6
    torch.testing.assert_close(F.pad(answered, (0, 0, 0, 0, 0, 1)).softmax(1), logits.softmax(1))
