"""Load a policy: a file, a directory of files, or the bytes of a blob. Only this module reads policy files."""

from __future__ import annotations

import gc
import hashlib
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vending.policy.compiler.build import build
from vending.policy.engine.policy import digest_of_files
from vending.policy.language.omission import Omission, certain, validate_rest
from vending.policy.language.problems import Code, Finding, PolicyError, Problem
from vending.policy.language.reader import MAX_JSON_BYTES, read
from vending.policy.language.structure import validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vending.policy.engine.policy import Environment, Policy
    from vending.policy.language.document import Document
    from vending.policy.language.models import PolicyModel

_LARGE_BYTES: Final = 1 << 20

MAX_SIDE_FILE_BYTES: Final = 256 * 1024
"""Keys and certificates beside a policy; a key set of fifty keys has a tenth of this."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Hold a policy together with the file it came from, for those who explain or criticise it."""

    policy: Policy
    model: PolicyModel
    document: Document = field(repr=False)


def load(path: Path, environment: Environment) -> Policy:
    """Load a policy from a file, or from a directory as `compile` would merge it.

    Raises `PolicyError` with everything that is wrong.
    """
    return load_with_source(path, environment).policy


def load_with_source(path: Path, environment: Environment) -> Loaded:
    """Load a policy and keep its model and document. Raises `PolicyError`."""
    if path.is_dir():
        return _load_directory(path, environment)[0]
    return _load_bytes(read_bytes(path), str(path), environment, path.parent)


def compile_directory(path: Path, environment: Environment) -> bytes:
    """Merge a directory into one JSON policy that needs no other file. Raises `PolicyError`."""
    return _load_directory(path, environment)[1]


@contextmanager
def _whatever_it_raises(name: str) -> Iterator[None]:
    """Turn any failure into a `PolicyError`: a file that makes the loader fail is a bad policy, whoever wrote it."""
    try:
        yield
    except PolicyError:
        raise
    except Exception as error:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = f" at {Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at else ""
        message = f"the loader failed ({type(error).__name__}{where}), which is a bug; please report it with this file"
        raise PolicyError([Problem(name, 1, 1, Code.LOADER, message)]) from error


def _load_directory(path: Path, environment: Environment) -> tuple[Loaded, bytes]:
    from vending.policy.language.merge import compiled_bytes, merge, policy_files

    size = 0
    with suppress(OSError):  # What cannot be read is reported by `merge`.
        size = sum(file.stat().st_size for file in policy_files(path))
    with _whatever_it_raises(str(path)), _collector_paused(size):
        document = merge(path, read_bytes)
        files = _SideFiles(path)
        loaded = _load(document, environment, files, sha256="")
        compiled = compiled_bytes(document, path, files.read)
    policy = replace(loaded.policy, sha256=hashlib.sha256(compiled).hexdigest())
    return replace(loaded, policy=policy), compiled


def load_bytes(data: bytes, *, name: str, environment: Environment, directory: Path | None) -> Policy:
    """Load a policy from bytes; its name says whether it is JSON. Without a directory it can name no further files.

    Raises `PolicyError`.
    """
    return load_bytes_with_source(data, name=name, environment=environment, directory=directory).policy


def load_bytes_with_source(data: bytes, *, name: str, environment: Environment, directory: Path | None) -> Loaded:
    """Load a policy as `load_bytes` does, and keep its model and document. Raises `PolicyError`."""
    return _load_bytes(data, name, environment, directory)


def _load_bytes(data: bytes, name: str, environment: Environment, directory: Path | None) -> Loaded:
    with _whatever_it_raises(name), _collector_paused(len(data)):
        document = read(data, name)
        return _load(document, environment, _SideFiles(directory), hashlib.sha256(data).hexdigest())


def read_bytes(path: Path) -> bytes:
    """Read a policy file up to just beyond the largest size. Raises `PolicyError`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise PolicyError([Problem(str(path), 1, 1, Code.FILE, f"the file cannot be read: {reason}")]) from None


@contextmanager
def _collector_paused(size: int) -> Iterator[None]:
    """Keep Python's cycle collector away from the building of a large policy, and from the policy afterwards.

    A policy of 100,000 rules has millions of objects and no cycles. Walking them again and again took four fifths of
    the time of loading one, and each later walk would stop every request for a second.
    """
    if size < _LARGE_BYTES or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _load(document: Document, environment: Environment, files: _SideFiles, sha256: str) -> Loaded:
    model, findings = validate(document.data)
    if model is None or document.problems:
        raise PolicyError(_find_all(document, findings, environment, files))
    policy, findings = build(model, document, environment, files.read, sha256)
    if not findings and model.never:
        findings = _contradictions(policy, model)
    if findings:
        raise PolicyError(document.place(findings))
    policy = replace(policy, files=tuple(sorted(files.seen)), files_sha256=digest_of_files(files.seen))
    return Loaded(policy, model, document)


def _contradictions(policy: Policy, model: PolicyModel) -> list[Finding]:
    """Say which rules grant what a `never` entry rules out, with an example of a token and a scope."""
    from vending.policy.compiler.never import find_contradictions

    number_of = {rule.name: number for number, rule in enumerate(model.rules)}
    return [
        Finding(
            ("rules", number_of[found.rule.name]),
            Code.NEVER_VIOLATED,
            f"the rule grants what never {found.never.name!r} rules out: {found.scope} to a token of "
            f"{found.rule.issuer} with {json.dumps(found.because)}; narrow the rule, or add a deny entry",
            example=found.example,
        )
        for found in find_contradictions(policy)
    ]


def _find_all(
    document: Document, findings: list[Finding], environment: Environment, files: _SideFiles
) -> list[Problem]:
    """Find everything at once: what does not fit the models, and what is wrong with the rest."""
    found = [*document.problems, *document.place(certain(findings, document.broken))]
    if not isinstance(document.data, dict):
        return found
    omission = Omission.of(document.data, document.broken, findings)
    rest = document.without(omission.locations)
    model = validate_rest(rest.data)
    if model is not None:
        _, more = build(model, rest, environment, files.read, sha256="")
        found += rest.place(finding for finding in more if not omission.explains(finding, rest))
    return found


@dataclass(frozen=True, slots=True)
class _SideFiles:
    """Read files beside a policy, and none outside its directory. `seen` gathers what was read, by path."""

    directory: Path | None
    seen: dict[Path, bytes] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        """Read one file. Raises `ValueError` saying why it cannot."""
        if self.directory is None:
            raise ValueError("a policy that is read from a blob has no files beside it; write the contents inline")
        root = self.directory.resolve()
        try:
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                raise ValueError(f"{name} lies outside the policy's directory; move it beside the policy")
            with path.open("rb") as file:
                data = file.read(MAX_SIDE_FILE_BYTES + 1)
            self.seen[path] = data
        except OSError as error:
            raise ValueError(f"{name} cannot be read: {error.strerror or type(error).__name__}") from None
        if len(data) > MAX_SIDE_FILE_BYTES:
            raise ValueError(f"{name} has more than {MAX_SIDE_FILE_BYTES // 1024} KiB")
        return data
