"""The report of a tiny run: whole by itself, right in its numbers, and written whatever is missing."""

import base64
import io
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY, draw_images
from cyclegan.errors import UsageError
from cyclegan.evaluation.report.report import write_report
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_tensor
from cyclegan.metrics.similarity import psnr, ssim
from cyclegan.system.environment import read_environments, record_environment
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.translation.translator import Direction, Translator

LOADING = {"src", "href", "srcset", "data", "action", "poster", "background"}


class Elements(HTMLParser):
    """All elements of a page, and the addresses they would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.addresses += [value or "" for name, value in attrs if name.split(":")[-1] in LOADING]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return train(configure("paper", data=data, runs=runs, max_steps=4, sample_every=1, **(TINY | {"samples": 2})))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to damage."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def page_of(run: Path) -> str:
    return write_report(run).path.read_text(encoding="utf-8")


def images_of(page: str) -> list[Image.Image]:
    found = re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", page)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]


def use_data(run: Path, data: Path) -> None:
    config = (run / "config.toml").read_text(encoding="utf-8")
    (run / "config.toml").write_text(re.sub(r"^data = .*$", f"data = '{data}'", config, flags=re.M), encoding="utf-8")


def expected_quality(run: Path, data: Path, direction: Direction) -> list[tuple[float, float, float, float]]:
    first, second = ("testA", "testB") if direction == "AtoB" else ("testB", "testA")
    translator, rows = Translator.load(run, direction), []
    for path in sorted((data / first).iterdir()):
        before, truth = (
            read_image(p).resize((32, 32), Image.Resampling.BICUBIC) for p in (path, data / second / path.name)
        )
        a, b, made = to_tensor(before), to_tensor(truth), to_tensor(translator.translate(before))
        rows.append((psnr(made, b), ssim(made, b), psnr(a, b), ssim(a, b)))
    return rows


def test_the_page_needs_nothing_but_itself(run: Path) -> None:
    page = page_of(run)
    elements = Elements(page)
    assert elements.addresses
    assert all(address.startswith(("data:image/", "#")) for address in elements.addresses)
    assert not {"script", "link", "iframe", "object"} & set(elements.tags)
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)
    assert len(elements.ids) == len(set(elements.ids))
    assert len(page) < 3_000_000
    assert elements.tags.count("svg") == 4
    assert "prefers-color-scheme: dark" in page
    assert list(run.glob(".report*")) == []  # what it is written to before it has its name


def test_quality_equals_an_independent_computation(run: Path, data: Path) -> None:
    written = write_report(run)
    page = written.path.read_text(encoding="utf-8").replace("−", "-")
    for sentence, direction, names in zip(
        written.sentences, ("AtoB", "BtoA"), (("red", "blue"), ("blue", "red")), strict=True
    ):
        rows = expected_quality(run, data, direction)  # type: ignore[arg-type]
        made_psnr, made_ssim, plain_psnr, plain_ssim = np.mean(rows, axis=0)
        assert sentence == (
            f"{names[0]} to {names[1]}: PSNR {made_psnr:.1f} dB, SSIM {made_ssim:.2f} against ground truth "
            f"on 3 test images (untranslated input: {plain_psnr:.1f} dB, {plain_ssim:.2f})."
        )
        row = re.search(rf'<th scope="row">{names[0]} → {names[1]}</th>(.*?)</tr>', page)
        assert row is not None
        cells = re.findall(r"<td>(?:<b>)?([^<]*)", row[1])
        assert [cells[i] for i in (0, 1, 3, 4, 5)] == [
            "3", f"{made_psnr:.1f}", f"{plain_psnr:.1f}", f"{made_ssim:.2f}", f"{plain_ssim:.2f}"
        ]  # fmt: skip
        for rank, at in (("Best", max(rows)), ("Worst", min(rows))):
            assert re.search(rf"<b>{rank}</b> · \d+ · {at[0]:.1f} dB, SSIM {at[1]:.2f}", page)
    assert "scaled down to 32 pixels" in page


def test_strips_are_the_cells_of_the_sample_grids(run: Path, data: Path) -> None:
    page = page_of(run)
    strip = re.search(r'<div class="strip">(.*?)</div>', page, flags=re.S)
    assert strip is not None
    assert re.findall(r"<figcaption>(.*?)</figcaption>", strip[1]) == ["input", "step 1", "step 2", "step 3", "step 4"]
    first, *_, last = images_of(strip[1])
    before = read_image(data / "testA" / "00.png").resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(first.convert("RGB")), np.asarray(before))
    after = np.asarray(Translator.load(run).translate(before), dtype=int)
    assert np.abs(np.asarray(last.convert("RGB"), dtype=int) - after).max() <= 1


def test_hostile_names_are_text(run: Path, data: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)<&\"'>{{ 7*7 }}".replace("/", "")
    hostile = Path(shutil.copytree(run, tmp_path / evil))
    folders = []
    for side, tint in (("a", 0), ("b", 2)):
        folders.append(tmp_path / f"<b onclick=x>{side}\" & '")
        draw_images(folders[-1], 2, tint)
    config = (hostile / "config.toml").read_text(encoding="utf-8")
    config = re.sub(r"^data = .*$", "", config, flags=re.M)
    for setting, folder in zip("ab", folders, strict=True):
        config = config.replace(f"# {setting} =", f'{setting} = """{folder}"""')
    (hostile / "config.toml").write_text(config, encoding="utf-8")
    page = page_of(hostile)
    assert "script" not in Elements(page).tags
    assert "<b onclick" not in page
    assert "<script" not in page
    heading = re.search(r"<h1>(.*?)</h1>", page)
    assert heading is not None
    assert unescape(heading[1]) == evil
    assert f"{folders[0].name} → {folders[1].name}" in unescape(page)


def test_without_test_set_training_images_are_shown(run: Path, data: Path, tmp_path: Path) -> None:
    for part in ("trainA", "trainB"):
        shutil.copytree(data / part, tmp_path / "only" / part)
    use_data(run, tmp_path / "only")
    written = write_report(run)
    page = written.path.read_text(encoding="utf-8")
    assert written.sentences == ()
    assert "first training images are shown" in page
    assert "Quality against ground truth" not in page
    assert 'class="gallery"' in page


def test_unpaired_test_sets_and_broken_test_images(run: Path, data: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    (moved / "testA" / "00.png").rename(moved / "testA" / "other.png")
    (moved / "testA" / "01.png").write_bytes(b"broken")
    use_data(run, moved)
    written = write_report(run)
    page = written.path.read_text(encoding="utf-8")
    assert written.sentences == ()
    assert "Quality against ground truth" not in page
    assert ', ground truth"' not in page
    assert len(re.findall(r'alt="[^"]*, input"', page)) == 5


def test_a_broken_pair_does_not_count(run: Path, data: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    (moved / "testB" / "01.png").write_bytes(b"broken")
    use_data(run, moved)
    written = write_report(run)
    assert all("on 2 test images" in sentence for sentence in written.sentences)
    assert "1 of 3 test pairs could not be read" in written.path.read_text(encoding="utf-8")


def test_without_checkpoint(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    written = write_report(run)
    page = written.path.read_text(encoding="utf-8")
    assert written.sentences == ()
    assert page.count("has no checkpoint yet") == 1
    assert 'class="strip"' in page
    assert "<svg" in page


def test_data_that_has_moved(run: Path, tmp_path: Path) -> None:
    use_data(run, tmp_path / "gone")
    written = write_report(run)
    page = written.path.read_text(encoding="utf-8")
    assert written.sentences == ()
    assert page.count("has been moved or deleted") == 1
    assert 'class="strip"' in page


@pytest.mark.parametrize(
    ("metrics", "curves"),
    [
        (b"", 0),
        (b"\xff\xfe\0nonsense,,\n1,2\n", 0),
        (b"step,G_A\n1,0.5\nbroken\n2,nan\n3,\n4,0.25\n5,0.2", 1),
        (b"step,cost\n1,0.5\n2,0.25\n", 1),
        (None, 0),
    ],
)
def test_damaged_metrics_and_samples(run: Path, metrics: bytes | None, curves: int) -> None:
    (run / "metrics.csv").unlink()
    if metrics is not None:
        (run / "metrics.csv").write_bytes(metrics)
    for number, path in enumerate(sorted((run / "samples").iterdir())):
        if number % 2:
            path.write_bytes(b"broken")
        else:
            Image.new("RGB", (50, 50)).save(path)
    page = page_of(run)
    assert Elements(page).tags.count("svg") == curves
    assert 'class="strip"' not in page
    assert "Quality against ground truth" in page


def test_a_folder_that_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        write_report(tmp_path)


def test_the_foot_tells_when_and_with_what_the_run_was_started(run: Path) -> None:
    record_environment(run)
    start = read_environments(run)[-1]
    foot = unescape(write_report(run).path.read_text(encoding="utf-8").rpartition("<footer>")[2])
    for text in (start["date"], start["command"], torch.__version__, start["CPU"]):
        assert text in foot
