"""The rule by which a case is referred: its goals on validation cases, its file, and what moves images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from radgaze.errors import UserError
from radgaze.evaluation.metrics import confidence
from radgaze.evaluation.referral import out_of_distribution
from radgaze.evaluation.referral.options import Goal, ScoreName
from radgaze.evaluation.referral.perturbation import given, perturbed
from radgaze.evaluation.referral.selective import FILE, Referral, choose
from tests.evaluation.known import known

CLASSES = ("a", "b", "c")

Cases = tuple[np.ndarray, np.ndarray]
"""Probabilities and labels."""


@pytest.fixture
def cases() -> Cases:
    draw = np.random.default_rng(3)
    p = softmax(draw.normal(0, 2, (60, 3)), 1)
    return p, np.eye(3, dtype=int)[[draw.choice(3, p=row) for row in p]]


def chosen(cases: Cases, goal: str, **options: Any) -> Referral:
    settings: dict[str, Any] = {"classes": CLASSES, "kind": "softmax", "exclusive": True, "score": "alpha"}
    return choose(*cases, goal=Goal.parse(goal), **settings | options)


@pytest.mark.parametrize("score", confidence.SCORES)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.77, 1.0])
def test_goals_are_kept_on_the_cases_they_were_chosen_on_and_no_threshold_does_better(
    score: ScoreName, share: float, cases: Cases
) -> None:
    p, y = cases
    errors, scores = confidence.wrong(p, y, exclusive=True), confidence.SCORES[score](p)
    ladder = [-1.0, *np.unique(scores)]

    def measured(threshold: float) -> dict[str, float]:
        accepted = scores <= threshold
        return {
            "coverage": accepted.mean(),
            "frr": (~accepted)[~errors].mean(),
            "risk": errors[accepted].mean() if accepted.any() else 0.0,
        }

    goals: dict[str, Callable[[dict[str, float]], bool]] = {
        "coverage": lambda m: m["coverage"] >= share,
        "frr": lambda m: m["frr"] <= share,
        "risk": lambda m: m["risk"] <= share,
    }
    for goal, keeps in goals.items():
        rule = chosen(cases, f"{goal}={share}", score=score)
        found = measured(rule.threshold)
        assert keeps(found)
        accepted = [d.accept for d in rule.decide(p)]
        assert np.mean(accepted) == found["coverage"]
        assert rule.validation.coverage == found["coverage"]
        fit = [t for t in ladder if keeps(measured(t))]
        best = max(fit) if goal == "risk" else min(fit)
        assert found["coverage"] == measured(best)["coverage"], goal


def test_a_decision_says_why(cases: Cases) -> None:
    rule = chosen(cases, "coverage=0.5", temperature=2.0)
    expected = confidence.alpha(confidence.tempered(cases[0], 2.0, "softmax"))
    for decision, score in zip(rule.decide(cases[0]), expected, strict=True):
        assert decision.score == pytest.approx(score)
        assert decision.accept == (score <= rule.threshold)
        words = "within" if decision.accept else "above"
        assert decision.reason == f"D_α {score:.3f} is {words} {rule.threshold:.3f}"
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        rule.decide(cases[0][:, :2])


def test_the_file_gives_the_rule_back(cases: Cases, tmp_path: Path) -> None:
    assert Referral.read(tmp_path) is None
    rule = chosen(cases, "risk=0.1", calibration=1.3)
    assert rule.write(tmp_path) == tmp_path / FILE
    again = known(Referral.read(tmp_path))
    assert again == rule
    assert again.decide(cases[0]) == rule.decide(cases[0])
    np.testing.assert_array_equal(again.calibrated(cases[0]), confidence.tempered(cases[0], 1.3, "softmax"))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 99},
        {"score": "__import__"},
        {"kind": "tanh"},
        {"threshold": "low"},
        {"temperature": 0},
        {"surprise": 1},
        {"classes": None},
        {"classes": "abc"},
        {"classes": []},
        {"threshold": float("nan")},
        {"threshold": float("inf")},
        {"threshold": True},
        {"threshold": 10**400},
        {"temperature": float("inf")},
        {"calibration": -1},
        {"magnitude": -0.001},
        {"score": "entropy", "magnitude": 0.001},
        {"goal": "luck"},
        {"value": None},
        {"validation": 7},
    ],
)
def test_a_file_that_is_none_is_told(changes: dict[str, object], cases: Cases, tmp_path: Path) -> None:
    path = chosen(cases, "coverage=0.9").write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match="choose the rule again"):
        Referral.read(tmp_path)
    for text in ("{", "[]", "[" * 200_000):
        path.write_text(text)
        with pytest.raises(UserError, match="choose the rule again"):
            Referral.read(tmp_path)


@pytest.mark.parametrize("text", ["coverage", "coverage=2", "coverage=most", "accuracy=0.9", "risk=nan"])
def test_what_is_no_goal_is_told(text: str) -> None:
    with pytest.raises(UserError, match="coverage=SHARE"):
        Goal.parse(text)


def test_there_must_be_cases_and_for_frr_right_ones(cases: Cases) -> None:
    p, y = cases
    with pytest.raises(UserError, match="no validation cases"):
        chosen((p[:0], y[:0]), "coverage=0.9")
    errors = confidence.wrong(p, y, exclusive=True)
    with pytest.raises(UserError, match="is right"):
        chosen((p[errors], y[errors]), "frr=0.1")


# Images moved


class Output(NamedTuple):
    logits: Tensor


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 3), nn.Dropout()
        )

    def forward(self, images: Tensor) -> Output:
        return Output(self.body(images))


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("score", ["alpha", "beta"])
def test_images_move_towards_more_trust_along_the_gradients_sign(
    score: ScoreName, kind: confidence.Kind
) -> None:
    model = Tiny().train()
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    nowhere, somewhere = perturbed(model, images, (0.0, 0.002), score=score, kind=kind, temperature=1.5)
    assert model.training
    model.eval()

    def doubt(x: Tensor) -> np.ndarray:
        logits = model(x).logits.detach().double()
        p = logits.softmax(1) if kind == "softmax" else logits.sigmoid()
        return confidence.distrust(score, confidence.tempered(p.numpy(), 1.5, kind), kind)

    plain = model(images).logits.double()
    expected = plain.softmax(1) if kind == "softmax" else plain.sigmoid()
    torch.testing.assert_close(nowhere, expected, atol=1e-6, rtol=1e-5)
    before, after = (
        doubt(images),
        confidence.distrust(score, confidence.tempered(somewhere.numpy(), 1.5, kind), kind),
    )
    assert (after < before).all()
    # The step against finite differences of log D, pixel by pixel.
    model.double()
    first, slopes = images[:1].double(), torch.zeros(64)
    for k in range(64):
        step = torch.zeros(64, dtype=torch.float64)
        step[k] = 1e-5
        up, down = (np.log(doubt(first + sign * step.view(1, 1, 8, 8)))[0] for sign in (1, -1))
        slopes[k] = up - down
    moved = first - 0.002 * slopes.sign().view(1, 1, 8, 8)
    assert confidence.distrust(
        score, confidence.tempered(somewhere[:1].numpy(), 1.5, kind), kind
    ) == pytest.approx(doubt(moved), rel=1e-3)


def test_a_rule_is_given_what_it_was_chosen_on(cases: Cases) -> None:
    model, images = Tiny().eval(), torch.rand(4, 1, 8, 8)
    plain = model(images).logits.softmax(1).detach().numpy()
    still = chosen(cases, "coverage=0.9")
    assert given(still, model, images, plain).tolist() == plain.astype(float).tolist()
    moving = chosen(cases, "coverage=0.9", magnitude=0.01, given=cases[0])
    (expected,) = perturbed(model, images, (0.01,), score="alpha", kind="softmax")
    np.testing.assert_array_equal(given(moving, model, images, plain), expected.numpy())
    with pytest.raises(ValueError, match="not entropy"):
        perturbed(model, images, (0.01,), score="entropy", kind="softmax")


@pytest.mark.parametrize("name", out_of_distribution.KINDS)
def test_images_out_of_distribution_are_as_many_in_range_and_repeat(name: str) -> None:
    images = torch.rand(6, 1, 20, 24, generator=torch.Generator().manual_seed(0))
    make = out_of_distribution.KINDS[name]
    found = make(images, 1)
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(found, make(images, 1))
    assert not torch.equal(found, images)
    if name in ("upside_down", "inverted"):
        torch.testing.assert_close(make(found, 1), images)
    else:
        assert not torch.equal(found, make(images, 2))
        assert found.flatten(1).std(1).min() > 0.02


def test_the_prediction_of_exclusive_classes_is_the_most_probable_whatever_they_were_trained_with() -> None:
    """A sigmoid's probabilities may all lie below 0.5, or several above it: one class is predicted."""
    p = np.array([[0.45, 0.2, 0.1], [0.6, 0.55, 0.1], [0.3, 0.9, 0.2]])
    y = np.eye(3, dtype=int)[[0, 0, 1]]
    assert confidence.wrong(p, y, exclusive=True).tolist() == [False, False, False]
    assert confidence.wrong(p, y, exclusive=False).tolist() == [True, True, False]
    for exclusive, errors in ((True, 0), (False, 2)):
        rule = chosen((p, y), "coverage=1", kind="sigmoid", exclusive=exclusive)
        assert (rule.kind, rule.validation.errors) == ("sigmoid", errors)
