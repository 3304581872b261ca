"""The built-in data set: landscapes drawn from a seed, each in summer and in winter.

A scene in one season determines the other: roofs keep a band of their color below the snow, and tree crowns keep their
shade in the frost. So every translation has a ground truth that can be learned.
"""

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from cyclegan.data.get.staging import new_folder
from cyclegan.data.layouts import NAMES
from cyclegan.errors import UsageError

Season = Literal["summer", "winter"]
Color = tuple[float, float, float]  # red, green, blue, 0 to 255
Points = list[tuple[float, float]]  # in the unit square, y pointing down

OVERSAMPLING = 4
FIRST_TEST_SEED = 1_000_000

# Colors in summer and in winter; pairs are gradients: top to bottom, far to near, or dark to light.
COLORS: dict[str, tuple[Any, Any]] = {
    "sky": (((30, 102, 188), (130, 194, 230)), ((168, 194, 226), (236, 238, 244))),
    "warm": ((250, 200, 150), (255, 222, 204)),  # at the horizon, late in the day
    "sun": ((255, 224, 130), (255, 246, 224)),
    "ridge": (((84, 118, 160), (46, 74, 98)), ((206, 216, 232), (168, 184, 210))),
    "ridge_light": (((110, 142, 178), (78, 106, 120)), ((240, 243, 250), (236, 241, 250))),
    "hill": (((88, 138, 64), (52, 116, 40)), ((228, 234, 244), (214, 224, 240))),
    "hill_light": ((150, 180, 66), (255, 255, 255)),
    "water": (((38, 98, 150), (84, 150, 186)), ((150, 186, 214), (196, 218, 234))),
    "path": ((178, 140, 88), (214, 200, 186)),
    "fir": (((24, 70, 52), (12, 48, 40)), ((150, 178, 182), (116, 148, 158))),
    "crown": (((34, 92, 30), (122, 148, 34)), ((188, 206, 218), (232, 224, 210))),
    "crown_light": ((170, 190, 70), (250, 250, 252)),
    "roof_cover": (None, (248, 250, 255)),
    "window": ((40, 52, 70), (250, 196, 96)),
}
WALLS: tuple[Color, ...] = ((232, 214, 184), (196, 108, 78), (150, 104, 72), (222, 188, 116))
ROOFS: tuple[Color, ...] = ((166, 60, 46), (108, 66, 52), (70, 78, 104))


def mix(a: Color, b: Color, t: float) -> Color:
    """Interpolate from `a` (0) to `b` (1)."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


class Canvas:
    """A square image drawn in unit coordinates, oversampled."""

    def __init__(self, size: int):
        self.side = size * OVERSAMPLING
        self.image = Image.new("RGB", (self.side, self.side))
        self.pen = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[tuple[float, float]], color: Color) -> None:
        """Fill a polygon."""
        self.pen.polygon([(x * self.side, y * self.side) for x, y in points], fill=_bytes(color))

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a circle."""
        box = [each * self.side for each in (x - radius, y - radius, x + radius, y + radius)]
        self.pen.ellipse(box, fill=_bytes(color))

    def shaded(self, points: Sequence[tuple[float, float]], top: Color, bottom: Color) -> None:
        """Fill a polygon with a vertical gradient from its highest to its lowest point."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon([(x * self.side, y * self.side) for x, y in points], fill=255)
        first, last = min(y for _, y in points), max(y for _, y in points)
        progress = np.clip(((np.arange(self.side) + 0.5) / self.side - first) / max(last - first, 1e-9), 0, 1)[:, None]
        column = np.asarray(top) * (1 - progress) + np.asarray(bottom) * progress
        gradient = Image.fromarray(np.round(column).astype(np.uint8)[:, None])
        self.image.paste(gradient.resize(mask.size, Image.Resampling.NEAREST), (0, 0), mask)

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Blend a color over the image, fading with the distance from a point."""
        at = (np.arange(self.side) + 0.5) / self.side
        distance = ((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2) / radius**2
        mask = np.round(255 * strength * np.exp(-distance)).astype(np.uint8)
        self.image.paste(_bytes(color), (0, 0, self.side, self.side), Image.fromarray(mask))


def _bytes(color: Color) -> tuple[int, int, int]:
    return round(color[0]), round(color[1]), round(color[2])


def outline(rng: random.Random, height: float, roughness: float, waves: int, sharp: bool) -> Points:
    """A line from the left to the right edge at about `height`: rolling (sum of sines) or jagged (folded sines)."""
    u = rng.uniform
    parts = [(u(0.6, 1.4) * k, u(0, 2 * math.pi), u(0.5, 1) / k) for k in range(1, waves + 1)]
    line = []
    for x in (i / 96 for i in range(97)):
        values = (a * math.sin(2 * math.pi * f * x + phase) for f, phase, a in parts)
        line.append((x, height - roughness * sum(1 - 2 * abs(v) if sharp else v for v in values)))
    return line


def height_at(line: Points, x: float) -> float:
    """The height of a line at x."""
    return float(np.interp(x, [p[0] for p in line], [p[1] for p in line]))


class Landscape:
    """One scene, drawn from back to front. Random choices are made in the same order in both seasons."""

    def __init__(self, choose: random.Random, season: Season, canvas: Canvas):
        self.choose, self.canvas = choose, canvas
        self.palette = SimpleNamespace(**{name: colors[season == "winter"] for name, colors in COLORS.items()})
        self.late = choose.uniform(0, 1)  # how late in the day, 0 to 1
        self.horizon = choose.uniform(0.42, 0.54)

    def sky(self) -> None:
        """A gradient, warmer at the horizon late in the day, and a sun with a glow."""
        p, c = self.palette, self.choose
        low = mix(p.sky[1], p.warm, 0.75 * self.late)
        frame = [(0.0, 0.0), (1.0, 0.0), (1.0, self.horizon + 0.1), (0.0, self.horizon + 0.1)]
        self.canvas.shaded(frame, mix(p.sky[0], low, 0.1), low)
        x, y = c.uniform(0.12, 0.88), c.uniform(0.1, 0.26)
        self.canvas.glow(x, y, 0.22, p.sun, 0.75)
        self.canvas.disc(x, y, 0.05, mix(p.sun, (255, 255, 255), 0.25))

    def mountains(self) -> None:
        """Two or three ridges, nearer ones darker, lit from one side."""
        p, c = self.palette, self.choose
        count = c.choice((2, 3))
        for number in range(count):
            near = number / max(1, count - 1)
            height = self.horizon - 0.12 + 0.12 * near
            line = outline(c, height, 0.055 * (1.1 - 0.5 * near), 4, sharp=True)
            dark, light = mix(p.ridge[0], p.ridge[1], near), mix(p.ridge_light[0], p.ridge_light[1], near)
            haze = mix(p.sky[1], p.warm, 0.5 * self.late)
            self.canvas.shaded([(0, 1), *line, (1, 1)], mix(dark, haze, 0.1), mix(dark, haze, 0.75))
            self.facets(line, mix(light, haze, 0.15 + 0.2 * (1 - near)))

    def facets(self, line: Points, light: Color) -> None:
        """The lit side of every peak, from the summit down to the right."""
        for i in range(2, len(line) - 2):
            x, y = line[i]
            if y < line[i - 1][1] and y <= line[i + 1][1]:
                j = i
                while j + 1 < len(line) and line[j + 1][1] > line[j][1]:
                    j += 1
                foot_x, foot_y = line[j]
                drop = max(foot_y - y, 0.02)
                shape = (0.45, 0.75), (0.2, 0.95), (-0.05, 0.45)
                lower = [(x + dx * (foot_x - x), y + drop * dy) for dx, dy in shape]
                self.canvas.polygon([(x, y), *line[i : j + 1], *lower], light)

    def hills(self) -> None:
        """Three meadows with houses and trees, and possibly a lake or a path."""
        p, c = self.palette, self.choose
        extra = c.choice(("lake", "path", "none"))
        for number in range(3):
            near = number / 2
            line = outline(c, self.horizon + 0.06 + 0.17 * number, 0.018 + 0.012 * near, 2, sharp=False)
            ground_color = mix(p.hill[0], p.hill[1], near)
            self.canvas.shaded([(0, 1), *line, (1, 1)], mix(ground_color, p.hill_light, 0.55), ground_color)
            if number == 1 and extra == "lake":
                self.lake(line)
            if number == 2 and extra == "path":
                self.path(line)
            self.things(line, near)

    def lake(self, line: Points) -> None:
        """A lake on the middle meadow."""
        x, width = self.choose.uniform(0.25, 0.75), self.choose.uniform(0.16, 0.28)
        y = height_at(line, x) + 0.085
        shore = [(x + width * math.cos(t), y + 0.035 * math.sin(t)) for t in np.linspace(0, 2 * math.pi, 48)]
        self.canvas.shaded(shore, *self.palette.water)

    def path(self, line: Points) -> None:
        """A path winding from the front to the meadow's edge."""
        start, end = self.choose.uniform(0.2, 0.8), self.choose.uniform(0.3, 0.7)
        top = height_at(line, end)
        left, right = [], []
        for i in range(25):
            share = i / 24
            x = start + (end - start) * share + 0.06 * math.sin(5 * share) * (1 - share)
            y, half = 1.02 + (top - 1.02) * share, 0.055 * (1 - share) ** 1.3 + 0.004
            left.append((x - half, y))
            right.append((x + half, y))
        self.canvas.polygon([*left, *reversed(right)], self.palette.path)

    def things(self, line: Points, near: float) -> None:
        """Houses and trees on a meadow, distant ones first and smaller."""
        c = self.choose
        scale = 0.55 + 0.75 * near
        kinds: list[Callable[[float, float, float], None]] = [self.fir] * c.randint(2, 5)
        kinds += [self.leafy] * c.randint(1, 3) + [self.house] * c.choice((0, 1, 1) if near < 1 else (0, 0, 1))
        places = sorted((c.uniform(0.01, 0.10 + 0.03 * near), c.uniform(0.02, 0.98), k) for k in range(len(kinds)))
        for down, x, kind in places:
            kinds[kind](x, height_at(line, x) + down, scale * c.uniform(0.85, 1.2))

    def fir(self, x: float, y: float, scale: float) -> None:
        """Three tiers, light on the left and dark on the right."""
        light, dark = self.palette.fir
        shade = self.choose.uniform(0, 1)
        width, height = 0.045 * scale, 0.17 * scale
        self.canvas.polygon(_box(x, y, 0.009 * scale, 0.02 * scale), (84, 60, 46))
        for tier in range(3):
            top, low = y - height + 0.045 * tier * scale, y - height + (0.075 + 0.042 * tier) * scale
            half = width * (0.55 + 0.225 * tier)
            color = mix(light, dark, 0.6 * shade)
            self.canvas.polygon([(x, top), (x + half, low), (x - half, low)], mix(color, dark, 0.6))
            self.canvas.polygon([(x, top), (x, low), (x - half, low)], color)
            if self.palette.roof_cover is not None:  # snow on the upper half
                edge = top + 0.55 * (low - top)
                snow = [(x, top), (x + 0.55 * half, edge), (x, edge - 0.1 * (low - top)), (x - 0.55 * half, edge)]
                self.canvas.polygon(snow, self.palette.roof_cover)

    def leafy(self, x: float, y: float, scale: float) -> None:
        """A trunk and a crown of a few discs, lit from the upper left; in winter frost keeps its shade."""
        p, c = self.palette, self.choose
        color = mix(p.crown[0], p.crown[1], c.uniform(0, 1))
        self.canvas.polygon(_box(x, y, 0.014 * scale, 0.07 * scale), (92, 64, 46))
        discs = [(c.uniform(-0.035, 0.035), c.uniform(-0.03, 0.02), c.uniform(0.028, 0.042)) for _ in range(5)]
        for dark in (True, False):
            for dx, dy, radius in discs:
                shift, size = (0, 1) if dark else (0.011, 0.72)
                tone = mix(color, (20, 40, 40), 0.22) if dark else mix(color, p.crown_light, 0.25)
                center = x + (dx - shift) * scale, y + (dy - 0.10 - shift) * scale
                self.canvas.disc(*center, radius * scale * size, tone)

    def house(self, x: float, y: float, scale: float) -> None:
        """A front with a gable roof; below the snow, a band of the roof's color stays visible at the eaves."""
        p, c = self.palette, self.choose
        wall, roof = c.choice(WALLS), c.choice(ROOFS)
        half, height, rise = 0.06 * scale, 0.06 * scale, 0.055 * scale
        self.canvas.polygon(_box(x, y, half, height), wall)
        self.canvas.polygon(_box(x + half * 0.5, y, half * 0.5, height), mix(wall, (30, 30, 50), 0.22))
        eaves, ridge = y - height, y - height - rise
        covers = [(eaves, 1.2, roof)] + ([(eaves - 0.42 * rise, 0.99, p.roof_cover)] if p.roof_cover else [])
        for low, reach, color in covers:
            top = [(x - 0.7 * half, ridge), (x + 0.7 * half, ridge)]
            self.canvas.polygon([(x - reach * half, low), *top, (x + reach * half, low)], color)
        for offset in (-0.5, 0.25):
            self.canvas.polygon(_box(x + offset * half, y - 0.32 * height, 0.17 * half, 0.38 * height), p.window)


CLASSES = {"sky": 0, "mountains": 1, "hills": 2, "lake": 3, "path": 4, "fir": 5, "leafy": 6, "house": 7}  # by method
OBJECTS = ("fir", "leafy", "house")  # white in masks


class LabelCanvas(Canvas):
    """A canvas of class numbers: whatever is drawn gets `label`, and glows nothing."""

    label = 0

    def polygon(self, points: Sequence[tuple[float, float]], color: Color) -> None:
        """Fill a polygon."""
        super().polygon(points, (self.label, self.label, self.label))

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a circle."""
        super().disc(x, y, radius, (self.label, self.label, self.label))

    def shaded(self, points: Sequence[tuple[float, float]], top: Color, bottom: Color) -> None:
        """Fill a polygon."""
        self.polygon(points, top)

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Nothing."""


def draw_labels(seed: int, season: Season, size: int = 64) -> Image.Image:
    """The class of each pixel of `draw_scene`, as numbers of `CLASSES` in 8 bits."""
    canvas = LabelCanvas(size)
    scene = Landscape(random.Random(seed), season, canvas)

    def labeled(draw: Callable[..., None], label: int) -> Callable[..., None]:
        def method(*args: Any) -> None:
            outer, canvas.label = canvas.label, label
            draw(*args)
            canvas.label = outer

        return method

    for name, label in CLASSES.items():
        setattr(scene, name, labeled(getattr(scene, name), label))
    _draw(scene)
    middle = OVERSAMPLING // 2
    return Image.fromarray(np.asarray(canvas.image)[middle::OVERSAMPLING, middle::OVERSAMPLING, 0].copy())


def _box(x: float, bottom: float, half: float, height: float) -> Points:
    return [(x - half, bottom), (x - half, bottom - height), (x + half, bottom - height), (x + half, bottom)]


def draw_scene(seed: int, season: Season, size: int = 64) -> Image.Image:
    """Draw the scene of a seed in a season, size x size pixels in RGB; the same scene at every size."""
    scene = Landscape(random.Random(seed), season, Canvas(size))
    _draw(scene)
    return scene.canvas.image.reduce(OVERSAMPLING)


def _draw(scene: Landscape) -> None:
    scene.sky()
    scene.mountains()
    scene.hills()


def write_seasons(
    to: Path, *, size: int = 64, train: int = 400, test: int = 32, paired: bool = False, maps: bool = False
) -> None:
    """Write `train` summer scenes (trainA), winter scenes (trainB), and `test` scenes in both (testA, testB), as PNG.

    Training scenes of A and B have different seeds unless `paired`; test files with equal names show one scene, which
    is not a training scene. With `maps`, also the mask of houses and trees and the label map of each image, in maskA,
    testmaskA, labelA, testlabelA, and so on. Raises `UsageError` for invalid numbers, and `CycleGANError` when `to` is
    not empty or cannot be written.
    """
    if size < 16 or train < 1 or test < 0:
        raise UsageError(f"seasons needs size >= 16, train >= 1 and test >= 0, not {size}, {train} and {test}.")
    parts: list[tuple[str, Season, range]] = [
        ("trainA", "summer", range(train)),
        ("trainB", "winter", range(train) if paired else range(train, 2 * train)),
        ("testA", "summer", range(FIRST_TEST_SEED, FIRST_TEST_SEED + test)),
        ("testB", "winter", range(FIRST_TEST_SEED, FIRST_TEST_SEED + test)),
    ]
    with new_folder(to) as staging:
        for name, season, seeds in parts:
            (staging / name).mkdir()
            for seed in seeds:
                draw_scene(seed, season, size).save(staging / name / f"{seed:07d}.png")
                if maps:
                    _write_maps(staging, name, draw_labels(seed, season, size), f"{seed:07d}.png")
        (staging / NAMES).write_text("summer\nwinter\n", encoding="utf-8")


def _write_maps(to: Path, images: str, labels: Image.Image, file: str) -> None:
    """The label map of an image of the folder `images`, and the mask of its objects."""
    split, domain = images[:-1].removeprefix("train"), images[-1]
    mask = np.isin(np.asarray(labels), [CLASSES[name] for name in OBJECTS])
    for kind, image in (("label", labels), ("mask", Image.fromarray(255 * mask.astype(np.uint8)))):
        folder = to / f"{split}{kind}{domain}"
        folder.mkdir(exist_ok=True)
        image.save(folder / file)
