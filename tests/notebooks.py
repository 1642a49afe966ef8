"""Runs docs/hemline.ipynb from its first cell to its last: `python -m tests.notebooks` also stores what it shows."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "hemline.ipynb"
ENDS_AFTER = 180
"""Seconds that one cell may take."""


def run(notebook: Any) -> Any:
    """The notebook with new outputs, from a new kernel in an empty folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=ENDS_AFTER,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        return client.execute(env=os.environ | {"IPYTHONDIR": folder, "COLUMNS": "110", "NO_COLOR": "1"})


def read() -> Any:
    """The notebook as it is stored."""
    return nbformat.read(NOTEBOOK, as_version=4)


def main() -> None:
    """Run the notebook and store it.

    Of several forms of one output that which pages take first is kept; lines end as they do in a file, without spaces.
    """
    done = run(read())
    for output in (output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs):
        if output.output_type == "stream":
            output.text = "".join(f"{line.rstrip()}\n" for line in output.text.splitlines())
        forms = [form for form in ("text/html", "image/png", "image/jpeg") if form in output.get("data", {})]
        for form in forms[1:]:
            del output.data[form]
    done.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    }
    nbformat.write(done, NOTEBOOK)


if __name__ == "__main__":
    main()
