"""The backbone: the one place that makes feature maps from a photo, with the channels and stride of each.

Any timm trunk whose maps form a pyramid works, by its timm name, and the few of our own (`hemline.trunks`).
`features[0]` is the normalised photo itself, then the stages, shallow to deep; a stage may repeat a stride, and some
trunks start at stride 4. Where an output stride of 8 or 16 is asked for, the stages beyond it are dilated.

Shapes: B batch, H W the canvas, Ci channels and si stride of stage i.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.models import FeatureInfo
from torch import Tensor, nn

from hemline import dilation as surgery
from hemline._reading import path_of
from hemline.errors import ConfigError, in_short
from hemline.trunks import OWN_TRUNKS


class Backbone(nn.Module):
    """A trunk with its normalisation.

    Args:
        name: A timm model name, or a key of `hemline.trunks.OWN_TRUNKS`.
        pretrained: Load timm's pretrained weights; needs a network the first time.
        weights: A local file of trunk weights instead, as `torch.save` of a state dict.
        output_stride: Stride of the deepest map.
        dilation: What the first block of a dilated stage has; see `hemline.dilation`.
        layers: Blocks in each stage of a ResNet, instead of its own.
        drop_path: Stochastic depth: the probability with which the last block of the trunk is left out of a step in
            training, that of the blocks before it growing from 0 (Huang et al., 2016, https://arxiv.org/abs/1603.09382).

    Raises:
        ConfigError: the name is unknown, the trunk has no pyramid or cannot be dilated, or the weights do not fit.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        weights: str | Path | None = None,
        output_stride: Literal[8, 16, 32] = 32,
        dilation: Literal["library", "all"] = "library",
        layers: Sequence[int] | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.name = name
        if name in OWN_TRUNKS:
            if output_stride != 32 or layers is not None or drop_path:
                raise ConfigError(f"backbone.name: {name} is as it is: leave out its other options")
            self.trunk = OWN_TRUNKS[name]()
        else:
            if layers is not None and len(layers) != 4:
                raise ConfigError(f"backbone.layers: {list(layers)} must be 4 numbers, one for each stage of a ResNet")
            changed: dict[str, Any] = {} if layers is None else {"layers": list(layers)}
            if drop_path:
                changed["drop_path_rate"] = drop_path
            self.trunk = _create(name, output_stride, changed, pretrained=pretrained and weights is None)
            if output_stride != 32 and dilation == "all":
                surgery.dilate_first_blocks(self.trunk, name)
        if weights is not None:
            self.load(weights)
        info: FeatureInfo = self.trunk.feature_info  # type: ignore[assignment]  # nn.Module hides what it holds
        self.channels: list[int] = [3, *info.channels()]
        self.strides: list[int] = [1, *(min(stride, output_stride) for stride in info.reduction())]
        config = None if name in OWN_TRUNKS else timm.get_pretrained_cfg(name)
        mean, std = (config.mean, config.std) if config is not None else ((0.5,) * 3, (0.5,) * 3)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Photos (B, H, W, 3) uint8 RGB -> [(B, 3, H, W), (B, C1, H/s1, W/s1), ...], shallow to deep."""
        x = (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        return [x, *self.trunk(x.contiguous(memory_format=torch.channels_last))]

    def load(self, weights: str | Path) -> None:
        """Take the trunk's weights from a file, as `torch.save` of a state dict: the trunk's, or of timm's whole model.

        Raises:
            ConfigError: the file is none, or of another trunk, or the trunk has no weights.
        """
        own = self.trunk.state_dict()
        if not own:
            raise ConfigError(f"backbone.weights: the trunk {self.name} has none; leave it out")
        try:
            state = torch.load(path_of(weights), map_location="cpu", weights_only=True)
            # where timm unpacks a model's stages for a pyramid, its `features.conv0` is the trunk's `features_conv0`
            state = {name if name in own else name.replace(".", "_", 1): tensor for name, tensor in state.items()}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                missing = self.trunk.load_state_dict(state, strict=False).missing_keys
        except Exception as error:  # its reader fails in many ways on what is damaged
            raise ConfigError(
                f"backbone.weights: {weights} is not a state dict of {self.name} ({in_short(error)})"
            ) from error
        if missing:
            raise ConfigError(
                f"backbone.weights: {weights} lacks {len(missing)} tensors of {self.name}, the first {missing[0]}"
            )


def _create(name: str, output_stride: int, changed: dict[str, Any], *, pretrained: bool) -> nn.Module:
    known = timm.list_models()
    if name.split(".")[0] not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or ["tf_efficientnet_lite0", "resnet50"]
        raise ConfigError(f"backbone.name: timm has no model {name!r}; did you mean {', '.join(near)}?")
    by_hand = surgery.can_dilate(name)
    if output_stride != 32 and not by_hand:
        changed = {**changed, "output_stride": output_stride}
    try:
        trunk = timm.create_model(name, features_only=True, pretrained=pretrained, **changed)
    except (OSError, ConnectionError) as error:
        raise ConfigError(
            f"backbone.pretrained: the weights of {name} could not be fetched ({error}); "
            "connect to a network, name a local file in backbone.weights, or set backbone.pretrained=false"
        ) from error
    except (RuntimeError, AttributeError, NotImplementedError, TypeError, AssertionError) as error:
        if changed:
            asked = " and ".join(f"{key}={value}" for key, value in changed.items())
            raise ConfigError(
                f"backbone.name: timm cannot build {name} with {asked} ({in_short(error)}); take a ResNet, or neither"
            ) from error
        raise ConfigError(
            f"backbone.name: {name} gives no feature pyramid ({error}); take a convolutional trunk"
        ) from error
    strides = trunk.feature_info.reduction()  # type: ignore[union-attr, operator]  # likewise
    if strides != sorted(strides) or strides[0] > 4 or strides[-1] < min(16, output_stride):
        raise ConfigError(f"backbone.name: the maps of {name} have strides {strides}, which is no pyramid from 4 to 16")
    if by_hand:
        surgery.dilate(trunk, name, output_stride)
    return trunk
