"""The files for clusters are what Slurm, Kubernetes and the command line take."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from instant_soup.cli.main import app

FOLDER = Path(__file__).parents[2] / "docs" / "clusters"


def test_the_script_for_slurm_is_a_script() -> None:
    subprocess.run(["bash", "-n", FOLDER / "slurm.sh"], check=True)  # noqa: S607 - whatever bash there is
    text = (FOLDER / "slurm.sh").read_text(encoding="utf-8")
    directives = re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE)
    # Slurm stops reading them at the first command
    assert text.index("#SBATCH") < text.index("set -euo pipefail")
    assert all(re.fullmatch(r"--[a-z-]+=\S+", one) for one in directives)


def specs(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole and, of it, the cluster."""
    (whole,) = yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
    return whole, whole["spec"].get("rayClusterSpec", whole["spec"])


@pytest.mark.parametrize(
    ("name", "kind"), [("rayjob.yaml", "RayJob"), ("raycluster.yaml", "RayCluster")]
)
def test_what_kubernetes_is_given_is_whole(name: str, kind: str) -> None:
    whole, cluster = specs(name)
    assert (whole["apiVersion"], whole["kind"]) == ("ray.io/v1", kind)
    assert cluster["authOptions"] == {"mode": "token"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert len(groups) == 2
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        (container,), volumes = (
            pod["containers"],
            {volume["name"] for volume in pod["volumes"]},
        )
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert {"name": "OMP_NUM_THREADS", "value": "4"} in container["env"]


def test_the_commands_in_them_have_the_options_that_the_command_line_has() -> None:
    job = shlex.split(specs("rayjob.yaml")[0]["spec"]["entrypoint"])
    slurm = shlex.split(
        (FOLDER / "slurm.sh").read_text(encoding="utf-8").splitlines()[-1]
    )
    for words, command in ((job, job[1]), (slurm, "sweep"), (slurm, "run")):
        shown = (
            CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        )
        assert words[0] == "instant-soup"
        assert all(word in shown for word in words if word.startswith("--"))
