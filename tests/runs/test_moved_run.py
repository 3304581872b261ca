"""A run folder on another machine: its data is not where it was, and only what needs the data asks for it."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from conftest import TINY
from cyclegan import Translator, UsageError, diagnose, evaluate, resume
from cyclegan.cli.main import run as run_command
from cyclegan.metrics import features
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Feature networks are slow and have their own tests."""
    monkeypatch.setattr(features, "load_efficientnet", lambda: None)


@pytest.fixture(scope="module")
def moved(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run whose data has moved: the run, the folder where its data was, and where it is."""
    root = tmp_path_factory.mktemp("moved")
    old, new = root / "old", root / "new"
    shutil.copytree(data, old)
    (old / "names.txt").write_text("rose\nsky\n")
    run = train(configure("paper", data=old, runs=root / "runs", max_steps=2, **(TINY | {"blocks": 6})))
    run = run.rename(root / "elsewhere")
    old.rename(new)
    return run, old, new


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("evaluate {run}", "cyclegan evaluate {run} DATA"),
        ("evaluate {run}/checkpoints/latest", "cyclegan evaluate {run}/checkpoints/latest DATA"),
        ("compare {run} {run}", "--data FOLDER"),
        ("diagnose {run}", "cyclegan diagnose {run} --data FOLDER"),
        ("resume {run} --max-steps 3", "cyclegan resume {run} --data FOLDER"),
        ("export {run}/checkpoints/latest --format safetensors", "--images FOLDER"),
    ],
)
def test_what_needs_the_data_says_where_it_was_and_how_to_say_where_it_is(
    moved: tuple[Path, Path, Path], command: str, option: str
) -> None:
    run, old, _ = moved
    with pytest.raises(UsageError) as raised:
        run_command(command.format(run=run).split())
    given = command.split()[1].format(run=run)
    assert str(raised.value) == (
        f"The data of {given} was in {old}, which does not exist; if it has moved, give its folder: "
        f"{option.format(run=run)}."
    )


def test_what_needs_the_data_takes_its_new_folder(
    moved: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _, new = moved
    run = Path(shutil.copytree(run, tmp_path / "run"))
    assert evaluate(run, new)[0].source == "rose"
    assert diagnose(run, new).summary.startswith("Checked a run of 2 steps")
    run_command(["compare", str(run), str(run), "--data", str(new), "-o", str(tmp_path / "page.html")])
    assert "not significant" in capsys.readouterr().out
    resume(run, data=new, max_steps=3, progress=False)
    assert evaluate(run)[0].step == 3


@pytest.mark.parametrize(
    "words",
    [
        "translate {run} {image} -o {out}/translated",
        "report {run}",
        "export {run} --format safetensors -o {out}/model",
        "export-weights {run} -o {out}/weights",
    ],
)
def test_what_does_not_need_the_data_works_without_it(
    moved: tuple[Path, Path, Path], tmp_path: Path, words: str
) -> None:
    image = tmp_path / "x.png"
    Image.new("RGB", (40, 40)).save(image)
    run_command(words.format(run=moved[0], image=image, out=tmp_path).split())


def test_the_names_of_the_domains_are_in_checkpoints_and_reports(moved: tuple[Path, Path, Path]) -> None:
    run, _, _ = moved
    for source in (run, run / "checkpoints" / "latest"):
        assert Translator.load(source, "BtoA").domains == ("sky", "rose")
    run_command(["report", str(run)])
    assert "Rose to sky" in (run / "report.html").read_text(encoding="utf-8")
