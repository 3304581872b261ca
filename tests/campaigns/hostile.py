"""Mutated files of every format that is read, and numbers that are not finite."""

import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from campaigns.harness import HANG, Fault, Tally, attempt, contents, finish, prepared, start, train_words
from conftest import tensors
from odd_files import FORMATS, encoded, odd, tiff

BATCH = 20  # jobs for each forked process
IMAGES = 20  # in the folder that is one job
MEMORY = 2048  # MiB that an input may take beyond the rest of the process
VIDEOS = {"a.mp4": "libx264", "a.mkv": "ffv1", "a.webm": "libvpx-vp9", "a.avi": "mpeg4"}
Job = tuple[str, dict[Path, bytes]]  # the kind of files, and their mutated contents
NUMBERS = (0, 1, 2, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 10**9, 10**18, -1, -(10**9))
WORDS = ("NaN", "1e999", "[]", "{}", "null", '""', "true", "-1", "../../x", "\\u0000", "9" * 400, "[" * 2000)


def mutate(rng: random.Random, content: bytes) -> bytes:
    """Flipped bytes, boundary numbers, cuts, repeats and swaps."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(max(1, min(len(data), rng.choice((32, 512, len(data) or 1)))))
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) % 2 ** (8 * size)
            data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif kind == 2:
            del data[at : at + rng.choice((1, 4, 64, len(data)))]
        elif kind == 3:
            data[at:at] = data[at : at + rng.choice((1, 16, 256))] * rng.choice((1, 2, 50))
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.choice((1, 8, 100)))
        else:
            other = rng.randrange(len(data) or 1)
            data[at : at + 8], data[other : other + 8] = data[other : other + 8], data[at : at + 8]
    return bytes(data)


def mutate_text(rng: random.Random, content: bytes) -> bytes:
    """Other numbers, values and lines in JSON, TOML, CSV and XML."""
    text = content.decode("utf-8", "replace")
    for _ in range(rng.choice((1, 1, 2, 4))):
        words = text.split(" ")
        at = rng.randrange(len(words))
        if rng.random() < 0.7:
            ending = "".join(c for c in words[at][-2:] if c in ",]}\n")
            words[at] = rng.choice((*WORDS, *map(str, NUMBERS))) + ending
            text = " ".join(words)
        else:
            lines = text.splitlines(keepends=True) or [""]
            line = rng.randrange(len(lines))
            lines[line : line + 1] = rng.choice(([], [lines[line]] * 3, [lines[line][: len(lines[line]) // 2]]))
            text = "".join(lines)
    return mutate(rng, text.encode()) if rng.random() < 0.2 else text.encode()


def image_seeds() -> dict[str, bytes]:
    """Images of every format, by file name."""
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.zeros((20, 20, 3), np.uint8))
    np.savez_compressed(npz, np.zeros((20, 20, 3), np.float32))
    seeds = dict(FORMATS) | {name: content for name, content in odd() if len(name) < 40 and name.isascii()}
    seeds |= {"a.npy": npy.getvalue(), "a.npz": npz.getvalue(), "a.avif": encoded("AVIF")}
    seeds["float.tif"] = tiff(np.zeros((20, 20), np.float32), compression="zlib")
    return {name.replace("/", "").replace("\n", "").strip(): content for name, content in seeds.items()}


def hostile_input(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """Two mutated images of each kind a round, and one of each other file, given to the commands that read them."""
    tally = Tally()
    data, run, _ = prepared(folder)
    room = folder / "room"
    room.mkdir()
    outside = contents(folder / "red2blue")
    targets = targets_of(folder, run, data, room)
    if rounds > 1:
        targets |= slow_targets(folder, run, room)
    jobs: list[Job] = []
    for _ in range(rounds):
        images: dict[Path, bytes] = {}
        for name, (path, content, weight) in targets.items():
            for number in range(weight):
                is_text = path.suffix in (".json", ".toml", ".csv", ".jsonl", ".txt", ".xml")
                mutated = (mutate_text if is_text else mutate)(rng, content)
                if name.startswith("image"):
                    images[path.with_stem(f"{number}-{path.stem}")] = mutated
                else:
                    jobs.append((name, {path: mutated}))
        listed = list(images.items())
        rng.shuffle(listed)
        jobs += [("image", dict(listed[i : i + IMAGES])) for i in range(0, len(listed), IMAGES)]
    rng.shuffle(jobs)
    if rounds == 1:
        del jobs[8:]
    words = {name: commands_of(name, data, room) for name, _ in jobs}
    done = 0
    while done < len(jobs):
        done += run_batch(jobs[done : done + BATCH], words, targets, folder, tally)
    tally.expect(contents(folder / "red2blue") == outside, "a file outside was changed")
    escaped = [str(p) for p in folder.parent.glob("x*") if p.stat().st_mtime > folder.stat().st_ctime]
    tally.expect(not escaped, f"files outside: {escaped}")
    return tally


def targets_of(folder: Path, run: Path, data: Path, room: Path) -> dict[str, tuple[Path, bytes, int]]:
    """By name: the file to mutate, its content, and how often a round."""
    targets = {f"image {n}": (room / "images" / "A" / n, content, 2) for n, content in image_seeds().items()}
    copied = room / "run"
    shutil.copytree(run, copied)
    model = room / "model"
    outcome = attempt(["export", run, "--format", "safetensors", "-o", model], model)
    assert outcome.code == 0, outcome.text
    for file in ("config.json", "model.safetensors"):
        targets[f"model {file}"] = (model / file, (model / file).read_bytes(), 1)
    for file in ("config.toml", "metrics.csv", "messages.jsonl", "checkpoints/latest/state.json"):
        if (copied / file).exists():
            targets[f"run {file}"] = (copied / file, (copied / file).read_bytes(), 1)
    for file in ("weights", "optimizers", "process-0"):
        path = copied / "checkpoints" / "latest" / f"{file}.safetensors"
        targets[f"run {file}"] = (path, path.read_bytes(), 1)
    for kind in ("zip", "tar", "gztar"):
        archive = Path(shutil.make_archive(str(room / f"maps-{kind}"), kind, data))
        targets[f"archive {kind}"] = (archive, archive.read_bytes(), 1)
    named = room / "named"
    shutil.copytree(data, named)
    (named / "names.txt").write_text("horse\nzebra\n")
    targets["names.txt"] = (named / "names.txt", b"horse\nzebra\n", 1)
    return targets


def slow_targets(folder: Path, run: Path, room: Path) -> dict[str, tuple[Path, bytes, int]]:
    """Exports and videos, which take seconds to make."""
    targets = {}
    for name in ("exports", "videos"):
        (room / name).mkdir()
    for kind, file in (("onnx", "model.onnx"), ("openvino", "model.xml")):
        outcome = attempt(["export", run, "--format", kind, "-o", room / "exports" / file], folder / kind)
        assert outcome.code == 0, outcome.text
    for file, codec in VIDEOS.items():
        outcome = finish(start(partial(film, room / "videos" / file, codec), folder / "film.log"), folder / "film.log")
        assert outcome.code == 0, outcome.text
    for path in sorted([*(room / "exports").iterdir(), *(room / "videos").iterdir()]):
        targets[f"{path.parent.name[:-1]} {path.name}"] = (path, path.read_bytes(), 3)
    return targets


def film(path: Path, codec: str) -> None:
    """A video of a few frames."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), 60 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def commands_of(name: str, data: Path, room: Path) -> list[list[object]]:
    """The commands that read a mutated file."""
    if name.startswith("image"):
        pair = room / "images"
        return [
            ["translate", room.parent / "made" / "run", pair / "A", "-o", room / "out", "--overwrite"],
            ["data", "check", "--a", pair / "A", "--b", data / "trainB", "--json"],
        ]
    if name.startswith("model"):
        return [["translate", room / "model", data / "testA", "-o", room / "out", "--overwrite"]]
    if name in ("run metrics.csv", "run messages.jsonl"):
        return [["report", room / "run"], ["resume", room / "run"]]
    if name.startswith("run"):
        return [
            ["translate", room / "run", data / "testA", "-o", room / "out", "--overwrite"],
            ["resume", room / "run"],
        ]
    if name.startswith("export"):
        export = room / "exports" / name.split()[1].replace(".bin", ".xml")
        return [["translate", export, data / "testA", "-o", room / "out", "--overwrite"]]
    if name.startswith("video"):
        video = room / "videos" / name.split()[1]
        return [["translate", room.parent / "made" / "run", video, "-o", room / f"out{video.suffix}", "--overwrite"]]
    if name == "names.txt":
        return [["data", "check", room / "named", "--json"]]
    suffix = {"zip": "zip", "tar": "tar", "gztar": "tar.gz"}[name.split()[1]]
    return [["data", "get", "maps", "--from-file", room / f"maps-{name.split()[1]}.{suffix}", "-o", room / "got"]]


def run_batch(
    jobs: list[Job],
    words: dict[str, list[list[object]]],
    targets: dict[str, tuple[Path, bytes, int]],
    folder: Path,
    tally: Tally,
) -> int:
    """Run jobs in one forked process, which notes each; returns how many were done, the one that ended it included."""
    notes = folder / "notes.jsonl"
    notes.unlink(missing_ok=True)

    def work() -> None:
        from cyclegan.cli.main import main

        pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
        limit = pages * resource.getpagesize() + MEMORY * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        def hang(*_: Any) -> None:
            raise TimeoutError("hang")

        signal.signal(signal.SIGPROF, hang)
        for name, files in jobs:
            for path, content in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            problem, codes = "", []
            for command in words[name]:
                shutil.rmtree(folder / "room" / "got", ignore_errors=True)
                with notes.open("a") as file:
                    file.write(json.dumps({"start": name}) + "\n")
                sys.argv = ["cyclegan", *map(str, command)]
                signal.setitimer(signal.ITIMER_PROF, HANG)
                try:
                    main()
                except SystemExit as end:
                    codes.append(end.code)
                except BaseException as error:
                    place = traceback.extract_tb(error.__traceback__)[-1]
                    problem = f"{type(error).__name__}: {str(error)[:150]} ({Path(place.filename).name}:{place.lineno})"
                signal.setitimer(signal.ITIMER_PROF, 0)
            restore(name, files, targets)
            with notes.open("a") as file:
                file.write(json.dumps({"name": name, "codes": codes, "problem": problem}) + "\n")

    outcome = finish(start(work, folder / "batch.log"), folder / "batch.log", 10 * HANG * len(jobs))
    rows = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    ended = [row for row in rows if "name" in row]
    for row, (_, files) in zip(ended, jobs, strict=False):
        tally.add(f"{row['name'].split()[0]} files", len(files))
        tally.add("commands", len(row["codes"]))
        tally.add("of them refused", sum(map(bool, row["codes"])))
        tally.expect(not row["problem"], f"{row['name']}: {row['problem']}")
    tally.expect("Traceback" not in outcome.text, f"traceback: {outcome.text[-400:]}")
    if len(ended) == len(jobs):
        return len(jobs)
    name, files = jobs[len(ended)]
    kept = Path(tempfile.mkdtemp(prefix="campaign-crash-"))
    for path, content in files.items():
        (kept / path.name).write_bytes(content)
    tally.failures.append(f"{name}: ended the process: signal {outcome.signal}, exit {outcome.code}; kept in {kept}")
    restore(name, files, targets)
    return len(ended) + 1


def restore(name: str, files: dict[Path, bytes], targets: dict[str, tuple[Path, bytes, int]]) -> None:
    """Put the originals back, so that the next input is the only one that is damaged."""
    for path in files:
        if name == "image":
            path.unlink()
        else:
            path.write_bytes(targets[name][1])


def numbers(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """NaN and infinity in inputs, weights, gradients and losses, in each precision."""
    tally = Tally()
    data, _, _ = prepared(folder)
    kinds: dict[str, Callable[[int, float], Fault]] = {
        "weights": _into_weights,
        "gradients": _into_gradients,
        "inputs": _into_inputs,
    }
    for _ in range(rounds):
        kind, precision = rng.choice(list(kinds)), rng.choice(("32-true", "bf16-mixed", "16-mixed"))
        step, value = rng.randint(2, 5), rng.choice((float("nan"), float("inf"), -float("inf")))
        runs = folder / "numbers"
        words = train_words(data, runs, precision=precision)
        outcome = attempt(words, runs, kinds[kind](step, value))
        tally.add(f"{kind} in {precision}")
        what = f"{value} in {kind} at step {step} in {precision}"
        tally.expect(not outcome.problem, f"{what}: {outcome.problem}")
        stopped = "The loss is no longer finite" in outcome.text
        tally.add("stopped", stopped)
        tally.add("skipped", outcome.code == 0)
        tally.expect(stopped or outcome.code == 0, f"{what}: exit {outcome.code}: {outcome.text[-300:]}")
        kept = tensors(runs / "run")
        finite = all(bool(t.isfinite().all()) for name, t in kept.items() if t.is_floating_point())
        tally.expect(finite, f"{what}: the checkpoint is not finite")
        told = attempt(["diagnose", runs / "run"], runs)
        tally.expect(not told.problem, f"{what}: diagnose: {told.problem}")
        if stopped:
            tally.expect("finite" in told.text, f"{what}: diagnose says nothing: {told.text[-300:]}")
            again = attempt(["resume", runs / "run"], runs)
            tally.expect(again.code == 0, f"{what}: cannot be resumed: {again.text[-300:]}")
        shutil.rmtree(runs)
    return tally


def at_step(step: int, change: Callable[[Any, Any], None], name: str = "train_step") -> Fault:
    """Call `change(state, arguments)` before a training step, or before another of the state's methods in it."""

    def install(_: Path) -> None:
        from cyclegan.training.step import TrainState

        original = getattr(TrainState, name)

        def changed(self: Any, *arguments: Any) -> Any:
            if self.step + 1 == step:
                change(self, arguments)
            return original(self, *arguments)

        setattr(TrainState, name, changed)

    return install


def _set_first(tensor: Any, value: float) -> None:
    tensor[(0,) * tensor.ndim] = value


def _into_weights(step: int, value: float) -> Fault:
    import torch

    def change(state: Any, _: Any) -> None:
        with torch.no_grad():
            _set_first(next(state.method.generators.parameters()), value)

    return at_step(step, change)


def _into_gradients(step: int, value: float) -> Fault:
    def change(state: Any, _: Any) -> None:
        gradient = next(state.method.generators.parameters()).grad
        if gradient is not None:
            _set_first(gradient, value)

    return at_step(step, change, "_optimizer_step")


def _into_inputs(step: int, value: float) -> Fault:
    def change(_: Any, arguments: Any) -> None:
        for batch in arguments[0]:
            _set_first(batch["A"], value)

    return at_step(step, change)
