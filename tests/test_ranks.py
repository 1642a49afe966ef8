"""Two processes on the CPU: a step of both is that of one with all the photos, and an error of one ends both."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct
from torch import Tensor

from hemline.config import Config
from hemline.data.loading import EpochSampler, TrainingSet, open_sources
from hemline.data.sample import WHOLE_PHOTO, Batch, Region, Sample, collate
from hemline.errors import ConfigError, DataError, DeviceError, ElsewhereError, StoppedError
from hemline.labels import load_label_space
from hemline.loss_config import Loss
from hemline.losses import JointLoss
from hemline.model import build
from hemline.ranks import Ranks, find_ranks, joined

from .processes import together


def test_shares_are_contiguous_whole_and_even() -> None:
    photos = list(range(11))
    for size in range(1, 14):
        shares = [Ranks(rank, size).share(photos) for rank in range(size)]
        assert [photo for share in shares for photo in share] == photos
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    "told",
    [{"RANK": "one"}, {"RANK": "1"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "0"},
     {"LOCAL_RANK": "-1"}],
)  # fmt: skip
def test_numbers_that_torchrun_would_not_give_are_refused(told: dict[str, str], monkeypatch: Any) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert find_ranks() == Ranks()
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"RANK=.*or unset"):
        find_ranks()


EVERY_LOSS = Loss(
    bce=1, dice=1, cross_entropy=1, focal=1, jaccard=1, generalised_dice=1, tversky=1, lovasz=1, bootstrapped=1, ohem=1,
    choice=1,
)  # fmt: skip


# -- one step --------------------------------------------------------------------------------------------------


def halves(config: Config, one_knows: str) -> tuple[list[Batch], Batch]:
    """Two batches of drawn photos, and both in one; each half knows other things.

    Args:
        config: Says the canvas.
        one_knows: `all` alike; or the first has `masks` and no word, the second words and no mask.
    """
    sources = open_sources(config, space := load_label_space("street"))
    photos = TrainingSet(sources, config)
    drawn = [photos[item] for item in next(iter(EpochSampler(sources, batch_size=6, seed=3)))]
    samples = [sample for sample in drawn if isinstance(sample, Sample)]
    if one_knows == "masks":
        nothing = [Region(WHOLE_PHOTO, np.full(space.num_labels, -1, np.int8))]
        samples[:2] = [replace(sample, regions=nothing) for sample in samples[:2]]
        samples[2:] = [
            replace(sample, targets=np.full_like(sample.targets[:1], -1), segments=np.zeros_like(sample.segments),
                    regions=[region for region in sample.regions if not region.drawn])
            for sample in samples[2:]
        ]  # fmt: skip
    whole = collate(samples)
    parts = samples[:2], samples[2:]                     # of two and of four: a mean of means would be wrong
    return [collate(part) for part in parts], whole


def one_step(loss: JointLoss, pieces: list[Batch]) -> tuple[Tensor, dict[str, Tensor]]:
    """The (T,) mean losses and the gradients of a step, as `train_step` has them."""
    ranks = find_ranks()
    with joined(ranks, on_gpu=False):
        model = ranks.wrap(loss, torch.device("cpu"))
        told = []
        for number, batch in enumerate(pieces, start=1):
            context = ranks.alone(model) if number < len(pieces) else torch.enable_grad()
            with context:
                losses, means = ranks.means(model(batch))
                (loss.task_weights(losses) / len(pieces)).backward()
            told.append(means)
    return torch.stack(told).mean(0), {name: p.grad for name, p in loss.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("one_knows", "pieces"), [("all", 2), ("masks", 1)])
def test_a_step_of_two_processes_is_that_of_one_with_all_the_photos(
    one_knows: str, pieces: int, tiny_config: Config
) -> None:
    config = replace(tiny_config, batch_size=6)
    torch.manual_seed(0)
    loss = JointLoss(build(config, (space := load_label_space("street"))), space, EVERY_LOSS)
    loss.to(memory_format=torch.channels_last).eval()    # neither batch norm nor dropout: see `hemline.ranks`
    parts, whole = halves(config, one_knows)
    alone, gradients = together(lambda: one_step(loss, [whole] * pieces), size=1)[0]
    both = together(lambda: one_step(loss, [parts[find_ranks().rank]] * pieces))
    for means, own in both:
        torch.testing.assert_close(means, alone, rtol=1e-5, atol=1e-6)
        assert own.keys() == gradients.keys()
        for name, gradient in gradients.items():
            assert (own[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max().clamp(min=1e-3), name
    if one_knows == "masks":
        labels = (parts[0].labels >= 0).any(), (parts[1].labels >= 0).any()
        masks = (parts[0].targets >= 0).any(), (parts[1].targets >= 0).any()
        assert [bool(x) for x in (*labels, *masks)] == [False, True, True, False]


def test_norms_of_timm_keep_their_activations_however_often_a_network_is_wrapped(monkeypatch: Any) -> None:
    """On GPUs, where norms count over all processes; a part that is frozen counts nothing still."""
    monkeypatch.setattr("hemline.ranks.DistributedDataParallel", lambda module, **_: module)
    network = torch.nn.Sequential(BatchNormAct2d(2), torch.nn.Conv2d(2, 2, 1), torch.nn.BatchNorm2d(2)).eval()
    tensors = [value.data_ptr() for value in network.state_dict().values()]
    maps = torch.randn(2, 2, 4, 4)
    before = network(maps)
    for _ in range(2):
        model = Ranks(0, 2).wrap(network, torch.device("cuda"))
        assert [type(layer) for layer in (network[0], network[2])] == [SyncBatchNormAct, torch.nn.SyncBatchNorm]
        torch.testing.assert_close(model(maps), before)
    assert not network[0].training
    assert [value.data_ptr() for value in network.state_dict().values()] == tensors, "its average follows these"


# -- how errors end all ----------------------------------------------------------------------------------------


def ends_by(act: Callable[[Ranks], object]) -> list[Any]:
    """How two processes end that do something within `joined`."""

    def do() -> object:
        ranks = find_ranks()
        with joined(ranks, on_gpu=False):
            return act(ranks)

    return together(do, may_fail=True)


def test_what_one_cannot_do_ends_both_and_is_said_once() -> None:
    def broken(culprit: int) -> Callable[[Ranks], object]:
        def act() -> int:
            if find_ranks().rank == culprit:
                raise DataError("a photo is torn")
            return 7

        return lambda ranks: ranks.agreed(act)

    assert ends_by(broken(2)) == [7, 7]
    said = [(DataError, f"process {i} of 2: a photo is torn") for i in (1, 2)]
    assert ends_by(broken(0)) == [said[0], (ElsewhereError, said[0][1])]
    assert ends_by(broken(1)) == [(ElsewhereError, said[1][1]), said[1]]


def test_processes_that_cannot_reach_each_other_say_how(monkeypatch: Any) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nowhere9")
    ends = ends_by(lambda ranks: ranks.gather(0))
    assert [end.kind for end in ends] == [DeviceError] * 2
    assert ends[1].said.startswith("process 2 of 2 cannot reach the others (")
    assert "GLOO_SOCKET_IFNAME" in ends[1].said


def test_what_both_run_into_is_said_by_the_first() -> None:
    def torn() -> object:
        raise DataError("no such folder")

    alike = [(DataError, "no such folder"), (ElsewhereError, "process 1 of 2: no such folder")]
    assert ends_by(lambda ranks: ranks.agreed(torn)) == alike
    met_first = ends_by(lambda ranks: (ranks.gather(0), torn()))             # who ends sooner is not met at all
    assert met_first == [alike[0], (ElsewhereError, "no such folder")]


def test_one_that_ends_alone_lets_none_wait_for_it(monkeypatch: Any) -> None:
    monkeypatch.setattr("hemline.ranks.FIRST_SPEAKS", timedelta(seconds=0.5))

    def act(ranks: Ranks) -> object:
        if ranks.rank == 1:
            raise StoppedError("out of memory")
        return ranks.gather(0)                           # the other waits here

    gone = "another process of the run ended; its own message says why"
    assert ends_by(act) == [(ElsewhereError, gone), (StoppedError, "process 2 of 2: out of memory")]
    with_bug = ends_by(lambda ranks: ranks.gather(1 // (1 - ranks.rank)))
    assert with_bug == [(ElsewhereError, gone), (ZeroDivisionError, with_bug[1].said)]


def test_weights_that_no_loss_reaches_are_refused() -> None:
    def act(ranks: Ranks) -> None:
        layers = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
        layers.forward = layers[0].forward
        model = ranks.wrap(layers, torch.device("cpu"))
        for _ in range(2):
            model(torch.ones(1, 2)).sum().backward()

    first, second = ends_by(act)
    assert first.kind is ConfigError
    assert "no loss reaches" in first.said
    assert second == (ElsewhereError, first.said)


def test_statistics_of_the_first_serve_all() -> None:
    def act(ranks: Ranks) -> list[float]:
        conv = torch.nn.Conv2d(2, 2, 3)
        norm = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(2)).to(memory_format=torch.channels_last)
        torch.nn.init.constant_(conv.weight, ranks.rank + 1)
        norm(torch.randn(4, 2, 8, 8) + ranks.rank)
        ranks.as_first(norm)
        return [float(value.double().sum()) for value in norm.state_dict().values()]

    first, second = ends_by(act)
    assert first == second
    assert first[0] == 2 * 2 * 9
