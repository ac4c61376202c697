"""The workflows of GitHub: what can be said of them without GitHub."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_only_and_ends(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 90, name
        for step in job.get("steps", []):
            uses = step.get("uses", "run@v1")
            assert re.fullmatch(r"[\w./-]+@v\d+", uses), f"{name}: {uses} is not pinned to a major version"
            # A ${{ … }} in a command would be pasted into it: names of branches and tags are others' words.
            assert "${{" not in step.get("run", ""), name


def test_each_script_that_a_workflow_calls_is_there() -> None:
    for path in WORKFLOWS:
        for script in re.findall(r"(?:scripts/[\w-]+\.sh|\.ci/run)", path.read_text()):
            assert (ROOT / script).is_file(), script


def test_only_what_publishes_may_write() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    writing = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert writing == {
        "image": {"contents": "read", "packages": "write"},
        "publish": {"contents": "write", "packages": "write", "id-token": "write", "attestations": "write"},
    }
