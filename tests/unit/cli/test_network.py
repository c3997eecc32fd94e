"""Nothing that a person types connects to anything, looks up a name, or leaves an identifier in the home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import tomli_w
import torch

from instant_soup.core import telemetry

LISTENER = """
import os, sys
WATCHED = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
def hook(event, arguments):
    if event in WATCHED and not isinstance(arguments[-1], (str, bytes)) or event.startswith("socket.get"):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {arguments[1:] if event == 'socket.connect' else arguments}\\n")
sys.addaudithook(hook)
"""

RUNNER = """
import json, sys
from instant_soup.cli.main import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["instant-soup", *words]
    try:
        main()
    except SystemExit as end:
        if end.code not in (0, None):
            sys.exit(f"{words} ended with {end.code}")
"""


def commands(model: str, recipe: str, sweep: str) -> list[list[str]]:
    """Every command but those that are for the network, and `demo`, which is `run` several times."""
    formats = ["hf", "bitmask", "csr", "onnx"]
    # its plugin for CPUs needs AVX2
    if torch.backends.cpu.get_cpu_capability() != "DEFAULT":
        formats.append("openvino")
    exports = [
        [
            "export",
            "t.safetensors",
            "--to",
            to,
            "-o",
            f"out.{to}{'.xml' if to == 'openvino' else ''}",
            "--model",
            model,
        ]
        for to in formats
    ]
    ticket, beside = "t.safetensors", ("--reference", "instant-soup")
    return [
        ["methods", "--json"], ["tasks", "--json"], ["new", "new.toml"], ["plan", recipe], ["scope", recipe],
        ["run", recipe, "--quiet"], ["draw", recipe, "-o", ticket, "--quiet"],
        ["evaluate", ticket, recipe, "--quiet"], ["control", ticket, recipe, "-o", "c.safetensors"],
        ["ticket", "info", ticket], ["sweep", sweep, "--workers", "2", "--quiet"], ["status"], ["doctor"],
        ["compare", *beside], ["report", "-o", "page.html", *beside],
        ["prune", model, "-o", "pruned", "--sparsity", "0.5"],
        ["import", "pruned", "--model", model, "-o", "i.safetensors"], *exports,
    ]  # fmt: skip


def test_no_command_connects_looks_a_name_up_or_writes_into_the_home(
    tmp_path: Path, mini_recipe: dict[str, object], tiny_bert: Path
) -> None:
    home, hooks, log = tmp_path / "home", tmp_path / "hooks", tmp_path / "network"
    for folder in (home, hooks):
        folder.mkdir()
    (hooks / "sitecustomize.py").write_text(LISTENER)
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(mini_recipe))
    (tmp_path / "sweep.toml").write_text(tomli_w.dumps({**mini_recipe, "seed": [1, 2]}))

    kept = {
        name: value for name, value in os.environ.items() if name not in telemetry.OFF
    }
    paths = os.pathsep.join(
        [str(hooks), *(path for path in [os.environ.get("PYTHONPATH")] if path)]
    )
    places = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "HF_HOME": str(home / "hf"),
    }
    environment = {**kept, **places, "PYTHONPATH": paths, "NETWORK_LOG": str(log)}
    environment.pop("CI", None)  # which silences OpenVINO
    words = commands(str(tiny_bert), "recipe.toml", "sweep.toml")
    command = [sys.executable, "-c", RUNNER, json.dumps(words)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    asked = log.read_text().splitlines() if log.exists() else []
    assert asked == []
    left = [
        path
        for path in home.rglob("*")
        if path.is_file() and "datasets" not in path.parts
    ]
    assert left == [], "an identifier, or a queue of events"


def test_the_listener_hears(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LISTENER)
    script = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close()\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "NETWORK_LOG": str(tmp_path / "log"),
    }
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    heard = (tmp_path / "log").read_text()
    assert "socket.getaddrinfo" in heard
    assert "socket.connect (('127.0.0.1'" in heard


def test_what_the_environment_says_already_is_left_as_it_is() -> None:
    before = dict(os.environ)
    try:
        for name in telemetry.OFF:
            os.environ.pop(name, None)
        os.environ["DO_NOT_TRACK"] = "0"
        telemetry.switch_off()
        assert {name: os.environ[name] for name in telemetry.OFF} == {
            **telemetry.OFF,
            "DO_NOT_TRACK": "0",
        }
    finally:
        os.environ.clear()
        os.environ.update(before)
