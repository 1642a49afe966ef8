"""The API: a photo in, what is worn in it out.

    photo --photo.py--> Canvas --runtime.py--> logits --result.py--> Result

Shapes: B photos, H W the canvas, K mask classes, L labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemline._regions import Maps, contenders, logit
from hemline.at_precision import Silent, at_precision
from hemline.errors import ConfigError, DeviceError, PhotoError
from hemline.metadata import Metadata, read_metadata
from hemline.photo import MAX_PIXELS, Canvas, Frame, Photo, ReadPhoto, place, read_for
from hemline.result import SCHEMA_VERSION, Result, read_answer, read_detections
from hemline.runtime import (
    Answer,
    Detections,
    DeviceName,
    Dtype,
    Finder,
    Runtime,
    RuntimeName,
    check_choices,
    default_weights,
    open_finder,
    open_runtime,
)
from hemline.vocabulary import Vocabulary, load_vocabulary

Channels = Literal["rgb", "bgr"]
READERS = 2
"""Threads that decode photos while the network runs."""
BATCH_PIXELS = 100_000_000
"""A batch ends early where its photos, as they were read, have more pixels than this: 300 MB of memory."""


@dataclass(frozen=True)
class Failure:
    """A photo that could not be read; takes the place of its `Result` in a stream."""

    photo: str
    """What the photo is called: its path, or `photo`."""
    message: str
    """One sentence: what is wrong with it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, as `result.schema.json` describes it."""
        return {"schema_version": SCHEMA_VERSION, "photo": self.photo, "error": self.message}


class Placed(NamedTuple):
    """A photo that stands ready for the network: what `Tagger.read` gives."""

    name: str
    photo: ReadPhoto
    canvas: Canvas


class _Ended(NamedTuple):
    """What the source of a stream raised, in the place of a photo."""

    error: Exception


class Tagger:
    """Reads what is worn in photos; build it with `Tagger.load`.

    Args:
        runtime: Runs the network.
        metadata: What its weights say of themselves.
        flip: Average each answer with that of the mirrored photo: a little better, twice the time.
        min_score: Report nothing below this score (0 to 1), beside the thresholds of the weights.
        instances: Make each connected part of a mask a garment of its own; weights that find instances do so always.
        vocabulary: A shop's words to say beside ours.
        precision: Choose thresholds of which this share of each label's answers was right on validation photos; None
            takes those of the weights.

    Attributes:
        silent: What no threshold promises the precision of (`hemline.at_precision.Silent`); None without a precision.

    Raises:
        ConfigError: `flip` with weights that find instances, a precision that is none, or one without curves.
    """

    def __init__(
        self,
        runtime: Runtime | Finder,
        metadata: Metadata,
        *,
        flip: bool = False,
        min_score: float | None = None,
        instances: bool = False,
        vocabulary: Vocabulary | None = None,
        precision: float | None = None,
    ) -> None:
        if min_score is not None and not 0 <= min_score <= 1:
            raise ValueError(f"min_score is a score from 0 to 1, not {min_score}")
        if flip and isinstance(runtime, Finder):
            raise ConfigError(f"flip averages maps of classes; weights {metadata.name} find instances: leave it out")
        self.silent: Silent | None = None
        if precision is not None:
            metadata, self.silent = at_precision(metadata, precision)
        self.runtime = runtime
        self.metadata = metadata
        self.flip = flip
        self.min_score = min_score
        self.instances = instances
        self.vocabulary = vocabulary

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        *,
        runtime: RuntimeName = "auto",
        device: DeviceName = "auto",
        dtype: Dtype = "f32",
        flip: bool = False,
        min_score: float | None = None,
        instances: bool = False,
        vocabulary: str | Path | None = None,
        precision: float | None = None,
    ) -> Tagger:
        """Load weights and make them ready to run. Needs no network.

        Args:
            weights: A file of weights in any form; those in the package if None.
            runtime: What runs the network; `auto` takes the quickest that is installed and reads these weights.
            device: `auto` takes the GPU where the runtime can use one.
            dtype: What the network computes in; see `hemline.runtime.open_runtime`.
            flip: Average each answer with that of the mirrored photo: a little better, twice the time.
            min_score: Report nothing below this score (0 to 1), beside the thresholds of the weights.
            instances: Make each connected part of a mask a garment of its own; weights that find instances do so
                always.
            vocabulary: A shop's words to say beside ours: `shopify`, `google`, or a YAML file (docs/vocabularies.md).
            precision: Choose thresholds of which this share of each label's answers was right on validation photos,
                such as 0.95; what no threshold promises it of is never said, and is listed in `silent`.

        Raises:
            ConfigError: the vocabulary is unknown, or its file holds what it must not; the precision is not between 0
                and 1, or the weights hold no curves to choose by.
            WeightsError: the file is missing, damaged, foreign or newer than this version.
            DeviceError: the runtime, device or dtype that was asked for is not here.
        """
        if weights is None:
            weights = default_weights(".safetensors" if runtime == "torch" else ".onnx")
        metadata = read_metadata(weights)
        words = None if vocabulary is None else load_vocabulary(vocabulary, metadata.labels)
        check_choices(runtime, device, dtype)
        if precision is not None:
            at_precision(metadata, precision)             # refused before the weights are read
        opened: Runtime | Finder
        if metadata.finds == "instances":
            if dtype == "bf16":
                raise DeviceError("dtype bf16 needs runtime openvino; weights that find instances run on torch")
            opened = open_finder(Path(weights), metadata, runtime=runtime, device=device)
        else:
            opened = open_runtime(Path(weights), metadata, runtime=runtime, device=device, dtype=dtype)
        return cls(
            opened, metadata, flip=flip, min_score=min_score, instances=instances, vocabulary=words, precision=precision
        )

    def __call__(self, photo: Photo, channels: Channels = "rgb") -> Result:
        """Read one photo.

        Args:
            photo: A path, the bytes of an image file, a PIL image, or a uint8 array (H, W, 3).
            channels: Order of the colours in an array; says nothing about other photos.

        Returns:
            Its garments, each with a boolean mask (H, W) of the photo as the eye sees it (turned by its EXIF), a
            box in pixels, and scores from 0 to 1; then the labels of the whole photo.

        Raises:
            PhotoError: the photo cannot be found, opened or decoded.
        """
        read = self.read(photo, channels)
        return self.result(read, self.infer([read])[0])

    def read(
        self, photo: Photo, channels: Channels = "rgb", *, name: str | None = None, max_pixels: int = MAX_PIXELS
    ) -> Placed:
        """The first of the three steps of `__call__`, for callers that run them in threads of their own.

        Args:
            photo: As of `__call__`.
            channels: As of `__call__`.
            name: What its answer calls it, and messages the bytes of a file; its path, or `photo`, if None.
            max_pixels: The largest photo to accept, width times height.

        Raises:
            PhotoError: the photo cannot be found, opened or decoded, or is too large.
        """
        size = self.metadata.canvas
        read = read_for(photo, size, channels=channels, name=name, max_pixels=max_pixels)
        return Placed(_name(photo) if name is None else name, read, place(read, size))

    def infer(self, batch: Sequence[Placed]) -> list[Answer | Detections]:
        """The second step: run the network on one photo or more -> what it answers for each, without a batch axis.

        One thread at a time: not every runtime takes several.
        """
        pixels = np.stack([read.canvas.pixels for read in batch])  # (B, H, W, 3)
        valid = np.stack([read.canvas.valid for read in batch])  # (B, H, W)
        if isinstance(self.runtime, Finder):
            return list(self.runtime.find(pixels, valid))
        masks, labels, embeddings = self.run(pixels, valid)
        return [
            Answer(masks[i], labels[i], None if embeddings is None else embeddings[i]) for i in range(len(batch))
        ]

    def result(self, read: Placed, answer: Answer | Detections, *, min_score: float | None = None) -> Result:
        """The third step: what the network answers for a photo -> what is worn in it; any number of threads at a time.

        Args:
            read: The photo.
            answer: Of that photo.
            min_score: Report nothing below this score (0 to 1); that of the tagger if None.
        """
        metadata, least = self.metadata, self.min_score if min_score is None else min_score
        if isinstance(answer, Detections):
            result = read_detections(answer, read.canvas.frame, metadata, read.photo, name=read.name, min_score=least)
        else:
            result = read_answer(
                answer.masks,
                answer.labels,
                metadata.canvas,
                read.canvas.frame,
                metadata,
                read.photo,
                name=read.name,
                min_score=least,
                one_by_one=self.instances,
                embeddings=answer.embeddings,
            )
        result.vocabulary = self.vocabulary
        return result

    def _repr_html_(self) -> str:
        from hemline.notebook import labels_html

        return labels_html(self.metadata)

    def stream(
        self, photos: Iterable[Photo], batch_size: int = 16, *, channels: Channels = "rgb"
    ) -> Iterator[Result | Failure]:
        """Read many photos in batches, decoding the next ones meanwhile.

        Args:
            photos: Photos as `__call__` takes them; any number, read as they are needed. A path, the bytes of a file
                or a PIL image is taken as one photo.
            batch_size: Photos that the network sees at a time; the answers do not depend on it.
            channels: Order of the colours in arrays.

        Yields:
            A `Result` for each photo, in their order; a `Failure` for one that cannot be read. What `photos` raises
            is raised after the answers of all photos before it.

        Raises:
            ValueError: `batch_size` is below 1; at once, not with the first answer.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is 1 or more, not {batch_size}")
        source = [photos] if isinstance(photos, str | Path | bytes | Image.Image) else photos
        return self._stream(source, batch_size, channels)

    def _stream(
        self, photos: Iterable[Photo], batch_size: int, channels: Channels
    ) -> Iterator[Result | Failure]:
        batch: list[Placed | Failure] = []
        for read in self._read_ahead(_until_it_fails(photos), batch_size, channels):
            if isinstance(read, _Ended):
                yield from self._answer_in_order(batch)
                raise read.error
            batch.append(read)
            pixels = sum(item.photo.pixels.size // 3 for item in batch if isinstance(item, Placed))
            if len(batch) == batch_size or pixels >= BATCH_PIXELS:
                yield from self._answer_in_order(batch)
                batch = []
        yield from self._answer_in_order(batch)

    def _read_ahead(
        self, photos: Iterator[Photo | _Ended], ahead: int, channels: Channels
    ) -> Iterator[Placed | Failure | _Ended]:
        """Photos in their order, read by a few threads, at most `ahead` more than were asked for."""
        with ThreadPoolExecutor(READERS, "hemline-read") as pool:
            waiting: deque[Future[Placed | Failure | _Ended]] = deque()
            try:
                while True:
                    for photo in islice(photos, ahead - len(waiting)):
                        waiting.append(pool.submit(self._try_read, photo, channels))
                    if not waiting:
                        return
                    yield waiting.popleft().result()
            finally:  # whoever stops early waits for the photos in hand, not for all
                pool.shutdown(wait=False, cancel_futures=True)

    def _try_read(self, photo: Photo | _Ended, channels: Channels) -> Placed | Failure | _Ended:
        if isinstance(photo, _Ended):
            return photo
        try:
            return self.read(photo, channels)
        except PhotoError as error:
            return Failure(_name(photo), str(error))

    def _answer_in_order(self, batch: Sequence[Placed | Failure]) -> Iterator[Result | Failure]:
        placed = [item for item in batch if isinstance(item, Placed)]
        answers = iter(self.infer(placed) if placed else [])
        for item in batch:
            yield item if isinstance(item, Failure) else self.result(item, next(answers))

    def run(self, pixels: NDArray[np.uint8], valid: NDArray[np.uint8]) -> Answer:
        """Canvases (B, H, W, 3) RGB and their valid pixels (B, H, W) -> logits of masks and labels.

        Raises:
            ConfigError: the weights find instances; `runtime.find` is what runs them.
        """
        if isinstance(self.runtime, Finder):
            raise ConfigError(f"weights {self.metadata.name} find instances, and this needs weights that draw classes")
        answer = self.runtime(pixels, valid)
        if not self.flip:
            return answer
        mirrored = self.runtime(np.ascontiguousarray(pixels[:, :, ::-1]), np.ascontiguousarray(valid[:, :, ::-1]))
        return _average((answer, mirrored._replace(masks=mirrored.masks[..., ::-1])), valid, self.metadata)


def _average(passes: Sequence[Answer], valid: NDArray[np.uint8], metadata: Metadata) -> Answer:
    """The mean of several answers to the same canvases, whose valid pixels are (B, H, W).

    Labels and embeddings of a mask are averaged over the answers in which that class holds a cell, since those of an
    empty mask mean nothing; where it holds none in any, over all.
    """
    thresholds = logit(metadata.mask_thresholds)
    labels = np.stack([answer.labels for answer in passes])               # (P, B, 1 + K, L)
    counts = np.zeros((*labels.shape[:3], 1), np.bool_)
    counts[:, :, 0] = True                                                # the whole photo
    for i, inside in enumerate(valid):
        x, y, width, height = cv2.boundingRect(inside)
        frame = Frame(y, x, height, width, height, width)
        for p, answer in enumerate(passes):
            maps = Maps(answer.masks[i], metadata.canvas, frame, thresholds, metadata.layers)
            counts[p, i, [1 + k for layer in maps.layers for k in contenders(maps, layer)]] = True
    counts |= ~counts.any(0)
    weights = counts / counts.sum(0, dtype=np.float32)                    # (P, B, 1 + K, 1)
    seen = [answer.embeddings for answer in passes if answer.embeddings is not None]
    embeddings = (np.stack(seen) * weights).sum(0) if len(seen) == len(passes) else None
    return Answer(np.stack([answer.masks for answer in passes]).mean(0), (labels * weights).sum(0), embeddings)


def _until_it_fails(photos: Iterable[Photo]) -> Iterator[Photo | _Ended]:
    try:
        yield from photos
    except Exception as error:  # whatever it is, it waits for the answers before it
        yield _Ended(error)


def _name(photo: object) -> str:
    if isinstance(photo, str | Path):
        return str(photo)
    if isinstance(photo, Image.Image):
        return str(getattr(photo, "filename", "")) or "photo"
    return "photo"
