"""manifest.json: the contents of a kit. `kit` is the version of its schema, 1. A reader refuses other versions.

All paths are relative to the kit's folder. `files` has the SHA-256 of every other file, so a changed kit is found out
before a program is judged by it.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from espsim.core.echo import shortened
from espsim.core.errors import InputError
from espsim.core.inputs import read_whole

VERSION = 1
NAME = "manifest.json"
_MOST = 64 << 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceEntry(_Part):
    """A modelled device's answers to a case."""

    model: str = Field(description="id of a hardware model, as `espsim models` lists it")
    installed: list[str] = Field(description="the driver's answer to each add of the case, in order: 0, or an errno")
    assumptions: list[str] = Field(description="values that the model calls unknown, and what was assumed")
    unknown: str | None = Field(description="what no one has published and this case needs; then there are no answers")
    out: str | None = Field(description="what comes out of host and device together (pcap, raw IP)")
    verdicts: str | None = Field(description="one JSON line for every frame, with `device` and `surfacing`")


class CaseEntry(_Part):
    """One case."""

    id: str = Field(description="GROUP/NAME, and the case's folder")
    group: str
    name: str = Field(description="DPDK's name of the test where it has one")
    about: str = Field(description="what the case asks, in a sentence or two")
    source: str = Field(description="where known packets are published; empty for computed ones")
    needs: list[str] = Field(
        description="what an implementation must have to be asked: algorithms, modes, windows, ..."
    )
    capture: str = Field(description="the packets (pcap, Ethernet)")
    sad: str = Field(description="the SAs, as `ip xfrm state` commands, in order; all of them come before the packets")
    out: str = Field(description="what is to be delivered, in order (pcap, raw IP)")
    verdicts: str = Field(description="one JSON line for every frame: its verdict and Linux counter")
    frames: int = Field(description="packets of the capture")
    delivered: int = Field(description="packets of `out`")
    devices: list[DeviceEntry]


class GroupEntry(_Part):
    """One group of cases."""

    id: str
    title: str
    dpdk: bool = Field(description="whether DPDK's inline IPsec tests have this group")


class Manifest(_Part):
    """manifest.json of a conformance kit."""

    kit: Literal[1] = Field(description="version of this schema")
    espsim: str = Field(description="version of espsim that wrote the kit")
    groups: list[GroupEntry]
    cases: list[CaseEntry]
    files: dict[str, str] = Field(description="SHA-256 of every other file, by its path")


def schema() -> dict[str, Any]:
    """The JSON Schema of manifest.json."""
    return Manifest.model_json_schema()


def write_manifest(manifest: Manifest) -> bytes:
    """The file's bytes."""
    return (json.dumps(manifest.model_dump(), indent=1) + "\n").encode()


def read_manifest(folder: str) -> Manifest:
    """The manifest of a kit. InputError where a file of the kit is missing or was changed."""
    path = os.path.join(folder, NAME)
    if not os.path.isdir(folder):
        raise InputError("there is no such folder; `espsim kit export` makes one", where=folder)
    if not os.path.lexists(path):
        raise InputError(f"not a kit: it has no {NAME}; `espsim kit export DIR` makes one", where=folder)
    try:
        raw = json.loads(read_whole(path, most=_MOST))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where=path) from None
    version = raw.get("kit") if isinstance(raw, dict) else None
    if version != VERSION:
        raise InputError(
            f"is a manifest of version {shortened(repr(version))}; this espsim reads {VERSION}", where=path
        )
    try:
        manifest = Manifest.model_validate(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"])) or "the top"
        raise InputError(f"{at}: {first['msg']}", where=path) from None
    _check(folder, path, manifest)
    return manifest


def _check(folder: str, path: str, manifest: Manifest) -> None:
    """Check that every file of the manifest is in the kit, is listed, and is unchanged."""
    for case in manifest.cases:
        for name in paths_of(case):
            if name not in manifest.files:
                raise InputError(f"case {shortened(case.id)}: {shortened(name)} is not among its files", where=path)
    for name, wanted in manifest.files.items():
        if posixpath.isabs(name) or ".." in name.split("/"):
            raise InputError(f"{shortened(name)} lies outside the kit", where=path)
        file = os.path.join(folder, name)
        if hashlib.sha256(read_whole(file, most=_MOST)).hexdigest() != wanted:
            raise InputError("was changed since the kit was written: export the kit again", where=file)


def paths_of(case: CaseEntry) -> list[str]:
    """Every file of a case."""
    paths = [case.capture, case.sad, case.out, case.verdicts]
    return paths + [path for device in case.devices for path in (device.out, device.verdicts) if path is not None]
