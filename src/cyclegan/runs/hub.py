"""Models on the Hugging Face hub, by name: fetched once and kept in its cache, and uploaded (extra `hub`)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError, UsageError

PREFIX = "hf:"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
FILES = ("config.json", "model.safetensors")  # all that is ever fetched


def is_hub_name(text: str) -> bool:
    """Whether this could be a model's name on the hub, such as ``user/horse2zebra`` or ``user/horse2zebra@v2``."""
    return _NAME.fullmatch(text) is not None


def resolve_source(source: str | Path) -> Path:
    """The folder that a model is in: `source` itself, or for ``hf:user/name[@revision]`` what the hub has.

    What was fetched once is kept by the hub's library, which asks the hub only whether there is something newer.
    Raises `UsageError` for a name that is none, and `CycleGANError` when it cannot be had.
    """
    text = str(source)
    if not text.startswith(PREFIX):
        return Path(source)
    found = _NAME.fullmatch(text.removeprefix(PREFIX))
    if not found:
        raise UsageError(f"{text!r} is no model of the hub; one is named hf:user/name or hf:user/name@revision.")
    name, revision = found.groups()
    library = _library()
    with _complaints_named(name):
        folder = Path(library.snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    if not all((folder / file).is_file() for file in FILES):
        raise CycleGANError(f"hf:{name} holds no model of this program (it has no {' and '.join(FILES)}).")
    return folder


def upload(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload a model folder as ``user/name``, made if it is not there yet, and return its address.

    The token is the one of ``hf auth login`` or of the variable HF_TOKEN. Raises `CycleGANError` and `UsageError`.
    """
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not found or found[2]:
        raise UsageError(f"{name!r} is no name for a model on the hub; give user/name.")
    library, name = _library(), found[1]
    with _complaints_named(name):
        hub = library.HfApi()
        address = hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload a model of cyclegan")
    return str(address)


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError("Models of the hub need the extra `hub`: pip install 'cyclegan[hub]'.") from None
    return huggingface_hub


@contextmanager
def _complaints_named(name: str) -> Iterator[None]:
    """Make one sentence of whatever the library raises; it passes on the errors of several others."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.GatedRepoError, errors.RepositoryNotFoundError):
        raise CycleGANError(
            f"hf:{name} is not on the hub, or not for you; check the name, and log in with `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise CycleGANError(f"hf:{name} has no such revision.") from None
    except errors.LocalEntryNotFoundError:
        raise CycleGANError(f"hf:{name} is not kept on this machine, and the hub is out of reach.") from None
    except errors.HFValidationError as error:
        raise UsageError(f"hf:{name}: {_first_line(error)}.") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise CycleGANError(f"The hub does not let you write to {name}; log in with `hf auth login`.") from None
        raise CycleGANError(f"hf:{name}: the hub answers {_first_line(error)}.") from None
    except Exception as error:
        raise CycleGANError(f"hf:{name} could not be reached: {_first_line(error)}.") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
