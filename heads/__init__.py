"""Everything that reads features. One file a network, named as its paper names it.

A **mask head** reads the backbone's features and answers `Dense`: one logit map a class at the head's own stride,
and the feature maps that label heads pool. No sigmoid, no loss, no upsampling to full size, any photo size, and
`forward` never asks whether it is training.

    class MyHead(nn.Module):
        def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, option: int = 3): ...
        map_channels: list[int]                                        # channels of Dense.maps, shallow to deep
        def forward(self, features: list[Tensor]) -> Dense: ...        # features[0] is the photo, then the stages

A head's options are its keyword-only arguments; the `head:` block of a recipe is checked against that signature.

A **label head** reads those maps under N masks: `forward(maps, masks) -> (B, N, L)` label logits.

Adding a mask head costs one file here, one line in `HEADS` and one recipe in `configs/`.
"""

if __name__ == "heads":  # a folder that happens to be on sys.path must not become a second package
    raise ImportError("import `hemline.heads`, not `heads`: run from a checkout with `uv run`, or install hemline")

from torch import nn

from hemline.heads._blocks import Dense
from hemline.heads.multilabel import MultiLabel
from hemline.heads.unet import UNet

HEADS: dict[str, type[nn.Module]] = {
    "unet": UNet,
}

__all__ = ["HEADS", "Dense", "MultiLabel", "UNet"]
