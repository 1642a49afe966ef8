"""The loop that most people would write, for `train.py` to compare with: dice and binary cross-entropy, AdamW.

Its data are random tensors on the device. It has no labels, no cross-entropy, no mean of the weights, no clipping, no
schedule and no check that the loss is finite; it copies no photo to the device and never waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hemline.begin import precision_of
from hemline.config import Config
from hemline.labels import LabelSpace
from hemline.model import build


class Masks(nn.Module):
    """Our network without its label head: photos (B, H, W, 3) uint8 -> mask logits (B, K, h, w)."""

    def __init__(self, config: Config, space: LabelSpace) -> None:
        super().__init__()
        network = build(config, space, trunk_weights=False)
        self.backbone, self.mask_head = network.backbone, network.mask_head

    def forward(self, pixels: Tensor) -> Tensor:
        """As above."""
        logits: Tensor = self.mask_head(self.backbone(pixels)).logits
        return logits


def peer(config: Config, space: LabelSpace) -> nn.Module | None:
    """The U-Net of segmentation_models.pytorch on the recipe's trunk; None, and why, where there is none."""
    try:
        import segmentation_models_pytorch as smp

        network: nn.Module = smp.Unet(f"tu-{config.backbone.name}", encoder_weights=None, classes=space.num_masks)
    except ModuleNotFoundError as error:
        print(f"  smp.Unet is left out: {error.name} is not installed (uv sync --group bench)")
    except Exception as error:  # a trunk that it cannot read fails in many ways
        print(f"  smp.Unet is left out: it cannot be made on {config.backbone.name} ({error})")
    else:
        return network
    return None


def plain_step(network: nn.Module, photos: Tensor, config: Config) -> Callable[[], None]:
    """One step of the loop, as a function.

    Args:
        network: On the device of the photos; answers mask logits (B, K, h, w).
        photos: What it reads.
        config: Says the precision, and whether to compile.
    """
    device = photos.device
    dtype = precision_of(config, device)
    network.train()
    with torch.no_grad():
        one = network(photos[:2])[:1].float()
    masks = (torch.rand(len(photos), *one.shape[1:], device=device) < 0.1).float()
    model = torch.compile(network) if config.torchcompile else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = model(photos)
        scaler.scale(dice_and_bce(logits.float(), masks)).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def dice_and_bce(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy, and 1 - dice of each class over the batch."""
    scores = logits.sigmoid()
    overlap, size = (scores * masks).sum((0, 2, 3)), (scores + masks).sum((0, 2, 3))
    return F.binary_cross_entropy_with_logits(logits, masks) + (1 - (2 * overlap + 1) / (size + 1)).mean()
