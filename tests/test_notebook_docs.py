"""docs/hemline.ipynb: every cell runs, and what is stored of its outputs is whole, small, and names no machine."""

import json
import re

import pytest

from tests import notebooks

PATHS = re.compile(r"(?<![\w.])/(?:home|root|tmp|usr|opt|var|work|mnt|private|Users)/|\b[A-Z]:\\|file://")


@pytest.fixture(scope="module")
def stored():
    return notebooks.read()


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cell):
    """Everything that its outputs say, without the pictures."""
    texts = []
    for output in cell.outputs:
        texts.append(output.get("text", ""))
        texts += [text for form, text in output.get("data", {}).items() if form.startswith("text/")]
    return re.sub(r"data:image/\w+;base64,[A-Za-z0-9+/=]+", "", "\n".join(texts))


def test_what_is_stored_was_run_in_order_and_failed_nowhere(stored):
    assert [cell.execution_count for cell in code(stored)] == list(range(1, len(code(stored)) + 1))
    kinds = {output.output_type for cell in code(stored) for output in cell.outputs}
    assert kinds == {"stream", "execute_result"}
    assert all(output.name == "stdout" for cell in code(stored) for output in cell.outputs if "name" in output)


def test_what_is_stored_names_no_machine_and_stays_small(stored):
    for cell in code(stored):
        assert not PATHS.search(said(cell)), said(cell)
        assert not re.search("[\x1b\r]| $", said(cell), re.MULTILINE)
    assert notebooks.NOTEBOOK.stat().st_size < 500_000
    metadata = json.loads(notebooks.NOTEBOOK.read_text(encoding="utf-8"))["metadata"]
    assert set(metadata) == {"kernelspec", "language_info"}


def test_links_lead_somewhere(stored):
    words = "".join(cell.source for cell in stored.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", words)
    assert len(links) >= 5
    assert all((notebooks.NOTEBOOK.parent / link).is_file() for link in links)


def test_no_cell_needs_the_shell_of_one_system(stored):
    """A line of `!` is one program and its words, which Windows runs too."""
    for cell in code(stored):
        assert not cell.source.startswith("%%")
        for line in cell.source.splitlines():
            assert not line.startswith("!") or re.fullmatch(r'!hemline( [\w-]+| "[^"$%]+")+', line), line


@pytest.mark.slow
def test_every_cell_runs(stored):
    """And shows the kinds of things that are stored."""
    done = notebooks.run(notebooks.read())
    for before, after in zip(code(stored), code(done), strict=True):
        assert [output.output_type for output in after.outputs] == [output.output_type for output in before.outputs]
    shown = [set(output.data) for cell in code(done) for output in cell.outputs if "data" in output]
    assert sum({"text/html", "text/plain"} <= forms for forms in shown) == 3           # tagger, answer, garment
    assert "4   answered" in "".join(said(cell) for cell in code(done))
