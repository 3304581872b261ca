"""`cyclegan data check` finds planted problems and nothing else, and survives any file."""

import json
import os
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from rich.console import Console

import cyclegan
from conftest import TINY, draw_images, flags
from cyclegan.cli.check_console import print_check
from cyclegan.cli.main import run as run_command
from cyclegan.data.check import inspect
from cyclegan.data.check.check import Check, check_data, contact_sheet, escape_unprintable, fast_check
from cyclegan.data.check.findings import Finding
from cyclegan.data.check.inspect import find_bars, inspect_image, inspect_images
from cyclegan.data.get import seasons
from cyclegan.data.layouts import find_domains, find_images
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import read_header, read_image
from cyclegan.imaging.perceptual_hash import connected_groups, nearest, perceptual_hashes
from cyclegan.imaging.source import Half, UnreadableImage
from cyclegan.training.setup import configure
from cyclegan.translation import files
from cyclegan.translation.translator import Translator
from odd_files import write_odd_files


def check(root: Path, **settings: Any) -> Check:
    config = configure("paper", **({"data": root, "load_size": 72, "crop_size": 64} | settings))
    return check_data(config, workers=0)


def found(check: Check, kind: str) -> Finding | None:
    return next((finding for finding in check.findings if finding.kind == kind), None)


def files_of(finding: Finding | None) -> set[tuple[str, ...]]:
    return {tuple(path.name for path in item.files) for item in finding.items} if finding else set()


@pytest.fixture(scope="module")
def landscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good data set: 150 summers, 150 other winters, and 10 test scenes in both."""
    root = tmp_path_factory.mktemp("landscapes") / "seasons"
    seasons.write_seasons(root, size=64, train=150, test=10)
    return root


@pytest.fixture
def copy(landscapes: Path, tmp_path: Path) -> Path:
    """A copy to modify."""
    return Path(shutil.copytree(landscapes, tmp_path / "data"))


def test_a_folder_is_checked_as_its_configuration_is(landscapes: Path) -> None:
    config = configure("paper", data=landscapes)
    by_folder, by_config = (cyclegan.check_data(data, workers=0) for data in (str(landscapes), config))
    assert by_folder.as_json() == by_config.as_json()
    assert by_folder.command == by_config.command == f"cyclegan train {landscapes}"
    folders = configure("paper", a=landscapes / "trainA", b=landscapes / "trainB")
    command = f"cyclegan train --a {landscapes / 'trainA'} --b {landscapes / 'trainB'}"
    assert cyclegan.check_data(folders, workers=0).command == command


def test_good_data_has_no_findings(landscapes: Path) -> None:
    checked = check(landscapes)
    assert checked.findings == ()
    assert checked.level == "fine"
    assert checked.command == f"cyclegan train {landscapes}"
    assert "An epoch has 150 steps; training takes 30,000 steps (200 epochs)." in checked.forecast


def test_long_names_do_not_cut_the_figures_of_a_narrow_table(landscapes: Path, tmp_path: Path) -> None:
    shutil.copytree(landscapes, tmp_path / "data")
    (tmp_path / "data" / "names.txt").write_text("a" * 40 + "\n" + "b" * 40)
    screen = Console(width=80, file=StringIO())
    print_check(check(tmp_path / "data"), screen)
    assert isinstance(screen.file, StringIO)
    text = screen.file.getvalue()
    assert "…" not in text
    assert text.count("b") > 80
    assert max(map(len, text.split("warning")[0].split("found")[0].splitlines())) <= 80


def test_the_forecast_has_the_budget_that_applies(landscapes: Path) -> None:
    settings = {"data": landscapes, "device": "cpu"}
    budgets = (("paper", {"max_steps": 75}), ("paper", {"max_minutes": 5, "load_size": 256}), ("auto", {}))
    steps, minutes, auto = (
        cyclegan.check_data(configure(preset, **settings, **budget), workers=0).forecast for preset, budget in budgets
    )
    assert steps[0] == "Images are resized to 286x286 and randomly cropped to 256x256, half of them mirrored."
    assert minutes[0] == "Images are resized to 256x256, half of them mirrored."
    assert steps[1] == "An epoch has 150 steps; training takes 75 steps (0.5 epochs)."
    ends = "minutes (--max-minutes) or 30,000 steps (200 epochs), whichever comes first."
    assert minutes[1] == f"An epoch has 150 steps; training takes 5 {ends}"
    assert auto[1] == f"An epoch has 150 steps; training takes 60 {ends}"


# The same folder of odd files for check, training and translation.


@pytest.fixture(scope="module")
def odd_data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[Path], set[Path]]:
    root = tmp_path_factory.mktemp("odd") / "data"
    broken, fine = write_odd_files(root / "trainA")
    draw_images(root / "trainB", 4, 2)
    assert len(broken) + len(fine) >= 60
    return root, broken, fine


def test_reading_rejects_the_broken_odd_files_only(odd_data: tuple[Path, set[Path], set[Path]]) -> None:
    root, broken, fine = odd_data
    for path in broken:
        with pytest.raises(UnreadableImage):
            read_image(path)
    assert {read_image(path).mode for path in fine} == {"RGB"}
    assert set(find_images(root / "trainA")) == broken | fine


def test_check_names_every_broken_file(odd_data: tuple[Path, set[Path], set[Path]]) -> None:
    root, broken, _ = odd_data
    checked = check(root)
    unreadable = found(checked, "unreadable")
    assert unreadable is not None and unreadable.level == "error"  # most of them
    assert {item.files[0] for item in unreadable.items} == broken
    assert all(str(item.files[0]) in item.text for item in unreadable.items)
    assert files_of(found(checked, "wrong suffix")) == {
        (name,) for name in ("really-png.jpg", "really-jpeg.png", "really-webp.bmp", "really-gif.png", "moving-gif.png")
    }
    assert files_of(found(checked, "multiple images")) == {
        (name,) for name in ("moving-gif.png", "moving.webp", "moving.png", "pages.tif")
    }
    assert files_of(found(checked, "cmyk")) == {("print.jpg",), ("print.tif",)}
    assert files_of(found(checked, "deep")) == {("deep.png",), ("deep.tif",), ("floats-in-range.tif",)}
    assert files_of(found(checked, "transparent")) == {("alpha.png",), ("alpha.webp",), ("gray-alpha.png",)}
    assert files_of(found(checked, "unprintable names")) == {("two\nlines.png",), (os.fsdecode(b"latin-\xe9\xff.png"),)}
    links = found(checked, "links")
    assert links is not None and len(links.items) >= 3


def test_check_prints_odd_names(
    odd_data: tuple[Path, set[Path], set[Path]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, broken, _ = odd_data
    words = [str(root), "--preset", "paper", "--sheet", str(tmp_path / "sheet.png")]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit):
            run_command(["data", "check", *words, *more])
    out = capfd.readouterr().out
    assert r"two\nlines.png" in out and r"latin-\xe9\xff.png" in out
    assert f"and {len(broken) - 20} more (--json lists all)" in out
    plain = json.loads(out[out.index("\n{") :])
    named = next(finding for finding in plain["findings"] if finding["kind"] == "unreadable")
    assert {Path(item["files"][0]) for item in named["items"]} == broken


def test_training_and_translation_skip_unreadable_files(
    odd_data: tuple[Path, set[Path], set[Path]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, broken, fine = odd_data
    count = len(broken) + len(fine)
    settings = TINY | {"batch_size": 8, "max_steps": -(-count // 8), "runs": tmp_path}
    run_command(["train", str(root), "--preset", "paper", *flags(**settings)])
    message = capfd.readouterr().err
    assert (f"Data: {count} images of A (train) (1x1 to 48x40) and 4 images of B (train) (40x40)") in message
    for path in broken:
        assert path.name.encode(errors="replace").decode() in message
    assert f"{len(broken)} unreadable images were left out." in message
    jobs = files.plan(files.find([root / "trainA"]), tmp_path / "out")
    problems = list(files.translate(Translator.load(tmp_path / "data"), jobs))
    assert {job.source for job, problem in zip(jobs, problems, strict=True) if problem} == broken
    for job, problem in zip(jobs, problems, strict=True):
        if problem is None:
            assert read_header(job.target).size == read_header(job.source).size


def test_unreadable_files_and_folders_are_reported(copy: Path) -> None:
    file, folder = copy / "trainA" / "0000003.png", copy / "trainA" / "deep"
    folder.mkdir()
    file.chmod(0)
    folder.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    checked = check(copy)
    folder.chmod(0o700)
    assert files_of(found(checked, "unreadable")) == {(file.name,)}
    assert files_of(found(checked, "unreadable folders")) == {(folder.name,)}


@pytest.mark.parametrize("name", ["plain.jpg", "progressive.jpg"])
def test_reduced_jpeg_decoding_reports_the_same_damage_as_full_decoding(tmp_path: Path, name: str) -> None:
    big = Image.effect_noise((400, 300), 60).convert("RGB")
    big.save(tmp_path / name, quality=80, progressive=name.startswith("p"))
    content = (tmp_path / name).read_bytes()
    assert min(read_image(tmp_path / name, min_side=64).size) == 75
    verdicts = []
    for end in range(2, len(content) + 1, len(content) // 40):
        (tmp_path / name).write_bytes(content[:end])
        message = []
        for at_least in (None, 64):
            try:
                message.append(str(read_image(tmp_path / name, min_side=at_least).mode))
            except UnreadableImage as error:
                message.append(str(error))
        assert message[0] == message[1]
        verdicts.append(message[0])
    assert len(set(verdicts)) > 1


# Planted problems are found, and nothing else.


VARIANTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half.png": lambda image: image.resize((32, 32), Image.Resampling.BICUBIC),
    "enlarged.png": lambda image: image.resize((150, 150), Image.Resampling.LANCZOS),
    "brighter.png": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "flatter.png": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "compressed.jpg": lambda image: image,
    "all.jpg": lambda image: ImageEnhance.Brightness(image.resize((50, 50))).enhance(1.1),
}


def test_duplicates_within_a_domain_are_found(copy: Path) -> None:
    originals = sorted((copy / "trainB").iterdir())
    shutil.copy(originals[0], copy / "trainB" / "copy.png")
    expected = set()
    for number, (name, change) in enumerate(VARIANTS.items(), 10):
        change(Image.open(originals[number])).save(copy / "trainB" / name, quality=40)
        expected.add((originals[number].name, name))
    checked = check(copy)
    assert files_of(found(checked, "duplicates")) == {(originals[0].name, "copy.png")}
    assert files_of(found(checked, "near duplicates")) == expected
    assert {finding.kind for finding in checked.findings} == {"duplicates", "near duplicates", "small"}


def test_test_images_among_training_images_are_found(copy: Path) -> None:
    shutil.copy(copy / "trainA" / "0000007.png", copy / "testA" / "leak.png")
    Image.open(copy / "trainB" / "0000201.png").save(copy / "testB" / "other.jpg", quality=50)
    leaks = found(check(copy), "leaks")
    assert files_of(leaks) == {("leak.png", "0000007.png"), ("other.jpg", "0000201.png")}
    assert leaks is not None and leaks.level == "warning"
    assert leaks.text.startswith(
        "1 of 11 images of summer (test) and 1 of 11 images of winter (test) are also training images"
    )


def copied(root: Path, change: Callable[[Image.Image], Image.Image]) -> Path:
    """A data set whose B is a modified copy of A."""
    (root / "trainA").mkdir(parents=True)
    (root / "trainB").mkdir()
    for seed in range(24):
        image = seasons.draw_scene(seed, "summer", 64)
        image.save(root / "trainA" / f"{seed}.png")
        change(image).save(root / "trainB" / f"{seed}.jpg", quality=80)
    return root


def test_domains_that_are_copies_are_an_error(tmp_path: Path) -> None:
    checked = check(copied(tmp_path / "same", lambda image: image.resize((80, 80))))
    equal = found(checked, "equal domains")
    assert checked.level == "error"
    assert equal is not None and len(equal.items) == 24
    assert found(checked, "recolored domains") is None
    with pytest.raises(SystemExit) as end:
        run_command(["data", "check", str(tmp_path / "same"), "--preset", "small", "--json"])
    assert end.value.code == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image.convert("L"), "in gray in B (train)"),
        (lambda image: Image.merge("RGB", image.split()[::-1]), "in other colors"),
    ],
)
def test_domains_of_the_same_scenes_are_pairs(
    tmp_path: Path, change: Callable[[Image.Image], Image.Image], message: str
) -> None:
    checked = check(copied(tmp_path / "d", change))
    pairs = found(checked, "recolored domains")
    assert pairs is not None and message in pairs.text and len(pairs.items) >= 20
    assert "pix2pix" in pairs.advice
    assert checked.level == "warning"  # for being few


def test_an_image_in_both_domains_is_found(copy: Path) -> None:
    shutil.copy(copy / "trainA" / "0000009.png", copy / "trainB" / "stray.png")
    stray = found(check(copy), "in both domains")
    assert stray is not None and stray.level == "warning"
    assert [path.name for path in stray.items[0].files] in (["0000009.png", "stray.png"], ["stray.png", "0000009.png"])


@pytest.mark.parametrize(
    ("border", "quality"), [((0, 8), 75), ((12, 0), 90), ((6, 6), 95)], ids=["letterbox", "pillarbox", "frame"]
)
def test_bars_at_the_edges_are_found(copy: Path, border: tuple[int, int], quality: int) -> None:
    originals = sorted((copy / "trainA").iterdir())[:20]
    for path in originals:
        boxed = ImageOps.expand(Image.open(path), border, "black")
        path.unlink()
        boxed.save(path.with_suffix(".jpg"), quality=quality)
    bars = found(check(copy), "bars")
    assert bars is not None and bars.level == "warning"
    assert files_of(bars) == {(path.with_suffix(".jpg").name,) for path in originals}


def test_bars_are_measured() -> None:
    photo = np.full((100, 80), 20.0, np.float32)
    photo[10:95, :] = np.random.default_rng(0).uniform(60, 255, (85, 80))
    assert find_bars(photo) == (0, 10, 0, 5)
    assert find_bars(photo.T) == (10, 0, 5, 0)
    framed = np.pad(photo[10:95], ((7, 7), (4, 6)), constant_values=255.0)
    assert find_bars(framed) == (4, 7, 6, 7)
    assert find_bars(np.full((9, 9), 3.0, np.float32)) == (0, 0, 0, 0)
    assert find_bars(np.zeros((1, 1), np.float32)) == (0, 0, 0, 0)


def test_plain_backgrounds_and_skies_are_not_bars() -> None:
    thing = np.full((90, 90), 250.0, np.float32)
    y, x = np.ogrid[-45:45, -45:45]
    thing[(y / 20) ** 2 + (x / 35) ** 2 < 1] = 90
    assert find_bars(thing) == (0, 0, 0, 0)
    sky = np.linspace(100, 200, 90, dtype=np.float32)[:, None].repeat(90, 1)
    assert find_bars(sky) == (0, 0, 0, 0)
    one_bar = np.random.default_rng(0).uniform(0, 255, (90, 90)).astype(np.float32)
    one_bar[:20] = 0
    assert find_bars(one_bar) == (0, 0, 0, 0)


def test_empty_faint_and_gray_images_are_found(copy: Path) -> None:
    Image.new("RGB", (64, 64), "navy").save(copy / "trainA" / "navy.png")
    values = np.random.default_rng(0).integers(100, 112, (64, 64, 1), dtype=np.uint8)
    Image.fromarray(values.repeat(3, 2) * np.array([1, 2, 1], np.uint8)).save(copy / "trainA" / "faint.png")
    seasons.draw_scene(999, "summer", 64).convert("L").save(copy / "trainA" / "gray.png")
    checked = check(copy)
    assert files_of(found(checked, "one color")) == {("navy.png",)}
    assert files_of(found(checked, "low contrast")) == {("faint.png",)}
    assert files_of(found(checked, "gray among color")) == {("gray.png",)}


def test_small_uneven_and_oblong_data_is_reported(tmp_path: Path) -> None:
    draw_images(tmp_path / "trainA", 44, 0, size=40)
    draw_images(tmp_path / "trainB", 4, 2, size=700)
    for path in (tmp_path / "trainB").iterdir():
        Image.open(path).crop((0, 0, 700, 400)).save(path)
    checked = check(tmp_path)
    texts = {finding.kind: f"{finding.level}: {finding.text} {finding.advice}" for finding in checked.findings}
    assert texts["few images"].startswith("warning: There are few images, 44 in A (train) and 4 in B (train)")
    assert texts["imbalance"].startswith("warning: A (train) has 11 times as many images as B (train)")
    assert texts["small"].startswith("warning: 44 of 44 images of A (train) are smaller than the crop of 64 pixels")
    assert "--crop-size 32" in texts["small"]
    assert texts["large"].startswith("note: Images of B (train) have 400 pixels")
    assert texts["squeezed"].startswith("note: Most images of B (train) are not square")
    assert "no test" in texts
    assert checked.command.endswith("--preprocess scale_shortside_and_crop --augment diffaugment")
    assert [finding.level for finding in checked.findings] == sorted(
        (finding.level for finding in checked.findings), key=["error", "warning", "note"].index
    )
    part = checked.as_json()["parts"][1]
    assert (part["images"], part["median"], part["aspect_ratio"]) == (4, (700, 400), 1.75)


def test_different_sizes_in_one_batch_are_an_error(tmp_path: Path) -> None:
    draw_images(tmp_path / "trainA", 3, 0, size=40)
    draw_images(tmp_path / "trainB", 3, 2, size=44)
    sizes = found(check(tmp_path, preprocess="none", batch_size=2), "sizes")
    assert sizes is not None and sizes.level == "error"
    assert found(check(tmp_path, preprocess="none"), "sizes") is None


def test_two_gray_domains_are_trained_with_one_channel(tmp_path: Path) -> None:
    for domain, seeds in (("A", range(4)), ("B", range(10, 14))):
        (tmp_path / f"train{domain}").mkdir()
        for seed in seeds:
            seasons.draw_scene(seed, "summer", 64).convert("L").save(tmp_path / f"train{domain}" / f"{seed}.png")
    assert check(tmp_path).command.endswith("--augment diffaugment --channels-a 1 --channels-b 1")


def test_a_domain_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    draw_images(tmp_path / "trainA", 3, 0)
    (tmp_path / "trainB").mkdir()
    (tmp_path / "trainB" / "text.jpg").write_text("hello")
    checked = check(tmp_path)
    assert checked.level == "error" and checked.findings[0].kind == "unreadable"
    assert contact_sheet(checked.parts).width > 600


def test_a_broken_data_set_of_copies_is_an_error_for_both_reasons(tmp_path: Path) -> None:
    for domain in "AB":
        draw_images(tmp_path / f"train{domain}", 3, 0)
        for number in range(5):
            (tmp_path / f"train{domain}" / f"damaged{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    checked = check(tmp_path)
    kinds = {finding.kind: finding.level for finding in checked.findings}
    assert kinds["unreadable"] == kinds["equal domains"] == checked.level == "error"
    with pytest.raises(SystemExit) as end:
        run_command(["data", "check", str(tmp_path), "--json"])
    assert end.value.code == 1


def test_files_of_other_kinds_are_named(copy: Path) -> None:
    for name in ("a.gif", "b.PSD", "notes.txt", ".hidden.gif"):
        (copy / "trainA" / name).write_bytes(b"")
    other = found(check(copy), "other files")
    assert other is not None and other.level == "warning"
    assert files_of(other) == {("a.gif",), ("b.PSD",), ("notes.txt",)}
    assert "Convert .gif, .psd" in other.advice


def test_a_link_to_the_parent_folder_adds_no_images(copy: Path) -> None:
    (copy / "trainA" / "up").symlink_to(copy)
    assert len(find_domains(copy).train.a) == 150
    assert files_of(found(check(copy), "links")) == {("up",)}


def test_side_by_side_pairs_are_checked_by_half(tmp_path: Path) -> None:
    for seed in range(3):
        both = Image.new("RGB", (128, 64))
        both.paste(seasons.draw_scene(seed, "summer", 64), (0, 0))
        both.paste(seasons.draw_scene(seed, "winter", 64), (64, 0))
        both.save(tmp_path / f"{seed}.png")
    config = configure("paper", data=tmp_path, method="pix2pix", load_size=72, crop_size=64)
    checked = check_data(config, workers=0)
    assert [(part.name, part.total, part.stats[0].size) for part in checked.parts] == [
        ("A (train)", 3, (64, 64)),
        ("B (train)", 3, (64, 64)),
    ]
    assert {finding.kind for finding in checked.findings} == {"few images", "no test"}
    assert (
        inspect_image(Half(tmp_path / "0.png", "left")).digest
        != inspect_image(Half(tmp_path / "0.png", "right")).digest
    )


# Building blocks.


def test_nearest_agrees_with_a_brute_force_search() -> None:
    thumbs = list(np.random.default_rng(0).integers(0, 256, (1500, 16, 16, 3), dtype=np.uint8))
    thumbs[7], thumbs[1200] = np.zeros_like(thumbs[7]), thumbs[3]
    hashes = perceptual_hashes(thumbs)
    gray = np.stack(thumbs).astype(float) @ [0.299, 0.587, 0.114]
    plain = gray.copy()
    for y in range(0, 16, 4):
        for x in range(0, 16, 4):
            plain[:, y : y + 4, x : x + 4] -= gray[:, y : y + 4, x : x + 4].mean((1, 2), keepdims=True)
    plain = plain.reshape(1500, -1)
    plain /= np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-9)
    assert np.allclose(hashes, plain, atol=1e-5)
    product = plain @ plain.T
    np.fill_diagonal(product, 0)
    best, similarity = nearest(hashes)
    assert np.allclose(similarity, product.max(1), atol=1e-5)
    assert (best[3], best[1200], similarity[7]) == (1200, 3, 0)
    best, similarity = nearest(hashes[:5], hashes[5:])
    assert np.allclose(similarity, product[:5, 5:].max(1), atol=1e-5)
    assert nearest(hashes[:1])[1].tolist() == nearest(hashes[:1], hashes[:0])[1].tolist() == [0]


def test_links_form_connected_groups() -> None:
    assert connected_groups([(5, 3), (1, 2), (3, 9), (8, 8)]) == [[1, 2], [3, 5, 9], [8]]
    assert connected_groups([]) == []


def test_worker_processes_return_the_same_statistics(landscapes: Path) -> None:
    sources = find_images(landscapes / "trainA")[:70]
    for one, other in zip(inspect_images(sources, 0), inspect_images(sources, 2), strict=True):
        assert (one.source, one.digest, one.contrast) == (other.source, other.digest, other.contrast)
        assert np.array_equal(one.thumb, other.thumb)


def test_a_dead_worker_process_is_an_error(landscapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "read_header", lambda source: os._exit(9))  # in the children, which are forks
    with pytest.raises(UsageError, match="--workers is -1"):
        list(inspect_images([], -1))
    with pytest.raises(CycleGANError, match="died"):
        list(inspect_images(find_images(landscapes / "trainA"), 2))


def test_the_contact_sheet_shows_both_domains(landscapes: Path) -> None:
    sheet = np.asarray(contact_sheet(check(landscapes).parts)).astype(int)
    summer, winter = (half[80:] for half in np.split(sheet, 2, axis=1))
    green = [int(((half[..., 1] - half[..., 2]) > 30).sum()) for half in (summer, winter)]
    assert green[0] > 10 * green[1]


def test_masks_and_pairs_are_checked_and_offered(tmp_path: Path) -> None:
    root = tmp_path / "data"
    seasons.write_seasons(root, size=32, train=4, test=1, maps=True)
    checked = check(root)
    note = found(checked, "masks")
    assert note is not None
    assert "--masks loss" in note.advice
    assert found(checked, "pairs") is None
    assert found(checked, "mask sizes") is None
    Image.new("L", (16, 32), 255).save(root / "maskA" / "0000001.png")
    (root / "testmaskB" / "1000000.png").unlink()
    for number in range(3):  # names that occur in A as well
        for folder in ("trainB", "maskB"):
            (root / folder / f"000000{4 + number}.png").rename(root / folder / f"000000{number}.png")
    checked = cyclegan.check_data(configure("paper", data=root, masks="loss"), workers=0)
    assert files_of(found(checked, "mask sizes")) == files_of(found(checked, "plain masks")) == {("0000001.png",)}
    missing = found(checked, "masks missing")
    assert missing is not None
    assert missing.level == "error"
    assert "1000000.png has no mask" in missing.text
    few = found(checked, "a few pairs")
    assert few is not None
    assert few.text.startswith("3 images of each domain have equal names")
    wrong = found(cyclegan.check_data(configure("paper", data=root, pairs=root), workers=0), "pairs")
    assert wrong is not None
    assert "has no partner" in wrong.text


def test_unprintable_characters_are_escaped() -> None:
    assert escape_unprintable("a\nb" + os.fsdecode(b"\xff") + "é\U0001f984") == "a\\nb\\xffé\U0001f984"


# The lines that `train` prints first.


def test_training_starts_with_at_most_three_lines_about_the_data(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "trainA", 3, 0)
    draw_images(tmp_path / "trainB", 40, 2)
    (tmp_path / "trainA" / "text.jpg").write_text("hello")
    config = configure("paper", data=tmp_path, **{"load_size": 36, "crop_size": 32})
    lines = fast_check(config, find_domains(tmp_path))
    assert lines[0] == "Data: 4 images of A (train) (40x40) and 40 images of B (train) (40x40)."
    assert lines[1].startswith("Warning: 1 of 4 images of A (train) cannot be read.")
    assert lines[2].startswith("Warning: ") and lines[2].endswith("(1 more: see `cyclegan data check`.)")
    assert len(lines) == 3


def test_the_fast_check_reads_only_a_sample(tmp_path: Path) -> None:
    for domain in "AB":
        draw_images(tmp_path / f"train{domain}", 1, 0)
        for number in range(6000):
            os.link(tmp_path / f"train{domain}" / "00.png", tmp_path / f"train{domain}" / f"x{number}.png")
    domains = find_domains(tmp_path)
    lines = fast_check(configure("paper", data=tmp_path), domains)
    assert lines[0].startswith("Data: 6001 images of A (train)")
    assert " inspected images of A (train)" in lines[1]


def test_the_method_that_fits_is_named(landscapes: Path, copy: Path, tmp_path: Path) -> None:
    assert check(landscapes).method == "--method cyclegan; --method dcl where shapes have to change."
    for number in range(150):
        (copy / "trainB" / f"0000{150 + number}.png").rename(copy / "trainB" / f"{number:07d}.png")
    paired = check(copy)
    assert paired.method.startswith("--method pix2pix if A and B are pairs")
    assert paired.as_json()["method"] == paired.method
    config = configure("paper", data=copy)
    assert fast_check(config, find_domains(copy))[-1].endswith("--method pix2pix serves better.")
    seasons.write_seasons(tmp_path / "few", size=32, train=4, test=1, maps=True)
    assert check(tmp_path / "few").method == (
        "--method cyclegan with --masks loss, --labels and --augment diffaugment."
    )
    asked = check(tmp_path / "few", masks="composite", pairs=copy).method
    assert asked.startswith("--method cyclegan with --pairs ")
    assert asked.endswith(", --masks composite, --labels and --augment diffaugment.")
    assert check(tmp_path / "few" / "trainA", method="colorization").method.startswith("--method colorization")
