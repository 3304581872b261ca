"""The record of software and hardware."""

import getpass
import json
import platform

import torch

from cyclegan import __version__
from cyclegan.cli.main import run
from cyclegan.system import environment


def test_env_prints_versions_extras_and_caches(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = environment.user_cache_dir()
    (cache / "arrays").mkdir(parents=True)
    (cache / "arrays" / "one").write_bytes(bytes(3 * 2**20))
    run(["env"])
    text = capsys.readouterr().out
    assert __version__ in text
    assert torch.__version__ in text
    assert "video" in text
    assert f"3.0 MiB in {cache / 'arrays'}" in text


def test_env_as_json_is_complete(capsys):
    run(["env", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["environment"] == environment.describe_environment()
    assert printed["missing"] == environment.extras()


def test_the_environment_names_neither_user_nor_machine():
    text = " ".join(environment.describe_environment().values()).lower()
    assert platform.node().lower() not in text.split()
    assert getpass.getuser().lower() not in text.split()


def test_each_start_of_a_run_is_recorded(tmp_path):
    environment.record_environment(tmp_path)
    environment.record_environment(tmp_path)
    starts = environment.read_environments(tmp_path)
    assert [start["PyTorch"] for start in starts] == [torch.__version__] * 2
    assert starts[0]["command"] == environment.command_line()
    assert starts[0]["date"] <= starts[1]["date"]


def test_a_damaged_record_is_replaced(tmp_path):
    (tmp_path / environment.FILE).write_text('[{"command": ')
    assert environment.read_environments(tmp_path) == []
    environment.record_environment(tmp_path)
    assert len(environment.read_environments(tmp_path)) == 1
