"""iMaterialist (Fashion) 2020, FGVC7: photos with a mask, a category and attributes for every garment and part.

Layout, as Kaggle ships it (https://www.kaggle.com/c/imaterialist-fashion-2020-fgvc7, under the competition's rules):

    train.csv                    ImageId, EncodedPixels, Height, Width, ClassId, AttributesIds: a row a garment
    label_descriptions.json      names of the ids; where it is missing, the publisher's are taken
    train/0000fe7c....jpg        ImageId has no `.jpg`

`ClassId` is a category's id, `AttributesIds` attributes' ids as in "2,10,55", or empty. `EncodedPixels` are "start
length" pairs, counted from 1, down the columns, on a photo of Height x Width. The words are those of Fashionpedia, so
a label space that teaches `fashionpedia` teaches these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hemline.borders import borders_of_text
from hemline.data._kaggle_csv import EMPTY, Form, open_csv, source_of, space_of_csv
from hemline.data.instances import InstanceSet
from hemline.data.problems import Damaged
from hemline.labels import LabelSpace


class IMaterialist2020(InstanceSet):
    """The photos that `train.csv` has a row of.

    Args:
        path: The folder, as Kaggle ships it.
        space: The label space to speak in.
        damaged: What is done with rows that cannot be used.

    Raises:
        DataError: the folder is not laid out as published, or rows cannot be used.
        LabelError: the label space does not know the words.
    """

    terms = "Kaggle's rules of imaterialist-fashion-2020-fgvc7"

    def __init__(self, path: Path, space: LabelSpace, *, damaged: Damaged = "refuse") -> None:
        index = open_csv(path, FORM)
        super().__init__(FORM.name, source_of(FORM, space), path, space, index, borders_of_text, damaged=damaged)

    @staticmethod
    def label_space(path: Path, *, damaged: Damaged = "refuse") -> LabelSpace:
        """The label space `fashionpedia`, each attribute carried by the categories that the data draw it on.

        Raises:
            DataError: the folder is not laid out as published.
        """
        return space_of_csv(path, FORM)


def _ids(cells: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    return cells[0], [] if cells[1] in EMPTY else cells[1].split(b",")


FORM = Form("imaterialist2020", "fashionpedia", ("ClassId", "AttributesIds"), _ids)
