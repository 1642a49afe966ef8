"""An instance head that needs no training: it finds what has a colour of `toy.COLOURS`, in a box, with its mask."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hemline.backbone import Backbone
from hemline.heads import Detections, InstanceHead, Instances, MultiLabel, Target
from hemline.instance_losses import boxes_of
from hemline.instance_model import InstanceNetwork
from hemline.labels import LabelSpace
from tests.toy import CAPE, COAT, COLOURS, SHOE

CELLS = 64
"""Side of the grid of a mask."""


class Seeing(InstanceHead):
    """Finds coats, shoes and capes by their colour; `weight` is what there is to learn."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: Sequence[str], attributes: Sequence[str]
    ) -> None:
        super().__init__(channels, strides, classes, attributes)
        self.map_channels = [3, 3]
        self.weight = nn.Parameter(torch.ones(()))
        self.targets: list[Target] = []

    def forward(self, features: list[Tensor], frames: Tensor) -> Instances:
        return Instances([self._find(photo) for photo in features[0]], maps_of(features, self.weight))

    def loss(
        self, features: list[Tensor], frames: Tensor, targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        self.targets = targets
        known = [one for one in targets if one.known]
        count = sum(len(one.boxes) for one in known) / max(1, len(known))
        return {"count": self.weight * count}, maps_of(features, self.weight)

    def dry_run(self, features: list[Tensor]) -> None:
        maps_of(features, self.weight)

    def _find(self, photo: Tensor) -> Detections:
        classes, masks = [], []
        for k in (COAT, SHOE, CAPE):
            colour = (torch.tensor(COLOURS[k]) / 127.5 - 1)[:, None, None]
            mask = ((photo - colour).abs() < 0.2).all(0)
            if mask.any():
                classes.append(k)
                masks.append(mask)
        boxes = boxes_of(torch.stack(masks)) if masks else torch.zeros(0, 4)
        cut = [
            nn.functional.interpolate(mask[None, None, y0:y1, x0:x1].float(), (CELLS, CELLS))[0, 0]
            for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True)
        ]
        cells = torch.stack(cut) if cut else torch.zeros(0, CELLS, CELLS)
        return Detections(boxes, torch.tensor(classes, dtype=torch.int64), 0.9 - 0.1 * torch.arange(len(cut)), cells)


class Reading(Seeing):
    """The same, which reads attributes too: the attribute j of an instance of class k is 10 k + j."""

    reads_attributes = True

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], classes: Sequence[str], attributes: Sequence[str]
    ) -> None:
        super().__init__(channels, strides, classes, attributes)
        self.num_attributes = len(attributes)

    def _find(self, photo: Tensor) -> Detections:
        found = super()._find(photo)
        return found._replace(attributes=10.0 * found.classes[:, None] + torch.arange(self.num_attributes))


def maps_of(features: list[Tensor], weight: Tensor) -> list[Tensor]:
    """What the head has label heads pool."""
    return [nn.functional.avg_pool2d(features[0] * weight, stride) for stride in (4, 32)]


def seeing(space: LabelSpace, head: type[InstanceHead] = Seeing) -> InstanceNetwork:
    """A network of one of these heads."""
    torch.manual_seed(0)
    backbone = Backbone("none", pretrained=False)
    made = head(backbone.channels, backbone.strides, [c.name for c in space.categories], [x.name for x in space.labels])
    sizes = {name: part.stop - part.start for name, part in space.label_slices.items()}
    return InstanceNetwork(space, backbone, made, MultiLabel(made.map_channels, sizes, hidden=8)).eval()
