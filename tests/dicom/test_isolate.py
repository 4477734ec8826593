"""The function is `eval` nearly everywhere: it can be pickled, and an item can then be any deed."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radgaze.dicom.image import read_any, size_of
from radgaze.dicom.isolate import Isolated, isolated
from radgaze.dicom.read import DicomError, read_image
from tests.dicom.files import write


def outcome(result: object) -> object:
    return result.reason if isinstance(result, DicomError) else result


def test_each_item_comes_back_once_with_its_index() -> None:
    items = list(range(200))
    assert sorted(isolated(operator.neg, items, workers=2)) == [(i, -i) for i in items]


def test_no_items_need_no_workers() -> None:
    assert list(isolated(operator.neg, [], workers=2)) == []


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_what_kills_hangs_or_fails_costs_only_its_item(workers: int) -> None:
    deeds = {
        "__import__('os')._exit(0)": "timeout",  # pebble takes it for a worker that has done its work
        "__import__('os')._exit(3)": "crashed",
        "__import__('os').kill(__import__('os').getpid(), 9)": "crashed",
        "__import__('os').kill(__import__('os').getpid(), 15)": "crashed",
        "__import__('ctypes').string_at(0)": "crashed",
        "__import__('time').sleep(60)": "timeout",
        "1 / 0": "error",
        "__import__('sys').exit(0)": "error",
        "lambda: 'cannot be pickled'": "error",
    }
    items = [word for i, deed in enumerate(deeds) for word in (deed, f"{i} + 100")]
    results = dict(isolated(eval, items, workers=workers, timeout=3))
    expected = [word for i, reason in enumerate(deeds.values()) for word in (reason, i + 100)]
    assert [outcome(results[i]) for i in range(len(items))] == expected


def test_many_crashes_in_a_row_are_each_their_own() -> None:
    items = ["__import__('os')._exit(1)"] * 6 + ["7"]
    results = dict(isolated(eval, items, workers=2))
    assert [outcome(results[i]) for i in range(7)] == ["crashed"] * 6 + [7]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited on Linux only")
def test_memory_is_limited_for_each_item() -> None:
    items = ["len(bytearray(900 * 2**20))", "len(bytearray(100 * 2**20))"]
    results = dict(isolated(eval, items, workers=1, memory=512 * 2**20))
    assert [outcome(results[i]) for i in range(2)] == ["out_of_memory", 100 * 2**20]


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken = []

    def items() -> Iterator[int]:
        for i in range(1000):
            taken.append(i)
            yield i

    results = isolated(operator.neg, items(), workers=2)
    next(results)
    assert len(taken) < 10
    results.close()


def test_workers_hold_neither_torch_nor_threads_of_numpy() -> None:
    """In a process of its own: that of the tests has a server of processes with torch for other tests."""
    seen = "('torch' in __import__('sys').modules, __import__('os').environ['OPENBLAS_NUM_THREADS'])"
    code = (
        "import torch  # a forked worker would have it\n"
        "from radgaze.dicom.isolate import isolated\n"
        f"print(dict(isolated(eval, [{seen!r}], workers=1)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "{0: (False, '1')}"


def test_what_reads_the_images_of_a_store_is_there_at_once() -> None:
    """Each worker imports it before its first image; tables and models take seconds more."""
    heavy = {"torch", "polars", "pandera", "pandas", "matplotlib", "imagecodecs"}
    code = f"import sys, radgaze.store.pixels; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_reader_s_own_error_comes_back_as_it_was(tmp_path: Path) -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    whole, broken = write(tmp_path / "a.dcm", pixels, bits=8), tmp_path / "broken.dcm"
    broken.touch()
    results = dict(isolated(read_image, [str(broken), str(whole)], workers=1))
    assert (outcome(results[0]), str(results[0])) == ("empty", "empty: the file is empty")
    assert isinstance(results[1], np.ndarray)
    np.testing.assert_allclose(results[1], pixels / 15, atol=1e-6)


def test_closing_the_iterator_ends_the_workers() -> None:
    results = isolated(eval, ["__import__('os').getpid()", "__import__('time').sleep(60)"], workers=1)
    _, worker = next(results)
    assert isinstance(worker, int)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_the_run_and_its_workers() -> None:
    script = """
from radgaze.dicom.image import read_any, size_of
from radgaze.dicom.isolate import Isolated, isolated
if __name__ == "__main__":
    for _, worker in isolated(eval, ["__import__('os').getpid()", "__import__('time').sleep(60)"], workers=1):
        print(worker, flush=True)
"""
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert run.stdout is not None
    worker = int(run.stdout.readline())
    begin = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=20)
    assert b"KeyboardInterrupt" in said
    assert time.monotonic() - begin < 10
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_thousand_small_items_take_little_time() -> None:
    begin = time.monotonic()
    assert len(list(isolated(operator.neg, range(1000), workers=2))) == 1000
    assert time.monotonic() - begin < 10


def test_a_worker_killed_while_it_waits_costs_nothing() -> None:
    results = isolated(eval, ["__import__('os').getpid()"] * 20, workers=1)
    first, worker = next(results)
    assert isinstance(worker, int)
    time.sleep(0.3)  # it has done what is in flight, and the consumer takes nothing
    os.kill(worker, signal.SIGKILL)
    time.sleep(0.5)
    rest = dict(results)
    assert {first, *rest} == set(range(20))
    assert all(isinstance(pid, int) for pid in rest.values())


def test_waiting_workers_answer_each_call_and_a_crash_costs_only_its_own() -> None:
    called: Isolated[str, int] = Isolated(eval, workers=1, timeout=3)
    try:
        assert called("1 + 1") == 2
        for deed, reason in (
            ("__import__('os')._exit(3)", "crashed"),
            ("__import__('os').kill(__import__('os').getpid(), 9)", "crashed"),
            ("__import__('time').sleep(60)", "timeout"),
            ("1 / 0", "error"),
        ):
            with pytest.raises(DicomError) as told:
                called(deed)
            assert told.value.reason == reason
            assert called("2 + 3") == 5
    finally:
        called.close()


@pytest.mark.parametrize("kind", ["dicom", "png"])
def test_an_image_in_memory_is_read_as_its_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    if kind == "dicom":
        write(path, np.arange(12, dtype=np.uint16).reshape(3, 4), bits=12)
    else:
        Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(path, "PNG")
    content = path.read_bytes()
    assert size_of(content) == size_of(path) == (3, 4)
    np.testing.assert_array_equal(read_any(content).pixels, read_any(path).pixels)
    for broken in (b"", content[:40], b"text"):
        with pytest.raises(DicomError):
            read_any(broken)
