"""Parts that must stay: masks in the loss, in training images, in translation and in the built-in data set."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import metrics, run, tensors
from cyclegan import Translator, evaluate, resume, train, write_report
from cyclegan.config.schema import Config, DataConfig, LossConfig, NetworkConfig
from cyclegan.data.datasets import UnpairedImages
from cyclegan.data.get.seasons import CLASSES, draw_labels, write_seasons
from cyclegan.data.layouts import companions, find_domains
from cyclegan.errors import UsageError
from cyclegan.evaluation.report.gallery import read_strips
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.registry import validate_method
from cyclegan.runs.results import read_evaluations


def add_masks(data: Path, copy: Path) -> Path:
    """The data set with a mask of each training image of A: white where it is very red."""
    shutil.copytree(data, copy)
    (copy / "maskA").mkdir()
    for path in (copy / "trainA").iterdir():
        red = np.asarray(Image.open(path))[..., 0]
        Image.fromarray(np.where(red > 190, 255, 0).astype(np.uint8)).save(copy / "maskA" / path.name)
    return copy


def test_masks_are_cropped_and_flipped_like_their_images(data: Path, tmp_path: Path) -> None:
    root = add_masks(data, tmp_path / "masked")
    files = find_domains(root).train
    masks = companions(files.a, files.roots[0], "A", "mask")
    config = DataConfig(preprocess="crop", crop_size=16)
    plain, masked = UnpairedImages(files, config, 3), UnpairedImages(files, config, 3, companions={"mask_A": masks})
    for key in ((0, 0), (0, 3), (5, 6)):
        item = masked[key].images
        assert item.keys() == {"A", "B", "mask_A"}
        assert all(torch.equal(item[name], plain[key].images[name]) for name in "AB")
        red = (item["A"][:1] + 1) * 127.5
        assert torch.equal(item["mask_A"] > 0, red > 190.5)
    (root / "maskA" / "03.png").unlink()
    with pytest.raises(UsageError, match=r"trainA/03.png has no mask in .*maskA \(1 of 7 images\)"):
        companions(files.a, files.roots[0], "A", "mask")
    assert companions(files.b, files.roots[1], "B", "mask") == ()


@pytest.mark.parametrize("keep", ["outside", "inside"])
def test_the_kept_part_is_in_the_loss_or_pasted(keep: Any) -> None:
    torch.manual_seed(0)
    networks = NetworkConfig(generator="resnet", generator_width=4, blocks=1, discriminator_width=4)
    ours = CycleGAN(networks, LossConfig(masks="loss", keep_part=keep, lambda_keep=7.0), (3, 3)).double()
    x, y = torch.rand(2, 1, 3, 32, 32, dtype=torch.float64)
    white = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    white[..., 4:20] = 1
    batch = {"A": x, "B": y, "mask_A": white * 2 - 1}
    images = ours.generate(batch)
    kept = white if keep == "inside" else 1 - white
    terms = ours.generators_loss(batch, images)
    fake = ours.generators["G"](x)
    torch.testing.assert_close(terms["keep_A"], 7 * (kept * (fake - x).abs()).mean())
    assert "keep_B" not in terms  # B has no masks
    ours.settings = LossConfig(masks="composite", keep_part=keep)
    pasted = ours.generate(batch)
    torch.testing.assert_close(pasted["B"], torch.where(kept.bool(), x, fake))
    torch.testing.assert_close(pasted["A"], images["A"])
    assert "keep_A" not in ours.generators_loss(batch, pasted)


def test_a_run_with_masks_resumes_and_translates_with_them(
    tiny: Callable[..., Config], data: Path, tmp_path: Path
) -> None:
    root = add_masks(data, tmp_path / "masked")
    settings: dict[str, Any] = {"data": root, "masks": "loss", "schedule": "constant", "samples": 0}
    straight = train(tiny(**settings, measure_every=0, max_steps=4, name="straight"))
    parts = train(tiny(**settings, measure_every=0, max_steps=2, name="parts"))
    resume(parts, max_steps=4)
    a, b = tensors(straight), tensors(parts)
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert "keep_A" in metrics(straight)[0]

    out = tmp_path / "out"
    done = run("translate", straight, root / "trainA", "-o", out, "--masks", root / "maskA", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    image, mask, result = (
        np.asarray(Image.open(folder / "02.png")) for folder in (root / "trainA", root / "maskA", out)
    )
    alone = Translator.load(straight).translate(image)
    assert np.array_equal(result, np.where(mask[..., None] > 0, alone, image))
    done = run("translate", straight, root / "testA", "-o", out, "--overwrite", "--masks", root / "trainB")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)  # the same names, and images serve as masks


def test_pasting_is_part_of_metrics_samples_and_reports(
    tiny: Callable[..., Config], data: Path, tmp_path: Path
) -> None:
    root = add_masks(data, tmp_path / "red2blue")
    (root / "testmaskA").mkdir()
    for path in (root / "testA").iterdir():
        Image.new("L", Image.open(path).size, 0).save(root / "testmaskA" / path.name)  # all of it stays
    change = {}
    for masks in ("loss", "composite"):
        trained = train(tiny(data=root, masks=masks, measure_every=1, max_steps=1, name=masks))
        forward, inverse = evaluate(trained)
        change[masks] = forward.metrics["kept_change"].value
        assert "kept_change" not in inverse.metrics
    assert change["composite"] == pytest.approx(0, abs=0.001) and change["loss"] > 0.1

    ((forward_strip,), (inverse_strip,)) = (read_strips(trained / "samples", d, 32) for d in ("AtoB", "BtoA"))
    assert np.array_equal(forward_strip.before, forward_strip.steps[0][1])
    assert not np.array_equal(inverse_strip.before, inverse_strip.steps[0][1])
    psnr = forward.metrics["psnr"].untranslated
    with (trained / "quality.csv").open() as file:
        assert float(next(csv.DictReader(file))["psnr_AtoB"]) == pytest.approx(psnr, abs=0.01)
    page = write_report(trained).path
    of_report, _ = read_evaluations(trained / "report.json")
    assert of_report.metrics["psnr"].value == pytest.approx(of_report.metrics["psnr"].untranslated)
    note = "The test images of red have no masks, so nothing is pasted"
    assert note not in page.read_text()
    (root / "testmaskA").rename(root / "elsewhere")
    write_report(trained)
    assert note in page.read_text()
    assert note in "".join(evaluate(trained)[0].notes)


def test_masks_are_refused_where_they_do_not_apply(tiny: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match="--masks does not apply to --method cut; use cyclegan or dcl"):
        validate_method(tiny(method="cut", masks="loss"))
    with pytest.raises(UsageError, match="must be equal"):
        validate_method(tiny(channels_a=1, masks="loss"))
    with pytest.raises(UsageError, match="needs a folder maskA or maskB"):
        train(tiny(masks="loss"))


def test_seasons_draws_the_same_scene_as_labels_and_masks(tmp_path: Path) -> None:
    write_seasons(tmp_path / "s", size=32, train=1, test=1, maps=True)
    assert {path.name for path in (tmp_path / "s").iterdir() if path.is_dir()} == {
        f"{split}{kind}{domain}" for kind in ("mask", "label") for split in ("", "test") for domain in "AB"
    } | {f"{split}{domain}" for split in ("train", "test") for domain in "AB"}
    labels = np.asarray(draw_labels(7, "summer", 64))
    assert {*np.unique(labels)} <= {*CLASSES.values()}
    assert (labels[0] == CLASSES["sky"]).all()
    assert (labels == np.asarray(draw_labels(7, "winter", 64))).mean() > 0.999  # but for the tips of snowy firs
    label, mask = (np.asarray(Image.open(tmp_path / "s" / f"{kind}A" / "0000000.png")) for kind in ("label", "mask"))
    assert np.array_equal(mask == 255, label >= CLASSES["fir"])
