"""Contact sheets: which photos, what is drawn on them, and the file."""

import numpy as np
import pytest
from PIL import Image

from hemline.data.sample import EITHER, UNKNOWN, Region
from hemline.data_commands.sheet import CELL, GAP, _shares, annotated, contact_sheet, save_sheet, things_of
from hemline.draw import PALETTE, PAPER
from hemline.errors import DataError, LabelError, PhotoError
from tests.toy import COAT, COLOURS, SHOE, SPACE, row, said
from tests.wardrobe import Wardrobe, recipe, samples, source


def sheet(*datasets: Wardrobe, **options) -> Image.Image:
    sources = [source(dataset) for dataset in datasets or (Wardrobe(),)]
    return contact_sheet(recipe(*(f"set{i}" for i in range(len(sources)))), SPACE, sources, **options)


def test_things_are_named_coloured_and_ordered_by_size():
    sample = samples()[0]
    coat, shoe = things_of(sample, SPACE)
    assert (coat.name, coat.attributes, coat.categories) == ("coat", ["stripe"], [COAT])
    assert (shoe.name, shoe.attributes) == ("shoe", [])
    assert int(coat.mask.sum()) == 16 * 32
    assert (coat.colour, shoe.colour) == (PALETTE[0], PALETTE[1])


def test_regions_of_the_same_segments_are_one_thing_and_doubt_is_not_shown():
    sample = samples()[0]
    sample.regions.append(Region((1,), said(winter=1), doubt=0.1))
    sample.regions.append(Region((1,), said(dot=1)))
    coat, _ = things_of(sample, SPACE)
    assert coat.attributes == ["stripe", "dot"]


def test_one_of_several_names_them_all():
    sample = samples()[3]
    either = np.zeros(6, bool)
    either[[COAT, SHOE]] = True
    sample.regions[1] = Region((1,), said(), (either,))
    (thing,) = things_of(sample, SPACE)
    assert (thing.name, thing.categories) == ("coat or shoe", [])


def test_masks_are_drawn_where_they_are():
    sample = samples()[1]
    picture = np.asarray(annotated(sample, things_of(sample, SPACE), (320, 320), numbers=False)).astype(int)
    above, inside = picture[20:60, 100:200], picture[120:200, 100:200]
    assert (above == (0, 0, 1)).all()
    expected = np.array(COLOURS[COAT]) * 0.76 + np.array(PALETTE[0]) * 0.24
    assert abs(inside - expected).max() < 3
    edge = picture[76:84, 100:200]
    assert abs(edge - expected).max() > 60                  # an outline runs between them


def test_the_unknown_is_hatched_where_something_is_drawn():
    sample = samples()[0]
    sample.targets[2] = row()
    sample.targets[2, [COAT, SHOE]] = EITHER
    sample.regions.pop()
    plain = np.asarray(annotated(samples()[0], [], (320, 320), numbers=False))
    hatched = np.asarray(annotated(sample, [], (320, 320), numbers=False))
    assert (plain[:230] == hatched[:230]).all()
    below = hatched[245:]
    assert (below == 235).all(-1).any()
    assert (below != plain[245:]).any(-1).all()
    bare = samples()[2]
    assert (bare.targets == UNKNOWN).all()
    assert (np.asarray(annotated(bare, [], (320, 640), numbers=False))[..., :2] == 0).all()


def test_the_sheet_holds_as_many_cells_as_photos():
    whole, two = sheet(), sheet(photos=2)
    assert whole.size != two.size
    assert (whole.width - GAP) % (CELL + GAP) == 0
    assert two.width == 2 * (CELL + GAP) + GAP
    assert two.getpixel((2, 2)) == PAPER
    assert (np.asarray(sheet(photos=2, seed=0)) == np.asarray(two)).all()


def test_many_garments_are_named_up_to_a_number(monkeypatch):
    whole = sheet(label="winter")
    monkeypatch.setattr("hemline.data_commands.sheet.MOST_LINES", 1)
    cut = sheet(label="winter")
    assert cut.size != whole.size
    assert cut.height > 450                                 # the photo is as large as before


def test_only_photos_with_the_label_and_of_the_side():
    tinted = [int(a * 0.76 + b * 0.24) for a, b in zip(COLOURS[COAT], PALETTE[0], strict=True)]
    assert (np.asarray(sheet(label="coat")) == tinted).all(-1).any()
    assert not (np.asarray(sheet(split="test")) == tinted).all(-1).any()
    one = sheet(label="shoe", split="train")
    assert one.size == sheet(label="winter").size           # photo 0, both times
    assert (np.asarray(one)[100:] == np.asarray(sheet(label="winter"))[100:]).all()


def test_sets_share_the_sheet_evenly():
    assert _shares([10, 10, 10], 5) == [2, 2, 1]
    assert _shares([1, 10], 6) == [1, 5]
    assert _shares([2, 1], 9) == [2, 1]
    assert _shares([0, 0], 9) == [0, 0]


def test_what_is_not_there_is_said():
    with pytest.raises(DataError, match="set0: no photo that shows 'cape' on the side 'all'"):
        sheet(label="cape")
    with pytest.raises(LabelError, match="did you mean coat"):
        sheet(label="coats")
    with pytest.raises(PhotoError, match="photo 1 is damaged"):
        sheet(Wardrobe(damaged=(1,)))


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.PNG", "sheet.webp"])
def test_the_file_is_a_picture(tmp_path, name):
    made = sheet(photos=1)
    save_sheet(made, tmp_path / name)
    with Image.open(tmp_path / name) as opened:
        assert opened.size == made.size
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"sheet\.gif: a contact sheet is written as \.jpg"):
        save_sheet(Image.new("RGB", (9, 9)), tmp_path / "sheet.gif")
    with pytest.raises(DataError, match="no folder"):
        save_sheet(Image.new("RGB", (9, 9)), tmp_path / "no" / "sheet.jpg")
    with pytest.raises(DataError, match="ask for fewer photos"):
        save_sheet(Image.new("RGB", (9, 20000)), tmp_path / "sheet.jpg")
