"""What a report's page says of each method: all words of a method in one place."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cyclegan.config.schema import LossConfig, MethodName

OBJECTIVES = {
    "lsgan": "least squares",
    "vanilla": "cross entropy",
    "minimax": "minimax of 2014",
    "wgangp": "Wasserstein, gradient penalty",
    "hinge": "hinge",
}
Counts = tuple[int, int]  # images of A and of B


@dataclass(frozen=True)
class MethodWords:
    """A method in words."""

    name: str
    learner: str  # "... learned it from"
    back: str  # what follows "A turned into B"
    images: Callable[[Counts, tuple[str, str]], str]  # what was learned from, with the domains' names
    kept: Callable[[Counts], str]  # what was "... kept for testing"
    losses: Callable[[LossConfig], str]
    curves: str  # what is to be seen in the curves
    cells: str  # what stands beside each other in the gallery, before the truth
    truth: str  # why the truth of the test images is known, and what "untranslated" compares with it
    citation: str


def _cycle_and_identity(loss: LossConfig) -> str:
    words = f"Adversarial ({OBJECTIVES[loss.objective]}), cycle × "
    words += f"{loss.lambda_a:g}" if loss.lambda_a == loss.lambda_b else f"{loss.lambda_a:g} and {loss.lambda_b:g}"
    if not loss.lambda_identity:
        return words + ", no identity loss"
    weights = sorted({loss.lambda_identity * each for each in (loss.lambda_a, loss.lambda_b)})
    return words + f", identity × {' and '.join(f'{w:g}' for w in weights)}"


def _conditional_and_l1(loss: LossConfig) -> str:
    return f"Adversarial ({OBJECTIVES[loss.objective]}, of input and output together), L1 × {loss.lambda_l1:g}"


def _patches(loss: LossConfig) -> str:
    words = f"Adversarial ({OBJECTIVES[loss.objective]}), PatchNCE × {loss.lambda_nce:g}"
    words += ", half of it for the identity" if loss.nce_identity else ""
    return words + (", mirror images for half of the batches" if loss.flip_equivariance else "")


def counted(number: int, thing: str) -> str:
    """A number and its noun, in the plural where it should be: "1 image", "1,200 images"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


CYCLEGAN_CITATION = """\
@inproceedings{zhu2017unpaired,
  author    = {Zhu, Jun-Yan and Park, Taesung and Isola, Phillip and Efros, Alexei A.},
  title     = {Unpaired Image-to-Image Translation Using Cycle-Consistent Adversarial Networks},
  booktitle = {Proceedings of the IEEE International Conference on Computer Vision (ICCV)},
  pages     = {2223--2232},
  year      = {2017}
}"""
PIX2PIX_CITATION = """\
@inproceedings{isola2017image,
  author    = {Isola, Phillip and Zhu, Jun-Yan and Zhou, Tinghui and Efros, Alexei A.},
  title     = {Image-to-Image Translation with Conditional Adversarial Networks},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages     = {1125--1134},
  year      = {2017}
}"""

CUT_CITATION = """\
@inproceedings{park2020contrastive,
  author    = {Park, Taesung and Efros, Alexei A. and Zhang, Richard and Zhu, Jun-Yan},
  title     = {Contrastive Learning for Unpaired Image-to-Image Translation},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}"""

CYCLEGAN = MethodWords(
    name="CycleGAN",
    learner="a CycleGAN",
    back=" and back",
    images=lambda n, names: f"{counted(n[0], 'image')} of {names[0]} and {n[1]:,} of {names[1]}, without pairs",
    kept=lambda n: f"{n[0]:,} and {n[1]:,}",
    losses=_cycle_and_identity,
    curves="Cycle and identity losses should fall.",
    cells="input, translation",
    truth="Test images of equal name show one scene in both domains, so the truth of each translation is known. It "
    "took no part in training. “Untranslated” compares the input itself with the truth: what doing nothing would "
    "score.",
    citation=CYCLEGAN_CITATION,
)
CUT = replace(
    CYCLEGAN,
    name="CUT",
    learner="CUT",
    back="",
    losses=_patches,
    curves="PatchNCE should fall.",
    citation=CUT_CITATION,
)

METHOD_WORDS: dict[str, MethodWords] = {
    "cyclegan": CYCLEGAN,
    "pix2pix": MethodWords(
        name="pix2pix",
        learner="pix2pix",
        back="",
        images=lambda n, names: f"{counted(n[0], 'pair')} of {names[0]} and {names[1]}",
        kept=lambda n: counted(n[0], "pair") if n[0] == n[1] else f"{n[0]:,} and {n[1]:,} images",
        losses=_conditional_and_l1,
        curves="The L1 loss should fall.",
        cells="input, translation",
        truth="The test images are pairs, so the truth of each translation is known. It took no part in training. "
        "“Untranslated” compares the input itself with the truth: what doing nothing would score.",
        citation=PIX2PIX_CITATION,
    ),
    "colorization": MethodWords(
        name="Colorisation",
        learner="pix2pix in the color space Lab",
        back="",
        images=lambda n, names: counted(n[0], "picture"),
        kept=lambda n: f"{n[0]:,}",
        losses=_conditional_and_l1,
        curves="The L1 loss should fall.",
        cells="the picture in gray, colored",
        truth="The test pictures are in color, so the truth is known. They took no part in training. “Untranslated” "
        "compares the picture in gray with the one in color: what doing nothing would score.",
        citation=PIX2PIX_CITATION,
    ),
    "cut": CUT,
    "fastcut": replace(CUT, name="FastCUT", learner="FastCUT"),
}

PIX2PIX_SETTINGS: dict[str, Any] = {
    "generator": "unet_256",  # [P] 6.1.1
    "norm": "batch",
    "dropout": True,
    "dropout_at_test": True,  # [P] 3.1: the only noise there is
    "objective": "vanilla",
    "lambda_identity": 0.0,
    "pool_size": 0,
}
CUT_SETTINGS: dict[str, Any] = {
    "antialias": True,
    "init": "xavier",
    "lambda_identity": 0.0,
    "pool_size": 0,
    "epochs": 200,
    "epochs_decay": 200,
}
FASTCUT_SETTINGS = CUT_SETTINGS | {
    "lambda_nce": 10.0,
    "nce_identity": False,
    "flip_equivariance": True,
    "epochs": 150,
    "epochs_decay": 50,
}

# What a method's own paper sets differently from CycleGAN's, by `--method`.
METHOD_SETTINGS: dict[MethodName, dict[str, Any]] = {
    "cyclegan": {},
    "pix2pix": PIX2PIX_SETTINGS,
    "colorization": PIX2PIX_SETTINGS,  # [R]
    "cut": CUT_SETTINGS,
    "fastcut": FASTCUT_SETTINGS,
}
