"""`cyclegan data prepare` turns folders, pairs, photos and videos into a data set."""

import struct
import sys
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from PIL import Image

from conftest import draw_images
from cyclegan.cli import main as cli
from cyclegan.data.get.seasons import write_seasons
from cyclegan.data.layouts import companions, find_domains, find_pairs
from cyclegan.data.prepare.plan import Task
from cyclegan.data.prepare.run import Recipe, TaskResult, crop_starts, run
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import Pixels
from cyclegan.imaging.source import Half, UnreadableImage
from cyclegan.imaging.video import read_frames

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def prepare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run the command in this process; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cyclegan", "data", "prepare", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def gradient(path: Path, width: int, height: int, mode: str = "RGB") -> None:
    y, x = np.mgrid[:height, :width]
    values = np.stack([x % 256, y % 256, (x + y) % 256], 2).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).convert(mode).save(path)


def clip(path: Path, count: int = 20, *, lit: int = 0) -> None:
    """A clip at 10 frames per second whose brightness encodes the frame number, with `lit` white rows at the top."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(count):
            pixels = np.full((48, 64, 3), 10 * number % 256, np.uint8)
            pixels[:lit] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_two_folders_of_any_names_are_split_and_linked(prepare: Command, tmp_path: Path) -> None:
    draw_images(tmp_path / "src" / "horses", 20, 0)
    draw_images(tmp_path / "src" / "zebras" / "deep", 10, 1)
    (tmp_path / "src" / "zebras" / "deep" / "09.png").rename(tmp_path / "src" / "zebras" / "other.png")
    code, out, _ = prepare("src", "-o", "data", "--test", "0.2")
    assert code == 0
    assert "A is horses, B is zebras." in out
    assert "data: 4 in testA, 2 in testB, 16 in trainA, 8 in trainB." in out
    found = find_domains(tmp_path / "data")
    assert {path.name for path in (*found.train.a, *found.test.a)} == {f"{n:02d}.png" for n in range(20)}
    assert all(Path(str(path)).stat().st_nlink == 2 for path in found.train.a)
    prepare("src", "-o", "again", "--test", "0.2")
    prepare("src", "-o", "other", "--test", "0.2", "--seed", "1")
    assert names(tmp_path / "again") == names(tmp_path / "data") != names(tmp_path / "other")


def test_pairs_stay_together_and_existing_test_images_are_kept(prepare: Command, tmp_path: Path) -> None:
    for side in "AB":
        draw_images(tmp_path / "src" / side, 10, "AB".index(side))
    _, out, _ = prepare("src", "-o", "data", "--test", "0.3")
    assert "Found 10 pairs with equal names, which stay together." in out
    assert names(tmp_path / "data" / "testA") == names(tmp_path / "data" / "testB")
    assert len(names(tmp_path / "data" / "testA")) == 3
    prepare("data", "-o", "twice", "--test", "0.9")
    assert names(tmp_path / "twice") == names(tmp_path / "data")


def test_a_file_without_partner_is_reported(prepare: Command, tmp_path: Path) -> None:
    for side in "AB":
        draw_images(tmp_path / "src" / side, 5, 0)
    (tmp_path / "src" / "A" / "stray.png").write_bytes((tmp_path / "src" / "A" / "00.png").read_bytes())
    code, out, err = prepare("src", "-o", "data")
    assert code == 0 and "stray.png has no partner; if they are pairs" in out + err
    for number in range(4):
        (tmp_path / "src" / "B" / f"{number:02d}.png").unlink()
    assert "partner" not in "".join(prepare("src", "-o", "strangers")[1:])  # a few equal names are a coincidence


def test_images_are_resized_and_converted_in_their_own_depth(prepare: Command, tmp_path: Path) -> None:
    gradient(tmp_path / "src" / "A" / "wide.jpg", 120, 60)
    gradient(tmp_path / "src" / "B" / "tall.png", 50, 100, "L")
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "src" / "B" / "deep.png")
    assert prepare("src", "-o", "data", "--size", "30", "--format", "png", "--test", "0")[0] == 0
    assert names(tmp_path / "data") == ["trainA/wide.png", "trainB/deep.png", "trainB/tall.png"]
    sizes = {path.name: Image.open(path).size for path in (tmp_path / "data").rglob("*.png")}
    assert sizes == {"wide.png": (60, 30), "tall.png": (30, 60), "deep.png": (30, 30)}
    assert Image.open(tmp_path / "data" / "trainB" / "deep.png").mode == "I;16"
    assert Image.open(tmp_path / "data" / "trainB" / "tall.png").mode == "L"
    prepare("src", "-o", "square", "--size", "16x8", "--test", "0")
    assert Image.open(tmp_path / "square" / "trainA" / "wide.jpg").size == (16, 8)


def test_crops_cover_every_pixel(prepare: Command, tmp_path: Path) -> None:
    gradient(tmp_path / "src" / "A" / "big.png", 70, 50)
    gradient(tmp_path / "src" / "A" / "small.png", 20, 50)
    gradient(tmp_path / "src" / "B" / "one.png", 32, 32)
    code, out, err = prepare("src", "-o", "data", "--crops", "32", "--overlap", "4", "--test", "0")
    assert code == 0
    assert "small.png has 20x50 pixels, too few for crops of 32x32." in err
    assert "1 skipped" in out
    whole = np.asarray(Image.open(tmp_path / "src" / "A" / "big.png"))
    seen = np.zeros(whole.shape[:2], bool)
    for row, top in enumerate(crop_starts(50, 32, 4)):
        for column, left in enumerate(crop_starts(70, 32, 4)):
            cut = np.asarray(Image.open(tmp_path / "data" / "trainA" / f"big-r{row}-c{column}.png"))
            assert np.array_equal(cut, whole[top : top + 32, left : left + 32])
            seen[top : top + 32, left : left + 32] = True
    assert seen.all()
    assert names(tmp_path / "data" / "trainB") == ["one-r0-c0.png"]


def test_joined_pairs_can_be_halved_again(prepare: Command, tmp_path: Path) -> None:
    for side in "AB":
        draw_images(tmp_path / "src" / side, 5, "AB".index(side))
    assert prepare("src", "-o", "joined", "--join", "--test", "0.2")[0] == 0
    pairs = find_pairs(tmp_path / "joined")
    assert (len(pairs.train.a), len(pairs.test.a)) == (4, 1)
    for half in pairs.train.b:
        assert isinstance(half, Half)
        assert read_image(half) == read_image(tmp_path / "src" / "B" / half.path.name)
    assert prepare("joined", "-o", "apart", "--halve")[0] == 0
    for path in (tmp_path / "apart").rglob("*.png"):
        assert read_image(path) == read_image(tmp_path / "src" / path.parent.name[-1] / path.name)


def test_photos_become_pairs_with_their_edges(prepare: Command, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    photo = np.full((40, 60, 3), 40, np.uint8)
    photo[:, 30:] = 220
    for name in ("one", "two"):
        Image.fromarray(photo).save(tmp_path / "photos" / f"{name}.png")
    assert prepare("photos", "-o", "edges", "--edges", "--test", "0")[0] == 0
    drawn = np.asarray(Image.open(tmp_path / "edges" / "trainA" / "one.png"))
    assert (drawn[10] == 0).sum() == 1 and set(np.unique(drawn)) == {0, 255}
    assert abs(int(drawn[10].argmin()) - 30) <= 1
    assert np.array_equal(np.asarray(Image.open(tmp_path / "edges" / "trainB" / "one.png")), photo)


def test_videos_become_frames_with_the_end_as_test_images(prepare: Command, tmp_path: Path) -> None:
    clip(tmp_path / "one.mp4")
    clip(tmp_path / "more" / "two.mp4", 6)
    draw_images(tmp_path / "more" / "stills", 2, 0)
    code, _out, err = prepare("--a", "one.mp4", "--b", "more", "-o", "data", "--every", "3", "--test", "0.25")
    assert code == 0, err
    assert names(tmp_path / "data" / "trainA") == [f"one-{n:06d}.png" for n in (0, 3, 6, 9, 12)]
    assert names(tmp_path / "data" / "testA") == [f"one-{n:06d}.png" for n in (15, 18)]
    frame = np.asarray(Image.open(tmp_path / "data" / "trainA" / "one-000009.png"))
    assert frame.shape == (48, 64, 3) and abs(frame.mean() - 90) < 4
    assert "two-000000.png" in names(tmp_path / "data" / "trainB")


def test_rotated_phone_videos_are_extracted_upright(prepare: Command, tmp_path: Path) -> None:
    for side in "AB":
        clip(tmp_path / side / "clip.mp4", 4, lit=20)
    turned = bytearray((tmp_path / "A" / "clip.mp4").read_bytes())
    matrix = turned.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2: a quarter turn with the clock
    turned[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "A" / "clip.mp4").write_bytes(turned)
    code, out, err = prepare("--a", "A/clip.mp4", "--b", "B/clip.mp4", "-o", "data", "--every", "1", "--test", "0")
    assert code == 0, err
    assert "pairs" not in out  # videos with equal names are not pairs
    a, b = (np.asarray(Image.open(tmp_path / "data" / f"train{side}" / "clip-000003.png")) for side in "AB")
    assert (a.shape, b.shape) == ((64, 48, 3), (48, 64, 3))
    assert a[:, 40:].min() > 200 > 100 > a[:, :20].max()  # the top is on the right now
    assert b[:10].min() > 200


def test_videos_in_folders_a_and_b_are_found(prepare: Command, tmp_path: Path) -> None:
    for place in ("trainA", "trainB", "testA", "testB"):
        clip(tmp_path / "src" / place / f"{place}.mp4", 4)
    (tmp_path / "src" / "trainA" / "._trainA.mp4").write_bytes(b"left by another system")
    code, _, err = prepare("src", "-o", "data", "--every", "2")
    assert (code, err) == (0, "")
    assert names(tmp_path / "data" / "testA") == ["testA-000000.png", "testA-000002.png"]
    assert names(tmp_path / "data" / "trainB")[0] == "trainB-000000.png"


def test_frame_extraction_stops_when_the_results_are_closed(tmp_path: Path) -> None:
    """As after Ctrl-C."""
    clip(tmp_path / "short.mp4", 4)
    clip(tmp_path / "long.mp4", 600)
    videos = [Task((tmp_path / f"{name}.mp4",), ("A",), Path(name)) for name in ("short", "long")]
    results = cast(Generator[TaskResult], run(videos, tmp_path / "out", "folders", Recipe(size=400)))
    assert next(results).task == videos[0]
    results.close()
    assert 4 <= len(names(tmp_path / "out")) < 604


def test_images_are_rotated_upright_and_lose_alpha_where_unsupported(prepare: Command, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "src" / "A").mkdir(parents=True)
    Image.new("RGB", (60, 40), "red").save(tmp_path / "src" / "A" / "photo.jpg", exif=exif)
    (tmp_path / "src" / "B").mkdir()
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "src" / "B" / "clear.png")
    assert prepare("src", "-o", "data", "--size", "20", "--format", "jpg")[0] == 0
    with Image.open(tmp_path / "data" / "trainA" / "photo.jpg") as photo:
        assert photo.size == (20, 30) and not photo.getexif()
    assert Image.open(tmp_path / "data" / "trainB" / "clear.jpg").getpixel((5, 5)) == (255, 255, 255)
    assert prepare("src", "-o", "same", "--size", "20")[0] == 0
    assert Image.open(tmp_path / "same" / "trainB" / "clear.png").mode == "RGBA"


def test_png_labels_do_not_become_jpeg(prepare: Command, tmp_path: Path) -> None:
    gradient(tmp_path / "src" / "A" / "x.jpg", 40, 40)
    gradient(tmp_path / "src" / "B" / "x.png", 40, 40)
    prepare("src", "-o", "pairs", "--size", "20")
    assert names(tmp_path / "pairs") == ["trainA/x.jpg", "trainB/x.png"]
    _, out, _ = prepare("src", "-o", "joined", "--join")
    assert names(tmp_path / "joined") == ["train/x.png"] and "check joined --method pix2pix" in out
    prepare("src/A", "-o", "edges", "--edges")
    assert names(tmp_path / "edges") == ["names.txt", "trainA/x.png", "trainB/x.jpg"]
    assert (tmp_path / "edges/trainB/x.jpg").samefile(tmp_path / "src/A/x.jpg")


def test_crops_of_pairs_are_pairs(prepare: Command, tmp_path: Path) -> None:
    for side, width in (("A", 40), ("B", 48)):
        gradient(tmp_path / "src" / side / "unlike.png", width, 40)
        gradient(tmp_path / "src" / side / "same.png", 40, 40)
    code, out, err = prepare("src", "-o", "data", "--crops", "32", "--test", "0")
    assert code == 0 and "unlike.png and its partner differ in size" in err and "1 skipped" in out
    assert names(tmp_path / "data" / "trainA") == names(tmp_path / "data" / "trainB")
    assert "same-r1-c1.png" in names(tmp_path / "data" / "trainB")


def test_test_images_without_partner_are_kept(prepare: Command, tmp_path: Path) -> None:
    for place in ("trainA", "trainB", "testA"):
        draw_images(tmp_path / "src" / place, 3, 0)
    draw_images(tmp_path / "src" / "testB", 2, 0)
    assert prepare("src", "-o", "data")[0] == 0
    assert names(tmp_path / "data") == names(tmp_path / "src")
    code, _, err = prepare("src", "-o", "joined", "--join")
    assert code == 2 and "cannot be joined" in err


def test_broken_links_are_reported_and_training_images_remain(prepare: Command, tmp_path: Path) -> None:
    for side, count in (("A", 1), ("B", 3)):
        draw_images(tmp_path / "src" / side, count, 0)
    (tmp_path / "src" / "B" / "gone.png").symlink_to("nowhere.png")
    code, out, err = prepare("src", "-o", "data", "--test", "0.9")
    assert code == 0 and "gone.png does not exist." in err and "1 skipped" in out
    assert "1 in trainA" in out and "testA" not in out


def test_equal_names_with_different_suffixes_are_all_kept(prepare: Command, tmp_path: Path) -> None:
    for suffix in ("png", "bmp", "jpg"):
        gradient(tmp_path / "src" / "A" / f"x.{suffix}", 20, 20)
    gradient(tmp_path / "src" / "B" / "y.png", 20, 20)
    prepare("src", "-o", "data", "--format", "png", "--test", "0")
    assert names(tmp_path / "data" / "trainA") == ["x-2.png", "x-3.png", "x.png"]


def test_unreadable_files_are_reported_and_skipped(prepare: Command, tmp_path: Path) -> None:
    for side in "AB":
        draw_images(tmp_path / "src" / side, 3, "AB".index(side))
    (tmp_path / "src" / "A" / "00.png").write_bytes(b"not an image")
    (tmp_path / "src" / "B" / "clip.mp4").write_bytes(b"no video")
    code, out, err = prepare("--a", "src/A", "--b", "src/B", "-o", "data", "--size", "16", "--test", "0")
    assert code == 0
    assert "00.png is not an image in a supported format" in err and "clip.mp4 cannot be decoded" in err
    assert "2 skipped" in out
    assert names(tmp_path / "data" / "trainA") == ["01.png", "02.png"]


def test_nothing_is_left_behind_when_no_file_is_readable(prepare: Command, tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / "src" / side).mkdir(parents=True)
        (tmp_path / "src" / side / f"{side}.png").write_bytes(b"not an image")
    code, _, err = prepare("src", "-o", "data", "--size", "16")
    assert code == 1 and "so data was not written" in err
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["src", "-o", "full"], 1, "full exists and is not empty"),
        (["src", "-o", "d", "--join", "--halve"], 2, "--join and --halve cannot be combined"),
        (["--a", "src/A", "--b", "src/B", "-o", "d", "--edges"], 2, "--edges takes one folder"),
        (["src", "-o", "d", "--halve"], 2, "not images side by side"),
        (["src", "-o", "d", "--size", "0"], 2, "--size is '0'"),
        (["src", "-o", "d", "--test", "1"], 2, "--test is 1.0"),
        (["src", "-o", "d", "--crops", "16", "--overlap", "16"], 2, "--overlap is 16"),
        (["src", "-o", "d", "--every", "0"], 2, "--every is 0"),
        (["nowhere", "-o", "d"], 2, "nowhere does not exist"),
        (["--a", "src/A", "--b", "nothing.mp4", "-o", "d"], 2, "nothing.mp4 does not exist"),
    ],
)
def test_wrong_arguments_are_explained(
    prepare: Command, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    for side in "AB":
        draw_images(tmp_path / "src" / side, 2, "AB".index(side))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    ended, _, err = prepare(*words)
    assert (ended, message in err) == (code, True), err
    assert (tmp_path / "full" / "mine.txt").exists() and not (tmp_path / "d").exists()


def test_the_readable_part_of_a_damaged_video_is_used(
    prepare: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(video: Path, every: int) -> Iterator[tuple[int, float, Pixels]]:
        yield from (frame for frame in read_frames(video, every) if frame[0] < 4)
        raise UnreadableImage(f"{video} cannot be decoded: rubbish.")

    monkeypatch.setattr("cyclegan.data.prepare.run.read_frames", damaged)
    clip(tmp_path / "clip.mp4")
    draw_images(tmp_path / "b", 2, 0)
    code, out, err = prepare("--a", "clip.mp4", "--b", "b", "-o", "data", "--every", "2")
    assert code == 0 and "skipped" not in out
    assert "clip.mp4 cannot be decoded: rubbish. The frames before that were extracted." in err
    assert names(tmp_path / "data" / "trainA") == ["clip-000000.png", "clip-000002.png"]


def test_the_names_of_two_folders_are_kept(prepare: Command, tmp_path: Path) -> None:
    for name, tint in (("photos", 0), ("paintings", 2)):
        draw_images(tmp_path / name, 3, tint)
    assert prepare("--a", "photos", "--b", "paintings", "-o", "art")[0] == 0
    assert find_domains(tmp_path / "art").names == ("photos", "paintings")
    assert prepare("art", "-o", "again", "--size", "20")[0] == 0
    assert find_domains(tmp_path / "again").names == ("photos", "paintings")
    assert find_domains(a=tmp_path / "art" / "trainA", b=tmp_path / "art" / "trainB").names == ("photos", "paintings")
    assert prepare("--a", "photos", "--b", "paintings", "-o", "summer2winter")[0] == 0  # the new folder says more
    assert find_domains(tmp_path / "summer2winter").names == ("summer", "winter")


def test_masks_and_label_maps_follow_their_images(prepare: Command, tmp_path: Path) -> None:
    write_seasons(tmp_path / "in", size=32, train=4, test=0, maps=True)
    code, _, err = prepare("in", "-o", "out", "--test", "0.25", "--size", "64", "--format", "jpg", "--crops", "48")
    assert code == 0, err
    found = names(tmp_path / "out")
    for kind, suffix in (("mask", "png"), ("label", "png"), ("", "jpg")):
        for split, count in (("train", 3), ("test", 1)):
            for domain in "AB":
                assert sum(name.startswith(f"{split}{kind}{domain}/") for name in found) == 4 * count
                assert all(name.endswith(suffix) for name in found if name.startswith(f"{split}{kind}{domain}/"))
    files = find_domains(tmp_path / "out")
    for kind in ("mask", "label"):
        assert len(companions(files.train.a, files.train.roots[0], "A", kind)) == 12
        assert len(companions(files.test.b, files.test.roots[1], "B", kind)) == 4
    for path in (tmp_path / "out" / "trainlabelA").iterdir():
        assert set(np.unique(np.asarray(Image.open(path)))) <= set(range(8))  # numbers are not mixed by resizing
