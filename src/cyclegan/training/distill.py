"""A run that distills a trained generator: its settings, from the teacher's, and the speed of the students."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import torch

from cyclegan.config.presets import SHORT_RUN, sizes
from cyclegan.config.schema import Config, NetworkConfig
from cyclegan.methods.distill import teacher_networks
from cyclegan.networks.attention import AttentionGenerator
from cyclegan.networks.cpu.rewrite import rewrite_for_cpu
from cyclegan.networks.generator import Generator, build_generator
from cyclegan.networks.recolor import RecolorGenerator
from cyclegan.networks.registry import GENERATORS
from cyclegan.runs.folder import identify, read_run
from cyclegan.runs.hub import resolve_source
from cyclegan.runs.model import read_model
from cyclegan.system.machine import find_device
from cyclegan.training.setup import configure

Student = Literal["small", "medium", "large"]
LARGE_IMAGES = 96  # pixels of a crop's side, from which 4x4 pixels become the channels of one
STUDENTS: dict[tuple[bool, Student], tuple[int, int]] = {  # large images, name -> width, blocks
    (True, "small"): (32, 4),
    (True, "medium"): (64, 4),
    (True, "large"): (96, 6),
    (False, "small"): (16, 3),
    (False, "medium"): (24, 4),
    (False, "large"): (32, 4),
}
OF_CYCLEGAN = ("generator_width", "blocks", "discriminator", "detach_cycle")
TRAINING = {name: value for name, value in SHORT_RUN.items() if name not in OF_CYCLEGAN}


def configure_student(teacher: str | Path, *, student: Student = "medium", **settings: Any) -> Config:
    """The settings of a run in which a light generator learns the translations of `teacher`, a run or a model.

    `student` is its size. Images, discriminator and direction are the teacher's; `settings` change any of them:
    ``configure_student("runs/zebras", max_minutes=30)``. The result is for `cyclegan.train`. Raises `UsageError` as
    `configure`, and for a model folder without `data`, or `a` and `b`.
    """
    path = resolve_source(teacher)
    model = read_model(path, generators_only=True)
    chosen: dict[str, Any] = {"name": _free_name(path, Path(settings.get("runs", "runs")))}
    if identify(path) != "model":
        chosen |= vars(read_run(path).data)
    else:
        chosen |= {n: v for n, v in vars(model.config.data).items() if n in model.settings["data"]}
        chosen |= sizes(model.trained_size)
    if settings.keys() & {"data", "a", "b"}:
        chosen |= dict.fromkeys(("data", "a", "b"))
    teacher_generator = model.config.networks.generator
    chosen |= TRAINING | student_networks(student, settings.get("crop_size", chosen["crop_size"]), teacher_generator)
    chosen |= {
        "direction": model.directions[0],
        "measure_every": 250,
        "log_every": 10,
        "sample_every": 100,
    }
    if not settings.keys() & {"max_minutes", "max_steps", "epochs", "epochs_decay"}:
        chosen["max_minutes"] = 60.0
    config = configure("paper", method="distill", init_from=path, **chosen | settings)
    return replace(config, sources=config.sources | dict.fromkeys(chosen.keys() - settings.keys(), "distill"))


def student_networks(student: Student, size: int, teacher_generator: str = "resnet_9blocks") -> dict[str, Any]:
    """The architecture of a student for images of this size: of the teacher's family, if that is a light one."""
    large = size >= LARGE_IMAGES
    width, blocks = STUDENTS[large, student]
    families = {AttentionGenerator: "attention", RecolorGenerator: "recolor"}
    name = families.get(GENERATORS[teacher_generator].network, "space_to_depth")
    return {
        "generator": f"{name}_4" if large else name,
        "generator_width": width,
        "blocks": blocks,
    }


def _free_name(path: Path, runs: Path) -> str:
    """The name of a new run: the teacher's, with "-student", and a number if that exists."""
    first = name = f"{path.resolve().name}-student"
    number = 1
    while (runs / name).exists():
        number += 1
        name = f"{first}-{number}"
    return name


@dataclass(frozen=True)
class Speed:
    """How fast a generator translates one image on this machine."""

    name: str  # "teacher", or of a student
    generator: str  # in words
    parameters: int
    seconds: float


def measure_speeds(config: Config, rounds: int = 5) -> list[Speed]:
    """The speed of the teacher, of the configured student, and of the others, with random weights, in turn.

    Images have the size of the training crops, and are translated as `cyclegan translate` does.
    """
    networks, loss, device = config.networks, config.loss, find_device(config.run.device)
    channels = (config.data.channels_a, config.data.channels_b)[:: 1 if loss.direction == "AtoB" else -1]
    size = config.data.crop_size
    candidates = {"teacher": teacher_networks(networks, loss)}
    for name in get_args(Student):
        candidates[name] = replace(networks, **student_networks(name, size, loss.teacher_generator))
    if networks not in candidates.values():
        candidates["yours"] = networks
    generators = {name: _ready(each, channels).to(device) for name, each in candidates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in generators}
    image = torch.zeros(1, channels[0], size, size, device=device)
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for name, generator in generators.items():
                start = time.perf_counter()
                generator(image).cpu()
                seconds[name].append(time.perf_counter() - start)
    return [
        Speed(
            name,
            GENERATORS[each.generator].describe(each),
            sum(parameter.numel() for parameter in generators[name].parameters()),
            median(seconds[name][1:]),  # the first prepares buffers
        )
        for name, each in candidates.items()
    ]


def _ready(networks: NetworkConfig, channels: tuple[int, ...]) -> Generator:
    with torch.random.fork_rng([]):
        return rewrite_for_cpu(build_generator(networks, channels[0], channels[-1]).eval())
