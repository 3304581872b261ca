"""Every setting of a run as typed plain data: its meaning, unit, bounds, source and paper default.

The defaults are CycleGAN's, those of the preset ``paper``. `[C]` is its paper (Zhu et al., ICCV 2017), `[P]` pix2pix's
(Isola et al., CVPR 2017), `[R]` the authors' PyTorch repository, followed where it differs from the paper; `[CUT]` and
`[ADA]` are Park et al., ECCV 2020 and Karras et al., NeurIPS 2020, `[DCL]` is Han et al., CVPRW 2021.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from cyclegan.errors import UsageError, suggestion

PreprocessPolicy = Literal[
    "resize_and_crop",
    "crop",
    "scale_width",
    "scale_width_and_crop",
    "scale_shortside",
    "scale_shortside_and_crop",
    "none",
]
Norm = Literal["instance", "batch", "none"]
Init = Literal["normal", "xavier", "kaiming", "orthogonal"]
Objective = Literal["lsgan", "vanilla", "minimax", "wgangp", "hinge"]
Schedule = Literal["linear", "step", "plateau", "cosine", "constant"]
Direction = Literal["AtoB", "BtoA"]
Augment = Literal["off", "diffaugment", "ada"]
AugmentChange = Literal["color", "translation", "cutout"]
Masks = Literal["off", "loss", "composite"]
Structure = Literal["off", "self_similarity", "mutual_information", "ssim"]
Keep = Literal["outside", "inside"]
Cache = Literal["memory", "disk", "off"]

Count = Annotated[int, Ge(1)]
Devices = Union[Count, Literal["auto"]]  # noqa: UP007  (as tyro shows it)
CountOrZero = Annotated[int, Ge(0)]
Channels = Annotated[int, Ge(1), Le(10_000)]  # bounded, like blocks and layers, because a stranger's file may set them
Positive = Annotated[float, Gt(0)]
Weight = Annotated[float, Ge(0)]
Decay = Annotated[float, Ge(0), Lt(1)]
Fraction = Annotated[float, Gt(0), Lt(1)]
Side = Annotated[int, Ge(8)]


@dataclass(frozen=True)
class DataConfig:
    """Where the images are and how they become tensors."""

    data: Annotated[
        Optional[Path],
        Doc(
            "Folder with trainA and trainB, optionally testA and testB; or with pairs, A and B side by side in a file."
        ),
    ] = None
    a: Annotated[Optional[Path], Doc("Folder of domain A, instead of DATA; requires --b.")] = None
    b: Annotated[Optional[Path], Doc("Folder of domain B, instead of DATA; requires --a.")] = None
    pairs: Annotated[
        Optional[Path], Doc("Folder of a few pairs to learn from as well, laid out as for pix2pix (cyclegan, dcl).")
    ] = None
    channels_a: Annotated[Channels, Doc("Channels of A: 3 color, 1 gray, 4 and 2 with alpha, or any other number.")] = 3
    channels_b: Annotated[Channels, Doc("Channels of B.")] = 3
    range_a: Annotated[
        Optional[str],
        Doc(
            "Stored values of A mapped to black and white: '0 4095', or percentiles '1% 99%'. "
            "Default: the full range of the file's type."
        ),
    ] = None
    range_b: Annotated[Optional[str], Doc("Stored values of B mapped to black and white, as --range-a.")] = None
    background: Annotated[str, Doc("Color behind transparent pixels: white, black or #rrggbb.")] = "white"
    preprocess: Annotated[PreprocessPolicy, Doc("How images are resized and cropped [R].")] = "resize_and_crop"
    load_size: Annotated[Side, Doc("Size after resizing, pixels [R]. Follows --crop-size unless given.")] = 286
    crop_size: Annotated[Side, Doc("Size of the random training crops, pixels [C].")] = 256
    flip: Annotated[bool, Doc("Flip images left to right at random [R].")] = True
    flip_vertical: Annotated[bool, Doc("Flip images upside down at random; for images without an up.")] = False
    rotate: Annotated[bool, Doc("Rotate images by 0, 90, 180 or 270 degrees; for images without an up.")] = False
    scale_jitter: Annotated[
        float, Ge(0), Lt(1), Doc("Scale crops at random by up to this fraction; A and B apart, pairs alike.")
    ] = 0.0
    color_jitter_a: Annotated[
        float, Ge(0), Le(1), Doc("Change brightness and contrast of A at random by up to this fraction.")
    ] = 0.0
    color_jitter_b: Annotated[float, Ge(0), Le(1), Doc("Change brightness and contrast of B, as --color-jitter-a.")] = (
        0.0
    )
    serial_batches: Annotated[bool, Doc("Fixed order of images, A always with the same B [R].")] = False
    max_images: Annotated[Optional[Count], Doc("Use at most this many images of each domain.")] = None
    batch_size: Annotated[CountOrZero, Doc("Images of each domain per step and process [C]; 0: what fits.")] = 1
    workers: Annotated[CountOrZero, Doc("Data loader processes; 0 loads in the main process.")] = 2
    cache: Annotated[Cache, Doc("Where decoded, resized images are cached; 'disk' is shared with later runs.")] = (
        "memory"
    )
    cache_size: Annotated[Positive, Doc("Maximum cache size, GiB; in memory at most a quarter of what is free.")] = 4.0
    preload: Annotated[bool, Doc("Decode all images into the cache before the first step.")] = False
    draft: Annotated[bool, Doc("Decode large JPEGs at reduced size: faster, and nearly equal.")] = False
    strict: Annotated[bool, Doc("Stop at the first unreadable image instead of skipping it.")] = False

    @property
    def is_gray_or_rgb(self) -> bool:
        """Whether networks for photographs can read the images of both domains."""
        return {self.channels_a, self.channels_b} <= {1, 3}


@dataclass(frozen=True)
class NetworkConfig:
    """Architectures of the generators and discriminators."""

    generator: Annotated[str, Doc("Generator architecture; some take --blocks [C].")] = "resnet_9blocks"
    generator_width: Annotated[Channels, Doc("Channels of the generator's first layer [C].")] = 64
    blocks: Annotated[int, Ge(0), Le(1000), Doc("Residual blocks of generators without a number in their name.")] = 9
    attention_masks: Annotated[
        int, Ge(1), Le(10), Doc("Masks of 'attention' generators, each with a content of its own.")
    ] = 1
    discriminator: Annotated[str, Doc("Discriminator architecture; 'basic' is the 70x70 PatchGAN [C].")] = "basic"
    discriminator_width: Annotated[Channels, Doc("Channels of the discriminator's first layer [C].")] = 64
    discriminator_layers: Annotated[int, Ge(1), Le(100), Doc("Stride-2 convolutions of 'n_layers'.")] = 3
    norm: Annotated[Norm, Doc("Normalization in all networks [C].")] = "instance"
    dropout: Annotated[bool, Doc("Dropout of 0.5 in the generators [R].")] = False
    dropout_at_test: Annotated[bool, Doc("Keep dropout on in translation, as pix2pix's noise [P 3.1].")] = False
    antialias: Annotated[bool, Doc("Blur where ResNets and PatchGANs resample [CUT].")] = False
    init: Annotated[Init, Doc("Weight initialization [C]; 'space_to_depth' has its own.")] = "normal"
    init_gain: Annotated[Positive, Doc("Standard deviation or gain of the initialization [C].")] = 0.02
    init_from: Annotated[Optional[Path], Doc("Start from the weights of this model or run.")] = None


@dataclass(frozen=True)
class LossConfig:
    """Training method and losses."""

    method: Annotated[str, Doc("Training method, with the settings of its own paper.")] = "cyclegan"
    objective: Annotated[Objective, Doc("Adversarial objective; 'lsgan' is least squares [C 4].")] = "lsgan"
    lambda_gan: Annotated[Weight, Doc("Weight of the adversarial loss in the generators' loss [C eq. 3].")] = 1.0
    lambda_a: Annotated[Weight, Doc("Weight of the cycle A -> B -> A [C eq. 2].")] = 10.0
    lambda_b: Annotated[Weight, Doc("Weight of the cycle B -> A -> B [C eq. 2].")] = 10.0
    detach_cycle: Annotated[
        bool, Doc("Let the cycle loss train only the generator that reconstructs, on the other's images.")
    ] = False
    lambda_identity: Annotated[
        Weight, Doc("Weight of the identity loss, as a fraction of the cycle's [C 5.2]; of dcl alone [DCL].")
    ] = 0.5
    identity_until: Annotated[
        Optional[Fraction],
        Doc("Fraction of the run in which the identity loss falls to zero; from there on it is not computed."),
    ] = None
    lambda_pairs: Annotated[
        Weight, Doc("Weight of the L1 distance between a translation and the other image of its pair, with --pairs.")
    ] = 10.0
    lambda_pairs_gan: Annotated[
        Weight, Doc("Weight of an adversarial loss on pairs, of input and output together, with --pairs; 0: none.")
    ] = 0.0
    masks: Annotated[
        Masks,
        Doc("Keep a part of each image by the masks in maskA, maskB: by a loss, or by pasting it (cyclegan, dcl)."),
    ] = "off"
    keep_part: Annotated[Keep, Doc("Which part --masks keeps: outside of the white area, or inside.")] = "outside"
    lambda_keep: Annotated[Weight, Doc("Weight of the L1 distance to the input where --masks loss keeps it.")] = 10.0
    labels: Annotated[
        bool,
        Doc("A segmenter trained on the label maps in labelA, labelB must read them in translations (cyclegan, dcl)."),
    ] = False
    label_classes: Annotated[CountOrZero, Doc("Classes in label maps, numbered from 0; 0: found in the maps.")] = 0
    lambda_labels: Annotated[Weight, Doc("Weight of the segmenter's cross entropy on translations, with --labels.")] = (
        1.0
    )
    structure: Annotated[
        Structure, Doc("Hold translations to the structure of their input, whatever its colors (cyclegan, dcl).")
    ] = "off"
    lambda_structure: Annotated[
        Weight, Doc("Weight of --structure, whose loss is 0 to about 1; in distill, of 1 - SSIM to the teacher.")
    ] = 1.0
    lambda_l1: Annotated[Weight, Doc("Weight of the L1 distance to the target in pix2pix [P eq. 4], distill.")] = 100.0
    lambda_nce: Annotated[Weight, Doc("Weight of PatchNCE in CUT and DCLGAN [CUT eq. 5].")] = 1.0
    lambda_features: Annotated[Weight, Doc("Weight of the relative error of features in distill.")] = 1.0
    teacher_generator: Annotated[str, Doc("Architecture of distill's teacher, as are the next two.")] = "resnet_9blocks"
    teacher_width: Annotated[Channels, Doc("Channels of the teacher's first layer.")] = 64
    teacher_blocks: Annotated[int, Ge(0), Le(1000), Doc("Residual blocks of the teacher.")] = 9
    nce_identity: Annotated[bool, Doc("PatchNCE on images of B as well, so that they stay unchanged [CUT eq. 5].")] = (
        True
    )
    nce_layers: Annotated[tuple[CountOrZero, ...], Doc("Encoder layers whose patches are compared [CUT].")] = (
        0,
        4,
        8,
        12,
        16,
    )
    nce_temperature: Annotated[Positive, Doc("Temperature of the contrastive loss [CUT].")] = 0.07
    flip_equivariance: Annotated[bool, Doc("Flip half of the batches in the generator's passes, as FastCUT [CUT].")] = (
        False
    )
    direction: Annotated[Direction, Doc("Direction that pix2pix and distill learn [R].")] = "AtoB"
    pool_size: Annotated[CountOrZero, Doc("Generated images kept per direction for the discriminators [C 4].")] = 50
    lambda_gp: Annotated[Weight, Doc("Weight of the gradient penalty of 'wgangp'.")] = 10.0
    augment: Annotated[
        Augment, Doc("For small data sets: augment what discriminators see, always or as needed (ada).")
    ] = "off"
    augment_policy: Annotated[tuple[AugmentChange, ...], Doc("Changes that --augment makes.")] = (
        "color",
        "translation",
        "cutout",
    )
    ada_target: Annotated[
        float, Gt(-1), Lt(1), Doc("Mean sign of D on real images above which 'ada' augments more [ADA].")
    ] = 0.6
    ada_images: Annotated[Count, Doc("Images over which 'ada' can go from 0 to 1; [ADA] has 500000.")] = 20_000


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer and learning rate schedule."""

    learning_rate: Annotated[Positive, Doc("Initial learning rate of Adam [C].")] = 2e-4
    discriminator_learning_rate: Annotated[
        Optional[Positive], Doc("That of the discriminators, if it differs from the generators'.")
    ] = None
    beta1: Annotated[Decay, Doc("Adam's beta1 [C].")] = 0.5
    beta2: Annotated[Decay, Doc("Adam's beta2 [R].")] = 0.999
    schedule: Annotated[Schedule, Doc("How the learning rate falls; 'linear' is constant at first [C].")] = "linear"
    epochs: Annotated[CountOrZero, Doc("Epochs at the initial learning rate [C].")] = 100
    epochs_decay: Annotated[CountOrZero, Doc("Epochs over which the rate then falls to zero [C].")] = 100
    warmup: Annotated[
        Optional[Fraction], Doc("Fraction of the run in which the rate rises to its initial value; not of 'plateau'.")
    ] = None
    decay_from: Annotated[
        Optional[Fraction],
        Doc("Fraction of the run after which 'linear' falls to zero, instead of the ratio of the epochs."),
    ] = None
    step_epochs: Annotated[Count, Doc("'step' multiplies the rate by 0.1 every this many epochs [R].")] = 50
    schedule_steps: Annotated[
        Literal["epoch_end", "epoch_start"],
        Doc("'epoch_start' is an epoch ahead, as newer [R]; the last has rate 0."),
    ] = "epoch_end"
    accumulate: Annotated[Count, Doc("Batches over which gradients are accumulated for one step.")] = 1
    clip_norm: Annotated[Optional[Positive], Doc("Maximum norm of each optimizer's gradients.")] = None
    ema_decay: Annotated[Decay, Doc("Decay per step of the generators' averaged weights (EMA); 0 turns it off.")] = 0.0
    ema_horizon: Annotated[
        Optional[Fraction], Doc("Fraction of the run over which EMA averages, instead of a fixed --ema-decay.")
    ] = None


@dataclass(frozen=True)
class RunConfig:
    """Budget, hardware, and what is written."""

    max_steps: Annotated[Optional[Count], Doc("Budget in steps, into which the schedule is fitted.")] = None
    max_minutes: Annotated[Optional[Positive], Doc("Budget in minutes, into which the schedule is fitted.")] = None
    seed: Annotated[CountOrZero, Doc("Seed of weights, data order and everything else random.")] = 0
    name: Annotated[Optional[str], Doc("Name of the run folder. Default: as the data.")] = None
    runs: Annotated[Path, Doc("Folder in which run folders are created.")] = Path("runs")
    device: Annotated[str, Doc("Device to train on: auto, cpu, cuda, mps, ...")] = "auto"
    devices: Annotated[
        Devices, Doc("Processes (GPUs) on this machine, each with its own batches; auto: all GPUs, or one CPU process.")
    ] = 1
    nodes: Annotated[Count, Doc("Machines.")] = 1
    process_timeout: Annotated[
        Positive, Doc("Minutes without an answer of another process after which the run ends.")
    ] = 30.0
    precision: Annotated[Literal["32-true", "16-mixed", "bf16-mixed"], Doc("Precision of the networks.")] = "32-true"
    compile: Annotated[bool, Doc("Compile the networks by torch.compile, where it works.")] = False
    channels_last: Annotated[
        bool, Doc("Keep channels last in memory, which suits tensor cores; CPUs do so anyway.")
    ] = False
    winograd: Annotated[bool, Doc("Faster convolutions on CPUs, equal up to rounding (Lavin and Gray 2016).")] = True
    log_every: Annotated[Count, Doc("Steps between rows of metrics.csv.")] = 50
    sample_every: Annotated[Count, Doc("Steps between sample grids.")] = 1000
    samples: Annotated[CountOrZero, Doc("Test images of each domain in a sample grid.")] = 4
    measure_every: Annotated[CountOrZero, Doc("Steps between quality measurements on test images; 0: none.")] = 500
    best_by: Annotated[
        Literal["auto", "psnr", "ssim", "swd"],
        Doc("Metric that selects checkpoints/best; auto: SSIM with test pairs, else SWD."),
    ] = "auto"
    patience: Annotated[CountOrZero, Doc("Stop after this many measurements without a new best; 0: never.")] = 0
    save_minutes: Annotated[Positive, Doc("Minutes between saves of checkpoints/latest.")] = 5.0
    checkpoint_epochs: Annotated[CountOrZero, Doc("Epochs between numbered checkpoints [R]; 0 writes none.")] = 5
    keep: Annotated[CountOrZero, Doc("Number of newest numbered checkpoints to keep; 0 keeps all.")] = 3
    logger: Annotated[
        tuple[str, ...],
        Doc("Loggers: tensorboard, wandb=PROJECT, visdom=ADDRESS, or those of other packages; none if empty."),
    ] = ("tensorboard",)


@dataclass(frozen=True)
class Config:
    """All settings of a run, in sections; ``config.toml`` of a run folder is this, written out."""

    data: DataConfig = field(default_factory=DataConfig)
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)
    sources: dict[str, str] = field(default_factory=dict, compare=False, repr=False)  # setting -> where it came from

    def flat(self) -> dict[str, Any]:
        """All settings by name, whatever their section."""
        return {name: value for section in SECTIONS for name, value in vars(getattr(self, section)).items()}

    def with_settings(self, **settings: Any) -> "Config":
        """This configuration with single settings changed by name, whatever their section.

        Raises `UsageError` for an unknown name.
        """
        sections = {}
        for section in SECTIONS:
            values = getattr(self, section)
            names = vars(values).keys() & settings.keys()
            sections[section] = dataclasses.replace(values, **{n: settings.pop(n) for n in names})
        for name in settings:
            raise UsageError(f"Unknown setting {name!r}{suggestion(name, self.flat())}")
        return dataclasses.replace(self, **sections)


SECTIONS: dict[str, type] = {
    "data": DataConfig,
    "networks": NetworkConfig,
    "loss": LossConfig,
    "optimizer": OptimizerConfig,
    "run": RunConfig,
}


@cache
def documentation() -> dict[str, str]:
    """The meaning of each setting by name."""
    hints = {n: h for cls in SECTIONS.values() for n, h in get_type_hints(cls, include_extras=True).items()}
    return {n: next(m.documentation for m in h.__metadata__ if isinstance(m, Doc)) for n, h in hints.items()}
