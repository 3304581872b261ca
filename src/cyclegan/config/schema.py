"""Every setting of a training as typed plain data: its meaning, unit, source and one default.

The class defaults are CycleGAN's of the ``paper`` preset. `[C]` is the paper (Zhu et al., ICCV 2017), `[P]`
pix2pix's (Isola et al., CVPR 2017), `[R]` the authors' PyTorch repository; where they differ the preset follows `[R]`.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import tyro
from typing_extensions import Doc

from cyclegan.errors import UsageError

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
Cache = Literal["memory", "disk", "off"]


@dataclass(frozen=True)
class DataConfig:
    """Images: where they are and how they become tensors."""

    data: Annotated[
        Optional[Path],
        tyro.conf.Positional,
        Doc("Folder with trainA, trainB and, if there are, testA, testB; or pairs: A and B side by side in each file."),
    ] = None
    a: Annotated[Optional[Path], Doc("Folder of domain A, instead of DATA; goes with --b.")] = None
    b: Annotated[Optional[Path], Doc("Folder of domain B, instead of DATA; goes with --a.")] = None
    channels_a: Annotated[int, Doc("Channels of A: 3 color, 1 gray, 4 and 2 the same with alpha; or any others.")] = 3
    channels_b: Annotated[int, Doc("Channels of B.")] = 3
    range_a: Annotated[
        Optional[str],
        Doc("Values of A that are black and white, '0 4095', or '1% 99%' of all; else the type's."),
    ] = None
    range_b: Annotated[Optional[str], Doc("Values of B that are black and white.")] = None
    background: Annotated[str, Doc("What transparent parts are laid on: white, black or #rrggbb.")] = "white"
    preprocess: Annotated[PreprocessPolicy, Doc("How an image is brought to size [R].")] = "resize_and_crop"
    load_size: Annotated[int, Doc("Size after resizing, pixels [R]; goes along with --crop-size.")] = 286
    crop_size: Annotated[int, Doc("Size of the random crop that is trained on, pixels [C].")] = 256
    flip: Annotated[bool, Doc("Flip half of the images left to right [R].")] = True
    serial_batches: Annotated[bool, Doc("Fixed order, and A always with the same B [R].")] = False
    max_images: Annotated[Optional[int], Doc("Use at most this many images of each domain.")] = None
    batch_size: Annotated[int, Doc("Images of each domain per step and process [C]; larger ones often look worse.")] = 1
    workers: Annotated[int, Doc("Loader processes; 0 loads in the training process.")] = 2
    cache: Annotated[Cache, Doc("Where decoded, resized images are kept; 'disk' is for later trainings too.")] = (
        "memory"
    )
    cache_size: Annotated[
        float, Doc("Most that the cache takes, GiB; in memory at most a quarter of what is free.")
    ] = 4.0
    preload: Annotated[bool, Doc("Decode all images into the cache before the first step.")] = False
    draft: Annotated[
        bool, Doc("Decode large JPEGs at a fraction of their size, if twice --load-size remains; quick, nearly equal.")
    ] = False
    strict: Annotated[bool, Doc("Stop at the first unreadable image instead of leaving it out.")] = False


@dataclass(frozen=True)
class NetworkConfig:
    """Architectures of the two generators and the two discriminators."""

    generator: Annotated[str, Doc("Generator; 'resnet' and 'resnet_light' take --blocks [C].")] = "resnet_9blocks"
    generator_width: Annotated[int, Doc("Channels of the generator's first layer [C].")] = 64
    blocks: Annotated[int, Doc("Residual blocks of 'resnet' and 'resnet_light'.")] = 9
    discriminator: Annotated[str, Doc("Discriminator; 'basic' is the 70x70 PatchGAN [C].")] = "basic"
    discriminator_width: Annotated[int, Doc("Channels of the discriminator's first layer [C].")] = 64
    discriminator_layers: Annotated[int, Doc("Stride-2 convolutions of 'n_layers'.")] = 3
    norm: Annotated[Norm, Doc("Normalization in all networks [C].")] = "instance"
    dropout: Annotated[bool, Doc("Dropout 1/2 in the generators [R: off].")] = False
    dropout_at_test: Annotated[bool, Doc("Dropout stays on in translation, as pix2pix's noise [P 3.1].")] = False
    antialias: Annotated[
        bool, Doc("Blur where ResNets and PatchGANs halve or double the resolution; no checkerboard [CUT].")
    ] = False
    init: Annotated[Init, Doc("How weights start [C: normal].")] = "normal"
    init_gain: Annotated[float, Doc("Standard deviation or gain of the initialization [C].")] = 0.02
    init_from: Annotated[Optional[Path], Doc("Start with the networks of this model or run instead.")] = None


@dataclass(frozen=True)
class LossConfig:
    """What is optimized."""

    method: Annotated[str, Doc("Training method, with its own paper's settings.")] = "cyclegan"
    objective: Annotated[Objective, Doc("Adversarial objective; least squares is the paper's [C 4].")] = "lsgan"
    lambda_gan: Annotated[float, Doc("Weight of the adversarial loss in the generators' loss [C eq. 3].")] = 1.0
    lambda_a: Annotated[float, Doc("Weight of the cycle A -> B -> A [C eq. 2].")] = 10.0
    lambda_b: Annotated[float, Doc("Weight of the cycle B -> A -> B [C eq. 2].")] = 10.0
    lambda_identity: Annotated[
        float, Doc("Weight of the identity loss, as a share of the cycle's; 0 turns it off [C 5.2].")
    ] = 0.5
    lambda_l1: Annotated[float, Doc("Weight of the distance to the true image in 'pix2pix' [P eq. 4].")] = 100.0
    lambda_nce: Annotated[float, Doc("Weight of PatchNCE in 'cut' [CUT eq. 5].")] = 1.0
    nce_identity: Annotated[bool, Doc("PatchNCE on B itself too, which keeps what is already right [CUT eq. 5].")] = (
        True
    )
    nce_layers: Annotated[str, Doc("Layers of the generator's encoder whose patches are compared [CUT].")] = (
        "0,4,8,12,16"
    )
    nce_temperature: Annotated[float, Doc("Temperature of the contrast between patches [CUT].")] = 0.07
    flip_equivariance: Annotated[bool, Doc("Mirror half of the batches in the generator's passes [FastCUT].")] = False
    direction: Annotated[Direction, Doc("Which way 'pix2pix' learns [R].")] = "AtoB"
    pool_size: Annotated[int, Doc("Generated images kept per direction for the discriminators [C 4].")] = 50
    lambda_gp: Annotated[float, Doc("Weight of the gradient penalty of 'wgangp'.")] = 10.0
    augment: Annotated[
        Augment, Doc("For few images: discriminators see changed ones, always [DiffAugment] or as needed [ADA].")
    ] = "off"
    augment_policy: Annotated[str, Doc("What is changed: some of color,translation,cutout.")] = (
        "color,translation,cutout"
    )
    ada_target: Annotated[float, Doc("How sure of real images 'ada' lets a discriminator be, -1 to 1 [ADA].")] = 0.6
    ada_images: Annotated[
        int, Doc("Images in which 'ada' can go from no change to always; [ADA] has 500000, for far longer trainings.")
    ] = 20_000


@dataclass(frozen=True)
class OptimizerConfig:
    """How it is optimized."""

    learning_rate: Annotated[float, Doc("Initial learning rate of Adam [C].")] = 2e-4
    beta1: Annotated[float, Doc("Adam's first momentum [C].")] = 0.5
    beta2: Annotated[float, Doc("Adam's second momentum [R].")] = 0.999
    schedule: Annotated[Schedule, Doc("How the learning rate falls [C: constant, then linear].")] = "linear"
    epochs: Annotated[int, Doc("Epochs at the initial learning rate [C].")] = 100
    epochs_decay: Annotated[int, Doc("Epochs over which the rate then falls to zero [C].")] = 100
    step_epochs: Annotated[int, Doc("'step' multiplies the rate by 0.1 after so many epochs [R].")] = 50
    schedule_steps: Annotated[
        Literal["epoch_end", "epoch_start"],
        Doc("'epoch_start' is one epoch ahead, as newer versions of [R]: the last one trains at rate 0."),
    ] = "epoch_end"
    accumulate: Annotated[int, Doc("Batches whose gradients are added up for one step.")] = 1
    clip_norm: Annotated[Optional[float], Doc("Largest norm of all gradients of one optimizer.")] = None
    ema_decay: Annotated[float, Doc("Averaging of the generators' weights per step; 0 turns it off.")] = 0.0


@dataclass(frozen=True)
class RunConfig:
    """The run: budget, machine, and what is written."""

    max_steps: Annotated[Optional[int], Doc("Budget in steps; the whole schedule is fitted into it.")] = None
    max_minutes: Annotated[
        Optional[float], Doc("Budget in minutes of training; the whole schedule is fitted into it.")
    ] = None
    seed: Annotated[int, Doc("Seed of weights, data order and everything else drawn at random.")] = 0
    name: Annotated[Optional[str], Doc("Name of the run's folder; the data's name if not given.")] = None
    runs: Annotated[Path, Doc("Folder in which run folders are made.")] = Path("runs")
    device: Annotated[str, Doc("auto, cpu, cuda, mps, ...")] = "auto"
    devices: Annotated[int, Doc("Processes (GPUs) on this machine, each with batches of its own.")] = 1
    nodes: Annotated[int, Doc("Machines.")] = 1
    precision: Annotated[Literal["32-true", "16-mixed", "bf16-mixed"], Doc("Arithmetic of the networks.")] = "32-true"
    winograd: Annotated[
        bool, Doc("Faster 3x3 convolutions on processors, equal to float rounding (Lavin and Gray 2016).")
    ] = True
    log_every: Annotated[int, Doc("Steps between rows of metrics.csv.")] = 50
    sample_every: Annotated[int, Doc("Steps between sample grids.")] = 1000
    samples: Annotated[int, Doc("Test images of each domain in a sample grid.")] = 4
    measure_every: Annotated[
        int, Doc("Steps between measurements of quality on a few test images; 0 turns them off.")
    ] = 500
    best_by: Annotated[
        Literal["auto", "psnr", "ssim", "swd"],
        Doc("What chooses checkpoints/best; auto: SSIM where test pairs tell the truth, else SWD."),
    ] = "auto"
    patience: Annotated[int, Doc("Measurements without a new best that end the training; 0 never does.")] = 0
    save_minutes: Annotated[float, Doc("Minutes between writings of checkpoints/latest.")] = 5.0
    checkpoint_epochs: Annotated[int, Doc("Epochs between numbered checkpoints [R]; 0 writes none.")] = 5
    keep: Annotated[int, Doc("Numbered checkpoints that are kept, newest first; 0 keeps all.")] = 3
    tensorboard: Annotated[bool, Doc("Write TensorBoard events.")] = True
    visdom: Annotated[Optional[str], Doc("Visdom server to show it on, such as http://localhost:8097.")] = None
    wandb: Annotated[Optional[str], Doc("Project of Weights & Biases to log to.")] = None


def _said_by(section: type) -> Doc:
    return Doc(section.__doc__ or "")


@dataclass(frozen=True)
class Config:
    """A whole training, in sections. ``config.toml`` of a run folder is this, written out."""

    data: Annotated[DataConfig, _said_by(DataConfig)] = field(default_factory=DataConfig)
    networks: Annotated[NetworkConfig, _said_by(NetworkConfig)] = field(default_factory=NetworkConfig)
    loss: Annotated[LossConfig, _said_by(LossConfig)] = field(default_factory=LossConfig)
    optimizer: Annotated[OptimizerConfig, _said_by(OptimizerConfig)] = field(default_factory=OptimizerConfig)
    run: Annotated[RunConfig, _said_by(RunConfig)] = field(default_factory=RunConfig)

    def with_settings(self, **settings: Any) -> "Config":
        """This configuration with single settings changed, each by its own name whatever its section.

        Raises `UsageError` for a name that is no setting.
        """
        sections = {}
        for section in dataclasses.fields(self):
            values = getattr(self, section.name)
            names = {f.name for f in dataclasses.fields(values)} & settings.keys()
            sections[section.name] = dataclasses.replace(values, **{n: settings.pop(n) for n in names})
        if settings:
            raise UsageError(f"There is no setting named {', '.join(sorted(settings))}.")
        return Config(**sections)
