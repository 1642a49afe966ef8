"""Photos that are the same: copies are found, other photos are not, and never are all pairs compared."""

import cv2
import numpy as np
import pytest

from hemline.data_commands import duplicates
from hemline.data_commands.duplicates import MOST_BITS, Look, look_of, residue, same_bytes, same_look


def picture(seed, size=(300, 220)):
    """A photo of soft shapes with fine texture."""
    rng = np.random.default_rng(seed)
    shapes = cv2.resize(rng.integers(0, 256, (7, 5, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(shapes + rng.normal(0, 6, shapes.shape), 0, 255).astype(np.uint8)


def saved(photo, quality):
    return cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


COPIES = {
    "smaller": lambda photo: cv2.resize(photo, None, fx=0.43, fy=0.43, interpolation=cv2.INTER_AREA),
    "larger": lambda photo: cv2.resize(photo, None, fx=3.1, fy=3.1),
    "recompressed": lambda photo: saved(photo, 30),
    "brighter": lambda photo: cv2.convertScaleAbs(photo, alpha=1.05, beta=8),
    "all of it": lambda photo: saved(cv2.convertScaleAbs(cv2.resize(photo, (110, 150)), alpha=1.05, beta=4), 50),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_found(how):
    photos = [picture(seed) for seed in range(30)]
    copies = [COPIES[how](photo) for photo in photos]
    assert same_look([look_of(photo) for photo in photos + copies]) == [(i, 30 + i) for i in range(30)]


@pytest.mark.parametrize(
    "other",
    [
        lambda photo: photo[:, ::-1].copy(),
        lambda photo: np.rot90(photo).copy(),
        lambda photo: photo[:, :, ::-1].copy(),                 # another colour
        lambda photo: photo[: len(photo) // 2].copy(),
        lambda photo: 255 - photo,
    ],
)
def test_mirrored_turned_recoloured_and_cut_photos_are_others(other):
    assert same_look([look_of(picture(1)), look_of(other(picture(1)))]) == []


def test_blank_photos_are_not_alike():
    noise = [np.clip(np.random.default_rng(i).normal(240, 1, (90, 60, 3)), 0, 255).astype(np.uint8) for i in range(5)]
    assert same_look([look_of(photo) for photo in [*noise, np.full((9, 9, 3), 7, np.uint8)]]) == []
    assert same_look([]) == same_look([look_of(picture(0))]) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (2000, 1), (513, 1025)])
def test_a_look_of_any_size(size):
    look = look_of(np.zeros((*size, 3), np.uint8))
    assert 0 <= look.bits < 2**64
    assert look.aspect == size[1] / size[0]


def test_all_hashes_within_reach_are_candidates():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**64, 400, dtype=np.uint64)
    for i in range(0, 400, 2):                                  # a neighbour that differs in 0..9 bits
        flips = rng.choice(64, i // 2 % 10, replace=False)
        bits[i + 1] = bits[i] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64), initial=np.uint64(0))
    found = list(zip(*(side.tolist() for side in duplicates._candidates(bits)), strict=True))
    apart = np.array([[int(x ^ y).bit_count() for y in bits.tolist()] for x in bits.tolist()])
    assert found == [(i, j) for i, j in np.argwhere(apart <= MOST_BITS).tolist() if i < j]


def test_many_photos_are_not_compared_in_pairs(monkeypatch):
    compared = 0
    differing = duplicates._differing

    def count(a, b):
        nonlocal compared
        compared += len(a)
        return differing(a, b)

    monkeypatch.setattr(duplicates, "_differing", count)
    bits = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64)
    thumbnail = np.zeros((24, 24, 3), np.uint8)
    assert same_look([Look(int(x), thumbnail, 1.0, 0.0) for x in bits]) == []
    assert compared < 20_000 * 40                               # of 200 million
    compared = 0
    pairs = same_look([look_of(picture(0))] * 600)              # all of one bucket
    assert compared <= 28 * 64 * 600
    assert {photo for pair in pairs for photo in pair} == set(range(600))


def test_residue_against_a_straight_fit():
    rng = np.random.default_rng(3)
    a = rng.integers(0, 256, (1, 300), dtype=np.uint8)
    b = np.clip(0.9 * a + rng.normal(0, 12, a.shape) + 5, 0, 255).astype(np.uint8)
    x, y = a[0].astype(float), b[0].astype(float)
    left = y - np.polyval(np.polyfit(x, y, 1), x)
    assert residue(a, b)[0] == pytest.approx(left.std() / y.std(), abs=1e-4)
    assert residue(a, 255 - a)[0] == np.inf
    assert residue(a, (a // 3).astype(np.uint8))[0] == np.inf   # a third of the contrast


def test_same_bytes():
    assert same_bytes([b"a", b"b", None, b"a", None, b"a", b"c", b"b"]) == [[0, 3, 5], [1, 7]]
