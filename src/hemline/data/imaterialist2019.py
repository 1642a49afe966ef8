"""iMaterialist (Fashion) 2019, FGVC6: photos with a mask and a category for every garment and part, some attributes.

Layout, as Kaggle ships it (https://www.kaggle.com/c/imaterialist-fashion-2019-FGVC6, under the competition's rules):

    train.csv                    ImageId, EncodedPixels, Height, Width, ClassId: a row a garment
    label_descriptions.json      names of the ids; where it is missing, the publisher's are taken
    train/00000663....jpg        ImageId keeps its `.jpg`

`ClassId` is a category's id, then attributes' ids, as in "13_5_20"; few garments have attributes. `EncodedPixels` are
as in 2020 (`hemline.data.imaterialist2020`). Its words are among those of Fashionpedia, so a label space that teaches
`fashionpedia` teaches these, unless it has a block `imaterialist2019`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hemline.borders import borders_of_text
from hemline.data._kaggle_csv import Form, open_csv, source_of, space_of_csv
from hemline.data.instances import InstanceSet
from hemline.data.problems import Damaged
from hemline.labels import LabelSpace


class IMaterialist2019(InstanceSet):
    """The photos that `train.csv` has a row of.

    Args:
        path: The folder, as Kaggle ships it.
        space: The label space to speak in.
        damaged: What is done with rows that cannot be used.

    Raises:
        DataError: the folder is not laid out as published, or rows cannot be used.
        LabelError: the label space does not know the words.
    """

    terms = "Kaggle's rules of imaterialist-fashion-2019-FGVC6"

    def __init__(self, path: Path, space: LabelSpace, *, damaged: Damaged = "refuse") -> None:
        index = open_csv(path, FORM)
        super().__init__(FORM.name, source_of(FORM, space), path, space, index, borders_of_text, damaged=damaged)

    @staticmethod
    def label_space(path: Path, *, damaged: Damaged = "refuse") -> LabelSpace:
        """The label space `imaterialist2019`, each attribute carried by the categories that the data draw it on.

        Raises:
            DataError: the folder is not laid out as published.
        """
        return space_of_csv(path, FORM)


def _ids(cells: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    category, *attributes = cells[0].split(b"_")
    return category, attributes


FORM = Form("imaterialist2019", "imaterialist2019", ("ClassId",), _ids)
