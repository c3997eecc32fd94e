"""Tickets to the hub and back, with the hub's own client against a small server on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled
from typer.testing import CliRunner

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.core import courier
from instant_soup.core.budget import Cost
from instant_soup.core.errors import TicketError
from instant_soup.core.task import Base
from instant_soup.export.hub import HubError, evaluation_results
from instant_soup.store.record import Record, read_run, write

# of the hub's client, as it uploads
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
COLA = Path(__file__).parents[3] / "results" / "cola" / "lth-50-seed0.json"
OWNER = {"authorization": "Bearer of-the-owner"}


@dataclass
class Hub:
    """What the server holds: files by repository and revision, large files by their hash, and what was asked."""

    address: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)

    def state(self, repo: str) -> str:
        """The commit that a repository stands at."""
        content = b"".join(
            name.encode() + self.repos[repo][name] for name in sorted(self.repos[repo])
        )
        return hashlib.sha1(content, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """The part of the hub's protocol that a ticket's way needs: repositories, large files, commits, reading."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("authorization") != OWNER["authorization"]:
            self.answer(401, {"error": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            self.create(json.loads(sent))
        elif "/preupload/" in self.path:
            files = [self.upload_mode(part) for part in json.loads(sent)["files"]]
            self.answer(200, {"files": files})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [self.upload(part) for part in json.loads(sent)["objects"]]
            self.answer(200, {"objects": objects, "transfer": "basic"})
        elif "/commit/" in self.path:
            self.commit([json.loads(line) for line in sent.splitlines()])
        elif self.path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        else:
            self.answer(404, {"error": "Not found"})

    def do_PUT(self) -> None:
        sent = self.rfile.read(int(self.headers["content-length"]))
        assert hashlib.sha256(sent).hexdigest() == self.path.rpartition("/")[2]
        self.hub.large[self.path.rpartition("/")[2]] = sent
        self.answer(200, {})

    def do_HEAD(self) -> None:
        self.read()

    def do_GET(self) -> None:
        self.read()

    def create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted['organization'] or 'owner'}/{wanted['name']}"
        status = 409 if repo in self.hub.repos else 200
        self.hub.repos.setdefault(repo, {})
        self.hub.private.setdefault(
            repo, wanted.get("visibility") == "private" or wanted.get("private") is True
        )
        self.answer(
            status, {"url": f"{self.hub.address}/{repo}", "name": repo, "id": "1"}
        )

    def upload_mode(self, part: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if part["path"].endswith(".safetensors") else "regular"
        return {"path": part["path"], "uploadMode": mode, "shouldIgnore": False}

    def upload(self, part: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.hub.address}/large/{part['oid']}"
        return {**part, "actions": {"upload": {"href": href}}}

    def commit(self, lines: list[dict[str, Any]]) -> None:
        owner, name = self.path.split("/")[3:5]
        files = self.hub.repos[f"{owner}/{name}"]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.hub.commits.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        self.answer(
            200,
            {
                "success": True,
                "commitOid": "1" * 40,
                "commitUrl": f"{self.hub.address}/{owner}/{name}/commit/{'1' * 40}",
            },
        )

    def read(self) -> None:
        parts = unquote(self.path).strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            # what the client asks beside a ticket
            self.answer(404, {"error": "Not found"})
            return

        repo, revision, wanted = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if repo not in self.hub.repos:
            self.answer(
                404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
            )
        elif revision not in ("main", self.hub.state(repo)):
            self.answer(
                404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
            )
        elif wanted not in self.hub.repos[repo]:
            self.answer(
                404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
            )
        else:
            if self.command == "GET":
                self.hub.reads.append(wanted)
            content = self.hub.repos[repo][wanted]
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.answer(
                200, content, {"ETag": tag, "X-Repo-Commit": self.hub.state(repo)}
            )

    def answer(
        self, status: int, content: Any, headers: dict[str, str] | None = None
    ) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


def point_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's client talk to *address*, as HF_ENDPOINT would have it."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub of our own, which the hub's client takes for the real one; its owner is logged in."""
    state = Hub()
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Bound", (Handler,), {"hub": state})
    )
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    point_to(state.address, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "of-the-owner")
    try:
        yield state
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def ticket() -> soup.Ticket:
    dice = torch.Generator().manual_seed(0)
    shapes = {"layers.0.fc": (8, 6), "layers.1.fc": (4, 4)}
    mask = soup.Mask(
        soup.Scope(shapes),
        {name: torch.rand(shape, generator=dice) < 0.5 for name, shape in shapes.items()},
    )
    start = {"head": torch.randn(3, generator=dice)}
    method = {"name": "instant-soup", "denoisers": 2}
    return soup.Ticket(
        mask,
        start,
        Base("/home/somebody/models/bert-mini", "ab" * 32),
        Cost(10, 80, 240, 5),
        method=method,
    )


@pytest.fixture
def record(ticket: soup.Ticket) -> Record:
    """What a run of the ticket says; figures and costs are those of a real run."""
    return of(ticket, COLA)


def of(ticket: soup.Ticket, path: Path, **changes: Any) -> Record:
    """The record in *path* as if it were of *ticket*."""
    facts = read_run(path).facts()
    facts["ticket"]["digest"] = ticket.digest
    facts["recipe"] = {**facts["recipe"], **changes}
    return Record.model_validate(facts)


def test_a_ticket_comes_back_from_the_hub_as_it_was(
    hub: Hub, ticket: soup.Ticket
) -> None:
    address = soup.push_to_hub(ticket, "owner/ticket")
    assert address == f"{hub.address}/owner/ticket"
    assert len(hub.commits) == 1
    assert "pruned by instant-soup" in hub.commits[0]

    pulled = soup.pull_from_hub("owner/ticket")
    assert pulled.digest == ticket.digest
    assert pulled.method == ticket.method
    assert pulled.cost == ticket.cost
    assert torch.equal(pulled.start["head"], ticket.start["head"])
    assert "config.json" in hub.reads  # by which the hub counts downloads


def test_a_ticket_has_methods_for_the_hub_as_models_of_transformers_have(
    hub: Hub, ticket: soup.Ticket, record: Record
) -> None:
    address = ticket.push_to_hub("owner/ticket", record=record, private=True)
    assert address == f"{hub.address}/owner/ticket"
    assert ".eval_results/glue-cola.yaml" in hub.repos["owner/ticket"]
    assert soup.Ticket.from_hub("owner/ticket", revision="main").digest == ticket.digest


def test_without_a_courier_a_ticket_says_so(
    ticket: soup.Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "_call", courier._nobody)
    with pytest.raises(soup.SoupError, match="nobody carries tickets to a hub"):
        ticket.push_to_hub("owner/ticket")


def test_card_and_config_say_what_it_is_and_name_no_folder_of_this_machine(
    hub: Hub, ticket: soup.Ticket, record: Record
) -> None:
    soup.push_to_hub(ticket, "owner/ticket", record=record)
    files = hub.repos["owner/ticket"]
    assert sorted(files) == [
        ".eval_results/glue-cola.yaml",
        "README.md",
        "config.json",
        "ticket.safetensors",
    ]

    card = files["README.md"].decode()
    metadata = huggingface_hub.ModelCard(card).data
    assert metadata.library_name == "instant-soup"
    assert metadata.datasets == ["nyu-mll/glue"]
    assert metadata.base_model is None  # a folder of this machine is no model of the hub
    for words in (
        "accuracy 0.7095, matthews 0.2366",
        "4.02 times one full fine-tune",
        "instant-soup (denoisers=2)",
    ):
        assert words in card

    config = json.loads(files["config.json"])
    assert config["ticket"] == {
        "file": "ticket.safetensors",
        "digest": ticket.digest,
        "mask": ticket.mask.digest,
        "trained": False,
    }
    assert config["base"]["name"] == "bert-mini"
    assert config["test"] == record.test
    assert config["cost_in_T"] == record.cost.multiple_of_T
    assert (
        "/home/somebody"
        not in card
        + files["config.json"].decode()
        + files[".eval_results/glue-cola.yaml"].decode()
    )


def test_the_figure_is_there_as_the_hub_reads_figures(
    hub: Hub, ticket: soup.Ticket, record: Record
) -> None:
    yaml = pytest.importorskip("yaml")
    soup.push_to_hub(ticket, "owner/ticket", record=record)
    content = yaml.safe_load(hub.repos["owner/ticket"][".eval_results/glue-cola.yaml"])
    (entry,) = huggingface_hub.parse_eval_result_entries(content)
    assert (entry.dataset_id, entry.task_id, entry.value) == (
        "nyu-mll/glue",
        "cola",
        record.test["matthews"],
    )
    assert entry.date == record.made.at
    assert entry.notes is not None
    assert entry.notes.startswith("matthews on")


def test_figures_on_part_of_a_data_set_or_on_ones_own_are_no_figures_of_the_hub(
    ticket: soup.Ticket, record: Record
) -> None:
    part = of(ticket, COLA, data={"limit": 100})
    own = of(ticket, COLA, task={"name": "my reviews"})
    for facts in (part, own, None):
        assert evaluation_results(ticket, facts) == {}


def test_a_record_of_another_ticket_is_refused_before_anything_is_sent(
    hub: Hub, ticket: soup.Ticket
) -> None:
    with pytest.raises(
        TicketError, match="the record is of ticket 53a12e748009e6b5 and this is"
    ):
        soup.push_to_hub(ticket, "owner/ticket", record=read_run(COLA))
    assert hub.repos == {}


def test_a_second_push_writes_over_the_first_and_a_new_repository_may_be_private(
    hub: Hub, ticket: soup.Ticket
) -> None:
    soup.push_to_hub(ticket, "owner/ticket", private=True)
    assert hub.private == {"owner/ticket": True}
    soup.push_to_hub(soup.Ticket(ticket.mask, {}, ticket.base), "owner/ticket")
    assert soup.pull_from_hub("owner/ticket").start == {}


@pytest.mark.parametrize(
    ("repo", "revision", "said"),
    [
        (
            "owner/other",
            None,
            "no repository 'owner/other' on the hub, or not for this account",
        ),
        ("owner/ticket", "v9", "owner/ticket has no such revision"),
        ("owner/model", None, "owner/model holds no ticket"),
        ("a/b/c", None, "'a/b/c' is no name of a repository"),
    ],
)
def test_what_is_not_there_is_named(
    hub: Hub, ticket: soup.Ticket, repo: str, revision: str | None, said: str
) -> None:
    soup.push_to_hub(ticket, "owner/ticket")
    hub.repos["owner/model"] = {"config.json": b"{}"}
    with pytest.raises(HubError, match=said):
        soup.pull_from_hub(repo, revision=revision)


def test_a_repository_whose_parts_do_not_belong_together_is_refused(
    hub: Hub, ticket: soup.Ticket, tmp_path: Path
) -> None:
    soup.push_to_hub(ticket, "owner/ticket")
    soup.Ticket(ticket.mask, {}, ticket.base).save(tmp_path / "other.safetensors")
    hub.repos["owner/ticket"]["ticket.safetensors"] = (
        tmp_path / "other.safetensors"
    ).read_bytes()
    with pytest.raises(
        TicketError,
        match=r"owner/ticket describes ticket \w{16} in its config.json and holds \w{16}",
    ):
        soup.pull_from_hub("owner/ticket")

    hub.repos["owner/ticket"]["ticket.safetensors"] = b"half of it"
    with pytest.raises(TicketError, match="not a readable ticket"):
        soup.pull_from_hub("owner/ticket", revision=hub.state("owner/ticket"))


def test_who_may_not_write_is_told_to_log_in(hub: Hub, ticket: soup.Ticket) -> None:
    with pytest.raises(HubError, match="log in"):
        soup.push_to_hub(ticket, "owner/ticket", token="of-a-stranger")  # noqa: S106 - of a server in this file
    assert hub.repos == {}


def test_without_a_hub_or_offline_the_error_says_so(
    hub: Hub, ticket: soup.Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OfflineModeIsEnabled("offline mode is enabled")

    # the client waits between its attempts
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", offline)
    with pytest.raises(HubError, match="could not reach the hub for 'owner/ticket'"):
        soup.push_to_hub(ticket, "owner/ticket")

    point_to("http://127.0.0.1:9", monkeypatch)  # where nobody answers
    with pytest.raises(HubError, match="could not reach the hub for 'owner/ticket'"):
        soup.pull_from_hub("owner/ticket")


def test_the_commands_take_the_record_beside_the_ticket_and_overwrite_nothing(
    hub: Hub, ticket: soup.Ticket, record: Record, tmp_path: Path
) -> None:
    def call(*words: object) -> Any:
        return CliRunner().invoke(
            app, [str(word) for word in words], catch_exceptions=False
        )

    ticket.save(tmp_path / "run" / "ticket.safetensors")
    write(tmp_path / "run" / "record.json", record)
    pushed = call(
        "push", tmp_path / "run" / "ticket.safetensors", "owner/ticket", "--json"
    )
    assert json.loads(pushed.stdout) == {
        "repository": f"{hub.address}/owner/ticket",
        "ticket": ticket.digest,
        "record": record.key,
    }

    out = tmp_path / "pulled.safetensors"
    pulled = call("pull", "owner/ticket", "-o", out)
    assert pulled.exit_code == 0
    assert "to be fine-tuned" in pulled.stdout
    assert soup.Ticket.load(out).digest == ticket.digest

    again = call("pull", "owner/ticket", "-o", out)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert call("push", out, "owner/other").stdout.strip().endswith("without figures")
