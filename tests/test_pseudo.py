"""Pseudo-masks: what may be drawn on a tagged photo, and what a sample with them says."""

import json

import numpy as np
import pytest
from PIL import Image

from hemline.data import split_of
from hemline.data.ccp import CCP, NOBODY, UNSURE
from hemline.data.sample import UNKNOWN, WHOLE_PHOTO
from hemline.errors import DataError
from hemline.labels import load_label_space
from hemline.pseudo import draw, named_classes, write_pseudo_maps
from tests.test_ccp import write_ccp

STREET = load_label_space("street")
PANTS, SHOE, DRESS, HAT, HAIR = (STREET.mask_names.index(name) for name in ("pants", "shoe", "dress", "hat", "hair"))
JEANS = STREET.find("jeans").index
TAGS = ["jeans", "heels", "hat"]


def tagged(folder, drawn=None):
    """A tagged photo of 40 x 30 pixels, with its pseudo-map."""
    if drawn is not None:
        (folder / "pseudo").mkdir()
        (folder / "pseudo/classes.json").write_text(json.dumps(STREET.mask_names))
        Image.fromarray(drawn).save(folder / "pseudo/1005.png")
    data = CCP(write_ccp(folder, {}, {"1005": TAGS}), STREET, pseudo=str(folder / "pseudo"))
    return data[0]


def test_a_sample_with_a_pseudo_map(tmp_path):
    drawn = np.full((40, 30), NOBODY, np.uint8)
    drawn[:10] = PANTS
    drawn[10:12] = HAIR
    drawn[12:14] = UNSURE
    sample = tagged(tmp_path, drawn)
    row = [sample.targets[sample.segments[y, 5]] for y in (0, 11, 13, 30)]
    assert [np.flatnonzero(r == 1).tolist() for r in row] == [[PANTS], [HAIR], [], []]
    assert all(r[DRESS] == 0 for r in row)                # not tagged: nowhere, also where the network was unsure
    assert all(r[SHOE] == UNKNOWN for r in row)           # tagged and not drawn: anywhere
    assert [r[PANTS] for r in row] == [1, 0, UNKNOWN, 0]
    whole, pants = sample.regions
    assert whole.segment == WHOLE_PHOTO
    assert (whole.labels[[SHOE, HAT, PANTS, JEANS]] == 1).all()
    assert pants.segment == sample.segments[0, 0]
    assert (pants.labels[[PANTS, JEANS]] == 1).all()


def test_photos_without_a_pseudo_map_and_folders_of_another_kind(tmp_path):
    with pytest.raises(DataError, match="holds no pseudo-masks"):
        tagged(tmp_path / "none")
    folder = tmp_path / "other"
    (folder / "pseudo").mkdir(parents=True)
    (folder / "pseudo/classes.json").write_text('["coat"]')
    with pytest.raises(DataError, match="draw it again"):
        tagged(folder)
    (folder / "pseudo/classes.json").write_text(json.dumps(STREET.mask_names))
    assert len(tagged(folder).targets) == 1
    (folder / "pseudo/1005.png").write_bytes(b"\x89PNG\r\n\x1a\ncut")
    with pytest.raises(DataError, match=r"1005\.png is not a readable PNG"):
        tagged(folder)
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(folder / "pseudo/1005.png")
    with pytest.raises(DataError, match=r"\(4, 3\) pixels, its photo \(40, 30\)"):
        tagged(folder)


def test_only_what_the_tags_name_is_drawn():
    """Dress is not tagged: it leaves the first pixel to pants, two classes are even at the second, and at the third
    and fourth nobody is likelier than what is tagged, but dress is likeliest of all at the third."""
    labels = np.full(STREET.num_labels, UNKNOWN, np.int8)
    labels[DRESS], labels[[PANTS, SHOE]] = 0, 1
    classes = named_classes(labels, STREET)
    assert set(classes) == {PANTS, SHOE, *range(len(STREET.categories), STREET.num_masks)}
    logits = np.full((STREET.num_masks, 1, 4), -9, np.float32)
    logits[DRESS, 0] = [8, 8, 8, -4]
    logits[PANTS, 0] = [4, 3, -4, -4]
    logits[SHOE, 0] = [0, 3, -4, -4]
    assert draw(logits, classes, STREET.competing).tolist() == [[PANTS, UNSURE, UNSURE, NOBODY]]


def test_training_photos_alone_are_drawn(tmp_path):
    names = [f"{i:04d}" for i in range(1001, 1013)]
    folder = write_ccp(tmp_path / "ccp", {}, dict.fromkeys(names, TAGS))
    trained = sorted(name for name in names if split_of(f"ccp/{name}") == "train")
    assert 0 < len(trained) < len(names)
    from hemline.runtime import default_weights

    assert write_pseudo_maps(default_weights(".onnx"), folder, tmp_path / "out") == len(trained)
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == trained
    assert CCP(folder, STREET, pseudo=str(tmp_path / "out"))[0].segments.shape == (40, 30)
