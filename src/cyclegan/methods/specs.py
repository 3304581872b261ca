"""Everything about a method but its networks and losses, as plain data that can be read without loading torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from cyclegan.config.presets import SHORT_RUN_GENERATORS
from cyclegan.system.text import counted

if TYPE_CHECKING:
    from cyclegan.config.schema import Config, Direction, LossConfig
    from cyclegan.networks.reference_weights import Network

Layout = Literal["unpaired", "paired", "single domain"]
Counts = tuple[int, int]  # images of A and of B
Settings = dict[str, Any]


OBJECTIVES = {
    "lsgan": "least squares",
    "vanilla": "cross entropy",
    "minimax": "minimax of 2014",
    "wgangp": "Wasserstein, gradient penalty",
    "hinge": "hinge",
}


@dataclass(frozen=True)
class ReferenceFiles:
    """How the authors' repositories name a method's networks, ``latest_net_<name>.pth``, and its options."""

    networks: Mapping[str, str]  # their name -> the network's place in the method's state dict
    model: str  # value of their --model
    # Whether this method makes such a generator, and such a discriminator if one was found.
    matches: Callable[[Network, Network | None], bool] = lambda generator, discriminator: False
    repository: Literal["pytorch-CycleGAN-and-pix2pix", "contrastive-unpaired-translation", "DCLGAN"] = (
        "pytorch-CycleGAN-and-pix2pix"
    )


@dataclass(frozen=True)
class MethodSpec:
    """One method: its data, its paper's settings, and what reports, diagnosis and weight import need.

    `module` is the module whose import registers the class (see `registry.register_method`).
    """

    name: str  # value of --method
    title: str  # as its paper writes it
    module: str
    directions: Mapping[Direction, str]  # direction -> its generator's name in `Method.generators`
    layout: Layout = "unpaired"
    loss_settings: tuple[str, ...] = ()  # fields of `LossConfig` read, in addition to the adversarial ones
    defaults: Settings = field(default_factory=dict)  # settings in which its paper differs from CycleGAN's
    generator_for_crop: Callable[[int], str] | None = None  # architecture by crop size in pixels; None: any
    short_run_generator: str = "resnet"  # architecture for a short run on a CPU
    short_run_settings: Callable[[Settings], Settings] = lambda settings: {}  # changes for a short run on a CPU
    contradictions: Callable[[Config], Iterable[str]] = lambda config: ()  # a sentence for each
    learns_from_teacher: bool = False  # whether `init_from` is a teacher, whose architecture is in `teacher_*`

    # Reports
    subject: str = ""  # of a headline, "a CycleGAN, trained for an hour"; the title if empty
    describe_losses: Callable[[LossConfig], str] = lambda loss: f"Adversarial ({OBJECTIVES[loss.objective]})"
    curves: str = ""  # what to expect of the loss curves, a sentence
    columns: str = "input, translation"  # of the gallery, left to right
    term_groups: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)  # heading -> (term, label)
    citation: str = ""  # BibTeX

    # Diagnosis
    adversarial_terms: tuple[str, ...] = ("G_GAN",)  # of the generators' loss
    identity_terms: tuple[str, ...] = ()
    input_weights: tuple[str, ...] = ()  # settings that hold translations to their input, the strongest first

    reference: ReferenceFiles | None = None

    def learned(self, loss: LossConfig) -> tuple[Direction, ...]:
        """The directions that a run with these settings learns."""
        return (loss.direction,) if "direction" in self.loss_settings else tuple(self.directions)

    def describe_images(self, counts: Counts, names: tuple[str, str]) -> str:
        """The training set in words: "20 images of summer and 20 of winter, without pairs"."""
        if self.layout == "unpaired":
            return f"{counted(counts[0], 'image')} of {names[0]} and {counts[1]:,} of {names[1]}, without pairs"
        if self.layout == "paired":
            return f"{counted(counts[0], 'pair')} of {names[0]} and {names[1]}"
        return counted(counts[0], "image")

    def describe_test_set(self, counts: Counts) -> str:
        """The size of the test set: "4 and 4"."""
        if self.layout == "unpaired":
            return f"{counts[0]:,} and {counts[1]:,}"
        if self.layout == "paired" and counts[0] != counts[1]:
            return f"{counts[0]:,} and {counts[1]:,} images"
        return f"{counts[0]:,}" if self.layout == "single domain" else counted(counts[0], "pair")

    @property
    def ground_truth(self) -> str:
        """Why the ground truth of test images is known, and what "untranslated" compares with it."""
        why, untranslated = {
            "unpaired": ("Test images with the same name show one scene in both domains", "input itself"),
            "paired": ("The test images are pairs", "input itself"),
            "single domain": ("The test images are in color", "grayscale input"),
        }[self.layout]
        return (
            f"{why}, so the ground truth of each translation is known; the run was not trained on it. “Untranslated” "
            f"compares the {untranslated} with the ground truth: the score of doing nothing."
        )


def _describe_cycle_losses(loss: LossConfig) -> str:
    words = f"Adversarial ({OBJECTIVES[loss.objective]}), cycle × "
    words += f"{loss.lambda_a:g}" if loss.lambda_a == loss.lambda_b else f"{loss.lambda_a:g} and {loss.lambda_b:g}"
    words += " (of the generator that reconstructs)" if loss.detach_cycle else ""
    if not loss.lambda_identity:
        return words + ", no identity loss"
    weights = sorted({loss.lambda_identity * each for each in (loss.lambda_a, loss.lambda_b)})
    words += f", identity × {' and '.join(f'{w:g}' for w in weights)}"
    return words + (f" falling to 0 at {loss.identity_until:.0%} of the run" if loss.identity_until else "")


_TWO_WAYS = {
    "G_A": "generators.G",
    "G_B": "generators.F",
    "D_A": "discriminators.D_Y",  # D_A sees images of B there
    "D_B": "discriminators.D_X",
}
CONSTRAINTS = (  # of methods with two directions, see `cyclegan.methods.constraints`
    *("lambda_pairs", "lambda_pairs_gan", "masks", "keep_part", "lambda_keep", "structure", "lambda_structure"),
    *("labels", "label_classes", "lambda_labels"),
)
CYCLEGAN = MethodSpec(
    name="cyclegan",
    title="CycleGAN",
    module="cyclegan.methods.cyclegan",
    directions={"AtoB": "G", "BtoA": "F"},
    loss_settings=(
        *("lambda_a", "lambda_b", "detach_cycle", "lambda_identity", "identity_until", "pool_size"),
        *CONSTRAINTS,
    ),
    short_run_generator="space_to_depth",
    subject="a CycleGAN",
    describe_losses=_describe_cycle_losses,
    curves="Cycle and identity losses should fall.",
    term_groups={
        "Generators, adversarial": (("G_A", "{a} → {b}"), ("G_B", "{b} → {a}")),
        "Discriminators": (("D_A", "on {b}"), ("D_B", "on {a}")),
        "Cycle": (("cycle_A", "{a} → {b} → {a}"), ("cycle_B", "{b} → {a} → {b}")),
        "Identity": (("idt_A", "{b} → {b}"), ("idt_B", "{a} → {a}")),
        "Pairs": (("pairs_A", "{a} → {b}"), ("pairs_B", "{b} → {a}")),
        "Pairs, adversarial": (
            ("pairs_GAN_A", "{a} → {b}"),
            ("pairs_GAN_B", "{b} → {a}"),
            ("D_pairs", "discriminator"),
        ),
        "Labels in translations": (("labels_A", "{a} → {b}"), ("labels_B", "{b} → {a}")),
        "Segmenter": (("S", ""),),
        "Structure": (("structure_A", "{a} → {b}"), ("structure_B", "{b} → {a}")),
        "Kept part": (("keep_A", "{a} → {b}"), ("keep_B", "{b} → {a}")),
    },
    citation="""\
@inproceedings{zhu2017unpaired,
  author    = {Zhu, Jun-Yan and Park, Taesung and Isola, Phillip and Efros, Alexei A.},
  title     = {Unpaired Image-to-Image Translation Using Cycle-Consistent Adversarial Networks},
  booktitle = {Proceedings of the IEEE International Conference on Computer Vision (ICCV)},
  pages     = {2223--2232},
  year      = {2017}
}""",
    adversarial_terms=("G_A", "G_B"),
    identity_terms=("idt_A", "idt_B"),
    input_weights=("lambda_identity", "lambda_a", "lambda_b"),
    reference=ReferenceFiles(
        _TWO_WAYS,
        model="cycle_gan",
        matches=lambda G, D: D is None and not (_is_colorization(G, D) or _like_pix2pix(G, D) or _like_cut(G, D)),
    ),
)


def _is_colorization(G: Network, D: Network | None) -> bool:
    return (G.in_channels, G.out_channels) == (1, 2) and (D is None or D.in_channels == 3)


def _like_pix2pix(G: Network, D: Network | None) -> bool:
    """A discriminator of input and output, or, in a generator's file alone, a U-Net or dropout."""
    if _is_colorization(G, D):
        return False
    if D is not None:
        return D.in_channels == G.in_channels + G.out_channels
    unet = G.settings["generator"].startswith("unet")  # CycleGAN's ResNets have no dropout there
    return bool(unet or G.settings.get("dropout")) and not G.settings.get("antialias")


GAN_GROUPS = {
    "Generator, adversarial": (("G_GAN", ""),),
    "Discriminator": (("D_real", "on real images"), ("D_fake", "on generated images")),
}
PIX2PIX = MethodSpec(
    name="pix2pix",
    title="pix2pix",
    module="cyclegan.methods.pix2pix",
    directions={"AtoB": "G", "BtoA": "G"},
    layout="paired",
    loss_settings=("lambda_l1", "direction"),
    defaults={
        "generator": "unet_256",  # [P] 6.1.1
        "norm": "batch",
        "dropout": True,
        "dropout_at_test": True,  # [P] 3.1: the only noise there is
        "objective": "vanilla",
        "lambda_identity": 0.0,
        "pool_size": 0,
    },
    # The paper's U-Net for 256x256 images, or one with fewer levels for smaller crops.
    generator_for_crop=lambda size: "unet_64" if size <= 64 else "unet_128" if size <= 128 else "unet_256",
    # In short runs dropout only costs. Features of RGB images do not fit a discriminator that sees two images.
    short_run_settings=lambda settings: {
        "generator_width": 32,
        "dropout": False,
        "dropout_at_test": False,
        "discriminator": "basic",
    },
    describe_losses=lambda loss: (
        f"Adversarial ({OBJECTIVES[loss.objective]}, of input and output together), L1 × {loss.lambda_l1:g}"
    ),
    curves="The L1 loss should fall.",
    term_groups=GAN_GROUPS | {"L1": (("G_L1", ""),)},
    citation="""\
@inproceedings{isola2017image,
  author    = {Isola, Phillip and Zhu, Jun-Yan and Zhou, Tinghui and Efros, Alexei A.},
  title     = {Image-to-Image Translation with Conditional Adversarial Networks},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages     = {1125--1134},
  year      = {2017}
}""",
    input_weights=("lambda_l1",),
    reference=ReferenceFiles({"G": "generators.G", "D": "discriminators.D"}, model="pix2pix", matches=_like_pix2pix),
)


def _colorization_contradictions(config: Config) -> Iterable[str]:
    if config.data.b is not None:
        yield "--method colorization learns from one folder of images; give DATA or --a alone, without --b."
    if (config.data.channels_a, config.data.channels_b) != (3, 3):
        yield "--method colorization needs color images; leave --channels-a and --channels-b at 3."


COLORIZATION = replace(
    PIX2PIX,  # with the settings of [R]
    name="colorization",
    title="Colorization",
    module="cyclegan.methods.colorization",
    directions={"AtoB": "G"},
    layout="single domain",
    loss_settings=("lambda_l1",),
    contradictions=_colorization_contradictions,
    subject="pix2pix in the color space Lab",
    columns="grayscale input, colorized",
    reference=ReferenceFiles(
        {"G": "generators.G.network", "D": "discriminators.D"}, model="colorization", matches=_is_colorization
    ),
)


def _describe_patch_losses(loss: LossConfig) -> str:
    words = f"Adversarial ({OBJECTIVES[loss.objective]}), PatchNCE × {loss.lambda_nce:g}"
    words += ", half of it for the identity" if loss.nce_identity else ""
    return words + (", mirror images for half of the batches" if loss.flip_equivariance else "")


def _encoder_layers(settings: Settings) -> Settings:
    """The layers of a light generator, whose encoder is shorter, as (image, ..., last block)."""
    if settings["generator"] in SHORT_RUN_GENERATORS:  # of the stem, of the middle and of the last block
        return {"nce_layers": (0, 4, 4 + settings["blocks"] // 2, 4 + settings["blocks"])}
    return {"nce_layers": (0, 4, 8, 12, 11 + settings["blocks"])}


def _cut_contradictions(config: Config) -> Iterable[str]:
    if config.data.channels_a != config.data.channels_b:
        yield (
            f"--method {config.loss.method} compares A with its translation by one encoder; "
            "set --channels-a and --channels-b to the same number, or use --method cyclegan."
        )


def _like_cut(G: Network, D: Network | None) -> bool:
    """A discriminator of the output alone, or blurs, which only that repository has."""
    if _is_colorization(G, D) or _like_pix2pix(G, D):
        return False
    return (D is not None and D.in_channels == G.out_channels) or bool(G.settings.get("antialias"))


CUT = MethodSpec(
    name="cut",
    title="CUT",
    module="cyclegan.methods.cut",
    directions={"AtoB": "G"},
    loss_settings=("lambda_nce", "nce_identity", "nce_layers", "nce_temperature", "flip_equivariance"),
    defaults={
        "antialias": True,
        "init": "xavier",
        "lambda_identity": 0.0,
        "pool_size": 0,
        "epochs": 200,
        "epochs_decay": 200,
    },
    short_run_settings=_encoder_layers,
    contradictions=_cut_contradictions,
    describe_losses=_describe_patch_losses,
    curves="PatchNCE should fall.",
    term_groups=GAN_GROUPS,
    citation="""\
@inproceedings{park2020contrastive,
  author    = {Park, Taesung and Efros, Alexei A. and Zhang, Richard and Zhu, Jun-Yan},
  title     = {Contrastive Learning for Unpaired Image-to-Image Translation},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2020}
}""",
    input_weights=("lambda_nce",),
    reference=ReferenceFiles(
        {"G": "generators.G", "D": "discriminators.D", "F": "projections"},
        model="cut",
        matches=_like_cut,
        repository="contrastive-unpaired-translation",
    ),
)
FASTCUT = replace(
    CUT,
    name="fastcut",
    title="FastCUT",
    defaults=CUT.defaults
    | {"lambda_nce": 10.0, "nce_identity": False, "flip_equivariance": True, "epochs": 150, "epochs_decay": 50},
    # With a weight of 10 a short run only copies its input: the discriminator wins at once.
    short_run_settings=lambda settings: _encoder_layers(settings) | {"lambda_nce": 0.5},
)


def _describe_dual_losses(loss: LossConfig) -> str:
    words = f"Adversarial ({OBJECTIVES[loss.objective]}), PatchNCE × {loss.lambda_nce:g}"
    words += f", identity × {loss.lambda_identity:g}" if loss.lambda_identity else ", no identity loss"
    falling = loss.lambda_identity and loss.identity_until
    return words + (f" falling to 0 at {loss.identity_until:.0%} of the run" if falling else "") + ", all halved"


DCL = MethodSpec(
    name="dcl",
    title="DCLGAN",
    module="cyclegan.methods.dcl",
    directions=CYCLEGAN.directions,
    loss_settings=(
        *("lambda_nce", "nce_layers", "nce_temperature", "lambda_identity", "identity_until", "pool_size"),
        *CONSTRAINTS,
    ),
    defaults={
        "antialias": True,
        "init": "xavier",
        "lambda_nce": 2.0,
        "lambda_identity": 1.0,
        "nce_layers": (4, 8, 12, 16),
        "pool_size": 0,
        "epochs": 200,
        "epochs_decay": 200,
    },
    short_run_generator="space_to_depth",
    short_run_settings=lambda settings: {"nce_layers": _encoder_layers(settings)["nce_layers"][1:]},
    describe_losses=_describe_dual_losses,
    curves="PatchNCE and identity losses should fall.",
    term_groups={name: terms for name, terms in CYCLEGAN.term_groups.items() if name != "Cycle"}
    | {"PatchNCE": (("NCE_A", "{a} → {b}"), ("NCE_B", "{b} → {a}"))},
    citation="""\
@inproceedings{han2021dual,
  author    = {Han, Junlin and Shoeiby, Mehrdad and Petersson, Lars and Armin, Mohammad Ali},
  title     = {Dual Contrastive Learning for Unsupervised Image-to-Image Translation},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops},
  pages     = {746--755},
  year      = {2021}
}""",
    adversarial_terms=CYCLEGAN.adversarial_terms,
    identity_terms=CYCLEGAN.identity_terms,
    input_weights=("lambda_nce", "lambda_identity"),
    reference=ReferenceFiles(
        {**_TWO_WAYS, "F1": "projections.H_X", "F2": "projections.H_Y"}, model="dcl", repository="DCLGAN"
    ),
)


def _describe_distances(loss: LossConfig) -> str:
    weights = {"L1": loss.lambda_l1, "structure": loss.lambda_structure, "features": loss.lambda_features}
    distances = ", ".join(f"{name} × {weight:g}" for name, weight in weights.items() if weight)
    return f"Adversarial ({OBJECTIVES[loss.objective]}), distances to the teacher: {distances}"


def _distill_contradictions(config: Config) -> Iterable[str]:
    if config.loss.lambda_structure and config.data.crop_size < 11:
        yield "--lambda-structure needs crops of 11 pixels and more; raise --crop-size, or set it to 0."


DISTILL = MethodSpec(
    name="distill",
    title="Distillation",
    module="cyclegan.methods.distill",
    directions={"AtoB": "G", "BtoA": "G"},
    loss_settings=("lambda_l1", "lambda_structure", "lambda_features", "direction"),
    defaults={"lambda_l1": 10.0, "lambda_identity": 0.0, "pool_size": 0},
    short_run_generator="space_to_depth",
    contradictions=_distill_contradictions,
    learns_from_teacher=True,
    subject="a student, distilled from a larger generator",
    describe_losses=_describe_distances,
    curves="The distances to the teacher should fall.",
    term_groups=GAN_GROUPS
    | {"Distance to the teacher": (("G_L1", "L1"), ("G_structure", "structure"), ("G_features", "features"))},
    citation="""\
@inproceedings{li2020gan,
  author    = {Li, Muyang and Lin, Ji and Ding, Yaoyao and Liu, Zhijian and Zhu, Jun-Yan and Han, Song},
  title     = {{GAN} Compression: Efficient Architectures for Interactive Conditional {GANs}},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages     = {5284--5294},
  year      = {2020}
}""",
    input_weights=("lambda_l1",),
)

METHODS = (CYCLEGAN, PIX2PIX, COLORIZATION, CUT, FASTCUT, DCL, DISTILL)
BUILTIN: dict[str, MethodSpec] = {spec.name: spec for spec in METHODS}
