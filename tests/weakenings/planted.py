"""The list of planted weakenings, read strictly: which defence each takes out, how, and the tests that must notice."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LIST: Final = Path(__file__).parent / "planted"
WEAKENED_DIRECTORIES: Final = ("src", "policies", "migrations")

_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class NotApplicable(Exception):
    """A weakening no longer fits the sources, or is not well formed: its entry must be mended."""


@dataclass(frozen=True)
class Weakening:
    """One defence taken out.

    Attributes:
        id: what it is called on the command line.
        takes_out: one sentence: what is no longer so.
        file: the file that is changed, from the top of the repository.
        text: what stands there exactly once.
        instead: what stands there then.
        tests: ids of the tests that must turn red, as pytest takes them; one of them is enough.
    """

    id: str
    takes_out: str
    file: str
    text: str
    instead: str
    tests: tuple[str, ...]

    @property
    def module(self) -> str | None:
        """The module that is weakened; ``None`` where it is no Python source."""
        path = Path(self.file)
        return ".".join(path.relative_to("src").with_suffix("").parts) if path.suffix == ".py" else None

    def applied_to(self, source: str) -> str:
        """``source`` without the defence.

        Raises:
            NotApplicable: the text does not stand in it exactly once.
        """
        found = source.count(self.text)
        if found != 1:
            raise NotApplicable(f"{self.id}: its text stands {found} times in {self.file}, and must stand there once")
        return source.replace(self.text, self.instead)


def every() -> list[Weakening]:
    """All of the list, in order.

    Raises:
        NotApplicable: an entry is not well formed, or an id stands there twice.
    """
    found = [_entry(path, entry) for path in sorted(LIST.glob("*.toml")) for entry in _entries(path)]
    ids = [weakening.id for weakening in found]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise NotApplicable(f"these ids stand in the list twice: {', '.join(twice)}")
    return found


def _entries(path: Path) -> list[dict[str, object]]:
    content = tomllib.loads(path.read_text("utf-8"))
    entries = content.pop("weakening", [])
    if content or not isinstance(entries, list):
        raise NotApplicable(f"{path.name} holds [[weakening]] entries and nothing else")
    return entries


def _entry(path: Path, entry: dict[str, object]) -> Weakening:
    known = [field.name for field in fields(Weakening)]
    if sorted(entry) != sorted(known):
        raise NotApplicable(f"{path.name}: {entry.get('id')!r} must have the members {', '.join(known)}")
    tests = entry.pop("tests")
    if not isinstance(tests, list) or not tests or not all(isinstance(one, str) for one in [*tests, *entry.values()]):
        raise NotApplicable(f"{path.name}: {entry.get('id')!r}: every member is a text, and 'tests' a list of them")
    weakening = Weakening(**entry, tests=tuple(tests))  # type: ignore[arg-type]  # looked at above
    if not _ID.fullmatch(weakening.id) or not weakening.takes_out.endswith(".") or weakening.text == weakening.instead:
        raise NotApplicable(f"{path.name}: {weakening.id!r} needs an id of words, a whole sentence, and a change")
    if not weakening.file.startswith(tuple(f"{one}/" for one in WEAKENED_DIRECTORIES)):
        raise NotApplicable(f"{path.name}: {weakening.id!r} changes what is not part of the program")
    return weakening
