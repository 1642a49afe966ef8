"""Kaggle's scores: cases told by hand, and a slow second way on wild ones."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco  # type: ignore[import-untyped]

from hemline.instances import Instance, ScoredPhoto
from hemline.kaggle_scores import THRESHOLDS, kaggle2019_score, kaggle2020_score

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")   # pycocotools on numpy 2
SIZE = (10, 20)


def drawn(category, columns, *attributes, size=SIZE, rows=slice(None)):
    """A garment that covers some columns of a photo."""
    mask = np.zeros(size, np.uint8, order="F")
    mask[rows, columns] = 1
    return of_mask(mask, category, attributes)


def of_mask(mask, category, attributes=()):
    rle = coco.encode(np.asfortranarray(mask, np.uint8))
    return Instance(category, rle, tuple(coco.toBbox(rle).tolist()), frozenset(attributes))


def photo(truth, found, size=SIZE):
    return ScoredPhoto("p", size, truth, found)


def both(*photos):
    return kaggle2019_score(photos).mean, kaggle2020_score(photos).mean


FOUR = [drawn(k, slice(5 * i, 5 * i + 5)) for i, k in enumerate((9, 9, 23, 31))]


def test_one_perfect_answer_among_many_garments():
    assert both(photo(FOUR, FOUR[:1])) == (0.25, 1.0)
    assert both(photo(FOUR, FOUR)) == (1.0, 1.0)


def test_answers_beside_the_truth_cost_in_both_years():
    beside = drawn(9, slice(0, 5), rows=slice(0, 2))             # IoU 0.4
    assert both(photo(FOUR[2:3], [FOUR[2], beside])) == (0.5, 0.5)
    assert both(photo(FOUR[:1], [beside])) == (0.0, 0.0)


def test_photos_without_truth_or_answers():
    assert both(photo([], [])) == (1.0, 1.0)
    assert both(photo(FOUR, [])) == (0.0, 0.0)
    assert both(photo([], FOUR)) == (0.0, 0.0)
    assert both(photo([], []), photo(FOUR, []), photo(FOUR, FOUR[:1])) == pytest.approx((1.25 / 3, 2 / 3))
    for score in (kaggle2019_score, kaggle2020_score):
        with pytest.raises(ValueError, match="needs a photo"):
            score([])


def test_photos_weigh_alike_whatever_they_hold():
    assert both(photo(FOUR, FOUR), photo(FOUR[:1], [])) == (0.5, 0.5)


def test_a_match_lies_above_a_threshold_not_on_it():
    truth = drawn(9, slice(0, 10))
    for share, above in ((5, 0), (6, 2), (7, 4), (8, 6), (9, 8), (10, 10)):
        # IoU 0.5 is above none of .50:.05:.95, 0.6 above .50 and .55, ...
        answer = drawn(9, slice(0, share))
        assert kaggle2019_score([photo([truth], [answer])]).values.tolist() == [1.0] * above + [0.0] * (10 - above)
        assert kaggle2020_score([photo([truth], [answer])]).mean == pytest.approx(above / 10)


def test_categories_must_agree():
    assert both(photo([drawn(9, slice(0, 5))], [drawn(10, slice(0, 5))])) == (0.0, 0.0)


def test_attributes():
    def scores(truth, answer):
        return both(photo([drawn(9, slice(0, 5), *truth)], [drawn(9, slice(0, 5), *answer)]))

    assert scores((1, 2), (2, 1)) == (1.0, 1.0)
    assert scores((1, 2), ()) == (0.0, 0.0)
    assert scores((), (1,)) == (0.0, 1.0), "in 2020 the garment has none to agree with"
    assert scores((1,), (1, 2)) == pytest.approx((0.0, 0.4)), "F1 2/3 is above .50, .55, .60 and .65"
    assert scores((1, 2, 3), (1, 2, 4)) == pytest.approx((0.0, 0.4))
    assert scores((1, 2, 3, 4), (1, 2, 3)) == pytest.approx((0.0, 0.8)), "F1 6/7: .50 to .85"
    assert scores((1, 2, 3, 4), (1, 2, 5, 6)) == (0.0, 0.0), "F1 0.5 is not above 0.5"
    assert scores((1, 2, 3), (1, 2, 3, 4, 5, 6, 7)) == pytest.approx((0.0, 0.2)), "F1 0.6: .50 and .55"


def test_the_table_of_2020_has_iou_down_and_f1_across():
    one = photo([drawn(9, slice(0, 10), 1)], [drawn(9, slice(0, 8), 1, 2)])      # IoU 0.8, F1 2/3
    expected = np.zeros((10, 10))
    expected[:6, :4] = 1
    np.testing.assert_array_equal(kaggle2020_score([one]).values, expected)


def test_each_garment_and_each_answer_once():
    truth, near = drawn(9, slice(0, 10)), drawn(9, slice(0, 9))
    assert both(photo([truth], [truth, truth])) == (0.5, 0.5)
    assert both(photo([truth, truth], [truth])) == (0.5, 1.0)
    assert kaggle2019_score([photo([truth, near], [near])]).values.tolist() == [0.5] * 10, "the nearer one"


def test_the_highest_iou_is_matched_first():
    truths = [drawn(9, slice(0, 10)), drawn(9, slice(0, 12))]
    answers = [drawn(9, slice(0, 11)), drawn(9, slice(0, 9))]    # IoU .909 and .9; .917 and .75
    # the first answer takes the second garment (.917), the second is left with the first (.9)
    assert kaggle2019_score([photo(truths, answers)]).values.tolist() == [1.0] * 8 + [1 / 3] + [0.0]


def test_in_2020_attributes_choose_among_garments_of_one_place():
    truths = [drawn(9, slice(0, 10), 1), drawn(9, slice(0, 9), 2)]
    answer = drawn(9, slice(0, 10), 2)                           # IoU 1 with what it does not describe
    assert kaggle2020_score([photo(truths, [answer])]).mean == pytest.approx(0.8)


def test_masks_of_one_size_are_needed():
    small = drawn(9, slice(0, 5), size=(10, 10))
    boxed = Instance(9, None, (0, 0, 5, 5))
    for score, wrong, says in product(
        (kaggle2019_score, kaggle2020_score), ([small], [boxed]), (r"every garment needs one of \[10, 20\]",)
    ):
        with pytest.raises(ValueError, match=f"^p: .*{says}"):
            score([photo(FOUR, wrong)])
        with pytest.raises(ValueError, match=f"^p: .*{says}"):
            score([photo(wrong, FOUR)])


# -- a second way --------------------------------------------------------------------------------------------


def plain_iou(a, b):
    a, b = coco.decode(a.mask), coco.decode(b.mask)
    union = int(np.sum((a + b) > 0))
    return int(np.sum(a * b)) / union if union else 0.0


def plain_hits(truth, found, agree, least):
    """Pair after pair: the highest IoU of what is left, of equal ones the highest F1."""
    truth, found, hits = list(truth), list(found), 0
    while True:
        pairs = [(plain_iou(t, f), t, f) for t in truth for f in found if agree(t, f)]
        best = max(pairs, key=lambda p: (p[0], round(plain_f1(*p[1:]), 9)), default=(0.0, None, None))
        if best[0] <= least:
            return hits
        hits += 1
        truth.remove(best[1])
        found.remove(best[2])


def plain_f1(t, f):
    both = [x for x in t.attributes if x in f.attributes]
    if not both:
        return 0.0 if t.attributes else 1.0
    precision, recall = len(both) / len(f.attributes), len(both) / len(t.attributes)
    return 2 * precision * recall / (precision + recall)


def plain_2019(photos):
    scores = []
    for _, _, truth, found in photos:
        for least in THRESHOLDS:
            def agree(t, f):
                return (t.category, sorted(t.attributes)) == (f.category, sorted(f.attributes))

            tp = plain_hits(truth, found, agree, least)
            fp, fn = len(found) - tp, len(truth) - tp
            scores.append(tp / (tp + fp + fn) if truth or found else 1.0)
    return sum(scores) / len(scores)


def plain_2020(photos):
    scores = []
    for _, _, truth, found in photos:
        for least, least_f1 in product(THRESHOLDS, THRESHOLDS):
            def agree(t, f, least_f1=least_f1):
                return t.category == f.category and plain_f1(t, f) > least_f1 + 1e-12

            tp = plain_hits(truth, found, agree, least)
            scores.append(tp / len(found) if found else 0.0 if truth else 1.0)
    return sum(scores) / len(scores)


def wild(seed, apart):
    """Photos of boxes and answers near them; where `apart`, answers of a photo share no pixel."""
    rng = np.random.default_rng(seed)

    def box(near=None):
        x, y = rng.integers(0, 12, 2) if near is None else near[:2] + rng.integers(-1, 2, 2)
        w, h = rng.integers(3, 9, 2) if near is None else near[2:] + rng.integers(-1, 2, 2)
        return np.array([max(0, x), max(0, y), max(1, w), max(1, h)])

    def painted(b, free):
        mask = np.zeros((20, 20), bool)
        mask[b[1] : b[1] + b[3], b[0] : b[0] + b[2]] = True
        return mask & free

    photos = []
    for _ in range(3):
        boxes = [box() for _ in range(rng.integers(0, 5))]
        near = [box(boxes[rng.integers(len(boxes))]) for _ in range(rng.integers(0, 6))] if boxes else []
        truth = [of_mask(painted(b, True), int(rng.integers(2)), rng.permutation(3)[: rng.integers(3)].tolist())
                 for b in boxes]  # fmt: skip
        free, found = np.ones((20, 20), bool), []
        for b in near:
            mask = painted(b, free)
            free &= ~mask if apart else True
            found.append(of_mask(mask, int(rng.integers(2)), rng.permutation(3)[: rng.integers(3)].tolist()))
        photos.append(photo(truth, found, (20, 20)))
    return photos


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_beside_a_slow_second_way(seed, apart):
    photos = wild(seed, apart)
    assert kaggle2019_score(photos).mean == pytest.approx(plain_2019(photos), abs=1e-12)
    assert kaggle2020_score(photos).mean == pytest.approx(plain_2020(photos), abs=1e-12)
