"""Pseudo-masks: what may be drawn on a photo of which words alone are known, and what a sample with them says."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from hemline.config import Config, Data
from hemline.data import build_dataset, split_of
from hemline.data.ccp import CCP
from hemline.data.loading import open_sources
from hemline.data.pseudo import NOBODY, ONE_OF, UNSURE, WithPseudoMasks, with_map
from hemline.data.sample import EITHER, PREDICTED, UNKNOWN, WHOLE_PHOTO, Region, Sample
from hemline.errors import DataError
from hemline.foreground import foreground
from hemline.labels import load_label_space
from hemline.metadata import read_metadata
from hemline.pseudo import draw, write_pseudo_masks
from hemline.runtime import default_weights
from tests.test_ccp import write_ccp

STREET = load_label_space("street")
NAMES = ("pants", "shoe", "dress", "hat", "hair", "coat", "jacket", "tie", "shirt, blouse", "sweater")
PANTS, SHOE, DRESS, HAT, HAIR, COAT, JACKET, TIE, SHIRT, SWEATER = (STREET.mask_names.index(name) for name in NAMES)
JEANS, WRIST = (STREET.find(name).index for name in ("jeans", "wrist-length"))
NOTHING = np.full(STREET.num_labels, UNKNOWN, np.int8)
TAGS = ["jeans", "heels", "hat"]


def knows(yes=(), no=()):
    """(L,) photo labels."""
    labels = NOTHING.copy()
    labels[list(no)] = 0
    labels[list(yes)] = 1
    return labels


def pixels(**logits):
    """(K, 1, W) logits, -9 but for the classes named."""
    maps = np.full((STREET.num_masks, 1, len(next(iter(logits.values())))), -9, np.float32)
    for name, values in logits.items():
        maps[STREET.mask_names.index(name.replace("_", " "))] = values
    return maps


def one_of(*names):
    """(L,) a set of labels."""
    return np.isin(np.arange(STREET.num_labels), [STREET.find(name).index for name in names])


def tagged(folder, drawn=None):
    """A tagged photo of 40 x 30 pixels, with its pseudo-map."""
    if drawn is not None:
        (folder / "pseudo/ccp").mkdir(parents=True)
        (folder / "pseudo/classes.json").write_text(json.dumps({"classes": list(STREET.mask_names)}))
        Image.fromarray(drawn).save(folder / "pseudo/ccp/1005.png")
    dataset = CCP(write_ccp(folder, {}, {"1005": TAGS}), STREET)
    return WithPseudoMasks(dataset, folder / "pseudo", STREET, [0])[0]


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
    whole, pants, heels = sample.regions                  # hair is no garment, and nothing is said of it
    assert whole.segments == WHOLE_PHOTO
    assert (whole.labels[[SHOE, HAT, PANTS, JEANS]] == 1).all()
    assert pants.segments == (sample.segments[0, 0],)
    assert (pants.labels[[PANTS, JEANS]] == 1).all()
    assert heels.segments == PREDICTED                     # shoes were not drawn: where the network finds them


def test_a_garment_named_as_one_of_several(tmp_path):
    """A long-sleeved something, mostly to the wrist: each of its pixels is one of the set, and nothing else."""
    folder = tmp_path / "items"
    (folder / "images").mkdir(parents=True)
    (folder / "images.csv").write_text("image,sender_id,label,kids\na,1,Longsleeve,False\n")
    Image.new("RGB", (30, 40)).save(folder / "images/a.jpg")
    sample = build_dataset(Data(name="clothing_dataset", path=str(folder)), STREET)[0]
    drawn = np.full((40, 30), NOBODY, np.uint8)
    drawn[10:30, 10:20] = ONE_OF
    sample = with_map(sample, drawn, len(STREET.categories))
    item, around = (sample.targets[sample.segments[y, 15]] for y in (20, 0))
    may_be = {"shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "cardigan", "jacket"}
    assert {STREET.mask_names[k] for k in np.flatnonzero(item == EITHER)} == may_be
    assert (np.delete(item, np.flatnonzero(item == EITHER)) == 0).all()
    assert (around == 0).all()
    _, known, doubtful = sample.regions
    assert known.segments == doubtful.segments == (sample.segments[20, 15],)
    assert len(known.one_of) == 1
    assert known.labels[SHIRT] == UNKNOWN
    assert (doubtful.labels[WRIST], doubtful.doubt > 0) == (1, True)


def test_photos_without_a_pseudo_map_and_folders_of_another_kind(tmp_path):
    with pytest.raises(DataError, match="holds no pseudo-masks"):
        tagged(tmp_path / "none")
    folder = tmp_path / "other"
    (folder / "pseudo/ccp").mkdir(parents=True)
    (folder / "pseudo/classes.json").write_text('{"classes": ["coat"]}')
    with pytest.raises(DataError, match="draw it again"):
        tagged(folder)
    (folder / "pseudo/classes.json").write_text(json.dumps({"classes": list(STREET.mask_names)}))
    assert len(tagged(folder).targets) == 1
    (folder / "pseudo/ccp/1005.png").write_bytes(b"\x89PNG\r\n\x1a\ncut")
    with pytest.raises(DataError, match=r"1005\.png is not a readable PNG"):
        tagged(folder)
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(folder / "pseudo/ccp/1005.png")
    with pytest.raises(DataError, match=r"\(4, 3\) pixels, its photo \(40, 30\)"):
        tagged(folder)


def test_only_what_the_tags_name_is_drawn():
    """Dress is denied: it leaves the first pixel to pants, two classes are even at the second, and at the third and
    fourth nobody is likelier than what is named, but dress is likeliest of all at the third."""
    logits = pixels(dress=[8, 8, 8, -4], pants=[4, 3, -4, -4], shoe=[0, 3, -4, -4])
    labels = knows(yes=[PANTS, SHOE], no=[DRESS])
    assert draw(logits, labels, (), STREET).tolist() == [[PANTS, UNSURE, UNSURE, NOBODY]]


def test_what_annotators_take_for_a_named_garment_is_that_garment():
    """A suit's jacket that the network calls a coat, over what it calls a sweater: nothing is known of sweaters."""
    logits = pixels(coat=[5, 5, -9], jacket=[1, -2, -9], sweater=[-9, -9, 5])
    assert draw(logits, knows(yes=[JACKET]), (), STREET).tolist() == [[JACKET, JACKET, SWEATER]]
    assert draw(logits, knows(yes=[JACKET, COAT]), (), STREET).tolist() == [[COAT, COAT, SWEATER]]
    assert draw(logits, knows(yes=[JACKET], no=[SWEATER]), (), STREET).tolist() == [[JACKET, JACKET, UNSURE]]


def test_a_named_garment_that_is_hardly_seen_is_lifted_to_its_best_guess():
    logits = pixels(tie=[-1, -2.9, -6])
    assert draw(logits, knows(yes=[TIE]), (), STREET).tolist() == [[TIE, UNSURE, NOBODY]]
    assert draw(logits, knows(), (), STREET).tolist() == [[NOBODY, NOBODY, NOBODY]]
    assert draw(logits - 4, knows(yes=[TIE]), (), STREET).tolist() == [[NOBODY] * 3]  # not seen at all


def test_one_of_several_is_the_one_that_the_network_prefers_if_any():
    outer = (one_of("jacket", "coat", "vest"),)
    logits = pixels(coat=[5, 3, -9], jacket=[1, 4, -9])
    assert draw(logits, knows(), outer, STREET).tolist() == [[COAT, COAT, NOBODY]]
    even = pixels(coat=[5, 4, -9], jacket=[4, 5, -9])
    assert draw(even, knows(), outer, STREET).tolist() == [[ONE_OF, ONE_OF, NOBODY]]


def test_training_photos_alone_are_drawn_and_once(tmp_path):
    names = [f"{i:04d}" for i in range(1001, 1013)]
    folder = write_ccp(tmp_path / "ccp", {"0001": np.full((40, 30), "pants")}, dict.fromkeys(names, TAGS))
    trained = sorted(name for name in names if split_of(f"ccp/{name}") == "train")
    assert 0 < len(trained) < len(names)
    out = tmp_path / "out"
    assert write_pseudo_masks(default_weights(".onnx"), {"ccp": folder}, out) == len(trained)
    drawn = sorted(out.glob("ccp/*"))
    assert [path.name for path in drawn] == [f"{name}.png" for name in trained]  # what has a map needs none
    Image.new("L", (30, 40), NOBODY).save(drawn[0])
    before = [path.read_bytes() for path in drawn]
    assert write_pseudo_masks(default_weights(".onnx"), {"ccp": folder}, out) == len(trained)
    assert [path.read_bytes() for path in drawn] == before
    with pytest.raises(DataError, match="holds other files"):
        write_pseudo_masks(default_weights(".onnx"), {"ccp": folder}, tmp_path)


def test_a_folder_belongs_to_one_graph_of_the_weights(tmp_path, monkeypatch):
    folder = write_ccp(tmp_path / "ccp", {"0001": np.full((40, 30), "pants")}, {})
    assert write_pseudo_masks(default_weights(".onnx"), {"ccp": folder}, tmp_path / "out") == 0
    quantised = replace(read_metadata(default_weights(".onnx")), precision="int8")
    monkeypatch.setattr("hemline.pseudo.read_metadata", lambda _: quantised)
    with pytest.raises(DataError, match="drawn by other weights"):
        write_pseudo_masks(default_weights(".onnx"), {"ccp": folder}, tmp_path / "out")


def shirt(size, colour, cloth):
    """A shirt's outline filled with `colour` on a floor of the colour `cloth`, both grainy, and its mask."""
    height, width = size
    outline = np.array([(3, 2), (7, 2), (9.2, 4), (8.2, 5), (7, 4.2), (7, 8.5), (3, 8.5), (3, 4.2), (1.8, 5), (0.8, 4)])
    mask = cv2.fillPoly(np.zeros(size, np.uint8), [(outline * [width / 10, height / 10]).astype(np.int32)], 1) > 0
    grain = np.random.default_rng(0).normal(0, 6, (*size, 1))
    photo = np.where(mask[..., None], np.array(colour), np.array(cloth)) + grain
    return photo.clip(0, 255).astype(np.uint8), mask


@pytest.mark.parametrize(("colour", "cloth"), [((40, 60, 140), (200, 190, 170)), ((235, 235, 230), (120, 60, 50))])
def test_what_stands_out_from_the_background(colour, cloth):
    photo, mask = shirt((320, 240), colour, cloth)
    found = foreground(photo)
    assert (found & mask).sum() / (found | mask).sum() > 0.95
    again = foreground(photo)
    assert (found == again).all()


def test_nothing_stands_out():
    plain, _ = shirt((320, 240), (120, 120, 120), (120, 120, 120))
    assert foreground(plain) is None
    assert foreground(np.zeros((1, 1, 3), np.uint8)) is None
    assert foreground(np.full((400, 3, 3), 200, np.uint8)) is None


def test_one_item_is_what_stands_out(tmp_path):
    folder = tmp_path / "items"
    (folder / "images").mkdir(parents=True)
    rows = [f"photo{i},{i},{'T-Shirt' if i % 2 else 'Outwear'},False" for i in range(8)]
    (folder / "images.csv").write_text("\n".join(["image,sender_id,label,kids", *rows]))
    photo, mask = shirt((160, 120), (40, 60, 140), (200, 190, 170))
    for i in range(8):
        Image.fromarray(photo).save(folder / f"images/photo{i}.jpg", quality=95)
    count = write_pseudo_masks(default_weights(".onnx"), {"clothing_dataset": folder}, tmp_path / "out")
    files = sorted((tmp_path / "out").glob("clothing_dataset/*.png"))
    assert len(files) == count > 0
    for file in files:
        drawn = np.asarray(Image.open(file))
        number = STREET.mask_names.index("top, t-shirt, sweatshirt") if int(file.stem[-1]) % 2 else ONE_OF
        assert set(np.unique(drawn).tolist()) == {number, NOBODY}
        assert ((drawn == number) & mask).sum() / ((drawn == number) | mask).sum() > 0.9


def test_photos_that_validate_are_never_measured_by_what_was_drawn(tmp_path):
    names = [f"{i:04d}" for i in range(1001, 1013)]
    folder = write_ccp(tmp_path / "ccp", {}, dict.fromkeys(names, TAGS))
    (tmp_path / "drawn/ccp").mkdir(parents=True)
    (tmp_path / "drawn/classes.json").write_text(json.dumps({"classes": list(STREET.mask_names)}))
    for name in names:
        Image.new("L", (30, 40), PANTS).save(tmp_path / f"drawn/ccp/{name}.png")
    data = Data(name="ccp", path=str(folder), pseudo=str(tmp_path / "drawn"))
    (source,) = open_sources(Config(name="x", epochs=1, data=(data,), validation=0.5), STREET)
    drawn = {index for index in range(len(names)) if len(source.dataset[index].targets) > 1}
    assert drawn == set(source.indices)
    assert 0 < len(drawn) < len(names)


def test_a_garment_of_several_that_was_not_drawn_may_be_anywhere():
    """A cape or a coat or a jacket, and trousers, of which the trousers alone were drawn."""
    outer = one_of("cape", "coat", "jacket")
    labels = knows(yes=[PANTS], no=[DRESS])
    targets = np.full((1, STREET.num_masks), UNKNOWN, np.int8)
    targets[0, DRESS] = 0
    photo = np.zeros((40, 30, 3), np.uint8)
    sample = Sample(photo, photo[..., 0], targets, [Region(WHOLE_PHOTO, labels, (outer,))], key="x")
    drawn = np.full((40, 30), NOBODY, np.uint8)
    drawn[20:] = PANTS
    around, pants = (with_map(sample, drawn, len(STREET.categories)).targets[i] for i in (0, 2))
    assert (around[COAT], around[JACKET], around[DRESS], around[SHOE]) == (UNKNOWN, UNKNOWN, 0, 0)
    assert (pants[PANTS], pants[COAT]) == (1, UNKNOWN)
    drawn[:10] = ONE_OF
    around, _, coat = (with_map(sample, drawn, len(STREET.categories)).targets[i] for i in (0, 2, 3))
    assert (around[COAT], coat[COAT], coat[JACKET], coat[PANTS]) == (0, EITHER, EITHER, 0)


def test_a_sets_only_shown_class_is_not_taken_for_sure():
    """A vest may be a waistcoat, which no pixel is answered as, or a tank top."""
    top = STREET.mask_names.index("top, t-shirt, sweatshirt")
    logits = pixels(**{"top, t-shirt, sweatshirt": [5, -9]})
    assert draw(logits, knows(), (one_of("vest", "top, t-shirt, sweatshirt"),), STREET).tolist() == [[UNSURE, NOBODY]]
    assert draw(logits, knows(yes=[top]), (), STREET).tolist() == [[top, NOBODY]]
