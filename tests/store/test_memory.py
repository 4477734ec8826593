"""Free memory, against the kernel's own files, written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgaze.store import memory


def test_a_machine_without_a_container_has_what_the_kernel_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemFree:  100 kB\nMemAvailable:  700 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CONTAINERS", ())
    assert memory.available_memory() == 700 * 1024


def test_a_container_has_its_limit_less_what_it_uses_but_for_files_that_can_be_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, *names = memory.CONTAINERS[0]
    assert folder.name == "cgroup"
    monkeypatch.setattr(memory, "CONTAINERS", ((tmp_path, *names),))
    (tmp_path / "memory.current").write_text("6000\n")
    (tmp_path / "memory.stat").write_text("anon 1000\ninactive_file 4500\n")
    (tmp_path / "memory.max").write_text("10000\n")
    assert memory.available_memory() == 10000 - 6000 + 4500
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory() > 10000


def test_where_nothing_is_told_half_of_the_machine_is_taken_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "CONTAINERS", ())
    assert memory.available_memory() > 2**28
