"""What moves the weights: optimizers, schedules beside torch's own, what stays frozen, pieces of a step, fp16."""

import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hemline._lookups import _wrong_optimizer
from hemline.begin import precision_of
from hemline.checkpoint import load_state
from hemline.config import LabelHead, load_config
from hemline.errors import ConfigError, StoppedError
from hemline.labels import load_label_space
from hemline.model import build_instances
from hemline.optim import frozen, schedule
from tests.steps import batch_of as placed
from tests.steps import begun, same, step, weights


@pytest.fixture
def config(tiny_config):
    """Twenty steps, as `tests.steps` has them."""
    return replace(tiny_config, epochs=20, canvas=(32, 32), label_head=LabelHead(hidden=16, dropout=0.0))


batch_of = partial(placed, canvas=(32, 32))


def torchs(make, steps):
    """The factors that a scheduler of torch gives so many steps."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize("steps", [1, 3, 4, 10, 37])
def test_schedules_are_those_of_torch(config, steps):
    lr = torch.optim.lr_scheduler
    theirs = {
        "onecycle": lambda o: lr.OneCycleLR(o, 1.0, total_steps=steps + 1, cycle_momentum=False),
        "poly": lambda o: lr.PolynomialLR(o, total_iters=steps, power=0.7),
        "cosine": lambda o: lr.CosineAnnealingLR(o, T_max=steps),
        "constant": lambda o: lr.ConstantLR(o, factor=1.0),
    }
    for sched, make in theirs.items():
        total = steps + 1 if sched == "onecycle" else steps
        factor = schedule(replace(config, sched=sched, sched_power=0.7, warmup=0.0), total)
        ours = [factor(done) for done in range(steps)]
        assert ours == pytest.approx(torchs(make, steps), abs=1e-12), sched


def test_warm_up_climbs_to_the_peak_and_onecycle_has_its_own(config):
    constant = schedule(replace(config, sched="constant", warmup=0.2), 20)
    assert [constant(done) for done in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    poly = schedule(replace(config, sched="poly", sched_power=2.0, warmup=0.2), 20)
    assert [poly(done) for done in (0, 1, 10, 20)] == pytest.approx([0.25, 0.5, 0.25, 0])
    one, other = (schedule(replace(config, sched="onecycle", warmup=warmup), 20) for warmup in (0.0, 0.5))
    assert [one(done) for done in range(21)] == [other(done) for done in range(21)]


def test_rates_of_a_step(config, tmp_path):
    """The trunk's is a share of the heads'; both follow the schedule; norms and biases have no decay."""
    config = replace(config, sched="poly", sched_power=1.0, warmup=0.0, lr=0.01, backbone_lr_scale=0.5, epochs=2)
    run = begun(config, tmp_path)
    trunk = {*run.loss.network.backbone.parameters()}
    for done in range(2):
        step(run, config, batch_of(0, 1))
        for group in run.optimizer.param_groups:
            mine = [parameter in trunk for parameter in group["params"]]
            assert all(mine) or not any(mine)
            assert group["lr"] == pytest.approx((0.005 if mine[0] else 0.01) * (1 - done / 2))
            assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
        assert run.lr == pytest.approx(0.01 * (1 - done / 2))


@pytest.mark.parametrize("opt", ["sgd", "lamb"])
def test_a_resumed_run_ends_with_the_same_weights(config, opt, tmp_path):
    config = replace(config, opt=opt, sched="onecycle", loss=replace(config.loss, weighting="uncertainty"))
    whole = begun(config, tmp_path / "whole")
    for number in range(3):
        step(whole, config, batch_of(number, number + 1))
        if number == 1:
            whole.save()
    again = begun(replace(config, seed=5), tmp_path / "whole")
    assert same(weights(whole), weights(again)) != {*weights(whole)}
    again.restore(load_state(tmp_path / "whole/state.pt"))
    step(again, config, batch_of(2, 3))
    assert same(weights(whole), weights(again)) == {*weights(whole)}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sgd", "momentum: sgd cannot have 0"),
        ("adamv", r"opt: timm has no optimizer 'adamv'.*adam"),
        ("lookahead_adam", "timm has no optimizer"),
        ("adahessian", "needs second derivatives"),
        ("bnbadam8bit", "needs a GPU and the package bitsandbytes"),
        ("fusedlamb", "needs a GPU and the package apex"),
        ("kronw", "a resumed run could not go on with"),
    ],
)
def test_optimizers_that_cannot_train_here(name, says):
    (sentence,) = _wrong_optimizer(name, 0.0)
    assert re.search(says, sentence), sentence


def test_a_run_goes_on_with_the_kernels_of_its_own_device(config, tmp_path):
    """As where one on a GPU, which takes fused ones, goes on on a CPU, and the other way round."""
    run = begun(config, tmp_path)
    step(run, config, batch_of(0, 1))
    run.save()
    state = load_state(tmp_path / "state.pt")
    for saved, own in ((True, None), (None, True)):
        for group in state["optimizer"]["param_groups"]:
            group["fused"] = saved
        again = begun(config, tmp_path)
        for group in again.optimizer.param_groups:
            group["fused"] = own
        again.restore(state)
        assert {group["fused"] for group in again.optimizer.param_groups} == {own}
        steps = {kept["step"].dtype for kept in again.optimizer.state.values()}
        assert steps == {torch.float32}


def test_bf16_is_taken_of_itself_where_a_gpu_has_it(config, monkeypatch):
    """Older ones emulate it, slowly."""
    on_gpu = partial(precision_of, config, torch.device("cuda"))
    for has, takes in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True, has=has:
                            has or including_emulation)
        assert on_gpu() == takes


def test_what_is_wrong_with_the_switches_is_said_at_once():
    with pytest.raises(ConfigError, match=r"(?s)2 things are wrong.*freeze_epochs: nothing is frozen.*opt: timm has"):
        load_config("debug", ["opt=sdg", "freeze_epochs=2"])
    with pytest.raises(ConfigError, match="freeze: nothing is left to learn"):
        load_config("debug", ["freeze=[backbone, mask_head, label_head]"])
    with pytest.raises(ConfigError, match="freeze: head mask_rcnn finds instances and is no mask_head"):
        load_config("mask_rcnn", ["freeze=[mask_head]", "backbone.pretrained=false"])
    mixed = ["batch_size=1", "canvases=[[64,64],[32,32]]"]
    with pytest.raises(ConfigError, match=r"batch_size: a step of 1 photo on a canvas of 32 x 32 .* batch_norm=frozen"):
        load_config("debug", mixed)
    load_config("debug", [*mixed, "batch_norm=frozen"])


def of_norms(network):
    return {f"network.{name}.{key}" for name, layer in network.named_modules() if isinstance(layer, _BatchNorm)
            for key in layer.state_dict()}


def test_frozen_parts_stay_until_they_learn(config, tmp_path):
    """Bit for bit, their average and statistics too; nothing is kept of their gradients; resumed from either side."""
    config = replace(config, freeze=("backbone", "label_head"), freeze_epochs=1, weight_decay=0.5)
    run = begun(config, tmp_path / "whole")
    before = weights(run)
    kept = {}
    for number in range(3):
        step(run, config, batch_of(number, number + 1))
        run.save()
        kept[number + 1] = load_state(tmp_path / "whole/state.pt")
        if number == 0:
            still = same(before, weights(run))
            average = {f"network.{name}": x for name, x in run.average.module.state_dict().items()}
            frozen_ones = {name for name in before if name.startswith(("network.backbone.", "network.label_head."))}
            assert frozen_ones == still - {"network.thresholds"}
            assert frozen_ones <= same({name: before[name] for name in frozen_ones}, average)
            head = {*run.loss.network.mask_head.parameters()}
            assert {p for p in run.optimizer.state if run.optimizer.state[p]} == head
            assert not run.loss.network.backbone.training
    after = weights(run)
    assert not any(name.endswith("weight") for name in frozen_ones & same(before, after))
    assert not any("running" in name for name in same(before, after))
    for stopped in (1, 2):
        again = begun(config, tmp_path / "again")
        again.restore(kept[stopped])
        for number in range(stopped, 3):
            step(again, config, batch_of(number, number + 1))
        assert same(after, weights(again)) == {*after}


def test_a_frozen_trunk_keeps_nothing_for_a_gradient(config, tmp_path):
    config = replace(config, freeze=("backbone",))
    run = begun(config, tmp_path)
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: held.append(x) or x, lambda x: x):
        run.loss.network.backbone(batch_of(0, 1).pixels)
    assert not held
    run = begun(replace(config, freeze=None), tmp_path)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: held.append(x) or x, lambda x: x):
        run.loss.network.backbone(batch_of(0, 1).pixels)
    assert held


def test_frozen_batch_norms_stay_and_all_else_learns(config, tmp_path):
    config = replace(config, batch_norm="frozen", lr=0.1, warmup=0.0)
    run = begun(config, tmp_path)
    before = weights(run)
    step(run, config, batch_of(0))
    step(run, config, batch_of(1))
    still = same(before, weights(run))
    norms = of_norms(run.loss.network)
    assert norms
    assert norms <= still
    assert not {name for name in still - norms if "classifiers" not in name and name != "network.thresholds"}


def test_frozen_batch_norms_of_instance_networks():
    small = ["backbone.name=test_efficientnet", "backbone.pretrained=false", "head.width=8", "head.box_hidden=16"]
    config = load_config("attribute_mask_rcnn", [*small, "batch_norm=frozen"])
    network = build_instances(config, load_label_space(config.labels), trunk_weights=False).train()
    stays = frozen(network, config, 0)
    own = dict(network.named_parameters(prefix="network"))
    assert {name for name, parameter in own.items() if parameter in stays} == of_norms(network) & {*own}
    assert any(name.startswith("network.head.") for name in of_norms(network))
    assert {layer.training for layer in network.modules() if isinstance(layer, _BatchNorm)} == {False}
    assert network.head.training
    part = replace(config, batch_norm="train", freeze=("label_head",), freeze_epochs=1)
    assert frozen(network.train(), part, 0) == {*network.label_head.parameters()}
    assert frozen(network.train(), part, 1) == set()


def test_pieces_of_a_step_give_the_gradient_of_the_whole(config, tmp_path):
    """As much is known of each photo here, batch norms stay, and nothing is dropped."""
    config = replace(config, batch_norm="frozen", opt="momentum", momentum=0.0, lr=0.5, warmup=0.0, clip_grad=1e6)
    one = batch_of(3)
    others = [one._replace(pixels=batch_of(number).pixels) for number in range(4)]   # other pixels, the same truth
    whole = type(one)(*(torch.cat(parts) for parts in zip(*others, strict=True)))
    whole = whole._replace(one_of_region=whole.one_of_region + whole.one_of_region.new_tensor([[0, 0]]))
    pairs = [type(one)(*(torch.cat(parts) for parts in zip(*two, strict=True))) for two in (others[:2], others[2:])]
    after = []
    for pieces in ([whole], pairs, others):
        run = begun(config, tmp_path)
        before = weights(run)
        step(run, config, *pieces)
        after.append((weights(run), run.losses, run.total))
    assert max(float((after[0][0][name] - before[name]).abs().max()) for name in before) > 1e-3
    for state, losses, total in after[1:]:
        assert losses == pytest.approx(after[0][1], rel=1e-5)
        assert total == pytest.approx(after[0][2], rel=1e-5)
        for name, tensor in after[0][0].items():
            torch.testing.assert_close(state[name], tensor, rtol=0, atol=2e-6)


@pytest.mark.parametrize("precision", ["float32", pytest.param("fp16", marks=pytest.mark.slow)])
def test_a_step_that_overflows_is_skipped_and_the_next_one_is_not(config, precision, tmp_path, monkeypatch):
    """Also with a scale so large that a loss in float32 overflows: fp16 is slow on CPUs."""
    config = replace(config, precision=precision, warmup=0.0)
    run = begun(config, tmp_path)
    assert run.scaler.is_enabled() == (precision == "fp16")
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-116)
    before = weights(run)
    step(run, config, batch_of(0, 1))
    learnt = {name for name, _ in run.loss.named_parameters()}
    assert learnt <= same(before, weights(run))
    assert all(torch.equal(x, before["network." + name]) for name, x in run.average.module.named_parameters())
    assert run.scaler.get_scale() == 2.0**11
    assert run.steps_done == 1, "the schedule goes on"
    step(run, config, batch_of(1, 2))
    assert run.scaler.get_scale() == 2.0**11
    assert len(learnt & same(before, weights(run))) < 10, "but for labels of which these photos say nothing"
    assert all(bool(tensor.isfinite().all()) for tensor in weights(run).values())
    monkeypatch.setattr("hemline.train.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    run.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    with pytest.raises(StoppedError, match=r"overflows fp16 without any scale"):
        step(run, config, batch_of(0, 1))
