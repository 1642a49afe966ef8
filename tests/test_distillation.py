"""Distillation: divergences by hand and by scipy, teachers that stay as they are, and what is refused."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from hemline.config import Config, Loss
from hemline.data.sample import Batch
from hemline.distillation import Lesson, Teachers, open_teachers, taught_labels, taught_masks
from hemline.errors import ConfigError
from hemline.labels import load_label_space
from hemline.losses import JointLoss
from hemline.model import build
from hemline.task_weights import TAUGHT_LABELS, TAUGHT_MASKS, weighted_sum
from tests.toy import NUM_LABELS, NUM_MASKS, SPACE

LAYER = [(0, 1)]


def lesson_of(logits):
    """What teachers with these logits answer, written a second way."""
    odds = np.exp(logits.double().numpy())
    total = 1 + odds.sum(1, keepdims=True)
    answers = np.concatenate([1 / total, odds / total], axis=1)
    return Lesson([torch.tensor(answers).float()], torch.tensor(odds / (1 + odds)).float(), [])


def test_masks_cost_the_divergences_by_scipy():
    """Of the one answer, and of each class's yes and no; a cell half of which is photo counts half."""
    torch.manual_seed(0)
    teacher, student = torch.randn(2, 2, 3, 2) * 2, torch.randn(2, 2, 3, 2) * 2
    area = torch.tensor([[1.0, 0.5], [1.0, 0.0], [1.0, 1.0]]).expand(2, 1, 3, 2)
    term = taught_masks(student, lesson_of(teacher), area, LAYER)
    theirs, ours = lesson_of(teacher), lesson_of(student)
    apart = rel_entr(theirs.answers[0].numpy(), ours.answers[0].numpy()).sum(1)
    for sign in (0, 1):
        p, q = (abs(sign - each.scores.numpy().astype(np.float64)) for each in (theirs, ours))
        apart = apart + rel_entr(p, q).sum(1)
    assert term.total.item() == pytest.approx((apart * area[:, 0].numpy()).sum(), rel=1e-4)
    assert term.known.item() == area.sum().item()


def test_who_answers_as_the_teachers_has_learnt_all():
    logits = torch.tensor([-30.0, -3.0, 0.0, 2.0, 30.0, 1.0, 0.5, -1.0]).view(1, 2, 2, 2).requires_grad_()
    term = taught_masks(logits, lesson_of(logits.detach()), torch.ones(1, 1, 2, 2), LAYER)
    assert abs(term.mean().item()) < 1e-5
    term.total.backward()
    assert logits.grad.abs().max() < 1e-5
    labels = torch.tensor([[-20.0, 0.0, 3.0]])
    assert abs(taught_labels(labels, torch.sigmoid(labels)).mean().item()) < 1e-5


def test_labels_by_hand():
    """The teachers say 1/4, the network 1/2: (ln 2 - entropy of 1/4) for each of two labels, under one mask."""
    term = taught_labels(torch.zeros(1, 2), torch.full((1, 2), 0.25))
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert term.mean().item() == pytest.approx(2 * (np.log(2) - entropy), rel=1e-6)


def test_teachers_teach_the_mean_of_their_probabilities(tiny_config):
    torch.manual_seed(1)
    networks = [build(tiny_config, SPACE) for _ in range(2)]
    teachers = Teachers(networks)
    pixels = torch.randint(0, 255, (1, 64, 64, 3), dtype=torch.uint8)
    masks = torch.rand(1, 3, 16, 16)
    lesson = teachers.look(pixels, torch.Size((16, 16)))
    dense = [network.dense(pixels) for network in networks]
    scores = sum(torch.sigmoid(each.logits) for each in dense) / 2
    assert torch.allclose(lesson.scores, scores, atol=1e-6)
    assert torch.allclose(lesson.answers[0].sum(1), torch.ones(1, 16, 16), atol=1e-5)
    labels = sum(torch.sigmoid(n.label_head(d.maps, masks)) for n, d in zip(networks, dense, strict=True)) / 2
    assert torch.allclose(teachers.labels(lesson, masks), labels, atol=1e-6)
    assert not torch.equal(lesson.scores, torch.sigmoid(dense[0].logits))    # the two differ
    smaller = teachers.look(pixels, torch.Size((8, 8)))                      # a network whose map is coarser
    assert smaller.scores.shape[-2:] == (8, 8)


def test_a_step_with_teachers(tiny_config):
    """They are neither trained nor counted, and photos of which nothing is known still teach."""
    torch.manual_seed(2)
    network, teacher = build(tiny_config, SPACE), build(tiny_config, SPACE)
    teacher.train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    loss = JointLoss(network, SPACE, Loss(), teachers=Teachers([teacher])).train()
    assert len(list(loss.parameters())) == len(list(network.parameters()))
    batch = Batch(
        pixels=torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8),
        valid=torch.ones(2, 64, 64, dtype=torch.uint8),
        segments=torch.zeros(2, 64, 64, dtype=torch.uint8),
        targets=torch.full((2, 1, NUM_MASKS), -1, dtype=torch.int8),
        region_segments=torch.zeros(2, 1, 1, dtype=torch.bool),
        region_classes=torch.zeros(2, 1, NUM_MASKS, dtype=torch.bool),
        labels=torch.full((2, 1, NUM_LABELS), -1, dtype=torch.int8),
        doubt=torch.zeros(2, 1),
        one_of=torch.zeros(0, NUM_LABELS, dtype=torch.bool),
        one_of_region=torch.zeros(0, 2, dtype=torch.int64),
    )
    terms = loss(batch)
    assert terms[TAUGHT_LABELS].known.item() == 2            # the whole of each photo; regions of nothing are none
    losses = {name: term.mean() for name, term in terms.items()}
    total = weighted_sum(losses, Loss(taught_masks=2, taught_labels=3))
    assert total.item() == pytest.approx(2 * losses[TAUGHT_MASKS].item() + 3 * losses[TAUGHT_LABELS].item(), rel=1e-5)
    total.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    after = teacher.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_what_cannot_teach_is_refused():
    cpu = torch.device("cpu")
    street = load_label_space("street")
    about = Config(name="x", epochs=1)
    assert open_teachers(about, street, cpu) is None
    (network,) = open_teachers(Config(name="x", epochs=1, teachers=("default",)), street, cpu).networks
    assert not network.training
    with pytest.raises(ConfigError, match="teachers: default answers in words of street, with others than toy"):
        open_teachers(Config(name="x", epochs=1, teachers=("default",)), SPACE, cpu)
    with pytest.raises(ConfigError, match="teachers: the masks of default are not exclusive"):
        open_teachers(Config(name="x", epochs=1, teachers=("default",), masks="exclusive"), street, cpu)
    with pytest.raises(ConfigError, match=r"teachers: gone.safetensors"):
        open_teachers(Config(name="x", epochs=1, teachers=("gone.safetensors",)), street, cpu)
