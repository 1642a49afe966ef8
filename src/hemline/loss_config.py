"""The losses of a recipe: the weight of each in the one sum that is trained, and their options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hemline._rules import Gamma, OpenShare, Share, SomeShare, Weight


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Weights of the losses in the one visible sum; a loss of weight 0 is not computed.

    Those of masks stand with their formulas and papers in `hemline.mask_losses`; what is not known of a pixel counts in
    none. `cross_entropy`, `bootstrapped` and `ohem` are of the softmax over the classes that compete and nobody. The
    rest are of each class for itself (sigmoid), or, where `masks` is `exclusive`, of that softmax too, where nobody is
    a class like the others.
    """

    bce: Weight = 1.0
    """Binary cross-entropy of the masks. Not for exclusive ones."""
    dice: Weight = 1.0
    """Dice loss of the masks, in V-Net's form, with squares; for the form without take `tversky`."""
    cross_entropy: Weight = 0.0
    """Cross-entropy of the one class, or none, that answers each pixel; with class weights it is divided by the sum of
    the pixels' weights, as torch does."""
    focal: Weight = 0.0
    """Focal loss: `bce` of each class, or where masks are exclusive `cross_entropy`, with little of pixels that are
    already right."""
    focal_gamma: Gamma = 2.0
    """How little: a pixel counts (1 - the probability of its truth) ^ gamma; 0 counts all alike."""
    focal_alpha: Share | None = None
    """Weight of a class's own pixels, beside 1 - alpha of the others; the paper takes 0.25. Not for exclusive masks."""
    jaccard: Weight = 0.0
    """1 - intersection over union of the masks, a mean over the classes of each photo."""
    generalised_dice: Weight = 0.0
    """Dice of all classes of a photo at once, small ones weighed up by 1 / area^2."""
    tversky: Weight = 0.0
    """Dice without squares, where what is answered in vain and what is missed have weights of their own."""
    tversky_alpha: Weight = 0.5
    """Weight of what is answered in vain. With 0.5 and 0.5 it is the usual soft dice, with 1 and 1 `jaccard`."""
    tversky_beta: Weight = 0.5
    """Weight of what is missed."""
    lovasz: Weight = 0.0
    """Lovász loss: the convex extension of intersection over union, a mean over the classes of each photo."""
    bootstrapped: Weight = 0.0
    """Cross-entropy of the hardest pixels of each photo alone."""
    bootstrapped_share: SomeShare = 0.0625
    """How many: 1/16 is FRRN's 32768 of 512 x 1024."""
    ohem: Weight = 0.0
    """Cross-entropy of hard pixels alone: of all that are not sure of their truth, and of a share at the least."""
    ohem_threshold: OpenShare = 0.7
    """The probability of its truth from which a pixel is sure."""
    ohem_share: Share = 0.0625
    """The share of a photo's pixels, the hardest, that are counted however sure they are."""
    category: Weight = 0.5
    """Binary cross-entropy of the categories."""
    attributes: Weight = 0.5
    """Binary cross-entropy of each attribute group."""
    choice: Weight = 0.0
    """Cross-entropy of the one value of each group of `choice: one`."""
    auxiliary: Weight = 0.0
    """The same losses of the masks, on each of the head's auxiliary outputs."""
    presence: Weight = 0.0
    """Binary cross-entropy of the head's auxiliary answer to which classes are on the photo."""
    taught_masks: Weight = 1.0
    """How far the masks are from those of the recipe's `teachers`, where it names some; see `hemline.distillation`."""
    taught_labels: Weight = 0.1
    """The same of categories and attributes."""
    instances: Weight = 1.0
    """The losses of a head that finds instances, each already weighed as the head's options say."""
    weighting: Literal["fixed", "uncertainty"] = "fixed"
    """Whether these weights stay, or each task (masks, presence, instances, categories, attributes, choices) also
    learns one of its own, by its uncertainty."""
    class_weights: Literal["none", "median_frequency", "inverse", "effective_number"] = "none"
    """How `bce`, `cross_entropy`, `focal`, `bootstrapped` and `ohem` weigh classes, by the pixels or photos of each;
    see `hemline.data.balance`."""
    positive_weights: Literal["none", "balanced", "root"] = "none"
    """How `bce` weighs a class's own pixels beside all others: `balanced` by how many more the others are, 100 at most,
    `root` by the square root of that."""

    def of_masks(self) -> dict[str, float]:
        """The weights of the losses of masks; the same weigh those of each auxiliary output."""
        return {
            "bce": self.bce,
            "dice": self.dice,
            "cross_entropy": self.cross_entropy,
            "focal": self.focal,
            "jaccard": self.jaccard,
            "generalised_dice": self.generalised_dice,
            "tversky": self.tversky,
            "lovasz": self.lovasz,
            "bootstrapped": self.bootstrapped,
            "ohem": self.ohem,
        }
