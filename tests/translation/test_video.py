"""Videos, animations and pipes through `cyclegan translate`, with a generator of a few weights."""

import io
import os
import signal
import struct
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from conftest import TINY, draw_images, start
from cyclegan import CycleGANError, Translator, UsageError
from cyclegan.cli.main import run as run_command
from cyclegan.config.schema import Config
from cyclegan.methods.method import build_method
from cyclegan.runs.model import Model, model_settings
from cyclegan.runs.publish import write_model
from cyclegan.translation import files, video
from cyclegan.translation.files import translate_animation, translate_image_stream
from cyclegan.translation.temporal import with_temporal_smoothing
from cyclegan.translation.video import translate_camera_raw, translate_raw_frames, translate_video

RATE = 20
TAGS = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}  # BT.709, limited


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of untrained weights."""
    torch.manual_seed(0)
    config = Config().with_settings(**{k: v for k, v in TINY.items() if k not in ("device",)}, init_gain=0.1)
    weights = {k: v for k, v in build_method(config, 0).state_dict().items() if k.startswith("generators")}
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_model(Model(model_settings(config), weights, "drawn"), folder)
    return folder


@pytest.fixture(scope="module")
def translator(model: Path) -> Translator:
    return Translator.load(model, device="cpu")


def film(
    path: Path, codec: str, sound: str, *, times: list[int] | None = None, size: tuple[int, int] = (64, 48)
) -> None:
    """A moving gradient with a tone of 440 Hz; `times` are those of frames, in steps of 1 / RATE seconds."""
    times = times or list(range(30))
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(codec, rate=RATE)
        pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
        pictures.codec_context.time_base = Fraction(1, RATE)
        for tag, value in TAGS.items():
            setattr(pictures.codec_context, tag, value)
        audio = container.add_stream(sound, rate=48_000, layout="mono")
        tone = np.sin(np.arange(48_000 * (times[-1] + 1) // RATE) * 2 * np.pi * 440 / 48_000).astype(np.float32)
        for number, at in enumerate(times):
            x = (np.arange(size[0]) * 3 + 5 * number) % 256
            rgb = np.repeat(np.tile(x, (size[1], 1))[..., None], 3, 2).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, RATE)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        for first in range(0, len(tone), 960):
            chunk = av.AudioFrame.from_ndarray(tone[None, first : first + 960], format="flt", layout="mono")
            chunk.sample_rate, chunk.pts = 48_000, first
            container.mux(audio.encode(chunk))
        container.mux(audio.encode())


def seen(path: Path) -> dict[str, Any]:
    """What a player makes of a file: times of frames in seconds, sound as packets with their times, tags."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        tags = {tag: getattr(stream.codec_context, tag) for tag in TAGS}
        frames = [round(float(frame.time), 3) for frame in container.decode(stream)]
        size = stream.width, stream.height
    with av.open(str(path)) as container:
        packets = container.demux(audio=0) if container.streams.audio else []
        sound = [(round(float(p.pts * p.time_base), 3), bytes(p)) for p in packets if p.size]
    return {"times": frames, "sound": sound, "tags": tags, "size": size}


@pytest.mark.parametrize(
    ("codec", "sound", "suffix"),
    [("libx264", "aac", ".mp4"), ("libvpx-vp9", "libopus", ".webm"), ("libx264", "aac", ".mkv")],
)
def test_times_of_frames_sound_and_color_tags_are_kept(
    translator: Translator, tmp_path: Path, codec: str, sound: str, suffix: str
) -> None:
    film(tmp_path / f"in{suffix}", codec, sound)
    told: list[tuple[int, int | None]] = []
    filmed = translate_video(
        translator, tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", progress=lambda *now: told.append(now)
    )
    before, after = seen(tmp_path / f"in{suffix}"), seen(tmp_path / f"out{suffix}")
    assert filmed.frames == len(after["times"]) == 30
    assert after == before
    assert before["sound"] and before["tags"] == TAGS
    assert told[-1][0] == 30 and told[-1][1] in (30, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"in{suffix}", f"out{suffix}"]


def test_irregular_times_of_frames_are_kept(translator: Translator, tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", "libx264", "aac", times=[0, 1, 2, 7, 8, 20, 21, 40])
    translate_video(translator, tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert seen(tmp_path / "out.mp4")["times"] == [0, 0.05, 0.1, 0.35, 0.4, 1, 1.05, 2]


def test_a_generator_that_changes_nothing_changes_no_frame(tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", "libx264", "aac", times=[0, 1, 2])
    nothing = Translator(torch.nn.Identity(), (3, 3), "cpu")
    translate_video(nothing, tmp_path / "in.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "in.mp4")) as given, av.open(str(tmp_path / "out.mp4")) as made:
        for before, after in zip(given.decode(video=0), made.decode(video=0), strict=True):
            difference = before.to_ndarray(format="rgb24").astype(int) - after.to_ndarray(format="rgb24")
            assert np.abs(difference).mean() < 3


def corners(path: Path) -> tuple[np.ndarray[Any, Any], int, int]:
    """The colors of a video's corners (2, 2, 3) as its pixels are stored, and its tags of range and matrix."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        inner = [frame.to_ndarray(format="rgb24").astype(int)[y, x] for y in (5, -6) for x in (5, -6)]
        return np.reshape(inner, (2, 2, 3)), int(frame.color_range), int(frame.colorspace)


def film_corners(path: Path, codec: str, color_range: int, matrix: int) -> None:
    """Red and green above blue and white, stored in a range (1 limited, 2 full) by a matrix (1 BT.709, 6 BT.601)."""
    colors = np.array([[[220, 30, 30], [30, 220, 40]], [[20, 30, 230], [250, 250, 250]]], np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.color_range, stream.codec_context.colorspace = color_range, matrix
        for number in range(2):
            drawn = av.VideoFrame.from_ndarray(colors.repeat(24, 0).repeat(32, 1), format="rgb24")
            frame = drawn.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=color_range)
            frame.color_range, frame.colorspace = color_range, matrix
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("libvpx-vp9", ".webm")])
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("matrix", [1, 6])
def test_colors_are_kept_in_every_range_and_matrix(
    tmp_path: Path, codec: str, suffix: str, color_range: int, matrix: int
) -> None:
    given, made = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    film_corners(given, codec, color_range, matrix)
    translate_video(Translator(torch.nn.Identity(), (3, 3), "cpu"), given, made)
    (before, *tags), (after, *tags_after) = corners(given), corners(made)
    assert tags == tags_after == [color_range, matrix]
    assert np.abs(after - before).max() <= 6


def test_a_rotated_video_is_turned_upright(tmp_path: Path) -> None:
    film_corners(tmp_path / "in.mp4", "libx264", 1, 1)
    before = corners(tmp_path / "in.mp4")[0]
    content = bytearray((tmp_path / "in.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 44  # of ISO 14496-12, 8.3.2, in 16.16: players turn clockwise by 90 degrees
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    (tmp_path / "in.mp4").write_bytes(content)
    translate_video(Translator(torch.nn.Identity(), (3, 3), "cpu"), tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert seen(tmp_path / "out.mp4")["size"] == (48, 64)
    assert np.abs(corners(tmp_path / "out.mp4")[0] - np.rot90(before, -1)).max() <= 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0  # else it would be turned twice


def test_a_video_with_odd_sides_is_written(translator: Translator, tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", "libx264", "aac", times=[0, 1])
    translate_video(translator, tmp_path / "in.mp4", tmp_path / "out.mp4", size=33)
    assert seen(tmp_path / "out.mp4")["size"] == (44, 33)


def test_a_camera_is_translated_to_a_file_and_to_raw_frames(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(video.CAMERA_FORMATS, sys.platform, "lavfi")  # draws what a camera would see
    source = "camera:testsrc=size=48x32:rate=5:duration=2"
    assert translate_video(translator, source, tmp_path / "out.mp4").frames == 10
    assert len(seen(tmp_path / "out.mp4")["times"]) == 10
    made = io.BytesIO()
    assert translate_camera_raw(translator, source, made, 24, 16).frames == 10
    assert len(made.getvalue()) == 10 * 24 * 16 * 3


def test_impossible_videos_are_refused(translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(CycleGANError, match=r"bad\.mp4 cannot be translated as a video"):
        translate_video(translator, tmp_path / "bad.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 80), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        container.mux(audio.encode(silence))
    with pytest.raises(CycleGANError, match=r"sound\.mkv has no video stream"):
        translate_video(translator, tmp_path / "sound.mkv", tmp_path / "out.mp4")
    (tmp_path / "sound.mkv").unlink()
    with pytest.raises(CycleGANError, match="cannot be translated as a video: No such file"):
        translate_video(translator, tmp_path / "none.mp4", tmp_path / "out.mp4")
    film(tmp_path / "in.mp4", "libx264", "aac", times=[0, 1])
    with pytest.raises(UsageError, match=r"out\.txt is not a supported output format"):
        translate_video(translator, tmp_path / "in.mp4", tmp_path / "out.txt")
    with pytest.raises((UsageError, CycleGANError), match=r"\.webm|cannot be translated"):
        translate_video(translator, tmp_path / "in.mp4", tmp_path / "out.webm")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r'pip install "cyclegan\[video\]"'):
        translate_video(translator, tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.mp4", "in.mp4"]


@pytest.mark.processes
def test_an_interrupted_video_can_be_played(model: Path, tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", "libx264", "aac", times=list(range(4000)))
    process = start("translate", model, tmp_path / "in.mp4", "-o", tmp_path / "out.mp4")
    deadline = time.monotonic() + 120
    while not any(p.stat().st_size for p in tmp_path.glob(".*.mp4")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "frames until it was stopped." in out
    frames = seen(tmp_path / "out.mp4")["times"]
    assert 0 < len(frames) < 4000 and f": {len(frames)} frames" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_smoothing_reduces_flicker(translator: Translator) -> None:
    """A bright thing that blinks in a corner must not change the rest of the frame."""
    ground = np.random.default_rng(0).integers(60, 120, (48, 64, 3)).astype(np.uint8)

    def flicker(by: Translator) -> float:
        frames = []
        for number in range(12):
            frame = ground.copy()
            if number % 2:
                frame[:16, :16] = 255
            frames.append(by.translate(frame)[32:, 32:].astype(float))
        return float(np.mean([np.abs(a - b).mean() for a, b in pairwise(frames[6:])]))

    assert flicker(with_temporal_smoothing(translator, 0.9)) < 0.3 * flicker(translator)
    assert np.array_equal(with_temporal_smoothing(translator, 0.0).translate(ground), translator.translate(ground)) or (
        np.abs(
            with_temporal_smoothing(translator, 0.0).translate(ground).astype(int) - translator.translate(ground)
        ).max()
        <= 1
    )
    with pytest.raises(UsageError, match=r"--smooth is 1\.0"):
        with_temporal_smoothing(translator, 1.0)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animations_keep_durations_and_repetitions(translator: Translator, tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(4).integers(0, 255, (4, 5, 6, 3)).astype(np.uint8)
    pictures = [Image.fromarray(each).resize((24, 20), Image.Resampling.BICUBIC) for each in noise]
    times, path = [100, 50, 200, 80], tmp_path / f"in{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=times, loop=3, lossless=True)
    assert translate_animation(translator, path, tmp_path / f"out{suffix}") == 4
    with Image.open(path) as given, Image.open(tmp_path / f"out{suffix}") as made:
        assert made.info.get("loop") == 3
        for before, after, time_of in zip(
            ImageSequence.Iterator(given), ImageSequence.Iterator(made), times, strict=True
        ):
            expected = np.asarray(translator.translate(before.convert("RGB"))).astype(int)
            difference = np.abs(np.asarray(after.convert("RGB")) - expected).mean()
            assert difference < (25 if suffix == ".gif" else 1)  # 256 colors
            assert round(after.info["duration"]) == time_of


def test_an_image_is_translated_through_pipes(translator: Translator) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (20, 24, 3)).astype(np.uint8))
    for kind in ("PNG", "JPEG", "WEBP"):
        given, made = io.BytesIO(), io.BytesIO()
        picture.save(given, kind)
        given.seek(0)
        translate_image_stream(translator, given, made)
        assert Image.open(made).format == kind and Image.open(made).size == (24, 20)
    with pytest.raises(CycleGANError, match="is not an image in a supported format"):
        translate_image_stream(translator, io.BytesIO(b"nothing"), io.BytesIO())


def test_raw_frames_are_translated_through_pipes(translator: Translator) -> None:
    frames = np.random.default_rng(2).integers(0, 255, (3, 16, 20, 3)).astype(np.uint8)
    made = io.BytesIO()
    assert translate_raw_frames(translator, io.BytesIO(frames.tobytes()), made, 20, 16) == 3
    result = np.frombuffer(made.getvalue(), np.uint8).reshape(frames.shape)
    assert np.array_equal(result[1], translator.translate(frames[1]))
    with pytest.raises(CycleGANError, match="ends within frame 2"):
        translate_raw_frames(translator, io.BytesIO(frames.tobytes()[: 16 * 20 * 3 + 5]), io.BytesIO(), 20, 16)


def test_the_command_refuses_impossible_pipes(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def translate(*words: str | Path) -> None:
        run_command(["translate", str(model), *map(str, words)])

    film(tmp_path / "in.mp4", "libx264", "aac", times=[0, 1])
    with pytest.raises(UsageError, match="Videos cannot be written to standard output"):
        translate(tmp_path / "in.mp4", "-o", "-")
    with pytest.raises(UsageError, match="from standard input or a camera"):
        translate(tmp_path / "in.mp4", "-o", "-", "--raw", "64x48")
    with pytest.raises(UsageError, match="--size does not apply to --raw"):
        translate("-", "-o", "-", "--raw", "64x48", "--size", "32")
    readable, writable = os.pipe()
    os.close(readable)  # the program behind the pipe has gone
    with os.fdopen(writable, "wb", buffering=0) as closed:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bytes(16 * 16 * 3))))
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=closed))
        with pytest.raises(CycleGANError, match="The program that reads the frames has exited"):
            translate("-", "-o", "-", "--raw", "16x16")
    with pytest.raises(UsageError, match="--smooth needs a generator"):
        with_temporal_smoothing(Translator(torch.nn.Identity(), (3, 3), "cpu"), 0.9)


def test_folders_are_translated_in_order(translator: Translator, tmp_path: Path) -> None:
    draw_images(tmp_path / "in", 6, 0)
    (tmp_path / "in" / "02.png").write_bytes(b"no picture")
    jobs = files.plan(files.find([tmp_path / "in"]), tmp_path / "out")
    problems = list(files.translate(translator, jobs))
    assert problems == [None, None, problems[2], None, None, None]
    assert "02.png" in str(problems[2])
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_notes_name_what_a_translated_video_loses(translator: Translator, tmp_path: Path) -> None:
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\nGood morning.\n")
    with av.open(str(tmp_path / "in.mkv"), "w") as container, av.open(str(tmp_path / "words.srt")) as words:
        pictures = container.add_stream("libx264", rate=RATE)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p10le"
        subtitles = container.add_stream_from_template(words.streams[0])
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(pictures.encode(frame.reformat(format="yuv420p10le")))
        container.mux(pictures.encode())
        for packet in words.demux():
            if packet.dts is not None:
                packet.stream = subtitles
                container.mux(packet)
    filmed = translate_video(translator, tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert filmed.notes == ("Its subtitles are left out.", "Its 10-bit frames are reduced to 8 bits.")
    film(tmp_path / "plain.mp4", "libx264", "aac")
    assert translate_video(translator, tmp_path / "plain.mp4", tmp_path / "out.mp4").notes == ()
