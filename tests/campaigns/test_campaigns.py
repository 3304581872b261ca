"""A quick form of each campaign, all in one process, since it is started once and forked for each fault."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "run.py"


@pytest.mark.processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="campaigns fork")
def test_a_quick_form_of_each_campaign_finds_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = [sys.executable, RUN, "--rounds", "1", "--report", report]
    result = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    campaigns = json.loads(report.read_text())["campaigns"]
    assert len(campaigns) >= 8
    assert all(campaign["counts"] or campaign["not_run"] for campaign in campaigns.values())
