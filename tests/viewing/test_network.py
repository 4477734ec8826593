"""Runs with a rule, votes, and networks that read gaze, on the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from radgaze.evaluation.referral.selective import Referral, ReferralValidation
from radgaze.explaining.making import explained
from radgaze.explaining.options import ExplainOptions
from radgaze.predicting.options import PredictOptions
from radgaze.predicting.predict import predict
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.runs.vote import VoteOptions
from radgaze.runs.voting import make_vote
from radgaze.store.store import Store
from radgaze.training.train import train
from radgaze.viewing.app import make_app
from radgaze.viewing.network import Network
from radgaze.viewing.service import GAZE, Service
from tests.predicting.conftest import trained
from tests.training.conftest import TINY
from tests.viewing.conftest import ADDRESS
from tests.viewing.files import png

CPU = PredictOptions(device="cpu")


@contextmanager
def page_of(run: Run, store: Store | None) -> Iterator[TestClient]:
    with TestClient(make_app(Service([Network.of(run.path, "cpu")], store)), base_url=ADDRESS) as client:
        yield client


def test_the_rule_s_decision_and_calibration_are_shown(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    told = ReferralValidation(cases=10, errors=2, coverage=0.9, frr=0.1, risk=0.2)
    ids = run.store.cases["case_id"].to_list()
    p = predict(run, ids, CPU).probabilities
    doubt = (1 - (p**2).sum(1)) / (p**2).sum(1)  # Granese et al. 2021
    threshold = float(np.median(doubt))
    Referral(run.classes, "softmax", "alpha", 1.0, 0.0, threshold, "coverage", 0.5, 2.0, told).write(copy)
    decisions = predict(Run.open(copy), ids, CPU).decisions
    assert decisions is not None
    with page_of(Run.open(copy), run.store) as client:
        about = client.get("/api/about").json()["runs"][0]
        assert "10 validation cases" in about["rule"]
        assert "20% were wrong" in about["rule"]
        for row, decision in enumerate(decisions):
            assert decision is not None
            reading = client.get(f"/api/images/case-{row}/reading").json()
            assert reading["decision"]["accept"] == decision.accept
            assert reading["decision"]["reason"] == decision.reason
            calibrated = [each["calibrated"] for each in reading["classes"]]
            root = np.sqrt(p[row])  # a temperature of 2
            np.testing.assert_allclose(calibrated, root / root.sum(), atol=1e-6)


def test_a_vote_is_shown_with_the_range_of_its_runs(run: Run, store: Store, tmp_path: Path) -> None:
    other = trained(store, tmp_path / "other", seed=7)
    vote = make_vote([run, other], VoteOptions(tmp_path / "vote"))
    ids = store.cases["case_id"].to_list()[:3]
    of_each = np.stack([predict(each, ids, CPU).probabilities for each in (run, other)])
    with page_of(vote, store) as client:
        assert client.get("/api/about").json()["runs"][0]["voters"] == 2
        for row in range(3):
            classes = client.get(f"/api/images/case-{row}/reading").json()["classes"]
            shown = np.array([[each[name] for each in classes] for name in ("low", "probability", "high")])
            expected = [of_each[:, row].min(0), of_each[:, row].mean(0), of_each[:, row].max(0)]
            np.testing.assert_allclose(shown, expected, atol=1e-6)
        query = {"method": "grad_cam", "target": "CHF"}
        shown_map = np.frombuffer(client.get("/api/images/case-0/map", params=query).content, "<u2")
        options = ExplainOptions(methods=("grad_cam",), target="CHF", device="cpu")
        heat = explained(vote, [ids[0]], options).heatmaps["grad_cam"][0]
        np.testing.assert_allclose(shown_map / 65535, heat.ravel(), atol=1e-4)


def test_a_network_that_needs_gaze_shows_cases_and_says_so_of_files(store: Store, tmp_path: Path) -> None:
    wanted = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    run = train(settings.resolve("temporal", data=str(store.path), **wanted), tmp_path / "run")
    ids = store.cases["case_id"].to_list()
    row = next(k for k in range(len(ids)) if k % 4 != 3)  # with gaze
    with page_of(run, run.store) as client:
        reading = client.get(f"/api/images/case-{row}/reading").json()
        expected = predict(run, [ids[row]], CPU).probabilities[0]
        np.testing.assert_allclose([each["probability"] for each in reading["classes"]], expected, atol=1e-6)
        assert client.get(f"/api/images/case-{row}/map", params={"method": GAZE}).status_code == 200
        key = client.post("/api/images", content=png(np.zeros((30, 30), np.uint8))).json()["key"]
        response = client.get(f"/api/images/{key}/reading")
        assert (response.status_code, response.json()["reason"]) == (422, "needs_gaze")


def test_another_store_can_be_shown_and_a_run_without_its_store_reads_files(
    run: Run, store: Store, tmp_path: Path
) -> None:
    from tests.store.cohorts import make_cohort
    from tests.stores import prepare

    other = prepare(make_cohort(tmp_path / "images", cases=4, seed=3), tmp_path / "other", size=96, workers=1)
    with page_of(run, other) as client:
        assert client.get("/api/cases").json()["count"] == 4
        assert client.get("/api/images/case-1").json()["case"] == "case-01"
        assert any("64 pixels" in note for note in client.get("/api/about").json()["runs"][0]["notes"])
        assert client.get("/api/images/case-1/reading").status_code == 200
    with page_of(run, None) as client:
        assert client.get("/api/about").json()["cases"] is None
        assert client.get("/api/cases").json() == {"count": 0, "cases": []}
        assert client.get("/api/images/case-1").status_code == 404
        key = client.post("/api/images", content=png(np.zeros((30, 30), np.uint8))).json()["key"]
        assert client.get(f"/api/images/{key}/reading").status_code == 200


@pytest.mark.parametrize("method", ["none", "mask"])
def test_a_run_without_decoder_has_no_mask(method: str, store: Store, tmp_path: Path) -> None:
    wanted = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    run = train(settings.resolve("no_decoder", data=str(store.path), **wanted), tmp_path / "run")
    with page_of(run, run.store) as client:
        query = {"method": method, "target": "CHF"}
        assert client.get("/api/images/case-0/map", params=query).json()["reason"] == "no_map"
