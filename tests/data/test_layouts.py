"""Layouts of data sets, and the errors for other folders."""

from pathlib import Path

import pytest
from PIL import Image

from cyclegan.data.layouts import SplitFiles, find_domains, find_images, paired_by_name
from cyclegan.errors import UsageError


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name, "PNG")
    return root


@pytest.mark.parametrize(
    ("folders", "tests"),
    [
        (("trainA", "trainB", "testA", "testB"), True),
        (("trainA", "trainB", "valA", "valB"), True),
        (("train/A", "train/B", "test/A", "test/B"), True),
        (("train/A", "train/B", "val/A", "val/B"), True),
        (("TrainA", "trainb", "TESTA", "TestB"), True),
        (("trainA", "trainB"), False),
        (("A", "B"), False),
    ],
)
def test_folder_layouts_are_recognized(tmp_path: Path, folders: tuple[str, ...], tests: bool) -> None:
    put(tmp_path, *(f"{folder}/deep/{n}.png" for folder in folders for n in range(2)))
    domains = find_domains(tmp_path)
    assert [len(domains.train.a), len(domains.train.b)] == [2, 2]
    assert [len(domains.test.a), len(domains.test.b)] == [2 * tests, 2 * tests]
    assert domains.train.a[0] == tmp_path / folders[0] / "deep" / "0.png"
    assert domains.names == ("A", "B")


@pytest.mark.parametrize(
    ("folder", "text", "names"),
    [
        ("horse2zebra", None, ("horse", "zebra")),
        ("summer2winter_yosemite", None, ("summer", "winter")),
        ("horse2zebra128", None, ("horse", "zebra")),
        ("facades", None, ("A", "B")),
        ("2nd", None, ("A", "B")),
        ("facades", "labels\nphotographs\n", ("labels", "photographs")),
        ("horse2zebra", "\n Pferd \n\n Zebra\n", ("Pferd", "Zebra")),
        ("horse2zebra", "one line\n", ("horse", "zebra")),
        ("horse2zebra", "a\nb\nc\n", ("horse", "zebra")),
    ],
)
def test_domain_names_come_from_a_file_or_the_folder(
    tmp_path: Path, folder: str, text: str | None, names: tuple[str, str]
) -> None:
    put(tmp_path / folder, "trainA/x.png", "trainB/x.png")
    if text is not None:
        (tmp_path / folder / "names.txt").write_text(text)
    assert find_domains(tmp_path / folder).names == names


def test_the_test_split_is_preferred_to_val(tmp_path: Path) -> None:
    put(tmp_path, "trainA/x.png", "trainB/x.png", "testA/t.png", "valA/v.png")
    assert [p.name for p in find_domains(tmp_path).test.a] == ["t.png"]


def test_two_folders_can_be_given(tmp_path: Path) -> None:
    put(tmp_path, "photos/x.png", "paintings/y.png")
    domains = find_domains(a=tmp_path / "photos", b=tmp_path / "paintings")
    assert domains.names == ("photos", "paintings")
    assert domains.test == SplitFiles()


def test_images_are_found_recursively_in_sorted_order_without_hidden_ones(tmp_path: Path) -> None:
    put(tmp_path, "b.PNG", "a/z.jpeg", "a/b/c.tiff", ".hidden.png", ".git/x.png")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in find_images(tmp_path)] == [
        "a/b/c.tiff",
        "a/z.jpeg",
        "b.PNG",
    ]


def test_images_are_paired_by_name(tmp_path: Path) -> None:
    root = put(tmp_path, "A/1.png", "A/2.jpg", "B/1.jpg", "B/2.jpg")
    domain = find_domains(root).train
    assert [(a.name, b.name) for a, b in paired_by_name(domain)] == [("1.png", "1.jpg"), ("2.jpg", "2.jpg")]
    put(tmp_path, "A/3.jpg")
    assert paired_by_name(find_domains(root).train) == []


def test_folders_without_data_are_explained(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "file").write_text("")
    one = put(tmp_path / "one", "trainA/x.png")
    texts = tmp_path / "texts"
    put(texts, "trainB/x.png")
    (texts / "trainA").mkdir()
    (texts / "trainA" / "notes.txt").write_text("")
    for data, sentence in {
        tmp_path / "gone": "gone does not exist",
        tmp_path / "file": "is a file; give a folder",
        empty: "must contain trainA and trainB, .* but contains no folders",
        one: "trainA exists, but trainB is missing",
        texts: r"trainA contains 1 file, but no images; images end in .avif",
    }.items():
        with pytest.raises(UsageError, match=sentence):
            find_domains(data)


def test_wrong_folder_arguments_are_explained(tmp_path: Path) -> None:
    one, two = put(tmp_path / "one", "x.png"), put(tmp_path / "two", "y.png")
    (tmp_path / "link").symlink_to(one)
    odd = put(tmp_path / "odd", "cats/x.png", "dogs/y.png")
    for given, sentence in (
        ({}, "No data was given; give one folder"),
        ({"a": one}, "one is only one domain; give"),
        ({"data": one, "a": one, "b": two}, "one and --a or --b were given; give"),
        ({"a": one, "b": one}, "the same folder, .*one; give two"),
        ({"a": one, "b": tmp_path / "link"}, "the same folder"),
        ({"a": one, "b": one / "x.png"}, "x.png is a file; give a folder"),
        ({"a": one, "b": tmp_path / "gone"}, "gone does not exist; give"),
        ({"data": odd}, "odd must contain trainA .* but contains only cats, dogs; .* --method pix2pix"),
    ):
        with pytest.raises(UsageError, match=sentence) as error:
            find_domains(**given)
        assert "\n" not in str(error.value)
        assert str(error.value).endswith(".")


def test_pairs_are_matched_by_path_below_their_folders(tmp_path: Path) -> None:
    root = put(tmp_path, "A/x/1.png", "A/y/1.png", "B/x/1.jpg", "B/y/1.png")
    assert [(a.parent.name, b.parent.name) for a, b in paired_by_name(find_domains(root).train)] == [
        ("x", "x"),
        ("y", "y"),
    ]
    assert paired_by_name(SplitFiles((Path("p/1.png"),), (Path("q/1.jpg"),))) == [(Path("p/1.png"), Path("q/1.jpg"))]
