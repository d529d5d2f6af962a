"""A writer of releases that is killed, at every step it takes and at random moments, never harms a reader."""

import os
import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from cartograph.releases import ReleaseStore, open_store
from cartograph.settings import Settings
from tests.unit.releases.making import publish

# What a writer does to the file system raises these; the process dies right before each one in turn.
STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "fcntl.flock", "shutil.rmtree")


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child that kills itself at its `step`; False where it ended before."""
    child = os.fork()
    if child == 0:
        seen = 0

        def die_in_time(event: str, _: object) -> None:
            nonlocal seen
            seen += event in STEPS
            if event in STEPS and seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die_in_time)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def assert_sound(store: ReleaseStore) -> None:
    for release in store.ids():
        store.verify(release)
    store.fetch(store.current_id())


def drafts(root: Path) -> list[Path]:
    return list((root / ".drafts").iterdir())


def test_killed_at_any_step_a_writer_leaves_the_old_release_current(tmp_path: Path) -> None:
    steps = 0
    moved_at = None
    for step in range(1, 200):
        home = tmp_path / str(step)
        store = open_store(Settings(home=home))
        old = publish(store, "old")
        died = killed_at(step, partial(publish, store, "new"))
        assert_sound(store)
        if store.current() != old:
            moved_at = moved_at or step
        elif moved_at is not None:
            pytest.fail(f"killed at step {step} the old release is current, killed at step {moved_at} the new one was")
        if not died:
            break
        steps = step
        new = publish(store, "new", day=1)
        assert store.current_id() == new.release_id
        assert store.rollback() == old
        assert drafts(home / "simulated" / "releases") == []
    assert steps > 15
    assert moved_at is not None
    assert moved_at <= steps + 1


def test_killed_while_it_prunes_a_writer_leaves_whole_releases(tmp_path: Path) -> None:
    for step in range(1, 200):
        store = open_store(Settings(home=tmp_path / str(step)))
        _, kept, current = (publish(store, text) for text in ("doomed", "kept", "current"))
        died = killed_at(step, partial(store.prune, 2))
        assert_sound(store)
        assert store.current() == current
        store.prune(2)
        assert set(store.ids()) == {kept.release_id, current.release_id}
        assert drafts(tmp_path / str(step) / "simulated" / "releases") == []
        if not died:
            break
    assert step > 5


WRITER = """
import sys
from pathlib import Path
from cartograph.releases import open_store
from cartograph.settings import Settings
from tests.unit.releases.making import publish
store = open_store(Settings(home=Path(sys.argv[1])))
for number in range(int(sys.argv[2]), 1_000_000):
    print(publish(store, f"{sys.argv[2]} {number}").release_id, flush=True)
"""


def test_killed_at_random_moments_a_writer_loses_at_most_what_it_was_writing(tmp_path: Path) -> None:
    moments = random.Random(20260101)
    store = open_store(Settings(home=tmp_path))
    for attempt in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(attempt)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        told = [writer.stdout.readline().decode().strip()]
        # Waits a random part of some ten publications, for nothing: the pipe is not read from here.
        select.select([], [], [], moments.uniform(0, 0.1))
        writer.kill()
        told += [line.decode().strip() for line in writer.stdout if line.endswith(b"\n")]
        writer.wait()
        assert_sound(store)
        if store.current_id() != told[-1]:  # the writer did not live to tell of its last
            assert store.rollback().release_id == told[-1]
    publish(store, "the last")
    assert drafts(tmp_path / "simulated" / "releases") == []


def test_readers_of_a_busy_store_never_see_half_a_release(tmp_path: Path) -> None:
    store = open_store(Settings(home=tmp_path))
    publish(store, "first")
    done = threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set():
            assert_sound(store)
            reads += 1
        return reads

    with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(4) as writers:
        reading = [readers.submit(read) for _ in range(2)]
        try:
            made = set(writers.map(lambda n: publish(store, f"from thread {n}").release_id, range(20)))
        finally:
            done.set()
        assert all(future.result() > 0 for future in reading)
    assert len(made) == 20
    assert made < set(store.ids())
    assert store.current_id() in made
    assert drafts(tmp_path / "simulated" / "releases") == []
