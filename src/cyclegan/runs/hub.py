"""Models on the Hugging Face hub: downloaded once into its cache, and uploaded (extra `hub`)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError, UsageError, first_line
from cyclegan.system.optional import optional_import

PREFIX = "hf:"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
FILES = ("config.json", "model.safetensors")  # no others are downloaded


def is_hub_name(text: str) -> bool:
    """Whether this could be a model's name on the hub, such as ``user/horse2zebra`` or ``user/horse2zebra@v2``."""
    return _NAME.fullmatch(text) is not None


def resolve_source(source: str | Path) -> Path:
    """The local path of a model: `source` itself, or for ``hf:user/name[@revision]`` the download's folder.

    Downloads are kept in the hub's cache; the hub is only asked for a newer version. Raises `UsageError` for an
    invalid name, and `CycleGANError` when the model cannot be downloaded.
    """
    text = str(source)
    if not text.startswith(PREFIX):
        return Path(source)
    match = _NAME.fullmatch(text.removeprefix(PREFIX))
    if not match:
        raise UsageError(f"{text!r} is not a model on the hub; write hf:user/name or hf:user/name@revision.")
    name, revision = match.groups()
    hub = optional_import("huggingface_hub", "hub")
    with _explain_errors(name):
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    if not all((folder / file).is_file() for file in FILES):
        raise CycleGANError(f"hf:{name} is not a model of cyclegan (it lacks {' or '.join(FILES)}).")
    return folder


def upload(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload a model folder as ``user/name``, creating the repository if necessary, and return its address.

    The token is that of ``hf auth login`` or of the variable HF_TOKEN. Raises `UsageError` and `CycleGANError`.
    """
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not match or match[2]:
        raise UsageError(f"{name!r} is not a valid model name on the hub; write user/name.")
    hub, name = optional_import("huggingface_hub", "hub"), match[1]
    with _explain_errors(name):
        api = hub.HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload a cyclegan model")
    return str(address)


@contextmanager
def _explain_errors(name: str) -> Iterator[None]:
    """Turn any error of the hub's library, which passes on those of several others, into a `CycleGANError`."""
    from huggingface_hub import errors

    try:
        yield
    except Exception as error:
        line = first_line(error)
        if isinstance(error, errors.HFValidationError):
            raise UsageError(f"hf:{name}: {line}.") from None
        messages: dict[Any, str] = {  # the first that fits
            (errors.GatedRepoError, errors.RepositoryNotFoundError): "was not found on the hub, or needs a login; "
            "check the name, or run `hf auth login`",
            errors.RevisionNotFoundError: "does not have this revision",
            errors.LocalEntryNotFoundError: "is not in the local cache, and the hub cannot be reached",
            errors.HfHubHTTPError: "cannot be written to; log in with `hf auth login`"
            if getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
            else f"failed; the hub answered: {line}",
            Exception: f"cannot be reached: {line}",
        }
        reason = next(message for kinds, message in messages.items() if isinstance(error, kinds))
        raise CycleGANError(f"hf:{name} {reason}.") from None
