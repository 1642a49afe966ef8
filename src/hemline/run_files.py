"""What a training run writes after each epoch: its weights, and its line of figures. The first process writes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import yaml

from hemline import __version__
from hemline._run import Run
from hemline._settled import at_best
from hemline.checkpoint import save
from hemline.config import Config
from hemline.data.loading import Source, described
from hemline.instance_losses import InstanceLoss
from hemline.labels import LabelSpace
from hemline.metadata import Metadata
from hemline.watch import EpochReport
from hemline.whole_files import whole_file


def write_config(config: Config, folder: Path) -> None:
    """Write the recipe as run."""
    with whole_file(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


def metadata_of(run: Run, config: Config, space: LabelSpace, sources: list[Source]) -> Metadata:
    """What the weights of a run say of themselves, at the thresholds that they are measured with."""
    return Metadata(
        name=config.name,
        labels=space,
        canvas=config.canvas,
        mask_thresholds=(config.mask_probability,) * space.num_masks,
        label_thresholds=(0.5,) * space.num_labels,
        finds="instances" if isinstance(run.loss, InstanceLoss) else "classes",
        recipe=config.to_dict(),
        data=described(config, sources),
        license=config.license or "not stated",
        hemline_version=__version__,
    )


def write_epoch(
    run: Run,
    config: Config,
    space: LabelSpace,
    sources: list[Source],
    told: EpochReport,
    pairs: dict[str, dict[str, int]],
) -> None:
    """The weights of an epoch that was measured, and its line of figures, by the first process."""
    if not run.ranks.first:
        return
    if told.report is not None:
        metadata = replace(at_best(metadata_of(run, config, space, sources), told.report), pairs=pairs)
        for name in ("last", "best") if told.best else ("last",):
            save(run.folder / f"{name}.safetensors", run.average.module.state_dict(), metadata)
    file = run.folder / "metrics.jsonl"
    with whole_file(file) as temporary:
        temporary.write_text("\n".join([*_lines_before(told.epoch, file), told.line()]) + "\n", encoding="utf-8")


def _lines_before(epoch: int, file: Path) -> list[str]:
    """What `metrics.jsonl` says of earlier epochs: a resumed run may measure an epoch once more."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    opening = re.compile(r'\{"epoch": (\d+),.*\}$')
    return [line for line in lines if (found := opening.match(line)) and int(found[1]) < epoch]
