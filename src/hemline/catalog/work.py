"""The work of tagging: some photos of a catalogue in, their rows out. Every engine does it with the same `Worker`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hemline import __version__
from hemline._reading import path_of
from hemline.catalog.ahead import read_ahead
from hemline.catalog.items import Item
from hemline.catalog.main_garment import main_garment
from hemline.catalog.tables import DUPLICATE, FAILED, OK, Rows, Schemas, garment_rows, main_row, make_schemas, photo_row
from hemline.errors import PhotoError
from hemline.metadata import Metadata, read_metadata
from hemline.result import SCHEMA_VERSION, Result
from hemline.runtime import DeviceName, Dtype, Finder, RuntimeName, cpu_has_bf16, weights_file
from hemline.tagger import Failure, Tagger
from hemline.vocabulary import VOCABULARIES, load_vocabulary

GPU_BATCH = 16
"""Photos that a GPU sees at a time; a CPU takes them one by one, which is quicker there."""


class Asked(NamedTuple):
    """A photo and its place in the tables."""

    position: int
    occurrence: int
    """0, or how many times the catalogue named the same path before."""
    item: Item


@dataclass(frozen=True)
class Plan:
    """All that shapes the answers; processes and machines are given the same one."""

    weights: str = "default"
    """A weights file, or `default`."""
    runtime: RuntimeName = "auto"
    device: DeviceName = "auto"
    flip: bool = False
    min_score: float | None = None
    precision: float | None = None
    """That is asked for: `Tagger.load`."""
    instances: bool = False
    masks: bool = True
    embeddings: bool = True
    dtype: Dtype = "f32"
    vocabulary: str | None = None
    """`shopify`, `google`, or a YAML file."""
    hint: str | None = None
    """The column that says in words what is for sale."""
    incoming: pa.Schema = field(default_factory=lambda: pa.schema([]))
    """The columns that come in with the photos."""

    @cached_property
    def metadata(self) -> Metadata:
        """Of the weights.

        Raises:
            WeightsError: they cannot be read.
        """
        return read_metadata(weights_file(self.weights))

    @cached_property
    def computes_in(self) -> Dtype:
        """The dtype; `fastest` is what it comes to on this machine, for all processes and machines of the run."""
        if self.dtype != "fastest":
            return self.dtype
        file = Path(weights_file(self.weights))
        graph = self.metadata.finds != "instances" and any(file.with_suffix(x).is_file() for x in (".onnx", ".xml"))
        openvino = self.runtime == "openvino" or (self.runtime == "auto" and file.suffix.lower() != ".pt")
        return "bf16" if graph and openvino and self.device != "cuda" and cpu_has_bf16() else "f32"

    def made_with(self) -> dict[str, Any]:
        """What two runs must have in common to share an OUT, as plain JSON; how it is computed is left out."""
        return {
            "weights": self.metadata.name,
            "weights_sha256": self.weights_sha256,
            "precision": self.metadata.precision,
            "label_space": self.metadata.labels.name,
            "flip": self.flip,
            "min_score": self.min_score,
            "asked_precision": self.precision,
            "scores": self._scores(),
            "instances": self.instances,
            "masks": self.masks,
            "embeddings": self.embeddings,
            "dtype": self.computes_in,
            "vocabulary": self._words(),
            "hint": self.hint,
            "columns": {field.name: str(field.type) for field in self.incoming},
            "schema_version": SCHEMA_VERSION,                        # of the answers: others have other columns
            "hemline_version": __version__.rpartition(".")[0],       # answers may change with a minor version
        }

    def _scores(self) -> str | None:
        """The fingerprint of what makes scores probabilities, which other weights of the same tensors may not have."""
        scores = self.metadata.scores
        return None if scores is None else hashlib.sha256(json.dumps(scores.to_dict()).encode()).hexdigest()

    def _words(self) -> list[str] | None:
        """Which vocabulary: its name and version, and the fingerprint of a file of one's own."""
        if self.vocabulary is None:
            return None
        words = load_vocabulary(self.vocabulary, self.metadata.labels)
        if self.vocabulary in VOCABULARIES:
            return [words.name, words.version]
        return [words.name, words.version, hashlib.sha256(path_of(self.vocabulary).read_bytes()).hexdigest()]

    @cached_property
    def weights_sha256(self) -> str:
        """The fingerprint of the weights; of the file where it says none."""
        said = self.metadata.weights_sha256
        return said or hashlib.sha256(Path(weights_file(self.weights)).read_bytes()).hexdigest()


class Worker:
    """Tags photos; a process builds one and keeps it.

    Args:
        plan: What shapes the answers.

    Raises:
        HemlineError: the weights or the runtime cannot be had.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tagger = Tagger.load(
            weights_file(plan.weights),
            runtime=plan.runtime,
            device=plan.device,
            flip=plan.flip,
            min_score=plan.min_score,
            precision=plan.precision,
            instances=plan.instances,
            dtype=plan.computes_in,
            vocabulary=plan.vocabulary,
        )
        self.schemas = self._schemas()

    def _schemas(self) -> Schemas:
        plan, metadata = self.plan, self.tagger.metadata
        size = None
        if plan.embeddings and not isinstance(self.tagger.runtime, Finder):
            blank = np.zeros((1, *metadata.canvas, 3), np.uint8)
            embeddings = self.tagger.run(blank, np.ones((1, *metadata.canvas), np.uint8)).embeddings
            size = None if embeddings is None else embeddings.shape[-1]
        shop = plan.vocabulary is not None
        return make_schemas(metadata.labels, plan.incoming, embedding=size, masks=plan.masks, shop=shop)

    def __call__(self, asked: Sequence[Asked]) -> Rows:
        """The rows of these photos, in their order. Those that cannot be read have rows, too.

        A photo whose bytes another one among these had before is a duplicate of it and is not answered again.
        """
        photos, garments = [], []
        answered: dict[str, int | str] = {}              # by bytes: the answer's position, or why there is none
        for one, sha256, answer in self._answers(asked):
            known: dict[str, Any] = {
                "position": one.position,
                "path": one.item.path,
                "occurrence": one.occurrence,
                "sha256": sha256,
                "weights_sha256": self.plan.weights_sha256,
                "label_space": self.tagger.metadata.labels.name,
            }
            result = None
            if isinstance(answer, Result):
                result = replace(answer, photo=one.item.path)
                hint = one.item.row.get(self.plan.hint) if self.plan.hint else None
                main = main_garment(result, None if hint is None else str(hint))
                garments += garment_rows(self.schemas.garments, one.position, result, main)
                known |= {"status": OK, "main_garment": main_row(result, main)}
                before: int | str = one.position
            else:
                before = answer.message if isinstance(answer, Failure) else answered[sha256 or ""]
                if isinstance(before, int):
                    known |= {"status": DUPLICATE, "duplicate_of": before}
                else:
                    named = before if sha256 is None else f"{one.item.path}: {before}"
                    known |= {"status": FAILED, "error_message": named}
            if sha256 is not None:
                answered.setdefault(sha256, before)
            came = [one.item.row.get(name) for name in self.plan.incoming.names]
            photos.append(photo_row(self.schemas.photos, known, came, result))
        return Rows(
            pa.RecordBatch.from_pylist(photos, self.schemas.photos),
            pa.RecordBatch.from_pylist(garments, self.schemas.garments),
        )

    def _answers(self, asked: Sequence[Asked]) -> Iterator[tuple[Asked, str | None, Result | Failure | None]]:
        """Each photo with the SHA-256 of its bytes, where there are any, and its answer; None where a twin has it."""
        answered: set[str] = set()
        batch = GPU_BATCH if self.tagger.runtime.device == "cuda" else 1
        waiting: list[tuple[Asked, str | None, bytes | PhotoError | None]] = []
        for one, (_, content) in zip(asked, read_ahead([one.item for one in asked]), strict=True):
            sha256 = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else None
            twin = sha256 in answered
            if sha256 is not None:
                answered.add(sha256)
            waiting.append((one, sha256, None if twin else content))
            if len(waiting) == batch:
                yield from self._answer(waiting)
                waiting = []
        yield from self._answer(waiting)

    def _answer(
        self, waiting: Sequence[tuple[Asked, str | None, bytes | PhotoError | None]]
    ) -> Iterator[tuple[Asked, str | None, Result | Failure | None]]:
        contents = [content for _, _, content in waiting if isinstance(content, bytes)]
        several = len(contents) > 1
        answers = self.tagger.stream(contents, len(contents)) if several else map(self._one, contents)
        for one, sha256, content in waiting:
            if isinstance(content, PhotoError):
                yield one, sha256, Failure(one.item.path, str(content))
            elif content is None:
                yield one, sha256, None
            else:
                answer = next(answers)
                if isinstance(answer, Failure):          # the same bytes fail alike, whatever they are called
                    answer = Failure("", answer.message.removeprefix(f"photo of {len(content):,} bytes: "))
                yield one, sha256, answer

    def _one(self, content: bytes) -> Result | Failure:
        try:
            return self.tagger(content)
        except PhotoError as error:
            return Failure("photo", str(error))
