"""Loading a hardware model: the TOML file, what it extends, and what a user assumes where a value is not public.

`extends`: [device], [caps], [outbound] and each [inbound.*] merge key by key; [[inbound.lookup]] is replaced whole.
[[perf]] is not inherited: a measurement belongs to what was measured; nor are [device] aliases where `part` is stated
again: another part has other names. Of an [assume], those suggestions are inherited whose key is still "unknown".

Every error is one line with the file and the line of the key at fault.
"""

from __future__ import annotations

import copy
import difflib
import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError
from espsim.core.inputs import STANDARD
from espsim.core.toml import parse_toml, read_text
from espsim.offload import find, locate
from espsim.offload.assume import Key, fitted, how_to_assume, read_value, split
from espsim.offload.faults import ModelFaults, faults_of, show
from espsim.offload.schema import UNKNOWN, Spec

_MERGED = ("device", "caps", "outbound")
_NOT_INHERITED = ("id", "extends", "perf", "assume")
_OPEN = (UNKNOWN, "config")
_IDENT = re.compile(r"[\w.+-]{1,100}", re.ASCII)
_FEW = 8
"""Names that a message lists."""
_ALL = "`espsim models` lists all"


@dataclass(frozen=True, slots=True)
class Document:
    """One TOML file: its name as the user gave it, its values, and their places."""

    name: str
    raw: dict[str, Any]
    places: dict[Key, locate.KeyPlace]

    def error(self, what: str, path: Key) -> InputError:
        """An InputError at the line of `path`, or of the innermost thing around it."""
        place = locate.nearest(self.places, path)
        return InputError(what, where=self.name, line=place.line if place else 1)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: the model file and line, and the comment beside it (the datasheet's source).

    Of a value without a comment the source is `general`: the [device] sources of the file or of what it extends.
    """

    file: str
    line: int
    comment: str
    general: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `documents` is its file and those it extends, nearest first; `assumed` what a user filled in."""

    id: str
    spec: Spec
    documents: tuple[Document, ...]
    raw: dict[str, Any] = field(repr=False)
    assumed: Mapping[str, object] = field(default_factory=dict)

    @property
    def suggestions(self) -> dict[str, Any]:
        """The model's own [assume]: a suggestion for each unknown that has one, not a fact."""
        return dict(self.spec.assume)

    def how_to_assume(self, key: str) -> str:
        """An option to copy, which assumes a value for a key."""
        return how_to_assume(self.spec.assume, key)

    def value(self, key: str) -> Any:
        """The value at a dotted key. KeyError: the model has no such leaf."""
        found: Any = self.spec.model_dump(by_alias=True)
        for part in split(key):
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                raise KeyError(key) from None
        return found

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """(dotted key, value) of everything that the model states, in the file's order; lists of scalars are leaves."""
        stated = self.spec.model_dump(by_alias=True, exclude_unset=True)
        for part in ("device", "caps", "inbound", "outbound"):
            yield from _leaves(stated[part], part)

    def unknowns(self) -> list[str]:
        """The keys whose value is not public."""
        return [key for key, value in self.leaves() if value == UNKNOWN]

    def source(self, key: str) -> Source | None:
        """The file, line and comment of a value; None for a value that was assumed or left out."""
        path = split(key)
        document = _origin(self.documents, path)
        place = document.places.get(path)
        if place is None or key in self.assumed:
            return None
        # Beside the key itself, or beside the inline table around it.
        least = 4 if path[:2] == ("inbound", "lookup") else 3 if path[0] == "inbound" else 2
        around = (document.places.get(path[:n]) for n in range(len(path), least - 1, -1))
        comment = next((p.comment for p in around if p and p.comment), "")
        sources = (d.raw["device"]["sources"] for d in self._from(document) if "sources" in d.raw.get("device", ()))
        return Source(document.name, place.line, comment, tuple(next(sources, ())))

    def _from(self, document: Document) -> tuple[Document, ...]:
        """A document and those that it extends."""
        return self.documents[self.documents.index(document) :]

    def assumable(self, key: str) -> bool:
        """Whether an assumption may fill this key: its value is "unknown", or "config" (a user's setting)."""
        try:
            value = self.value(key)
        except KeyError:
            return False
        return isinstance(value, str) and value in _OPEN

    def assuming(self, assume: Mapping[str, object]) -> Model:
        """The model with these keys filled in. InputError: no such key, a known fact, or a value that is not legal."""
        if not assume:
            return self
        raw = copy.deepcopy(self.raw)
        for key, value in assume.items():
            where = f"--assume {key}"
            _refuse_assumption(self, key, where)
            _put(raw, split(key), fitted(split(key), value))
            try:
                spec = Spec.model_validate(raw)
            except ValidationError as error:
                raise InputError(faults_of(error, raw)[0][1], where=where) from None
        return Model(self.id, spec, self.documents, raw, {**self.assumed, **assume})


def parse_assumptions(model: Model, texts: Iterable[str], among: Sequence[Model] = ()) -> dict[str, object]:
    """What `--assume` means for one model: KEY=VALUE, ID:KEY=VALUE (for that model only), or `model`.

    `model` takes the model's own suggestions. Values are TOML; a bare word is a string. `among` are the models of
    the run, whose ids may be named. InputError where a text can't be read or names none of them.
    """
    result: dict[str, object] = {}
    ids = {m.id for m in (model, *among)}
    for text in texts:
        if text == "model":
            result = {**model.suggestions, **result}
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError("say KEY=VALUE, or `model` for the model's own suggestions", where=f"--assume {text}")
        prefix, colon, rest = key.strip().partition(":")
        if colon and prefix not in ids:
            of = f"there are {len(ids)}" if len(ids) > _FEW else f"there are {', '.join(sorted(ids))}"
            like = did_you_mean(prefix, ids, of)
            raise InputError(f"{prefix} is not a model of this run; {like}", where=f"--assume {text}")
        if not colon or prefix == model.id:
            result[rest if colon else prefix] = read_value(value.strip())
    return result


def shipped_folder() -> Path:
    """hwmodels/ at the top of a checkout, or inside the package of a wheel."""
    package = Path(__file__).parents[1]
    inside = package / "hwmodels"
    return inside if inside.is_dir() else package.parent / "hwmodels"


def shipped_models() -> list[str]:
    """The ids of the shipped devices, in order. Models in hwmodels/base/ are there to be extended and not listed."""
    return sorted(path.stem for path in shipped_folder().glob("*.toml"))


def _shipped(ident: str) -> Path | None:
    if not _IDENT.fullmatch(ident):
        return None
    folder = shipped_folder()
    paths = (folder / f"{ident}.toml", folder / "base" / f"{ident}.toml")
    return next((path for path in paths if path.is_file()), None)


def load_model(name: str | Path) -> Model:
    """The model of an id, of a path, or of a device that has one model.

    A path is something with a `/`, ending in .toml, or `-` (standard input, once). InputError: FILE:LINE and what; for
    a name, which models it may mean and how they differ, or the nearest names.
    """
    text = str(name)
    if text == STANDARD or "/" in text or text.endswith(".toml"):
        return _load(Path(text), text, ())
    path = _shipped(text)
    if path is None:
        return _meant(text)
    model = _load(path, str(path), ())
    if model.id != text:
        raise model.documents[0].error(f"id: {model.id!r} is not the file's name", ("id",))
    return model


def find_models(text: str) -> list[Model]:
    """The shipped models that a name of a device may mean (`find.matching`), in order of their ids."""
    return find.matching(text, _all_shipped())


@functools.cache
def _all_shipped() -> tuple[Model, ...]:
    """All shipped models, read once: they are many, and a name is looked for in all of them."""
    return tuple(map(load_model, shipped_models()))


def device_names() -> list[str]:
    """The names by which the shipped devices are found."""
    return sorted({alias for model in _all_shipped() for alias in model.spec.device.aliases})


def _meant(text: str) -> Model:
    """The one model of the device that a text names."""
    listed = f"`espsim models find NAME` looks for a device, {_ALL}"
    mistyped = difflib.get_close_matches(text, shipped_models(), 1, 0.9)
    if mistyped:
        raise InputError(f"no such model; did you mean {mistyped[0]}? {listed}", where=shortened(text))
    found = find_models(text)
    if len(found) == 1:
        return found[0]
    if found:
        apart = "; ".join(find.told_apart(found))
        raise InputError(
            f"{len(found)} models are of such a device, say one of their ids: {apart}", where=shortened(text)
        )
    what = did_you_mean(text, [*shipped_models(), *device_names()], listed)
    raise InputError(f"no such model; {what}", where=shortened(text))


def load_models(names: Iterable[str | Path]) -> list[tuple[str | Path, Model]]:
    """(name, model) of several, each file once. InputError: as `load_model`, or two files have one id."""
    return each_once((name, load_model(name)) for name in names)


def each_once(loaded: Iterable[tuple[str | Path, Model]]) -> list[tuple[str | Path, Model]]:
    """(name, model), each file once. InputError: two files have one id."""
    found: dict[str, tuple[str | Path, Model]] = {}
    for name, model in loaded:
        first, document = found.setdefault(model.id, (name, model))[1].documents[0], model.documents[0]
        if not _same_file(first.name, document.name):
            at: Key = ("id",)
            raise document.error(f"id: {model.id} is the id of {first.name}:{first.places[at].line} too", at)
    return list(found.values())


def _same_file(first: str, second: str) -> bool:
    return first == second or (STANDARD not in (first, second) and os.path.samefile(first, second))


# -- one file -----------------------------------------------------------------------------------------------------


def _read(path: Path, name: str) -> Document:
    text = read_text(name if name == STANDARD else str(path), name)
    return Document(name, parse_toml(text, name), locate.locate(text.replace("\r\n", "\n")))


def _load(path: Path, name: str, chain: tuple[str, ...]) -> Model:
    document = _read(path, name)
    ident = document.raw.get("id")
    parent_id = document.raw.get("extends")
    raw, inherited = copy.deepcopy(document.raw), dict[str, Any]()
    documents: tuple[Document, ...] = (document,)
    if chain and ident != path.stem:
        raise document.error(f"id: {show(ident)} is not the file's name", ("id",))
    if isinstance(ident, str) and isinstance(parent_id, str):
        chain += (ident,)
        if parent_id in chain:
            raise document.error(f"extends: {' -> '.join((*chain, parent_id))} is a cycle", ("extends",))
        parent = _load(*_find_parent(document, path, parent_id), chain)
        raw, documents = _merge(parent.raw, raw), (document, *parent.documents)
        inherited = parent.suggestions
    try:
        spec = Spec.model_validate(raw)
    except ValidationError as error:
        faults = [_origin(documents, at).error(what, at) for at, what in faults_of(error, raw)]
        raise ModelFaults(faults) from None
    model = Model(spec.id, spec, documents, raw)
    _check_suggestions(model, document)
    kept = {key: value for key, value in inherited.items() if key not in spec.assume and model.assumable(key)}
    if kept:
        raw["assume"] = {**kept, **spec.assume}
        model = Model(spec.id, Spec.model_validate(raw), documents, raw)
    return model


def _find_parent(document: Document, path: Path, parent_id: str) -> tuple[Path, str]:
    """A file beside the model first, so that a copied folder is complete in itself, then the shipped ones."""
    beside = path.parent / f"{parent_id}.toml"
    if _IDENT.fullmatch(parent_id):
        if beside.is_file():
            return beside, str(beside)
        shipped = _shipped(parent_id)
        if shipped is not None:
            return shipped, str(shipped)
    like = did_you_mean(parent_id, shipped_models(), _ALL)
    raise document.error(
        f'extends: no model "{parent_id}" beside this file or among the shipped ones; {like}', ("extends",)
    )


def _merge(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: copy.deepcopy(value) for key, value in base.items() if key not in _NOT_INHERITED}
    device = child.get("device")
    if isinstance(merged.get("device"), dict) and isinstance(device, dict) and "part" in device:
        merged["device"].pop("aliases", None)  # another part has other names
    for key, value in child.items():
        mine = merged.get(key)
        if key in _MERGED and isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = {**mine, **value}
        elif key == "inbound" and isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = {**mine, **{name: _merge_table(mine.get(name), table) for name, table in value.items()}}
        else:
            merged[key] = value
    return merged


def _merge_table(base: Any, child: Any) -> Any:
    return {**base, **child} if isinstance(base, dict) and isinstance(child, dict) else child


def _origin(documents: Sequence[Document], path: Key) -> Document:
    """The file that states a key. A table that is replaced whole is of one file."""
    size = {"inbound": 3, "device": 2, "caps": 2, "outbound": 2}.get(str(path[0]) if path else "", 1)
    unit = path[: 2 if path[:2] == ("inbound", "lookup") else size]
    return next((d for d in documents if unit in d.places), documents[0])


# -- assumptions --------------------------------------------------------------------------------------------------


def _refuse_assumption(model: Model, key: str, where: str) -> None:
    if model.assumable(key):
        return
    try:
        value = model.value(key)
    except KeyError:
        what = did_you_mean(key, model.unknowns(), f"`espsim models show {model.id}` lists all")
        raise InputError(f"model {model.id} has no key {key}; {what}", where=where) from None
    if key in model.assumed:
        raise InputError(f"{key} is assumed already", where=where)
    raise InputError(
        f"model {model.id} knows {key} ({show(value)}): to try another value, write a model that extends this one",
        where=where,
    )


def _check_suggestions(model: Model, document: Document) -> None:
    """A model's own [assume] must fit the model; nothing is filled in here."""
    faults = []
    for key, value in model.spec.assume.items():
        at: Key = ("assume", key)
        if isinstance(value, dict):
            faults.append(document.error(f'assume.{key}: put the whole key in quotes: "inbound.lookup.0.miss"', at))
            continue
        try:
            model.assuming({key: value})
        except InputError as error:
            faults.append(document.error(f"assume: {error.what}", at))
    if faults:
        raise ModelFaults(faults)


def _put(raw: dict[str, Any], path: Key, value: object) -> None:
    at: Any = raw
    for n, part in enumerate(path[:-1]):
        if isinstance(part, str) and part not in at:
            # A table that was left out: its required keys are "unknown".
            at[part] = {"policy": UNKNOWN} if path[n] in ("alias", "full") else {}
        at = at[part]
    at[path[-1]] = value


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for n, inner in enumerate(value):
            yield from _leaves(inner, f"{key}.{n}")
    else:
        yield key, value
