"""The models that the authors of CycleGAN and pix2pix released: a catalog, and their download as model folders."""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from cyclegan.data.get.catalog import CITATIONS
from cyclegan.data.get.checksums import BadFile, compute_checksum, remember_checksum, verify_checksum
from cyclegan.data.get.transfer import FileKind, PartialFile, ProgressListener, RetryPolicy, fetch
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.runs.folder import is_model_folder
from cyclegan.runs.model import read_model
from cyclegan.runs.publish import write_model
from cyclegan.runs.reference_files import import_model

SERVER = "https://efrosgans.eecs.berkeley.edu"
FOLDERS = {"cyclegan": f"{SERVER}/cyclegan/pretrained_models", "pix2pix": f"{SERVER}/pix2pix/models-pytorch"}
SIZES = {"cyclegan": 45_000_000, "pix2pix": 217_000_000}
PREFIX = "pix2pix-"  # of names here, as in the catalog of data sets: both papers have a sat2map
DOMAINS = {  # input and output, by name
    "apple2orange": "apple orange",
    "orange2apple": "orange apple",
    "summer2winter_yosemite": "summer winter",
    "winter2summer_yosemite": "winter summer",
    "horse2zebra": "horse zebra",
    "zebra2horse": "zebra horse",
    "monet2photo": "monet photo",
    "style_monet": "photo monet",
    "style_cezanne": "photo cezanne",
    "style_ukiyoe": "photo ukiyoe",
    "style_vangogh": "photo vangogh",
    "sat2map": "aerial map",
    "map2sat": "map aerial",
    "cityscapes_photo2label": "photo label",
    "cityscapes_label2photo": "label photo",
    "facades_photo2label": "photo label",
    "facades_label2photo": "label photo",
    "iphone2dslr_flower": "iphone dslr",
    "pix2pix-edges2shoes": "edges shoes",
    "pix2pix-sat2map": "aerial map",
    "pix2pix-map2sat": "map aerial",
    "pix2pix-facades_label2photo": "label photo",
    "pix2pix-day2night": "day night",
}
WEIGHTS = FileKind(
    "weights",
    lambda start: start.startswith((b"PK\x03\x04", b"\x80\x02")),  # torch.save writes zip files, once pickles
    "If you have the file from elsewhere, use `cyclegan import-weights`.",
)


@dataclass(frozen=True)
class ReleasedModel:
    """A generator that the authors released, for one direction."""

    name: str
    domains: tuple[str, str]  # of its inputs and outputs
    method: str
    url: str  # on the authors' server
    size: int  # of the file in bytes, approximately
    citation: str
    license: str = "none stated"

    @property
    def source(self) -> str:
        """How the weights were made, as model folders and their cards say."""
        return f"the authors' released weights {self.name}, license {self.license}"


def _entry(name: str, domains: str) -> ReleasedModel:
    method = "pix2pix" if name.startswith(PREFIX) else "cyclegan"
    url, (a, b) = f"{FOLDERS[method]}/{name.removeprefix(PREFIX)}.pth", domains.split()
    return ReleasedModel(name, (a, b), method, url, SIZES[method], CITATIONS[method])


RELEASED = {name: _entry(name, domains) for name, domains in DOMAINS.items()}


def find_released(name: str) -> ReleasedModel:
    """The released model with this name. Raises `UsageError` with similar names if there is none."""
    if name in RELEASED:
        return RELEASED[name]
    near = [each for each in RELEASED if each == PREFIX + name] or get_close_matches(name.lower(), RELEASED)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"Unknown model {name!r}; see `cyclegan models list`.{meant}")


def get_model(
    released: ReleasedModel,
    to: Path,
    listener: ProgressListener,
    mirror: str | None = None,
    policy: RetryPolicy | None = None,
) -> list[str]:
    """Create the model folder `to` of a released model, and return sentences about it.

    `mirror` is the address of a folder that has the authors' file, tried before their server. A folder that already
    holds this model is left unchanged. Raises `CycleGANError`, and `UsageError` if `to` is something else or `mirror`
    is not an address.
    """
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UsageError(f"--mirror {mirror} is not an address such as https://example.org/models.")
    if is_model_folder(to) and read_model(to).source == released.source:
        return [f"{to}: already there."]
    if to.exists():
        raise UsageError(f"{to} exists; remove it, or choose another folder with -o.")
    urls = [released.url]
    if mirror is not None:
        urls.insert(0, f"{mirror.rstrip('/')}/{released.url.rpartition('/')[2]}")
    use = partial(_import_file, released, to)
    return fetch(released.name, urls, partial_file(released, to).path, WEIGHTS, use, listener, policy)


def partial_file(released: ReleasedModel, to: Path) -> PartialFile:
    """The unfinished download for the folder `to`."""
    return PartialFile(to.absolute().parent / f".{released.name}.pth")


def _import_file(released: ReleasedModel, to: Path, file: Path) -> list[str]:
    """Verify a file and make it the model folder `to`. Raises `BadFile`."""
    sha256, name = compute_checksum(file), f"{released.name}.pth"
    verify_checksum(name, sha256)
    try:
        model, sentences = import_model(file)
    except CycleGANError as error:
        reason = str(error).removeprefix(str(file)).strip(": .")
        raise BadFile(f"cannot be used ({reason})") from None
    write_model(replace(model, domains=released.domains, source=released.source), to)
    return [sentence.replace(file.name, name) for sentence in sentences] + remember_checksum(name, sha256)
