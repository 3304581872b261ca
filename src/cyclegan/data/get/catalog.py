"""The catalog of public data sets: descriptions, URLs, sizes, terms and citations."""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Literal

from cyclegan.errors import UsageError

Layout = Literal["unpaired", "paired", "photos"]


@dataclass(frozen=True)
class Entry:
    """A named data set.

    Layouts: "unpaired" has trainA and trainB (testA and testB); "paired" has train, val and test with two images side
    by side in each file; "photos" are for translation, not for training.
    """

    name: str
    description: str
    terms: str
    citation: str
    size: int = 0  # of the archive in bytes, approximately
    urls: tuple[str, ...] = ()  # in the order in which they are tried
    sha256: str | None = None  # None if not published
    layout: Layout = "unpaired"
    instructions: str = ""  # how to get the data set, if it has no URLs


# The second URL of each is the older one, which has failed for many users since 2023 (CUT, issue 171).
CYCLEGAN_URLS = (
    "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/",
    "https://people.eecs.berkeley.edu/~taesung_park/CycleGAN/datasets/",
)
PIX2PIX_URLS = (
    "https://efrosgans.eecs.berkeley.edu/pix2pix/datasets/",
    "https://people.eecs.berkeley.edu/~tinghuiz/projects/pix2pix/datasets/",
)

CYCLEGAN = "Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, ICCV 2017"
PIX2PIX = "Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017"
CUT = "Park et al., Contrastive Learning for Unpaired Image-to-Image Translation, ECCV 2020"
FACADES = "Tyleček and Šára, Spatial Pattern Templates for Recognition of Objects with Regular Structure, GCPR 2013"
CITYSCAPES = "Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016"
SHOES = "Yu and Grauman, Fine-Grained Visual Comparisons with Local Learning, CVPR 2014"
HANDBAGS = "Zhu et al., Generative Visual Manipulation on the Natural Image Manifold, ECCV 2016"
NIGHTS = (
    "Laffont et al., Transient Attributes for High-Level Understanding and Editing of Outdoor Scenes, SIGGRAPH 2014"
)
PETS = "Parkhi et al., Cats and Dogs, CVPR 2012"

IMAGENET = "those of ImageNet: research and teaching, not commercial"
FLICKR = "none stated; photos from Flickr belong to their owners"
PAINTINGS = "none stated; paintings from WikiArt, photos from Flickr"
GOOGLE = "none stated; images from Google Maps"
FACADES_TERMS = "none stated; ask the authors of CMP Facades"

GET_CITYSCAPES = (
    "Cityscapes may not be redistributed. Register at https://www.cityscapes-dataset.com, download "
    "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, and copy the photos of leftImg8bit/train to trainA "
    "and the *_color.png files of gtFine/train to trainB (those of val to testA and testB)"
)


def _cyclegan(
    name: str, size: int, description: str, terms: str, sha256: str | None = None, citation: str = CYCLEGAN
) -> Entry:
    urls = tuple(f"{base}{name}.zip" for base in CYCLEGAN_URLS)
    return Entry(name, description, terms, citation, size, urls, sha256)


def _pix2pix(name: str, size: int, description: str, terms: str, citation: str = PIX2PIX) -> Entry:
    urls = tuple(f"{base}{name}.tar.gz" for base in PIX2PIX_URLS)
    return Entry(f"pix2pix-{name}", description, terms, citation, size, urls, layout="paired")


# Exact sizes, checksums and the numbers of images next to them come from TensorFlow Datasets (cycle_gan); others from
# the authors' docs/datasets.md, and other sizes from the server's directory listing.
ENTRIES = (
    Entry(
        "seasons", "drawn landscapes: summer, winter; built in, with known ground truth", "Apache-2.0", "this project"
    ),
    _cyclegan(
        "apple2orange",
        78_456_409,
        "apples (995), oranges (1,019)",
        IMAGENET,
        "845a191e9af8926408ea597001cd03a452e3300a1f44a79fe329b3d59f6e3eb8",
    ),
    _cyclegan(
        "summer2winter_yosemite",
        132_640_856,
        "Yosemite in summer (1,231), in winter (962)",
        FLICKR,
        "167fe1726807a9d22bd106b4a6c0bd7953b688af924ac1bf967439c4961e49f9",
    ),
    _cyclegan(
        "horse2zebra",
        116_867_962,
        "horses (1,067), zebras (1,334)",
        IMAGENET,
        "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1",
    ),
    _cyclegan(
        "monet2photo",
        305_231_073,
        "paintings by Monet (1,072), photos of landscapes (6,287)",
        PAINTINGS,
        "88f91b00fc228f97c9411fbf1880ec1d119c98f1722e4cfcfaa2fb35fac05b04",
    ),
    _cyclegan(
        "cezanne2photo",
        279_885_071,
        "paintings by Cézanne (525), photos of landscapes (6,287)",
        PAINTINGS,
        "3a6c10ca21f9485862f1cbd707744b9dc258954a04631271d23a3605eeb63cff",
    ),
    _cyclegan(
        "ukiyoe2photo",
        292_946_532,
        "Ukiyo-e prints (562), photos of landscapes (6,287)",
        PAINTINGS,
        "02a2a2fb5ecf425ca1bf86aca7304377da64a2a1d3b86df54eb65e4068bf3b08",
    ),
    _cyclegan(
        "vangogh2photo",
        306_590_349,
        "paintings by Van Gogh (400), photos of landscapes (6,287)",
        PAINTINGS,
        "362c3473e70be0944bda08d49d660eafdc2854df55d697835b8186d1d79caaff",
    ),
    _cyclegan(
        "maps",
        1_476_754_427,
        "aerial photos, maps (1,096 of each)",
        GOOGLE,
        "639534f69dbf9f36bef8d6292a7698006361221f83f0285d7c9ca78afe6e8a9e",
    ),
    Entry(
        "cityscapes",
        "street scenes, their labels (2,975 of each)",
        "its own; not commercial; registration required",
        CITYSCAPES,
        instructions=GET_CITYSCAPES,
    ),
    _cyclegan(
        "facades",
        35_135_868,
        "photos of facades, their labels (400 of each)",
        FACADES_TERMS,
        "9a31ebf3a31b9b5cd195dd5bf62e9308e00cb94604d1019e3889ac84248695c0",
        FACADES,
    ),
    _cyclegan(
        "iphone2dslr_flower",
        339_964_458,
        "flowers by phone camera (1,812), by DSLR (3,325)",
        FLICKR,
        "8fcb5e374d631b107e1d961b8c4cd0a186aa2a4ff3e279923f4c426128de7113",
    ),
    Entry(
        "ae_photos",
        "photos by Alexei Efros, for translation into paintings",
        "none stated; the photos belong to their photographer",
        CYCLEGAN,
        10_000_000,
        tuple(f"{base}ae_photos.zip" for base in CYCLEGAN_URLS),
        layout="photos",
    ),
    _cyclegan(
        "grumpifycat",
        20_000_000,
        "Russian Blue cats (88), Grumpy Cat (214)",
        "Russian Blues CC BY-SA 4.0 (Oxford-IIIT Pet); others none stated",
        citation=f"{CUT}; {PETS}",
    ),
    _pix2pix("facades", 30_000_000, "photos of facades with their labels (400)", FACADES_TERMS, FACADES),
    _pix2pix("maps", 250_000_000, "aerial photos with their maps (1,096)", GOOGLE),
    _pix2pix(
        "edges2shoes",
        2_100_000_000,
        "edges with their shoes (50,000)",
        "those of UT Zappos50K: academic, not commercial",
        SHOES,
    ),
    _pix2pix(
        "edges2handbags",
        8_600_000_000,
        "edges with their handbags (137,000)",
        "none stated; images from Amazon",
        HANDBAGS,
    ),
    _pix2pix(
        "night2day",
        2_000_000_000,
        "outdoor scenes at night with the same by day (about 20,000)",
        "none stated; ask the authors of Transient Attributes",
        NIGHTS,
    ),
)
CATALOG = {entry.name: entry for entry in ENTRIES}


def all_entries() -> dict[str, Entry]:
    """The catalog by name, with the entries of other packages: the entry points of the group ``cyclegan.datasets``."""
    return CATALOG | {plugin.name: plugin.load() for plugin in entry_points(group="cyclegan.datasets")}


def find_entry(name: str) -> Entry:
    """The data set of a name. Raises `UsageError` with similar names if there is none."""
    entries = all_entries()
    if name in entries:
        return entries[name]
    near = [each for each in entries if each.removeprefix("pix2pix-") == name]
    near += [each for each in get_close_matches(name.lower(), entries) if each not in near]
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"Unknown data set {name!r}; see `cyclegan data list`.{meant}")
