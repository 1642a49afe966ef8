"""DeepFashion: fake copies in the published layouts, and a sample of the real one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemline.config import Data
from hemline.data import build_dataset, own_space, split_indices
from hemline.data.deepfashion import DeepFashion
from hemline.data.sample import WHOLE_PHOTO
from hemline.errors import DataError
from hemline.labels import LabelSpace

REAL = Path(__file__).parents[2] / "shared" / "data" / "deepfashion_sample"
CATEGORIES = [("Blouse", 1), ("Jeans", 2), ("Coat", 3), ("Dress", 3)]
ATTRIBUTES = [("abstract print", 1), ("denim", 2), ("a-line", 3), ("Dress", 3), ("denim", 5)]
FINE = [("floral", 1), ("solid", 1), ("long_sleeve", 2), ("sleeveless", 2), ("maxi_length", 3), ("no_dress", 3),
        ("v_neckline", 4), ("no_neckline", 4), ("cotton", 5), ("knit", 5), ("tight", 6), ("loose", 6)]  # fmt: skip
ROWS = [
    ("img/Red_Blouse/img_00000001.jpg", 1, [1, -1, 0, -1, -1], (3, 2, 13, 17), "train"),
    ("img/Red_Blouse/img_00000002.jpg", 1, [-1, -1, -1, -1, -1], (1, 1, 16, 20), "val"),
    ("img/Long_Dress/img_00000001.jpg", 4, [0, 1, 1, 1, 0], (0, 0, 99, 99), "test"),
]


def listed(file, header, rows, count=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([str(len(rows) if count is None else count), header, *rows]) + "\n")


def photo(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.add.outer(np.arange(20)[:, None] * 10, np.arange(16)[:, None] + np.zeros(3)).reshape(20, 16, 3)
    Image.fromarray(pixels.astype(np.uint8)).save(file.with_suffix(".png"))
    file.with_suffix(".png").rename(file)                    # the pixels as they are, whatever the name says


def coarse(folder, rows=ROWS, anno="Anno_coarse", categories=CATEGORIES, count=None):
    lists = folder / anno
    listed(lists / "list_category_cloth.txt", "category_name  category_type", [f"{n:<14} {t}" for n, t in categories],
           count)  # fmt: skip
    listed(lists / "list_attr_cloth.txt", "attribute_name  attribute_type", [f"{n:<30} {t}" for n, t in ATTRIBUTES])
    listed(lists / "list_category_img.txt", "image_name  category_label", [f"{r[0]:<60} {r[1]}" for r in rows])
    listed(lists / "list_attr_img.txt", "image_name  attribute_labels",
           [f"{r[0]:<60} {' '.join(f'{v:2d}' for v in r[2])}" for r in rows])  # fmt: skip
    listed(lists / "list_bbox.txt", "image_name  x_1  y_1  x_2  y_2",
           [f"{r[0]:<60} {' '.join(f'{v:03d}' for v in r[3])}" for r in reversed(rows)])  # fmt: skip
    sides = [f"{r[0]:<60} {r[4]}" for r in rows]
    listed(folder / "Eval" / "list_eval_partition.txt", "image_name  evaluation_status", sides)
    for row in rows:
        photo(folder / "Img" / row[0])
    return folder


def opened(folder, **options):
    data = Data(name="deepfashion", path=str(folder), options=options)
    space = own_space(data)
    return build_dataset(data, space), space


def said(space, labels, value):
    names = [c.name for c in space.categories] + [label.name for label in space.labels]
    return {name for name, v in zip(names, labels, strict=True) if v == value}


@pytest.mark.parametrize("anno", ["Anno_coarse", "Anno"])
def test_coarse(tmp_path, anno):
    data, space = opened(coarse(tmp_path, anno=anno))
    assert [(c.id, c.name, c.outfit_part) for c in space.categories] == [
        (1, "Blouse", "upper body"), (2, "Jeans", "lower body"), (3, "Coat", "whole body"), (4, "Dress", "whole body"),
    ]  # fmt: skip
    assert [(g.name, g.choice, [(x.id, x.name) for x in g.labels]) for g in space.groups] == [
        ("texture", "many", [(1, "abstract print")]), ("fabric", "many", [(2, "denim (fabric)")]),
        ("shape", "many", [(3, "a-line"), (4, "Dress (shape)")]), ("style", "many", [(5, "denim (style)")]),
    ]  # fmt: skip
    assert data.keys == [f"deepfashion/{row[0]}" for row in ROWS]
    assert data.sides == ["train", "validation", "test"]
    assert [split_indices(data, side) for side in ("train", "validation", "test")] == [[0], [1], [2]]
    assert data.groups[0] == data.groups[1] != data.groups[2]
    assert "non-commercial" in data.terms
    attributes = {label.name for label in space.labels}
    yes = [{"Blouse", "abstract print"}, {"Blouse"}, {"Dress", "denim (fabric)", "a-line", "Dress (shape)"}]
    unknown = [{"a-line"}, set(), {"abstract print", "denim (style)"}]
    for i in range(3):
        labels = data.photo_labels(i)
        assert said(space, labels, 1) == yes[i]
        assert said(space, labels, -1) == unknown[i]
        assert said(space, labels, 0) == ({"Blouse", "Jeans", "Coat", "Dress"} | attributes) - yes[i] - unknown[i]


def test_crops(tmp_path):
    data, _ = opened(coarse(tmp_path))
    sample = data[0]
    assert sample.photo.shape == (15, 10, 3)
    assert sample.photo[0, 0, 0] == 2 * 10 + 3               # row 2, column 3 of the photo
    assert data[2].photo.shape == (20, 16, 3)                # a box that leaves the photo ends with it
    (whole,) = sample.regions
    assert whole.segments == WHOLE_PHOTO
    np.testing.assert_array_equal(whole.labels, data.photo_labels(0))
    assert (sample.targets == -1).all()                      # a crop shows parts of other garments
    far = [(*ROWS[0][:3], (40, 2, 50, 9), "train")]
    data, _ = opened(coarse(tmp_path / "far", far))
    with pytest.raises(DataError, match="16 wide and 20 high, and its box begins at 40, 2"):
        data[0]


def test_damage(tmp_path):
    rows = [
        *ROWS,
        ("img/x/1.jpg", 5, [1, 1, 1, 1, 1], (1, 1, 5, 5), "train"),
        ("img/x/2.jpg", 1, [1, 1, 1, 1, 2], (1, 1, 5, 5), "train"),
        ("img/x/3.jpg", 1, [1, 1, 1, 1], (1, 1, 5, 5), "train"),
        ("img/x/4.jpg", 1, [1, 1, 1, 1, 1], (5, 1, 5, 5), "train"),
        ("img/x/5.jpg", 1, [1, 1, 1, 1, 1], (1, 1, 5, 5), "learn"),
        ("img/x/6.jpg", 1, [1, 1, 1, 1, 1], (1, 1, 5, 5), "train"),
    ]
    folder = coarse(tmp_path, rows)
    (folder / "Img/img/x/6.jpg").unlink()
    with pytest.raises(DataError, match=r"list_attr_img\.txt, line 7: img/x/2\.jpg has no 5 values .*\(and 7 more"):
        opened(folder)
    data, _ = opened(folder, damaged="skip")
    assert data.keys == [f"deepfashion/{row[0]}" for row in ROWS]
    assert [(p.kind, p.row) for p in data.problems] == [
        ("bad row", "line 7"), ("bad row", "line 8"), ("bad row", "line 7"), ("bad row", "line 8"),
        ("bad row", "line 10"), ("missing photo", "line 11"), ("unknown category", "line 6"), ("bad box", "line 9"),
    ]  # fmt: skip


def test_lists_that_cannot_be_trusted(tmp_path):
    with pytest.raises(DataError, match="says 50 rows and has 4, so numbers would name others"):
        opened(coarse(tmp_path / "short", count=50))
    with pytest.raises(DataError, match="line 3: 'Blouse 7' is no name with a type from 1 to 3"):
        opened(coarse(tmp_path / "type", categories=[("Blouse", 7)]))
    with pytest.raises(DataError, match=r"holds no Anno_coarse/list_category_img\.txt or Anno_fine/train\.txt"):
        opened(tmp_path)
    folder = coarse(tmp_path / "cut")
    file = folder / "Anno_coarse/list_category_img.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:4]))
    with pytest.raises(DataError, match="says 3 photos; 2 are listed"):
        opened(folder)


def fine(folder, sides, *, name="Anno_fine", categories=False, boxes=None):
    """Sides {name: [(photo, values)]}."""
    listed(folder / name / "list_attr_cloth.txt", "attribute_name   attribute_type", [f"{n:<20} {t}" for n, t in FINE])
    if categories:
        listed(folder / name / "list_category_cloth.txt", "category_name", [f"{n}  {t}" for n, t in CATEGORIES])
    for side, rows in sides.items():
        (folder / name / f"{side}.txt").write_text("".join(f"{row[0]}\n" for row in rows))
        (folder / name / f"{side}_attr.txt").write_text("".join(" ".join(map(str, row[1])) + " \n" for row in rows))
        if categories:
            (folder / name / f"{side}_cate.txt").write_text("".join(f"{row[2]}\n" for row in rows))
        if boxes:
            (folder / name / f"{side}_bbox.txt").write_text(f"{boxes}\n" * len(rows))
        for row in rows:
            photo(folder / ("Img" if categories else "") / row[0])
    return folder


def test_fine_values(tmp_path):
    """The contest's layout: six values a photo, no category, no box."""
    sides = {"train": [("img/1.jpg", [0, 1, 0, 1, 0, 1])], "val": [("img/2.jpg", [1, 0, 1, 0, 1, 0])]}
    folder = fine(tmp_path, sides, name="split")
    (folder / "split/test.txt").write_text("img/3.jpg\n")    # whose answers are not published
    data, space = opened(folder)
    assert [c.name for c in space.categories] == ["garment"]
    assert [(g.name, g.choice, len(g.labels)) for g in space.groups] == [
        (name, "one", 2) for name in ("texture", "sleeve length", "dress length", "neckline", "fabric", "fit")
    ]
    assert data.sides == ["train", "validation"]
    assert data.groups[0] != data.groups[1]
    yes = {"garment", "floral", "sleeveless", "maxi_length", "no_neckline", "cotton", "loose"}
    assert said(space, data.photo_labels(0), 1) == yes
    assert said(space, data.photo_labels(0), 0) == {name for name, _ in FINE} - yes
    assert data[1].photo.shape == (20, 16, 3)


def test_fine_yes_and_no(tmp_path):
    """The published layout: of each attribute 0 or 1, categories and boxes."""
    answers = [1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 0]           # of the last group nobody said anything
    folder = fine(tmp_path, {"train": [("img/a/1.jpg", answers, 4)]}, categories=True, boxes="1 2 11 12")
    data, space = opened(folder)
    yes = {"Dress", "floral", "sleeveless", "no_dress", "no_neckline", "cotton"}
    assert said(space, data.photo_labels(0), 1) == yes
    assert said(space, data.photo_labels(0), -1) == {"tight", "loose"}
    assert data[0].photo.shape == (10, 10, 3)


def test_fine_damage(tmp_path):
    sides = {"train": [("img/1.jpg", [0, 1, 0, 1, 0, 1]), ("img/2.jpg", [0, 2, 0, 1, 0, 1])]}
    folder = fine(tmp_path, sides, name="split")
    with pytest.raises(DataError, match=r"train_attr\.txt, line 2: \[0, 2, 0, 1, 0, 1\] are no answers"):
        opened(folder)
    assert opened(folder, damaged="skip")[0].keys == ["deepfashion/img/1.jpg"]
    (folder / "split/train_attr.txt").write_text("0 1 0 1 0 1\n")
    with pytest.raises(DataError, match="1 rows for 2 photos"):
        opened(folder)
    (folder / "split/train_attr.txt").write_text("0 1 0\n0 1 0\n")
    with pytest.raises(DataError, match="3 values a photo; 12 of 0 and 1, or the values of 6 groups"):
        opened(folder)


def test_both_are_there(tmp_path):
    folder = fine(coarse(tmp_path), {"train": [("img/a/1.jpg", [0] * 12, 1)]}, categories=True)
    assert own_space(Data(name="deepfashion", path=str(folder))).name == "deepfashion-coarse"
    data, space = opened(folder, annotations="fine")
    assert (len(data), space.name) == (1, "deepfashion-fine")


def test_words_of_another_label_space(tmp_path):
    """Two words for one label: it is a no where both are, unknown where one is."""
    words = {"Blouse": {"is": ["shirt"]}, "Jeans": {"is": ["pants"]}, "Coat": {}, "Dress": {},
             "abstract print": {}, "denim (fabric)": {"is": ["denim"]}, "a-line": {}, "Dress (shape)": {},
             "denim (style)": {"is": ["denim"]}}  # fmt: skip
    space = LabelSpace.from_dict({
        "name": "own", "version": 1, "teach": {"deepfashion": {"words": words}},
        "categories": [{"id": i, "name": n, "supercategory": "x"} for i, n in enumerate(("shirt", "pants"))],
        "groups": [{"name": "cloth", "choice": "many", "labels": [{"id": 0, "name": "denim"}]}],
    })  # fmt: skip
    rows = [(f"img/x/{i}.jpg", 1, [0, a, 0, 0, b], (1, 1, 9, 9), "train")
            for i, (a, b) in enumerate([(-1, -1), (-1, 0), (1, -1), (0, 0)])]  # fmt: skip
    data = DeepFashion(coarse(tmp_path, rows), space)
    assert [data.photo_labels(i).tolist() for i in range(4)] == [[1, 0, 0], [1, 0, -1], [1, 0, 1], [1, 0, -1]]


@pytest.mark.skipif(not REAL.is_dir(), reason="the dataset is not there")
def test_the_real_sample():
    data, space = opened(REAL)
    assert (len(data), data.sides.count("train"), data.sides.count("validation")) == (1900, 1500, 400)
    assert [len(g.labels) for g in space.groups] == [7, 3, 3, 4, 6, 3]
    labels = np.stack([data.photo_labels(i) for i in range(len(data))])
    for group in space.groups:
        assert ((labels[:, space.label_slices[group.name]] == 1).sum(1) == 1).all()
    assert (labels >= 0).all()
    assert dict(zip([x.name for x in space.labels], (labels == 1).sum(0)[1:], strict=True))["floral"] == 238 + 73
    assert said(space, labels[0], 1) == {"garment", "solid", "long_sleeve", "no_dress", "crew_neckline", "cotton",
                                         "conventional"}  # fmt: skip
    assert data[0].photo.ndim == 3
    assert not data.problems
