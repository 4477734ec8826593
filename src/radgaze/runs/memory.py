"""The memory of a process that trains a network or makes maps with it."""

from __future__ import annotations

from radgaze.models.config import ModelConfig


def keep_memory_of(model: ModelConfig) -> None:
    """Let this process keep the memory that passes of a model free, see `keep_freed_memory`.

    It does not for a model of frames: its batches differ in length, and a freed block rarely fits the next.

    Args:
        model: Settings of the model.
    """
    if not model.reads_frames:
        from radgaze.attribution.memory import keep_freed_memory  # imports torch

        keep_freed_memory()
