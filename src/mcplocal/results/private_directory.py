"""A directory that nobody else may look into, bounded by bytes, entries and age, and shared between processes.

Files come into being whole: written under another name, then renamed. Every operation goes through one descriptor of the
directory, and no link is ever followed, so nobody who can write beside it makes the gateway read or write elsewhere. What goes
wrong with a disk or a volume is for the caller a file that is not there, or one that could not be kept.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from time import time
from typing import Final

import structlog

log = structlog.get_logger(__name__)

TEMPORARY: Final = "tmp-"
ABANDONED_AFTER: Final = 120.0
"""Seconds after which a file that was never renamed belongs to a writer that was killed."""
LOOK_EVERY: Final = 60.0
"""Seconds after which everything is counted anew: other processes write here too."""
SLACK: Final = 20
"""Of the limits, one part in so many may be written between two countings."""
WARN_EVERY: Final = 60.0
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MADE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


STAMP: Final = "stamp-"
"""Names that begin so hold no data but the time of a file. They outlive whatever was written before them."""
STAMPS_OUTLIVE: Final = 3600.0


class NotKept(Exception):
    """It could not be written: the sentence says why."""


class Larger(Exception):
    """The file is there, and larger than was asked for."""


@dataclass(frozen=True)
class Limits:
    """How much is kept: bytes, files, and seconds since it was written."""

    most_bytes: int
    most_entries: int
    most_age: float


@dataclass(frozen=True)
class Content:
    """What is there now."""

    entries: int
    size: int
    oldest_at: float | None


class PrivateDirectory:
    """One directory. Its methods may be called in any thread."""

    def __init__(self, path: Path, limits: Limits, evicted: Callable[[], None] = lambda: None) -> None:
        """Nothing is opened or made before it is needed.

        Args:
            path: of the directory; it is made if it is missing, its parents too.
            limits: how much is kept.
            evicted: called for each file that had to go.
        """
        self.path = path
        self.limits = limits
        self._evicted = evicted
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._counted_at = 0.0
        self._size = self._entries = 0
        self._warned_at = 0.0

    def read(self, name: str, most: int) -> bytes | None:
        """All of the file; ``None`` if there is none that is regular and ours alone.

        Raises:
            Larger: it has more than ``most`` bytes.
        """
        try:
            descriptor = self.open(name)
        except OSError:
            return None
        if descriptor is None:
            return None
        try:
            size = os.fstat(descriptor).st_size
            if size > most:
                raise Larger
            whole = os.read(descriptor, size + 1)
            while len(whole) < size and (more := os.read(descriptor, size - len(whole))):
                whole += more
            return whole
        except OSError as error:
            self._warn("it cannot be read", error)
            return None
        finally:
            os.close(descriptor)

    def open(self, name: str) -> int | None:
        """A descriptor to read the file with, to be closed; ``None`` if there is none, or it is not ours alone."""
        directory = self._opened(make=False)
        if directory is None:
            return None
        try:
            descriptor = os.open(name, _READ, dir_fd=directory)
        except FileNotFoundError:
            return None
        except OSError as error:  # a link, a socket, a directory
            self._warn("what stands there is no file of the cache, and is removed", error)
            self.remove(name)
            return None
        if _is_ours(os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)
        log.warning("a file in the cache belongs to somebody else or is open to others; it is removed", file=name[:12])
        self.remove(name)
        return None

    def write(self, name: str, pieces: Iterable[bytes]) -> int:
        """Put a file there, whole or not at all, in place of any other of that name; its bytes.

        Raises:
            NotKept: it cannot be, or it is larger than everything may be together.
        """
        temporary = f"{TEMPORARY}{token_hex(8)}"
        try:
            directory = self._opened(make=True)
            if directory is None:
                raise NotKept("its directory cannot be used")
            size = self._written(directory, temporary, pieces)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError as error:
            self.remove(temporary)
            self._look_again()
            self._warn("nothing can be kept", error)
            raise NotKept(error.strerror or type(error).__name__) from None
        except BaseException:
            self.remove(temporary)
            raise
        with self._lock:
            self._size += size
            self._entries += 1
        self._make_room()
        return size

    def _written(self, directory: int, temporary: str, pieces: Iterable[bytes]) -> int:
        descriptor = os.open(temporary, _MADE, 0o600, dir_fd=directory)
        size = 0
        try:
            for piece in pieces:
                size += len(piece)
                if size > self.limits.most_bytes:
                    raise NotKept(f"it is larger than the {self.limits.most_bytes} bytes that may be kept")
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
        return size

    def remove(self, name: str) -> None:
        """The file is there no more, whatever it was; a directory stays."""
        directory = self._descriptor
        if directory is not None:
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)

    def stamp(self, name: str) -> int:
        """When ``mark`` was last called for the file, in nanoseconds; 0 if never."""
        directory = self._opened(make=False)
        if directory is None:
            return 0
        try:
            return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns
        except OSError:
            return 0

    def identity(self, name: str) -> tuple[int, ...] | None:
        """What another file, or one that was written to, has otherwise; ``None`` if there is none that is ours alone."""
        directory = self._opened(make=False)
        if directory is None:
            return None
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            return None
        if not _is_ours(found):
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def mark(self, name: str, at: int) -> None:
        """Say in the file that something happened at ``at``, in nanoseconds.

        Raises:
            NotKept: it cannot be said.
        """
        directory = self._opened(make=True)
        if directory is None:
            raise NotKept("its directory cannot be used")
        try:
            try:
                os.utime(name, ns=(at, at), dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                os.close(os.open(name, _MADE & ~os.O_EXCL, 0o600, dir_fd=directory))
                os.utime(name, ns=(at, at), dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            raise NotKept(error.strerror or type(error).__name__) from None

    def content(self) -> Content:
        """What is there, counted now."""
        found = [(name, one) for name, one in self._files() if not name.startswith(STAMP)]
        oldest = min((one.st_mtime for _, one in found), default=None)
        return Content(len(found), sum(one.st_size for _, one in found), oldest)

    @property
    def unusable(self) -> str | None:
        """Why what stands there is not used; ``None`` if it is, or if there is nothing yet."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return None
        if not stat.S_ISDIR(found.st_mode):
            return f"{self.path} is no directory"
        if not _is_ours(found):
            return f"{self.path} belongs to somebody else, or others may look into it (it must be 0700)"
        return None

    def clear(self) -> Content:
        """Remove everything; what was there. Stamps stay: what is being written now may be of before them."""
        found = [(name, one) for name, one in self._files() if not name.startswith(STAMP)]
        for name, _ in found:
            self.remove(name)
        with self._lock:
            self._counted_at = 0.0
        return Content(len(found), sum(one.st_size for _, one in found), None)

    def _make_room(self) -> None:
        limits = self.limits
        with self._lock:
            within = (
                self._size <= limits.most_bytes - limits.most_bytes // SLACK
                and self._entries <= limits.most_entries - limits.most_entries // SLACK
            )
            if within and time() - self._counted_at < LOOK_EVERY:
                return
            self._counted_at = time()
        self._evict()

    def _evict(self) -> None:
        """Remove what is too old, then the oldest, until a tenth is free."""
        now, limits = time(), self.limits
        found = sorted(self._files(), key=lambda one: one[1].st_mtime)
        size, entries = sum(one.st_size for _, one in found), sum(not name.startswith(STAMP) for name, _ in found)
        over = (
            size > limits.most_bytes - limits.most_bytes // SLACK
            or entries > limits.most_entries - limits.most_entries // SLACK
        )
        most_bytes = limits.most_bytes * 9 // 10 if over else limits.most_bytes
        most_entries = limits.most_entries * 9 // 10 if over else limits.most_entries
        for name, one in found:
            age = now - one.st_mtime
            if name.startswith(STAMP):
                if age > limits.most_age + STAMPS_OUTLIVE:
                    self.remove(name)
                continue
            abandoned = name.startswith(TEMPORARY) and age > ABANDONED_AFTER
            if age <= limits.most_age and not abandoned and size <= most_bytes and entries <= most_entries:
                continue
            if name.startswith(TEMPORARY) and not abandoned:
                continue  # somebody writes it now
            self.remove(name)
            self._evicted()
            size, entries = size - one.st_size, entries - 1
        with self._lock:
            self._size, self._entries = size, entries

    def _files(self) -> list[tuple[str, os.stat_result]]:
        directory = self._opened(make=False)
        found: list[tuple[str, os.stat_result]] = []
        if directory is None:
            return found
        try:
            names = os.listdir(directory)  # noqa: PTH208 - a Path cannot be a descriptor
        except OSError:
            return found
        for name in names:
            with suppress(OSError):
                one = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if not stat.S_ISDIR(one.st_mode):
                    found.append((name, one))
        return found

    def _opened(self, *, make: bool) -> int | None:
        """The directory, opened once; ``None`` if there is none, or not one of ours alone."""
        known = self._descriptor
        if known is not None:
            return known
        with self._lock:
            if self._descriptor is not None:
                return self._descriptor
            try:
                if make:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    with suppress(FileExistsError):
                        self.path.mkdir(mode=0o700)
                found = os.open(self.path, _DIRECTORY)
            except FileNotFoundError:
                return None
            except OSError as error:
                self._warn("its directory cannot be used", error)
                return None
            if not _is_ours(os.fstat(found)):
                os.close(found)
                self._warn("its directory belongs to somebody else, or others may look into it (make it 0700)", None)
                return None
            self._descriptor = found
            return found

    def _look_again(self) -> None:
        """If the directory was removed, take the one that stands there now in its place."""
        with self._lock, suppress(OSError):
            known = self._descriptor
            if known is None or os.fstat(known).st_nlink:
                return
            with suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            anew = os.open(self.path, _DIRECTORY)
            if _is_ours(os.fstat(anew)):
                # The number stays: closing it would hand it to whatever another thread opens next.
                os.dup2(anew, known, inheritable=False)
            os.close(anew)

    def close(self) -> None:
        """Let go of the directory; nobody may be using it."""
        found, self._descriptor = self._descriptor, None
        if found is not None:
            os.close(found)

    def _warn(self, what: str, error: OSError | None) -> None:
        if time() - self._warned_at < WARN_EVERY:
            return
        self._warned_at = time()
        log.warning(
            "the cache of results does not serve", directory=str(self.path), why=what, error=str(error) if error else None
        )


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077 and not stat.S_ISLNK(found.st_mode)
