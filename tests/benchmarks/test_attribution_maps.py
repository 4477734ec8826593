"""The benchmark of heatmaps to look at, small: it runs, and what it compares is the same thing."""

from __future__ import annotations

import pytest
from benchmarks.attribution_maps import run
from benchmarks.peers import PEERS

from radgaze import attribution


@pytest.fixture(scope="module")
def result():
    return run(images=2, batch=2, side=96, threads=1, networks=("test_resnet", "test_efficientnet"))


def test_every_method_that_a_peer_shares_is_timed_on_every_network(result):
    timed = {(row["network"], row["method"], row["peer"]) for row in result.rows}
    assert timed == {
        (network, method, peer.name)
        for network in ("test_resnet", "test_efficientnet")
        for method, peers in PEERS.items()
        for peer in peers
        if method.partition(" of ")[0] in attribution.names()
    }
    assert all(row["ratio"] > 0 for row in result.rows)


def test_peers_draw_the_same_maps(result):
    assert max(row["difference"] for row in result.rows if row["difference"] != "") < 1e-4
