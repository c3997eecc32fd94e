"""Odd inputs of every kind that the command line reads: what `hostile.py` tries.

Each kind is a function that writes an odd input into a folder and gives the commands to try on it. Whatever is read as
a whole store, a model or a data set is made once, by the library itself, and copied then.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save_file

import odd_tensors
from attacks import MINI, write_data
from instant_soup.core.ticket import Ticket
from instant_soup.export.export import export_ticket
from instant_soup.models import tiny
from instant_soup.recipes.grid import Wanted
from instant_soup.recipes.known import DRAWN
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.run import run
from instant_soup.store.bookmark import FolderBookmark
from instant_soup.store.plain import seal
from instant_soup.store.store import Store
from instant_soup.sweeps.sweep import Sweep

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 1e308, float("nan"), float("inf"), "", "x" * 5000, "\x1b[31mred", "a\nb", "\ud800",
    "[/old]", "[bold]", "=1+1", "| a | b |", "\\input{x}", "<img src=x>", "../../x", "*", "\x00", [], {}, [[[]]],
    {"a": {"b": {}}},
)  # fmt: skip
RECIPE = """sparsity = 0.5
seed = 1
[task]
name = "glue/cola"
model = "google-bert/bert-base-uncased"
[method]
name = "instant-soup"
denoisers = 2
[training]
epochs = 3.0
[sweep]
"method.denoisers" = [2, 4]
"""

LEVEL = f"""sparsity = 0.5
{MINI}[training]
steps = 4
batch = 8
precision = "float32"
[method]
name = "magnitude"
"""
LEVELS = ('"magnitude"', '"lth"\ncompression = 0.25')
"""What makes a recipe of `LEVEL` one of several levels."""
NAMES = (
    "reviews [/old]", "[v2]", "a\x1b[2Jb", "a\nb", "a\rb", "\u202eabc", "=1+1", "-x", "--help", "*", "?", "a b", " ",
    ".", "..", "../x", "/", "~", "%s", "{x}", "$HOME", "x" * 300, "\u200b", "con", "\\input{x}", "<b>", "|", "`id`",
    "\x7f", "\x85", "\udcff",
)  # fmt: skip

Make = Callable[[random.Random, Path], list[list[str]]]
"""Writes an odd input into a folder, and gives the commands to try on it."""


# changes


def bytes_changed(data: bytes, dice: random.Random) -> bytes:
    """*data* with a few bytes flipped, put in, taken out, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(changed) + 1)
        length = dice.choice((1, 2, 8, 64))
        kind = dice.randrange(5)
        if kind == 0 and changed:
            changed[min(place, len(changed) - 1)] ^= 1 << dice.randrange(8)
        elif kind == 1:
            changed[place:place] = dice.randbytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length] * 3
        else:
            del changed[place:]
    return bytes(changed)


def facts_changed(facts: Any, dice: random.Random) -> Any:
    """Plain data with one of its parts replaced by something odd, taken out, or under another name."""
    if isinstance(facts, dict) and facts and dice.random() < 0.9:
        name = dice.choice(list(facts))
        kind = dice.random()
        if kind < 0.1:
            return {key: value for key, value in facts.items() if key != name}
        if kind < 0.2:
            return {**facts, str(dice.choice(ODD)): facts[name]}
        return {**facts, name: facts_changed(facts[name], dice)}

    if isinstance(facts, list) and facts and dice.random() < 0.8:
        place = dice.randrange(len(facts))
        return [
            facts_changed(value, dice) if index == place else value
            for index, value in enumerate(facts)
        ]

    return dice.choice(ODD)


def written(path: Path, facts: Any) -> None:
    """Plain data as JSON, odd letters and numbers included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(facts).encode("utf-8", "surrogatepass"))


# kinds


def records(dice: random.Random, folder: Path) -> list[list[str]]:
    """A folder of runs of which one record is odd."""
    known = sorted((CORPUS / "records").glob("*.json"))
    runs = folder / "runs"
    places = []
    for path in dice.sample(known, dice.randint(2, len(known))):
        key = json.loads(path.read_text(encoding="utf-8"))["key"]
        place = runs / key[:16] / "record.json"
        place.parent.mkdir(parents=True)
        shutil.copy(path, place)
        places.append(place)

    odd = dice.choice(places)
    if dice.random() < 0.3:
        odd.write_bytes(bytes_changed(odd.read_bytes(), dice))
    else:
        facts = json.loads(odd.read_text(encoding="utf-8"))
        for _ in range(dice.randint(1, 3)):
            facts = facts_changed(facts, dice)
        if isinstance(facts, dict) and dice.random() < 0.7:
            facts = resealed(facts)
        written(odd, facts)

    # of a record whose method may be the odd one
    methods = {path.stem.split("-", 2)[2] for path in known}
    against = ["--reference", dice.choice(sorted(methods))]
    page = str(folder / "page.html")
    reading = dice.choice(
        (
            [],
            ["--csv"],
            ["--latex"],
            ["--markdown"],
            ["--json"],
            ["--costs"],
            ["--variants"],
        )
    )
    return [
        ["compare", str(runs), *against, *reading],
        dice.choice([["doctor", str(runs)], ["report", str(runs), "-o", page, *against]]),
    ]


def resealed(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts with the checksum that they ought to have, so that what is odd in them is read."""
    try:
        return dict(seal(facts))
    except (ValueError, TypeError):
        return facts


PLACES = (
    "sparsity", "seed", "budget", "control", "task.name", "task.model", "task.classes", "task.columns", "task.label",
    "task.metrics", "task.templates", "task.pooler", "data.limit", "data.validation", "data.folder", "data.test",
    "data.window", "data.windows", "data.max_length", "method.name", "method.denoisers", "method.lookahead_steps",
    "method.compression", "method.carry", "method.finish", "method.protocols.rate", "method.rounds",
    "training.epochs", "training.steps", "training.batch", "training.micro_batch", "training.rate",
    "training.warmup", "training.clip", "training.weight_decay", "training.precision", "training.line",
    "training.check", "training.optimizer", "training.device", "run.engine", "run.workers", "run.address", "method",
    "task", "data", "training", "run", "sweep", "cells", "extends", "a.b.c", "",
)  # fmt: skip
SETTINGS = (
    "1e308", "-1e308", "inf", "-inf", "nan", "-1", "0", "1", "2.5", "1e-300", "100000000000", "9" * 5000, "[]", "{}",
    "[" * 2000, "[1, 2]", "[[1], [2]]", '"[/old]"', "'\\u0000'", '"\\u0000"', "true", "false", "", "=", "==", "x",
    '"auto"', '"\\u001b[31m"', "1979-05-27T07:32:00Z", '{a = 1}', '"' + "x" * 5000 + '"', "0x7fffffffffffffffff",
)  # fmt: skip


def recipes(dice: random.Random, folder: Path) -> list[list[str]]:
    """A recipe of a benchmark whose sizes are known, with odd bytes or odd values."""
    path = folder / "recipe.toml"
    if dice.random() < 0.4:
        path.write_bytes(bytes_changed(RECIPE.encode(), dice))
        return [["plan", str(path)]]

    path.write_text(RECIPE, encoding="utf-8")
    changes = []
    for _ in range(dice.choice((1, 1, 1, 2))):
        changes += ["--set", f"{dice.choice(PLACES)}={dice.choice(SETTINGS)}"]
    if dice.random() < 0.4:
        # with the knobs of the recipe's own method gone, each of this one's may be the odd one
        method = dice.choice(sorted(DRAWN))
        knob = dice.choice(
            ["preset", *(field.name for field in fields(DRAWN[method].make))]
        )
        odd = f'method={{name = "{method}", {knob} = {dice.choice(SETTINGS)}}}'
        path.write_text(RECIPE[: RECIPE.index("[sweep]")], encoding="utf-8")
        changes = ["--set", odd]
    return [["plan", str(path), *changes]]


def checkpoints(dice: random.Random, folder: Path) -> list[list[str]]:
    """A sharded checkpoint whose shards or index are odd."""
    source = folder / "model"
    source.mkdir()
    generator = torch.Generator().manual_seed(dice.randrange(2**31))
    shards = {}
    for number in range(2):
        name = f"model-{number}.safetensors"
        weight = f"encoder.layer.{number}.attention.self.query.weight"
        tensors = {weight: torch.randn(8, 8, generator=generator)}
        if dice.random() < 0.25:
            tensors = odd_tensors.tensors_changed(tensors, dice)
        save_file(tensors, source / name)
        shards |= dict.fromkeys(tensors, name)
    index: Any = {"metadata": {"total_size": 512}, "weight_map": shards}

    kind = dice.random()
    odd = source / dice.choice(list(shards.values()))
    if kind < 0.2:
        odd.write_bytes(bytes_changed(odd.read_bytes(), dice))
    elif kind < 0.4:
        data = odd_tensors.header_changed(
            odd.read_bytes(), lambda header: facts_changed(header, dice)
        )
        odd.write_bytes(data)
    elif kind < 0.6:
        index = facts_changed(index, dice)
    elif kind < 0.75:
        index["weight_map"][dice.choice(list(shards))] = str(
            dice.choice(("*", "instant_soup.json", "../x", ".hidden", "a/b"))
        )
    written(source / "model.safetensors.index.json", index)

    out = folder / "out"
    out.mkdir()
    (out / ".kept").write_text("kept", encoding="utf-8")
    asked = dice.choice(
        (["0.5"], ["0.5"], ["0.5", "--local"], ["0.5", "--pattern", "2:4"])
    )
    return [["prune", str(source), "--sparsity", *asked, "-o", str(out), "--quiet"]]


def imports(dice: random.Random, folder: Path) -> list[list[str]]:
    """A file of weights with zeros, or a pickle, whose bytes or tensors are odd."""
    kind = dice.random()
    if kind < 0.35:
        source = made() / dice.choice(
            ("sparse.safetensors", "sparse.pt", "bitmask.safetensors")
        )
        path = folder / dice.choice(("weights.safetensors", "weights.pt", "weights"))
        path.write_bytes(bytes_changed(source.read_bytes(), dice))
    elif kind < 0.5:
        path = folder / "weights.safetensors"
        data = (
            made() / dice.choice(("sparse.safetensors", "bitmask.safetensors"))
        ).read_bytes()
        path.write_bytes(
            odd_tensors.header_changed(data, lambda header: facts_changed(header, dice))
        )
    elif kind < 0.7:
        path = folder / "weights.safetensors"
        tensors, metadata = odd_tensors.read(
            made() / dice.choice(("sparse.safetensors", "bitmask.safetensors"))
        )
        save_file(odd_tensors.tensors_changed(tensors, dice), path, metadata or None)
    else:
        path = folder / "weights.pt"
        torch.save(
            odd_tensors.state(load_file(made() / "sparse.safetensors"), dice), path
        )

    ticket = str(folder / "ticket.safetensors")
    base = ["--model", str(made() / "model")]
    pickle = ["--pickle"] if path.suffix == ".pt" or dice.random() < 0.5 else []
    return [["import", str(path), "-o", ticket, *base, *pickle]]


def tickets(dice: random.Random, folder: Path) -> list[list[str]]:
    """A ticket whose bytes are odd, or what it says."""
    known = [
        *sorted((CORPUS / "tickets").glob("*.safetensors")),
        made() / "drawn.safetensors",
    ]
    source = dice.choice(known)
    path = folder / "ticket.safetensors"
    if dice.random() < 0.5:
        path.write_bytes(bytes_changed(source.read_bytes(), dice))
    else:
        odd_tensors.ticket_changed(
            source, path, lambda facts: facts_changed(facts, dice), dice
        )

    out = ["-o", str(folder / "out.safetensors")]
    choices = [
        ["ticket", "info", str(path)], ["ticket", "verify", str(path)], ["ticket", "diff", str(source), str(path)],
        ["ticket", "union", str(path), str(source), *out], ["ticket", "shuffle", str(path), *out],
        ["export", str(path), "--to", "bitmask", "--model", str(made() / "model"), *out],
    ]  # fmt: skip
    return [dice.choice(choices)]


@cache
def made() -> Path:
    """A model, its data, a recipe and a store with a run that is done and one that is not, made once."""
    home = Path(tempfile.mkdtemp(prefix="hostile-"))
    tiny.bert(home / "model")
    write_data(home / "data", train=64, test=16)

    weights = load_file(home / "model" / "model.safetensors")
    sparse = {name: torch.where(w.abs() > 0.01, w, 0) for name, w in weights.items()}
    save_file(sparse, home / "sparse.safetensors")
    torch.save(sparse, home / "sparse.pt")

    text = LEVEL.format(model=home / "model", data=home / "data")
    (home / "recipe.toml").write_text(text, encoding="utf-8")
    (home / "levels.toml").write_text(text.replace(*LEVELS), encoding="utf-8")
    recipe = Recipe.read(home / "recipe.toml")
    levels = Recipe.read(home / "levels.toml")

    store = Store(home / "runs")
    wanted = (Wanted("magnitude", recipe), Wanted("lth", levels))
    Sweep(wanted, store, source="recipe.toml").begin()
    run(recipe, store)

    # as a run that was killed in its last leg leaves it, where it stood included
    with patch.object(FolderBookmark, "clear", lambda _: None):
        run(levels, Store(home / "runs", save_every=0.0))
    cell = store.cell(levels)
    shutil.copy(cell.ticket, home / "drawn.safetensors")
    drawn = Ticket.load(cell.ticket)
    export_ticket(
        drawn, str(home / "model"), to="bitmask", out=home / "bitmask.safetensors"
    )
    for path in (cell.record, cell.model, cell.bill("train")):
        path.unlink()
    return home


def copied(name: str, folder: Path) -> Path:
    """A copy in *folder* of one of the things in `made`."""
    return Path(shutil.copytree(made() / name, folder / name))


def spoilt(path: Path, dice: random.Random) -> None:
    """Do something odd to the file at *path*: to its bytes, to what its JSON says, or to what kind of file it is."""
    kind = dice.random()
    if kind < 0.15:
        path.unlink()
        other = dice.randrange(5)
        if other == 0:
            path.mkdir()
        elif other == 1:
            os.mkfifo(path)
        elif other == 2:
            path.symlink_to(made() / "data" / "train.csv")
        elif other == 3:
            path.symlink_to(path.name)
        return

    if path.suffix == ".json" and kind < 0.7:
        facts = facts_changed(json.loads(path.read_text(encoding="utf-8")), dice)
        if isinstance(facts, dict) and "checksum" in facts and dice.random() < 0.7:
            facts = resealed(facts)
        written(path, facts)
        return
    path.write_bytes(bytes_changed(path.read_bytes(), dice))


def spoilt_among(folder: Path, dice: random.Random, pattern: str = "*") -> None:
    """Do something odd to one or two of the files in *folder*."""
    files = [path for path in sorted(folder.rglob(pattern)) if path.is_file()]
    for path in dice.sample(files, min(len(files), dice.randint(1, 2))):
        spoilt(path, dice)


def stores(dice: random.Random, folder: Path) -> list[list[str]]:
    """A store of which a file or two are odd, or one of its folders is a link."""
    store = copied("runs", folder)
    if dice.random() < 0.15:
        theirs = folder / "theirs"
        theirs.mkdir()
        (theirs / "kept.json").write_text("{}", encoding="utf-8")
        room = dice.choice([path for path in sorted(store.iterdir()) if path.is_dir()])
        room.rename(folder / "moved")
        room.symlink_to(theirs)
    else:
        spoilt_among(store, dice)

    reading = dice.choice((["status"], ["compare"], ["doctor", "--check"]))
    return [[reading[0], str(store), *reading[1:]], ["doctor", str(store)]]


def bookmarks(dice: random.Random, folder: Path) -> list[list[str]]:
    """A store whose unfinished run, ticket or shelf is odd, and the run that would go on from there."""
    store = copied("runs", folder)
    chosen = dice.choice(("*_lth_*/**/*", "shelf/**/*.safetensors"))
    files = [path for path in sorted(store.glob(chosen)) if path.is_file()]
    spoilt(dice.choice(files), dice)

    recipe = str(made() / "levels.toml")
    return [["run", recipe, "--out", str(store), "--quiet"]]


def sweeps(dice: random.Random, folder: Path) -> list[list[str]]:
    """What a sweep asks for, odd in the recipe or in the store."""
    if dice.random() < 0.4:
        store = copied("runs", folder)
        spoilt_among(store / "sweeps", dice)
        return [["status", str(store)], ["doctor", str(store), "--check"]]

    path = folder / "sweep.toml"
    tables = dice.choice(
        (
            'seed = []', 'seed = [1, 1]', 'seed = ["a"]', 'sparsity = [0.5, 2]', '[cells]', '[cells.a]\n[cells."[/x]"]',
            '[cells.a]\nseed = [0, 1]\n[cells.b]\nbudget.as = "a"', '[cells.a]\nbudget.as = "a"',
            '[sweep]\n"training.steps" = []', '[sweep]\n"a.b.c" = [1]', '[sweep]\nseed = 3',
            '[sweep]\n' + "\n".join(f'"training.x{number}" = [1, 2]' for number in range(40)),
        )
    )  # fmt: skip
    text = (made() / "recipe.toml").read_text(encoding="utf-8")
    head, rest = text.split("\n", 1)
    text = f"{tables}\n{rest}" if "[" not in tables.split("=")[0] else f"{text}{tables}\n"
    data = text.encode() if tables.startswith("[") else f"{head}\n{text}".encode()
    path.write_bytes(bytes_changed(data, dice) if dice.random() < 0.5 else data)
    return [["plan", str(path)]]


def data(dice: random.Random, folder: Path) -> list[list[str]]:
    """A folder of labelled text that is odd."""
    home = copied("data", folder)
    table = home / dice.choice(("train.csv", "test.csv"))
    lines = table.read_text(encoding="utf-8").split("\n")
    kind = dice.randrange(6)
    if kind == 0:
        label = dice.choice(
            ("10000000", "99999999999999999999", "-1", "nan", "", "x", "1.5", "\x1b[31m")
        )
        lines[dice.randrange(1, len(lines))] = f"the film,{label}"
    elif kind == 1:
        lines[0] = dice.choice(
            (
                "",
                "sentence",
                "sentence,sentence",
                "label,sentence",
                "a,b,c",
                "\ufeffsentence,label",
            )
        )
    elif kind == 2:
        lines = lines[: dice.randrange(3)]
    elif kind == 3:
        text = dice.choice(("\x00", '"', "a" * 200_000, "\x1b[2J", "\u202e", ",,,,"))
        lines[dice.randrange(1, len(lines))] = f"{text},1"
    table.write_text("\n".join(lines), encoding="utf-8")
    if kind == 4:
        table.write_bytes(bytes_changed(table.read_bytes(), dice))
    if kind == 5:
        spoilt(table, dice)
        name = dice.choice(("train.parquet", "train.jsonl", "train.json", "train.tsv"))
        (home / name).write_bytes(dice.randbytes(dice.choice((0, 4, 400))))

    path = folder / "recipe.toml"
    path.write_text(LEVEL.format(model=made() / "model", data=home), encoding="utf-8")
    return [["plan", str(path)]]


def models(dice: random.Random, folder: Path) -> list[list[str]]:
    """A folder of a pre-trained model of which a file or two are odd, or that wants its own code to be run."""
    home = copied("model", folder)
    if dice.random() < 0.2:
        config = json.loads((home / "config.json").read_text(encoding="utf-8"))
        config["auto_map"] = {"AutoModel": "code.Model", "AutoConfig": "code.Config"}
        config["model_type"] = dice.choice(("bert", "mine", "", 3))
        written(home / "config.json", config)
        (home / "code.py").write_text(
            f"open({str(folder / 'ran')!r}, 'w')", encoding="utf-8"
        )
    else:
        spoilt_among(home, dice)

    path = folder / "recipe.toml"
    path.write_text(LEVEL.format(model=home, data=made() / "data"), encoding="utf-8")
    pruned = [
        "prune",
        str(home),
        "--sparsity",
        "0.5",
        "-o",
        str(folder / "out"),
        "--quiet",
    ]
    return [dice.choice((["scope", str(path)], pruned))]


def names(dice: random.Random, folder: Path) -> list[list[str]]:
    """Odd names in the place of files, folders, tasks, methods and fields."""
    name = dice.choice(NAMES)
    # one deeper, so that a name with two dots stays in the folder
    inner = folder / "inner"
    inner.mkdir()
    here = f"{inner}/{name}"
    recipe = folder / "recipe.toml"
    shutil.copy(made() / "recipe.toml", recipe)
    ticket = sorted((CORPUS / "tickets").glob("*.safetensors"))[0]
    runs = folder / "runs"
    (runs / "0").mkdir(parents=True)
    shutil.copy(
        sorted((CORPUS / "records").glob("*.json"))[-1], runs / "0" / "record.json"
    )

    model = str(made() / "model")
    choices = [
        ["ticket", "info", here], ["ticket", "diff", str(ticket), here], ["plan", here], ["new", here],
        ["compare", here], ["compare", str(runs), "--task", name], ["compare", str(runs), "--reference", name],
        ["report", str(runs), "-o", here], ["status", here], ["doctor", here, "--check"],
        ["prune", here, "--sparsity", "0.5", "-o", f"{folder}/out"],
        ["prune", model, "--sparsity", "0.5", "-o", here],
        ["prune", model, "--sparsity", "0.5", "--include", name, "-o", f"{folder}/out"],
        ["plan", str(recipe), "--set", f"task.name={name}"], ["plan", str(recipe), "--set", f"method.name={name}"],
        ["plan", str(recipe), "--set", f"{name}=1"], ["plan", str(recipe), "--cell", name],
        ["scope", str(recipe), "--set", f"task.model={here}"], ["plan", str(recipe), "--set", f"data.folder={here}"],
        ["import", here, "-o", f"{folder}/t.safetensors"], ["import", model, "-o", here, "--model", model],
        ["export", str(ticket), "--to", name, "-o", f"{folder}/out"],
        ["export", here, "--to", "hf", "-o", f"{folder}/out"],
        ["ticket", "union", str(ticket), str(ticket), "-o", here], [name],
    ]  # fmt: skip
    return [dice.choice(choices)]


KINDS: Mapping[str, Make] = {
    "records": records,
    "recipes": recipes,
    "tickets": tickets,
    "imports": imports,
    "checkpoints": checkpoints,
    "stores": stores,
    "bookmarks": bookmarks,
    "sweeps": sweeps,
    "data": data,
    "models": models,
    "names": names,
}
