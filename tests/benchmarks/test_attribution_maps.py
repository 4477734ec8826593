"""The benchmark of heatmaps to look at, small: it runs, and what it compares is the same thing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from benchmarks.attribution_maps import run
from benchmarks.peers import PEERS
from benchmarks.results import Cell

from tests.benchmarks.cells import number

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["test_resnet", "test_efficientnet"])
def rows(request: pytest.FixtureRequest) -> Sequence[dict[str, Cell]]:
    return run(images=2, batch=2, side=96, threads=1, networks=[request.param]).rows


def test_every_method_that_a_peer_shares_is_timed(rows: Sequence[dict[str, Cell]]) -> None:
    assert [(row["method"], row["peer"]) for row in rows] == [
        (method, peer.name) for method, peers in PEERS.items() for peer in peers
    ]
    assert all(number(row["ratio"]) > 0 for row in rows)


def test_peers_draw_the_same_maps(rows: Sequence[dict[str, Cell]]) -> None:
    """But for Grad-CAM++, whose denominators they enlarge by a constant."""
    differences = [(row["method"], number(row["difference"])) for row in rows if row["difference"] != ""]
    assert len(differences) >= 12
    assert all(found < (0.1 if method == "grad_cam_pp" else 1e-5) for method, found in differences)
