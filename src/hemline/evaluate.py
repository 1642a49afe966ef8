"""Measuring: the answers to labelled photos against what is known of them, by `taxonomies/protocol.yaml`.

    evaluate(weights, data)      weights files, as a user has them
    score_network(network, ...)  a network in training
    score(dataset, answer, ...)  anything that answers canvases

Masks are measured at the photo's own size: logits are resized, and each pixel decided by the rule that `hemline.result`
answers by (before it cleans masks); of networks that find instances, a pixel is what the surest instance there is.
Garments that are drawn are scored one by one, too (`hemline.instance_report`). Labels are measured twice: those of the
whole photo, and, apart from them, the attributes of each garment under the mask that the network itself finds of its
category. Sets that the protocol scores by labels have those scores too, and where a photo shows one item, so have the
answers that a user would get. Of weights in a file, the garments that are drawn are also repainted, one at a time
(`hemline.transplant`).

Shapes: K mask classes, L labels, S segments, H W photo, h w the mask head's map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hemline._answered import Answered, InstancesAnswer, MapsAnswer
from hemline._instance_tally import InstanceTally
from hemline._settled import proven, settle
from hemline._tally import (
    Tally,
    class_names,
    errors_in_use,
    instance_thresholds_of,
    only_better_than_chance,
    rows_of,
    thresholds_of,
    truth_map,
)
from hemline._targets import protocol
from hemline.data import Dataset
from hemline.data.sample import Sample
from hemline.errors import ConfigError
from hemline.fitted_scores import with_curves
from hemline.instance_model import InstanceNetwork
from hemline.measured_sets import Split, check_request, open_sets
from hemline.metadata import Metadata, read_metadata, with_teaching
from hemline.photo import place, unplace
from hemline.ranks import Ranks
from hemline.report import Report, SetReport
from hemline.report_tables import report_table
from hemline.runtime import Answer, Detections, Finder
from hemline.soft_scores import SoftScores
from hemline.tagger import Tagger
from hemline.thresholds import mask_thresholds
from hemline.transplant import GarmentScorer, Transplant

if TYPE_CHECKING:
    from hemline.data.loading import Source
    from hemline.model import Network

Answerer = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Answer | list[Detections]]
"""Canvases (B, H, W, 3) and their valid pixels (B, H, W) -> `Answer`, or the `Detections` of each photo."""
Progress = Callable[[str, int, int], None]
"""Told after each batch: the set's name, its photos done, its photos in all."""


def evaluate(
    weights: Path | str,
    data: Mapping[str, Path | None],
    *,
    split: Split = "validation",
    runtime: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    flip: bool = False,
    batch_size: int = 8,
    limit: int | None = None,
    transplant: bool = True,
    instances: bool = True,
    soft: bool = False,
    page: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure weights on labelled photos.

    Args:
        weights: A file of weights in any form.
        data: The folder of each dataset by its name in `hemline.data.DATASETS`; None for a set made on the fly.
        split: `validation` takes the photos that no training has seen, by the split that the weights were trained
            with; `train` the others; `test` those that a set publishes to test on; `all` every one.
        runtime: What runs the network.
        device: What it runs on.
        flip: Average each answer with that of the mirrored photo.
        batch_size: Photos that the network sees at a time; the figures do not depend on it.
        limit: Measure at most so many photos of each set, evenly spaced.
        transplant: Repaint garments that are drawn, too, by torch on the same device; on a CPU it takes twice the time
            of all the rest. Weights that find instances are not measured so.
        instances: Score garments one by one, too; of weights that draw classes, connected parts of their masks.
        soft: Also score by soft IoU and F1, as clothing-segmentation does; see `hemline.soft_scores`.
        page: A folder, made if it is missing, for the page and the figures of `hemline.evaluate_page`.
        progress: Told how far it is.

    Raises:
        ConfigError: an unknown set or split, a path that is missing, a number below 1, or `flip` or `soft` with
            weights that find instances.
        DataError: a dataset is missing, damaged, or has no photo on that side of the split.
        LabelError: a dataset's words are not explained in the label space of the weights.
        WeightsError: the weights are missing or damaged.
        DeviceError: the runtime or device is not here.
        UnwritableError: nothing can be written to `page`.
    """
    from hemline.evaluate_page import check_folder, write_page  # here, for it answers photos by what stands below

    check_request(data, split, batch_size, limit)
    if page is not None:
        check_folder(page)
    metadata = read_metadata(weights)
    metadata = replace(metadata, labels=with_teaching(metadata))
    finds = metadata.finds == "instances"
    if soft and finds:
        raise ConfigError(f"soft scores need maps of classes; weights {metadata.name} find instances: leave them out")
    sets = open_sets(metadata, data, split, limit)
    tagger = Tagger.load(weights, runtime=runtime, device=device, flip=flip)
    answer = tagger.runtime.find if isinstance(tagger.runtime, Finder) else tagger.run
    scorer = GarmentScorer(Path(weights), metadata, tagger.runtime.device)
    missing = "weights that find instances read no label under a given mask" if finds else ""
    tests = [Transplant(metadata.labels, scorer, missing=missing) if transplant else None for _ in sets]
    tallies = [
        tally_of(
            name, dataset, answer, metadata, indices, batch_size, progress,
            transplant=test, instances=instances, soft=soft,
        )
        for (name, dataset, indices), test in zip(sets, tests, strict=True)
    ]  # fmt: skip
    chosen = instance_thresholds_of(tallies, metadata)
    report = _report(tallies, metadata, chosen, tagger.runtime.name, tagger.runtime.device, flip=flip, split=split)
    if page is not None:
        write_page(page, weights, report, tallies, [(part, photos) for _, part, photos in sets], answer, metadata)
    return report


def score_network(
    network: Network | InstanceNetwork,
    sources: Sequence[Source],
    metadata: Metadata,
    *,
    device: torch.device,
    batch_size: int = 8,
    ranks: Ranks = Ranks(),  # noqa: B008  # immutable
    fit_scores: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Measure a network in training on the photos held out of each of its sources, at the thresholds that suit best.

    Garments are scored one by one where the network finds instances. Of others, connected parts have their thresholds
    chosen, too, and no scores.

    Where the metadata hold no `scores`, those that suit the photos best are fitted, and the figures are of them.

    Several processes measure a share of the photos each, and all return the report that one would: the network sees
    the same photos at a time, and they are counted in the same order.

    Args:
        network: In evaluation mode.
        sources: The datasets of the run; `metadata.data` names them in the same order.
        metadata: Label space, canvas and thresholds.
        device: Where the network is.
        batch_size: Photos at a time.
        ranks: The processes that measure together, all of the same weights.
        fit_scores: Whether scores are fitted; else they stay as the metadata have them.
        progress: Told how far this one is.
    """
    finds = metadata.finds == "instances"
    answer = answerer(network, device)

    def measured() -> list[Tally]:
        tallies = []
        for source, entry in zip(sources, metadata.data, strict=True):
            if source.held_out:
                photos = [photo for batch in ranks.share(_in_batches(source.held_out, batch_size)) for photo in batch]
                name, dataset = entry["name"], source.dataset
                tallies.append(
                    tally_of(
                        name, dataset, answer, metadata, photos, batch_size, progress, answers=False, ceiling=False
                    )
                )
        return tallies

    tallies, *others = ranks.gather(ranks.agreed(measured))
    for each in others:
        for tally, more in zip(tallies, each, strict=True):
            tally.extend(more)
    fits = fit_scores and metadata.scores is None and any(tally.photos for tally in tallies)
    uses = rows_of(tallies, metadata.labels) if fits else None
    settled = settle(tallies, metadata, uses)
    for tally in tallies:
        tally.instances = tally.instances if finds else None
    least = settled.instance_scores, settled.instance_areas
    report = _report(tallies, settled, least, "torch", str(device), flip=False, split="validation")
    if uses is None or settled.scores is None:
        return report
    may = proven(settled.scores, uses, report.photo_thresholds, report.label_thresholds)
    return replace(report, scores=with_curves(settled.scores, uses, may))


def answerer(network: Network | InstanceNetwork, device: torch.device) -> Answerer:
    """A network in evaluation mode, on its device, as what answers canvases."""

    def answer(pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer | list[Detections]:
        if isinstance(network, InstanceNetwork):
            return network.find(pixels, valid)
        with torch.inference_mode():
            output = network(torch.from_numpy(pixels).to(device), torch.from_numpy(valid).to(device))
        return Answer(output.masks.float().cpu().numpy(), output.labels.float().cpu().numpy())

    return answer


def score(
    dataset: Dataset,
    answer: Answerer,
    metadata: Metadata,
    *,
    name: str,
    indices: Sequence[int] | None = None,
    batch_size: int = 8,
    instances: bool = False,
    progress: Progress | None = None,
) -> SetReport:
    """Measure whatever answers canvases on a dataset.

    Args:
        dataset: Its samples are measured at their own size.
        answer: Canvases (B, H, W, 3) and valid pixels (B, H, W) -> `Answer`, or the `Detections` of each photo.
        metadata: Label space, canvas and thresholds.
        name: What the set is called; the protocol's sets are measured by it.
        indices: Positions in the dataset; all of them if None.
        batch_size: Photos that `answer` sees at a time.
        instances: Score garments one by one, too.
        progress: Told how far it is.

    Raises:
        DataError, PhotoError: a sample cannot be read.
    """
    indices = range(len(dataset)) if indices is None else indices
    return tally_of(name, dataset, answer, metadata, indices, batch_size, progress, instances=instances).report()


def choose_mask_thresholds(
    dataset: Dataset, answer: Answerer, metadata: Metadata, *, indices: Sequence[int], batch_size: int = 8
) -> tuple[float, ...]:
    """The (K,) mask thresholds that suit an answerer best on photos with maps; see `thresholds.mask_thresholds`."""
    space, canvas = metadata.labels, metadata.canvas
    chosen = np.full(space.num_masks, 0.5)
    for layer in metadata.layers:                        # logits are too many to keep: answered anew
        photos = (
            (unplace(answered.masks, answered.frame, canvas), truth_map(sample, space, layer))
            for sample, answered in answered_photos(dataset, answer, metadata, indices, batch_size)
            if isinstance(answered, MapsAnswer) and (sample.targets >= 0).all(1).any()
        )
        chosen[list(layer)] = np.array(mask_thresholds(photos, layer, space.num_masks))[list(layer)]
    return tuple(chosen.tolist())


# -- one set -------------------------------------------------------------------------------------------------


def tally_of(
    name: str,
    dataset: Dataset,
    answer: Answerer,
    metadata: Metadata,
    indices: Sequence[int],
    batch_size: int,
    progress: Progress | None = None,
    *,
    answers: bool = True,
    transplant: Transplant | None = None,
    instances: bool = True,
    ceiling: bool = True,
    soft: bool = False,
) -> Tally:
    """What is counted of a dataset's photos."""
    soft_scores = SoftScores(class_names(metadata.labels, metadata.layers[0])) if soft else None
    one_by_one = InstanceTally(metadata.labels, ceiling) if instances else None
    tally = Tally(name, dataset.terms, metadata, answers, transplant, soft_scores, one_by_one)
    for sample, answered in answered_photos(dataset, answer, metadata, indices, batch_size):
        tally.add(sample, answered)
        if progress is not None and (tally.photos % batch_size == 0 or tally.photos == len(indices)):
            progress(name, tally.photos, len(indices))
    return tally


def answered_photos(
    dataset: Dataset, answer: Answerer, metadata: Metadata, indices: Sequence[int], batch_size: int
) -> Iterator[tuple[Sample, Answered]]:
    """Photos of a dataset, each with its answer, which `metadata` says how to read."""
    for batch in _in_batches(indices, batch_size):
        samples = [dataset[i] for i in batch]
        placed = [place(sample.photo, metadata.canvas) for sample in samples]
        said = answer(np.stack([c.pixels for c in placed]), np.stack([c.valid for c in placed]))
        for i, (sample, one) in enumerate(zip(samples, placed, strict=True)):
            if isinstance(said, Answer):
                yield sample, MapsAnswer(said.masks[i], said.labels[i], one.frame, metadata)
            else:
                yield sample, InstancesAnswer(said[i], one.frame, metadata)


def _in_batches(indices: Sequence[int], batch_size: int) -> list[Sequence[int]]:
    return [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]


def _report(
    tallies: Sequence[Tally],
    metadata: Metadata,
    instance_thresholds: tuple[tuple[float, ...], tuple[float, ...]],
    runtime: str,
    device: str,
    *,
    flip: bool,
    split: str,
) -> Report:
    sets = [tally.report() for tally in tallies]
    of_photo, of_garment = only_better_than_chance(thresholds_of(tallies, metadata), sets, metadata.labels)
    return Report(
        weights=metadata.name,
        label_space=metadata.labels.name,
        canvas=metadata.canvas,
        runtime=runtime,
        device=device,
        flip=flip,
        split=split,
        sets=sets,
        label_thresholds=of_garment,
        photo_thresholds=of_photo,
        calibration=errors_in_use(tallies, metadata) if tallies else [],
        finds=metadata.finds,
        instance_scores=instance_thresholds[0],
        instance_areas=instance_thresholds[1],
    )


__all__ = [
    "Answerer", "Progress", "Report", "SetReport", "Split", "answered_photos", "answerer",
    "choose_mask_thresholds", "evaluate", "protocol", "report_table", "score", "score_network", "truth_map",
]  # fmt: skip
