"""What scoring garments one by one costs beside pycocotools' own `COCOeval`, on a random set of Fashionpedia's size.

    uv run benchmarks/scores.py
    uv run benchmarks/scores.py --photos 200 --detections 30 --rounds 3

Each photo has as many truths and attributes as Fashionpedia's photos have on average, drawn as polygons; its answers
are moved copies of the truths and others that nothing belongs to. What is timed runs in turn, on one core; a ratio is
a median over rounds of a time divided by that of `COCOeval` (evaluate and accumulate, of the same kind) in the same
round; times are of the CPU. AP is compared on the way.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools import mask as coco  # type: ignore[import-untyped]  # pycocotools ships no types
from pycocotools.coco import COCO  # type: ignore[import-untyped]
from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

from hemline.ap_scores import Kind, coco_scores, fashionpedia_scores
from hemline.instances import Instance, ScoredPhoto, Vocabulary
from hemline.labels import load_label_space

SIZE = (1024, 814)
"""Height and width of the photos: 1024, as networks read them, by the mean shape of Fashionpedia's."""
TRUTHS, ATTRIBUTES = 7.3, 3.7
"""Garments of a photo and attributes of a garment, on average (Jia et al., ECCV 2020)."""
CORNERS = 16
"""Of a polygon."""
FORMS = ("coco", "fashionpedia, official F1", "fashionpedia, F1 of present")


def main() -> None:
    """Draw the set, time everything, print the table."""
    args = _arguments()
    vocabulary = Vocabulary.of(load_label_space("fashionpedia"))
    photos = draw(args.photos, args.detections, vocabulary)
    drawn = [garment for photo in photos for garment in photo.truth]
    print(
        f"{len(photos)} photos, {len(drawn)} truths of {len({garment.category for garment in drawn})} categories, "
        f"{sum(len(photo.found) for photo in photos)} answers, {len(vocabulary.attributes)} attributes, "
        f"{args.rounds} round(s)"
    )
    print(f"  {'kind':<6}{'what':<30}{'CPU s':>9}{'x COCOeval':>12}")
    kinds: tuple[Kind, ...] = ("box", "mask")
    for kind in kinds:
        compare(photos, vocabulary, kind, args.rounds)


def compare(photos: list[ScoredPhoto], vocabulary: Vocabulary, kind: Kind, rounds: int) -> None:
    """Time `COCOeval` and ours in turn, and print one row each."""
    truth, found = as_coco(photos, vocabulary, kind)
    theirs: list[float] = []
    ours: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(rounds):
        evaluation, seconds = timed(lambda: official(truth, found, kind))
        scores, ours_seconds = timed(lambda: coco_scores(photos, vocabulary, kind))
        precision = evaluation.eval["precision"][..., 0, 2]
        gap = abs(scores.iou.ap - precision[precision > -1].mean())
        assert gap < 1e-12, f"AP differs by {gap}"
        theirs.append(seconds)
        ours[FORMS[0]].append(ours_seconds)
        ours[FORMS[1]].append(timed(lambda: fashionpedia_scores(photos, vocabulary, kind))[1])
        ours[FORMS[2]].append(timed(lambda: fashionpedia_scores(photos, vocabulary, kind, "present"))[1])
    print(f"  {kind:<6}{'COCOeval':<30}{statistics.median(theirs):>9.2f}{1:>12.2f}")
    for form, took in ours.items():
        ratio = statistics.median(own / other for own, other in zip(took, theirs, strict=True))
        print(f"  {kind:<6}{form:<30}{statistics.median(took):>9.2f}{ratio:>12.2f}", flush=True)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it answers, and the seconds of the CPU that it took."""
    begun = time.process_time()
    answer = run()
    return answer, time.process_time() - begun


def official(truth: COCO, found: COCO, kind: Kind) -> COCOeval:
    """The evaluation of pycocotools, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, found, {"box": "bbox", "mask": "segm"}[kind])
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


# -- the set -------------------------------------------------------------------------------------------------


def draw(photos: int, detections: int, vocabulary: Vocabulary) -> list[ScoredPhoto]:
    """Photos with truths and answers; the same numbers give the same set."""
    random = np.random.default_rng(0)
    numbers = np.array(list(vocabulary.categories))
    often = 1 / np.arange(1, len(numbers) + 1)           # a few categories are most garments
    often = random.permutation(often / often.sum())
    made = []
    for index in range(photos):
        truth, corners = [], []
        for _ in range(1 + random.poisson(TRUTHS - 1)):
            shape = polygon(random)
            category = int(random.choice(numbers, p=often))
            truth.append(garment(shape, category, attributes(random, category, vocabulary)))
            corners.append(shape)
        found = []
        for k in range(detections):
            if k % 2:                                    # half of them belong to something
                at = int(random.integers(len(truth)))
                shape = corners[at] + random.normal(0, 0.05 * np.ptp(corners[at]), 2)
                category, kept = truth[at].category, {a for a in truth[at].attributes if random.random() < 0.8}
            else:
                shape, category, kept = polygon(random), int(random.choice(numbers, p=often)), set()
            said = frozenset(kept) | attributes(random, category, vocabulary, 1.0)
            found.append(garment(shape, category, said, float(random.random())))
        made.append(ScoredPhoto(str(index), SIZE, truth, found))
    return made


def polygon(random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(CORNERS, 2) x and y of a star-shaped outline somewhere in the photo."""
    middle = random.uniform(0.1, 0.9, 2) * SIZE[::-1]
    reach = 20 * np.exp(random.uniform(0, 3)) * random.uniform(0.6, 1.4, CORNERS)
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    return middle + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def garment(
    shape: np.ndarray[Any, np.dtype[np.float64]], category: int, said: frozenset[int | str], score: float = 1.0
) -> Instance:
    """An instance of that outline, cut at the edges of the photo."""
    inside = np.clip(shape, 0, np.array(SIZE[::-1]) - 1.0)
    mask = coco.frPyObjects([inside.ravel().tolist()], *SIZE)[0]
    left, top = inside.min(0)
    width, height = np.ptp(inside, axis=0)
    return Instance(category, mask, (float(left), float(top), float(width), float(height)), said, score)


def attributes(
    random: np.random.Generator, category: int, vocabulary: Vocabulary, average: float = ATTRIBUTES
) -> frozenset[int | str]:
    """Some attributes, where the category carries any."""
    if category not in vocabulary.described:
        return frozenset()
    known = list(vocabulary.attributes)
    return frozenset(known[int(i)] for i in random.integers(len(known), size=random.poisson(average)))


def as_coco(photos: list[ScoredPhoto], vocabulary: Vocabulary, kind: Kind) -> tuple[COCO, COCO]:
    """Truths and answers as pycocotools holds them."""
    sides: list[list[dict[str, Any]]] = [[], []]
    for index, photo in enumerate(photos, 1):
        for side, garments in zip(sides, (photo.truth, photo.found), strict=True):
            for one in garments:
                boxed = side is sides[1] and kind == "box"
                side.append({
                    "id": len(side) + 1, "image_id": index, "category_id": one.category, "bbox": list(one.box),
                    "segmentation": one.mask, "score": one.score, "iscrowd": int(one.crowd),
                    "area": one.box[2] * one.box[3] if boxed else float(coco.area(one.mask)),
                })  # fmt: skip
    made = []
    for side in sides:
        held = COCO()
        held.dataset = {
            "images": [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(1, len(photos) + 1)],
            "categories": [{"id": number, "name": name} for number, name in vocabulary.categories.items()],
            "annotations": side,
        }
        with contextlib.redirect_stdout(io.StringIO()):
            held.createIndex()
        made.append(held)
    return made[0], made[1]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=int, default=1158, help="photos, those of Fashionpedia's validation (1158)")
    parser.add_argument("--detections", type=int, default=100, help="answers of each photo (100)")
    parser.add_argument("--rounds", type=int, default=1, help="times that everything is timed (1)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
