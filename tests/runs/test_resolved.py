"""The resolved configurations of the paper's experiments and ours stay as they were, to the byte.

A run of an earlier version is resumed and compared with these; a field that is added is left out of the file
while it has its default (`option(..., omitted=True)`).
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from radgaze import experiments
from radgaze.runs import settings

DIGESTS = {
    "all_edges_guided/faithful": "ce08233dd7ebe629",
    "all_edges_guided/honest": "c0d8a246c2d2bba9",
    "baseline/faithful": "29fc1a33eb5716c1",
    "baseline/honest": "e214d83cf3a238b0",
    "no_decoder/faithful": "9be4ca173fe4bc9e",
    "no_decoder/honest": "7a94286364e096a9",
    "pylon/faithful": "2de351fe2140de31",
    "pylon/honest": "34b46421c02657b4",
    "set1_deconvnet/faithful": "494e45e122fda769",
    "set1_deconvnet/honest": "63df3589b1a549ba",
    "set1_guided/faithful": "cb2a0eb61bcd2fe6",
    "set1_guided/honest": "84df14a641fd52b2",
    "set2_deconvnet/faithful": "fc68819575b17974",
    "set2_deconvnet/honest": "8f948575cd112868",
    "set2_guided/faithful": "6aa7e550d9b8313c",
    "set2_guided/honest": "0dce0b5c11a8d347",
    "set3_deconvnet/faithful": "a68dff076c224792",
    "set3_deconvnet/honest": "5c452f6584919ef1",
    "set3_grad_cam/faithful": "cefe277ee369ab42",
    "set3_grad_cam/honest": "cdc0dfde6faaf261",
    "set3_guided/faithful": "45e6a330aa78bd35",
    "set3_guided/honest": "2966ec4c6cd1851d",
    "temporal/faithful": "e03701fa60a506e7",
    "temporal/honest": "e871f9d71f9c281c",
    "temporal_image_only/faithful": "9ebe33cb801a7da6",
    "temporal_image_only/honest": "5d13f30ce97ed1aa",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_the_file_of_a_resolved_experiment_is_the_same_to_the_byte(name: str, tmp_path: Path) -> None:
    experiment, protocol = name.split("/")
    settings.write(settings.resolve(experiment, protocol=protocol), tmp_path / "config.yaml")
    assert sha256((tmp_path / "config.yaml").read_bytes()).hexdigest()[:16] == DIGESTS[name]


def test_every_experiment_of_a_grid_is_covered() -> None:
    covered = {name.split("/")[0] for name in DIGESTS}
    assert covered == {
        each.name for each in experiments.catalogue() if each.family not in experiments.BY_NAME
    }
