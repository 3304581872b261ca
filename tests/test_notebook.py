"""The notebook runs from its first to its last cell, with a shorter budget and fewer images."""

from pathlib import Path

import pytest

from cyclegan.cli.main import run

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


@pytest.mark.processes
@pytest.mark.slow
def test_the_quickstart_trains_measures_translates_and_saves(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    run(["data", "get", "seasons", "-o", str(tmp_path / "data" / "seasons"), "--train", "8", "--test", "4"])
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(cell.cell_type == "markdown" or not cell.outputs for cell in notebook.cells), "saved with outputs"
    [budget] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert budget.source == "MINUTES = 2"
    budget.source = "MINUTES = 0.1"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert "summer to winter: " in text and "winter to summer: " in text
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    assert pictures == 4  # samples of the run in both directions, then input and translation
    assert "README.md', 'config.json', 'model.safetensors'" in text
    assert (tmp_path / "summer2winter" / "model.safetensors").is_file()
