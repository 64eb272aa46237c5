"""What is kept, attacked on the disk: killed writers, full disks, damage, links, other people's files, many at once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcplocal.results.cache_key import CacheKeys
from mcplocal.results.private_directory import TEMPORARY, Larger, Limits, NotKept
from tests.gateway.results.kept import ALICE, KEYS, OF, Kept


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "cache" / "results")


def test_what_is_kept_is_found_by_this_and_by_another_process(kept: Kept) -> None:
    assert kept.get("a") is None
    assert kept.keep("a", "hello")
    assert "hello" == kept.get("a")
    assert "hello" == Kept(kept.path).get("a")
    counts = kept.counts
    assert (1, 1, 1) == (counts.lookups.value("miss"), counts.writes.value("stored"), counts.lookups.value("hit"))


def test_only_the_owner_may_look_into_it(kept: Kept) -> None:
    kept.keep("a", "hello")
    assert 0o700 == kept.path.stat().st_mode & 0o777
    assert 0o600 == kept.file("a").stat().st_mode & 0o777


def test_a_file_says_nothing_of_who_called_with_what(kept: Kept) -> None:
    kept.keep("alice with a password", "hello")
    assert "alice" not in str(list(kept.path.iterdir()))


def test_what_another_gateway_kept_is_not_found(kept: Kept) -> None:
    kept.keep("a", "hello")
    other = CacheKeys(lambda: "another credential")
    assert Kept(kept.path, keys=other).cache.get(other.name("a"), "digest") is None
    assert Kept(kept.path, keys=other).cache.get(KEYS.name("a"), "digest") is None


@pytest.mark.property
@given(data=st.data())
def test_a_changed_byte_makes_it_a_miss_and_takes_it_away(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = Kept(tmp_path_factory.getbasetemp() / "damaged" / "results")
    kept.keep("a", "hello")
    whole = bytearray(kept.file("a").read_bytes())
    match data.draw(st.sampled_from(["flip", "cut", "more", "empty", "other"])):
        case "flip":
            whole[data.draw(st.integers(0, 9999)) % len(whole)] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del whole[data.draw(st.integers(0, 9999)) % len(whole) :]
        case "more":
            whole += data.draw(st.binary(min_size=1, max_size=8))
        case "empty":
            whole = bytearray()
        case "other":
            kept.keep("b", "for somebody else")
            whole = bytearray(kept.file("b").read_bytes())
    kept.file("a").write_bytes(whole)
    assert kept.get("a") is None
    assert not kept.file("a").exists()


def test_it_is_good_for_its_time_and_no_longer(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.keep("a", "hello", ttl=30)
    now = time.time()
    for later, expected in ((29.0, "hello"), (-5.0, None)):
        with monkeypatch.context() as patch:
            patch.setattr("mcplocal.results.file_cache.time", lambda later=later: now + later)
            assert expected == kept.get("a")
    kept.keep("a", "hello", ttl=30)
    monkeypatch.setattr("mcplocal.results.file_cache.time", lambda: now + 31)
    assert kept.get("a") is None


def test_what_was_done_to_a_server_ends_what_was_fetched_before(kept: Kept) -> None:
    kept.keep("a", "old", stamp=kept.cache.stamp("digest"))
    before = kept.cache.stamp("digest")
    Kept(kept.path).cache.done_to("digest")
    assert kept.get("a") is None
    kept.keep("a", "fetched before, kept after", stamp=before)
    assert kept.get("a") is None
    kept.keep("a", "new", stamp=kept.cache.stamp("digest"))
    assert "new" == kept.get("a")
    kept.cache.done_to("another server")
    assert "new" == kept.get("a")


def test_links_and_files_of_others_are_refused(kept: Kept, tmp_path: Path) -> None:
    kept.keep("a", "hello")
    outside = tmp_path / "outside"
    kept.file("a").rename(outside)
    kept.file("a").symlink_to(outside)
    assert kept.get("a") is None
    assert outside.exists()
    assert not kept.file("a").is_symlink()
    kept.keep("b", "hello")
    kept.file("b").chmod(0o644)
    assert kept.get("b") is None
    os.mkfifo(kept.file("c"), 0o600)
    assert kept.get("c") is None


@pytest.mark.parametrize("what", ["link", "open to others", "a file"])
def test_a_directory_that_is_not_ours_alone_is_not_used(kept: Kept, tmp_path: Path, what: str) -> None:
    kept.path.parent.mkdir()
    if what == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        kept.path.symlink_to(tmp_path / "elsewhere")
    elif what == "a file":
        kept.path.write_text("")
    else:
        kept.path.mkdir(mode=0o755)
    assert not kept.keep("a", "hello")
    assert kept.get("a") is None
    assert kept.directory.unusable is not None
    assert [] == list((tmp_path / "elsewhere").iterdir() if what == "link" else [])
    with pytest.raises(NotKept):
        kept.pages.keep(["text"], 100, 60, OF, ALICE)


def test_a_directory_that_is_taken_away_is_made_anew(kept: Kept) -> None:
    kept.keep("a", "hello")
    kept.directory.clear()
    kept.path.rmdir()
    kept.keep("a", "hello")
    assert kept.keep("a", "hello")
    assert "hello" == kept.get("a")


def test_there_is_never_more_than_may_be(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "results", Limits(100_000, 50, 3600.0))
    for number in range(300):
        kept.keep(f"n{number}", "x" * random.Random(number).randrange(4000))
        content = kept.directory.content()
        assert content.size <= 100_000
        assert content.entries <= 50
    assert kept.get("n299") is not None
    assert kept.get("n0") is None


def test_what_is_larger_than_everything_is_not_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "results", Limits(70_000, 50, 3600.0))
    assert not kept.keep("a", "x" * 80_000)
    assert [] == list(kept.path.iterdir())


def test_a_stamp_outlives_what_was_written_before_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "results", Limits(1 << 20, 20, 3600.0))
    kept.keep("a", "old", stamp=0)
    kept.cache.done_to("digest")
    for number in range(100):
        kept.keep(f"n{number}", "x", stamp=kept.cache.stamp("digest"))
    kept.directory.clear()
    assert 0 != kept.cache.stamp("digest")


def test_a_large_one_is_not_read_where_small_ones_are(kept: Kept) -> None:
    kept.keep("a", "x" * 100_000)
    with pytest.raises(Larger):
        kept.cache.get(KEYS.name("a"), "digest", most=1000)


def test_writers_killed_at_any_moment_leave_whole_results_or_none(tmp_path: Path) -> None:
    """Real processes write the same at once and are killed one by one; nothing that is read is ever anything but whole."""
    path = tmp_path / "results"
    chance = random.Random(8)
    seen = 0
    start = [sys.executable, "-m", "tests.gateway.results.kept", str(path)]
    writers = [subprocess.Popen(start, stdout=subprocess.PIPE) for _ in range(4)]
    reader = Kept(path)
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        until = time.monotonic() + chance.uniform(0.02, 0.2)
        while time.monotonic() < until:
            seen += _read_all(reader)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()
    _read_all(reader)
    assert 0 == reader.counts.damaged.value()
    assert seen > 0
    for left in path.glob(f"{TEMPORARY}*"):
        os.utime(left, (0, 0))
    Kept(path).keep("last", "x")
    assert [] == list(path.glob(f"{TEMPORARY}*"))


def _read_all(reader: Kept) -> int:
    found = 0
    for number in range(5):
        text = reader.get(f"n{number}")
        if text is not None:
            name, written, rest = text.split(" ", 2)
            assert f"n{number}" == name
            assert name * (int(written) * 37 % 20000) == rest
            found += 1
    return found


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system refuses to write more than a few bytes into any file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.usefixtures("small_files")
def test_a_disk_that_takes_no_more_keeps_nothing_and_harms_nothing(kept: Kept) -> None:
    assert kept.keep("small", "hello")
    assert not kept.keep("large", "x" * 100_000)
    assert kept.get("large") is None
    assert "hello" == kept.get("small")
    with pytest.raises(NotKept):
        kept.pages.keep(["x" * 100_000], 1000, 60, OF, ALICE)
    assert [] == list(kept.path.glob(f"{TEMPORARY}*"))
    assert 1 == kept.counts.writes.value("unavailable")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_no_space_left_is_nothing_kept(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC itself, from the kernel: every file the cache makes is the device that is always full."""
    really = os.open

    def full(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            really(path, flags, mode, dir_fd=dir_fd)
            return really("/dev/full", os.O_WRONLY)
        return really(path, flags, mode, dir_fd=dir_fd)

    kept.keep("a", "hello")
    monkeypatch.setattr(os, "open", full)
    assert not kept.keep("b", "more")
    monkeypatch.undo()
    assert "hello" == kept.get("a")
    assert 1 == len(list(kept.path.iterdir()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_to_serves_what_is_there(kept: Kept) -> None:
    kept.keep("a", "hello", stamp=0)
    kept.path.chmod(0o500)
    try:
        assert not kept.keep("b", "more")
        assert "hello" == kept.get("a")
        kept.cache.done_to("digest")
        assert kept.get("a") is None
    finally:
        kept.path.chmod(0o700)


@pytest.mark.property
@given(text=st.text(min_size=1, max_size=3000), page_chars=st.integers(20, 500))
def test_pages_are_read_by_their_cursors_and_by_nobody_else(
    text: str, page_chars: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = Kept(tmp_path_factory.getbasetemp() / "pages" / "results")
    made = kept.pages.keep([text], page_chars, 60, OF, ALICE)
    pages, cursor = [], made.cursor(1)
    while True:
        for foreign in (("User:bob", "p"), ("User:alice", "q"), ("User:alicep", ""), ("", "User:alicep")):
            assert kept.pages.page(cursor, foreign) is None
        page = kept.pages.page(cursor, ALICE)
        assert page is not None
        assert OF == page.of
        pages.append(page.text)
        if page.following is None:
            break
        cursor = page.following
    assert text == "".join(pages)
    assert made.first == pages[0]
    assert made.count == len(pages)


@pytest.mark.parametrize(
    "cursor", ["", "x", "t" * 32 + ".1", "t" * 32 + ".0", "../../etc/passwd", "t" * 32 + ".1\n", "é" * 32 + ".1"]
)
def test_a_cursor_that_is_none_finds_nothing(kept: Kept, cursor: str) -> None:
    kept.pages.keep(["x" * 300], 100, 60, OF, ALICE)
    assert kept.pages.page(cursor, ALICE) is None


def test_a_page_ends_with_its_time_and_a_damaged_one_is_none(kept: Kept) -> None:
    gone = kept.pages.keep(["x" * 300], 100, -1, OF, ALICE)
    assert kept.pages.page(gone.cursor(1), ALICE) is None
    assert kept.pages.page(gone.cursor(99), ALICE) is None
    made = kept.pages.keep(["x" * 300], 100, 60, OF, ALICE)
    assert kept.pages.page(made.cursor(4), ALICE) is None
    file = kept.path / made.name
    whole = bytearray(file.read_bytes())
    whole[150] ^= 1
    file.write_bytes(whole)
    assert kept.pages.page(made.cursor(1), ALICE) is not None
    assert kept.pages.page(made.cursor(2), ALICE) is None
    assert not file.exists()


def test_many_threads_read_and_write_at_once(kept: Kept) -> None:
    async def all_at_once() -> list[str | None]:
        def one(number: int) -> str | None:
            kept.keep(f"n{number % 7}", f"text {number % 7}")
            return kept.get(f"n{number % 7}")

        return await asyncio.gather(*(asyncio.to_thread(one, number) for number in range(200)))

    found = asyncio.run(all_at_once())
    assert {None, *(f"text {n}" for n in range(7))} >= set(found)
    assert json.dumps(found).count("text") > 100
