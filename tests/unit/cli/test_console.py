"""What meets a terminal: names as letters, tables that cut nothing, lines that fit, commands in order."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from rich.console import Console
from typer.testing import CliRunner, Result

import instant_soup as soup
from instant_soup.cli import console, live
from instant_soup.cli.app import FIRST_DAY
from instant_soup.cli.main import app
from instant_soup.cli.template import RECIPES
from instant_soup.core.budget import Cost, Pulse
from instant_soup.core.printable import FALLBACK, fitting, printable
from instant_soup.recipes import listing
from instant_soup.store.plain import seal

CORPUS = Path(__file__).parents[2] / "corpus" / "records"
Call = Callable[..., Result]
HOSTILE = "reviews [/old] [v2]\x1b[31m\nok: \ud800 ↳±"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def put(folder: Path, method: str, figure: float, task: str = "mine") -> Path:
    """A record of schema 4 in *folder*."""
    facts: dict[str, Any] = json.loads(
        (CORPUS / "schema-4-instant-soup.json").read_text(encoding="utf-8")
    )
    facts["recipe"]["task"]["name"] = task
    facts["recipe"]["method"] = {"name": method}
    facts["test"] = {"accuracy": figure}
    facts["key"] = hashlib.sha256(f"{method}{figure}{task!r}".encode()).hexdigest()
    path = folder / facts["key"][:16] / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(seal(facts)), encoding="utf-8")
    return path


# letters


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Übung ±", "Übung ±"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\ud800", r"\ud800"),
        ("a\u202eb\u2028", r"a\u202eb\u2028"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "words",
    [
        ("compare",),
        ("compare", "--markdown"),
        ("compare", "--latex"),
        ("compare", "--csv"),
    ],
)
def test_a_hostile_name_is_shown_as_letters(
    call: Call, tmp_path: Path, words: tuple[str, ...]
) -> None:
    put(tmp_path / "runs", "magnitude", 0.8, task=HOSTILE)
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "old" in result.stdout
    assert not any(line.startswith("ok:") for line in result.stdout.splitlines())


def test_a_hostile_name_makes_a_report(call: Call, tmp_path: Path) -> None:
    put(tmp_path / "runs", "magnitude", 0.8, task=HOSTILE)
    assert call("report", "-o", "page.html", "--title", HOSTILE).exit_code == 0
    assert "[/old]" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_an_error_is_one_line_whatever_the_name(call: Call, tmp_path: Path) -> None:
    result = call("compare", "no\nsuch [/old] \x1b[31mfolder")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "[/old]" in result.stderr
    assert "\x1b" not in result.stderr


def spoken(
    folder: Path, encoding: str, *arguments: str, **environment: str
) -> tuple[int, str]:
    """The exit code of Python with these *arguments* in *folder*, and what it says to a terminal of this encoding."""
    streams = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **streams, **environment},
        capture_output=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout.decode(encoding) + done.stderr.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk"])
@pytest.mark.parametrize(
    "words",
    [("compare", "runs"), ("compare", "runs", "--markdown"), ("compare", "nowhere ↳")],
)
def test_a_terminal_of_few_letters_gets_what_it_has(
    tmp_path: Path, encoding: str, words: tuple[str, ...]
) -> None:
    for seed, figure in enumerate((0.8, 0.7)):
        put(tmp_path / "runs", "magnitude", figure, task=f"ta↳sk{seed}")
    code, said = spoken(tmp_path, encoding, "-m", "instant_soup", *words)
    assert code == (2 if "nowhere ↳" in words else 0), said
    assert "fault of ours" not in said
    assert "->" in said


LETTERS = "Prüfung ↳ ✓ ± … ─ 評価"
COMMANDS = (
    "--help", "methods", "tasks", "methods --json", "tcket", "ticket info ↳✓─…", "new ↳.toml", "plan recipe.toml",
    "run recipe.toml", "sweep recipe.toml --out swept", "status swept", "status runs", "compare swept", "doctor swept",
    "scope recipe.toml", "demo --no-such-option", "draw recipe.toml -o t.safetensors", "ticket info t.safetensors",
)  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk"])
def test_every_command_speaks_to_a_terminal_of_few_letters(
    tmp_path: Path, mini_recipe: dict[str, Any], encoding: str
) -> None:
    named = {**mini_recipe, "task": {**mini_recipe["task"], "name": LETTERS}}
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(named), encoding="utf-8")
    script = (
        "import sys\n"
        "from instant_soup.cli.main import main\n"
        "for line in sys.argv[1:]:\n"
        "    sys.argv = ['instant-soup', *line.split()]\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
    )
    plain_locale = {"PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    code, shown = spoken(tmp_path, encoding, "-c", script, *COMMANDS, **plain_locale)
    assert code == 0, shown
    assert "Traceback" not in shown
    assert "UnicodeEncodeError" not in shown
    assert "fault of ours" not in shown
    assert "no ticket at" in shown
    assert f"{LETTERS} instant-soup".encode(encoding, FALLBACK).decode(encoding) in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("↳ ± … ✓", "-> +/- ... v"),
        ("╭─┬━╮│┃█", "+-+-+||#"),
        ("評", r"\u8a55"),
    ],
)
def test_letters_that_an_encoding_has_not_are_written_in_others(
    text: str, shown: str
) -> None:
    assert fitting(text, "ascii") == shown
    assert fitting(text, "utf-8") == text


# room


def test_a_pipe_has_no_width_and_a_narrow_terminal_cuts_nothing() -> None:
    name = "vision/cifar10-of-a-very-long-name/" * 8
    shown = console.table(["task"], [[name]])
    narrow = Console(width=40, force_terminal=True, file=io.StringIO(), record=True)
    narrow.print(shown)
    text = narrow.export_text()
    assert "…" not in text
    assert "".join(re.findall(r"[a-z0-9/-]+", text.replace("task", ""))) == name
    assert console.out().width == console.BROAD


def test_compare_fits_a_narrow_terminal(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method, figure in (("magnitude", 0.8), ("random", 0.5), ("instant-soup", 0.85)):
        put(tmp_path / "runs", method, figure)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    result = call("compare")
    assert result.exit_code == 0, result.output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)
    rows = [line for line in plain.splitlines() if line[:1] in "│┃┏┡└"]
    assert rows
    assert max(map(len, rows)) <= 60
    assert "instant-soup" in plain
    assert "up to 1.5 T: " in plain


@pytest.mark.parametrize("width", range(60, 121, 5))
def test_the_live_line_fits_with_bar_and_time_left(width: int) -> None:
    terminal = Console(width=width, force_terminal=True, file=io.StringIO(), record=True)
    pulse = Pulse("look-ahead", Cost(steps=10, passes=300), loss=0.6931, sparsity=0.9)
    with live.live(terminal) as begin:
        begin("instant-soup on a-task-of-a-long-name at 90%, seed 0", 1000, 500)(
            "draw", pulse
        )
    text = terminal.export_text()
    # the last of what was drawn over each other
    line = text[text.rindex("instant-so") :].rstrip("\n")
    assert "\n" not in line
    assert "━" in line
    assert "0.60 T" in line
    assert re.search(r"left (\d:\d\d:\d\d|-:--:--)$", line.rstrip())
    assert len(line) <= width
    assert ("loss 0.693" in line) == (width >= 85), "what matters least goes first"


# commands


def test_help_names_commands_in_the_order_of_a_first_day(call: Call) -> None:
    text = call("--help").stdout
    places = [text.index(f"│ {name} ") for name in FIRST_DAY]
    assert places == sorted(places)


def test_the_version_is_said(call: Call) -> None:
    result = call("--version")
    assert result.exit_code == 0
    assert result.stdout == f"instant-soup {soup.__version__}\n"


def test_a_new_recipe_parses_and_plans(call: Call, tmp_path: Path) -> None:
    assert call("new").exit_code == 0
    recipe = soup.Recipe.read(tmp_path / "recipe.toml")
    assert recipe.task.name == "demo/polarity"
    planned = call("plan", "recipe.toml", "--json")
    assert planned.exit_code == 0, planned.output
    again = call("new")
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)
    assert call("new", "--force").exit_code == 0


@pytest.mark.parametrize("kind", RECIPES)
def test_every_field_that_a_new_recipe_shows_is_one_and_shows_its_default(
    kind: str,
) -> None:
    recipe = RECIPES[kind]
    uncommented = re.sub(r"^# (?=[a-z_]+ = )", "", recipe, flags=re.MULTILINE)
    fields = tomllib.loads(uncommented)

    # places and counts whose default is that there is none show an example
    written = tomllib.loads(recipe)
    for name in ("folder", "limit", "test", "window", "windows"):
        if name not in written["data"]:
            fields["data"].pop(name, None)
    assert fields != written
    assert soup.Recipe.parse(fields) == soup.Recipe.parse(written)


@pytest.mark.parametrize("kind", ["text", "images", "language"])
def test_a_new_recipe_of_ones_own_says_what_to_set_and_lacks_only_that(
    call: Call, kind: str
) -> None:
    result = call("new", "mine.toml", "--kind", kind)
    assert result.exit_code == 0
    assert "set data.folder and task.model in it" in result.stdout
    planned = call("plan", "mine.toml")
    assert planned.exit_code == 2
    assert "path/to/" in planned.stderr


def test_a_new_recipe_of_ones_own_plans_once_the_data_is_set(
    call: Call, tmp_path: Path
) -> None:
    rows = "".join(f"line {i},{['no', 'yes'][i % 2]}\n" for i in range(40))
    (tmp_path / "reviews.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    call("new", "mine.toml", "--kind", "text")
    planned = call("plan", "mine.toml", "--set", "data.folder=reviews.csv")
    assert planned.exit_code == 0, planned.output
    assert "2 classes: no, yes" in planned.stdout


def test_a_damaged_record_is_named_and_the_others_are_compared(
    call: Call, tmp_path: Path
) -> None:
    put(tmp_path / "runs", "magnitude", 0.8)
    edited = put(tmp_path / "runs", "random", 0.5)
    edited.write_text(
        edited.read_text(encoding="utf-8").replace("0.5", "0.9", 1), encoding="utf-8"
    )
    for words in (("compare",), ("report", "-o", "page.html")):
        result = call(*words)
        assert result.exit_code == 0, result.output
        assert result.stderr.startswith("warning: left out: ")
        assert edited.parent.name in result.stderr
    assert "does not match its checksum" in (tmp_path / "page.html").read_text(
        encoding="utf-8"
    )


QUICK = (
    "--help", "--version", "runn", "methods", "methods --json", "tasks", "tasks --json", "new -x", "run gone.toml",
    "plan gone.toml", "scope gone.toml", "draw gone.toml -o t", "sweep gone.toml", "ticket", "ticket info gone",
    "ticket diff gone gone", "ticket union gone gone -o t", "ticket shuffle gone -o t", "evaluate gone gone.toml",
    "control gone gone.toml -o t", "transfer gone gone.toml", "export gone --to hf -o out", "push gone owner/name",
    "compare gone", "report gone", "status gone", "doctor gone", "prune gone --sparsity 0.5 -o out",
    "import gone -o t", "new made.toml", "plan made.toml --set sparsity=90", "run made.toml --set training.rate=-1",
    "sweep made.toml --set training.epochs=many", "scope made.toml --set data.limit=1",
    "draw made.toml -o t --set sparsity=90", "plan made.toml --workers 2 --set budget=-1",
    "run made.toml --set method.name=magnitud", "plan made.toml --set method.denoiser=2",
    "sweep made.toml --method lhh", "sweep made.toml --set method.name=[lth,snop]",
    "plan made.toml --set task.name=glue/colla", "run made.toml --set task.model=./none",
    "draw made.toml -o t --set task.model=./none", "plan made.toml --set task.model=./none",
    "scope made.toml --set task.model=./none", "sweep made.toml --set task.model=./none",
)  # fmt: skip


def test_lists_and_what_is_missing_or_mistyped_are_told_before_slow_imports(
    tmp_path: Path,
) -> None:
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from instant_soup.cli.main import app\n"
        "for line in sys.argv[1:]:\n"
        "    outcome = CliRunner().invoke(app, line.split())\n"
        "    slow = {'torch', 'transformers', 'scipy', 'datasets', 'numpy'} & sys.modules.keys()\n"
        "    assert not slow, (line, slow)\n"
        "    assert '--set' not in line or outcome.exit_code == 2, (line, outcome.output)\n"
        "    assert 'gone' not in line or 'error: no' in outcome.stderr, outcome.output\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, *QUICK], check=True, cwd=tmp_path, timeout=120
    )


def test_the_listing_says_what_the_tables_say() -> None:
    assert listing.FILE.read_text(encoding="utf-8") == listing.text(), (
        "a table has changed: python -m instant_soup.recipes.listing"
    )


def test_flags_that_clash_are_an_error_of_their_own(call: Call) -> None:
    from instant_soup.cli.app import UsageError
    from instant_soup.core.errors import StoreError

    assert not issubclass(UsageError, StoreError)
    assert call("compare", "--csv", "--latex").exit_code == 2


def test_other_libraries_draw_no_bars_unless_the_environment_wants_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    monkeypatch.setenv("TQDM_DISABLE", "")
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "")
    console.hush()
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS")


def test_warnings_of_ours_are_lines_and_those_of_others_as_python_has_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs: list[str] = []
    monkeypatch.setattr(
        warnings, "showwarning", lambda message, *_: theirs.append(str(message))
    )
    console.show_warnings()
    of_ours = str(Path(console.__file__))
    warnings.showwarning("an odd file", UserWarning, of_ours, 1)
    warnings.showwarning("their own", UserWarning, "/elsewhere/x.py", 1)
    warnings.showwarning("old", DeprecationWarning, of_ours, 1)

    assert capsys.readouterr().err == "warning: an odd file\n"
    assert theirs == ["their own", "old"]
