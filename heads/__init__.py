"""Everything that reads features. One file a network, named as its paper names it.

A **mask head** reads the backbone's features and answers `Dense`: one logit map a class at the head's own stride,
and the feature maps that label heads pool, one of them at stride 8 or finer. No sigmoid, no loss, no resizing of the
finished logits, any photo from 32 pixels a side on, and `forward` never asks whether it is training.

    class MyHead(MaskHead):
        paper = Paper("Its title", 2015, "https://...")
        variants = (("head.option=5",),)                               # other published forms: overrides of the recipe
        def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, option: int = 3): ...
        map_channels: list[int]                                        # channels of Dense.maps, shallow to deep
        def forward(self, features: list[Tensor]) -> Dense: ...        # features[0] is the photo, then the stages
        def forward_train(self, features) -> tuple[Dense, Auxiliary]   # only where its paper trains with more outputs

A head's options are its keyword-only arguments; the `head:` block of a recipe is checked against that signature. The
last layer, where it is a single convolution, is called `classifier`: weights of another label space begin it by name.
A head of one's own, given to `hemline.train.train`, may be any `nn.Module` with `map_channels` and `forward`. With
`masks: exclusive` it answers one map more, the last, of nobody.

An **instance head** reads the same features, finds garments one by one, and computes its own losses:

    class MyFinder(InstanceHead):
        paper, variants                                                # as of a mask head
        reads_attributes = False                                       # True: it answers `Detections.attributes`
        class_layers, attribute_layers, names_classes                  # what hangs on names: `_instances` says how
        def __init__(self, channels, strides, classes: Sequence[str], attributes: Sequence[str], *, option=3): ...
        map_channels: list[int]                                        # channels of Instances.maps, shallow to deep
        def forward(self, features, frames: Tensor) -> Instances: ...  # frames: where each photo lies on its canvas
        def loss(self, features, frames, targets: list[Target]) -> tuple[dict[str, Tensor], list[Tensor]]: ...
        def dry_run(self, features) -> None: ...                       # for `hemline models`, on torch's meta device

What a photo answers depends on no other photo of its batch, and no box leaves its photo. Losses are finite and reach
every parameter whatever is drawn, nothing included. `hemline.heads._instances` says what the tensors are, and
`hemline.heads._two_stage` is what networks with proposals share.

A **label head** reads the maps of either under N masks: `forward(maps, masks) -> (B, N, L)` label logits.

Adding a head costs one file here, one import and one line in `HEADS`, and one recipe of its name in `configs/`.
"""

if __name__ == "heads":  # a folder that happens to be on sys.path must not become a second package
    raise ImportError("import `hemline.heads`, not `heads`: run from a checkout with `uv run`, or install hemline")

from hemline.heads._blocks import Auxiliary, Dense, MaskHead, Paper
from hemline.heads._instances import Detections, InstanceHead, Instances, Target
from hemline.heads.atrous import Atrous
from hemline.heads.attribute_mask_rcnn import AttributeMaskRCNN
from hemline.heads.bisenet import BiSeNet
from hemline.heads.ddsc import DDSC
from hemline.heads.deeplabv3plus import DeepLabV3Plus
from hemline.heads.deepmac import DeepMAC
from hemline.heads.denseaspp import DenseASPP
from hemline.heads.encnet import EncNet
from hemline.heads.exfuse import ExFuse
from hemline.heads.fc_densenet import FCDenseNet
from hemline.heads.fcn import FCN
from hemline.heads.frrn import FRRN
from hemline.heads.mask_rcnn import MaskRCNN
from hemline.heads.multilabel import MultiLabel
from hemline.heads.pspnet import PSPNet
from hemline.heads.refinenet import RefineNet
from hemline.heads.segnet import SegNet
from hemline.heads.unet import UNet
from hemline.heads.unet_2015 import UNet2015
from hemline.heads.unet_full import UNetFull

HEADS: dict[str, type[MaskHead] | type[InstanceHead]] = {
    "atrous": Atrous,
    "attribute_mask_rcnn": AttributeMaskRCNN,
    "bisenet": BiSeNet,
    "ddsc": DDSC,
    "deeplabv3plus": DeepLabV3Plus,
    "deepmac": DeepMAC,
    "denseaspp": DenseASPP,
    "encnet": EncNet,
    "exfuse": ExFuse,
    "fc_densenet": FCDenseNet,
    "fcn": FCN,
    "frrn": FRRN,
    "mask_rcnn": MaskRCNN,
    "pspnet": PSPNet,
    "refinenet": RefineNet,
    "segnet": SegNet,
    "unet": UNet,
    "unet_2015": UNet2015,
    "unet_full": UNetFull,
}

__all__ = [
    "HEADS",
    "Auxiliary",
    "Dense",
    "Detections",
    "InstanceHead",
    "Instances",
    "MaskHead",
    "MultiLabel",
    "Paper",
    "Target",
]
