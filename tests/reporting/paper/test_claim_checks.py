from dataclasses import replace
from typing import Any

import pytest

from radgaze.evaluation.across_runs import Difference
from radgaze.reporting.paper.claim_checks import Claim, claims
from radgaze.reporting.paper.results import PAPERS_SETS, members
from tests.reporting.paper.grids import change, made

GROUPS = ("macro", "Normal", "CHF", "pneumonia", "nss")
UP, DOWN, EVEN = change(0.05, 0.02, p=0.01), change(-0.05, 0.02, p=0.01), change(0.01, 0.05, p=0.8)


def found(**macro: Difference) -> list[Claim]:
    """The claims where each named experiment differs so from the baseline, in every figure."""
    differences = {name: dict.fromkeys(GROUPS, change) for name, change in macro.items()}
    return claims(made(dict.fromkeys(["baseline", *macro], 0.8), {"baseline": differences}))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ((UP, UP), "holds"),
        ((UP, EVEN), "holds in part"),
        ((EVEN, EVEN), "undecided"),
        ((UP, DOWN), "undecided"),
        ((EVEN, DOWN), "does not hold"),
    ],
)
def test_a_claim_holds_as_far_as_its_comparisons_do(changes: tuple[Difference, ...], verdict: str) -> None:
    raises, *_, nearer = found(set1_guided=changes[0], set2_guided=changes[1])
    assert raises.verdict == nearer.verdict == verdict


def test_an_interval_without_0_is_not_enough_where_holms_p_is_large() -> None:
    raises = found(set1_guided=change(0.05, 0.04, p=0.06))[0]
    assert raises.verdict == "undecided"
    assert (
        raises.comparisons[0].sentence
        == "Set 1, guided − Baseline U-Net: +0.050 (0.010 to 0.090), Holm p 0.060"
    )


def test_only_the_papers_sets_speak_for_its_first_claim() -> None:
    raises = found(set1_guided=UP, all_edges_guided=DOWN, no_decoder=DOWN)[0]
    assert [c.words for c in raises.comparisons] == ["Set 1, guided − Baseline U-Net"]
    assert raises.verdict == "holds"


def test_set_3_is_best_where_all_others_are_below_it() -> None:
    others = ["baseline", *members(*PAPERS_SETS)[:4]]

    def best(change: Difference) -> Claim:
        differences = {"set3_guided": {name: {"macro": change} for name in [*others, "set3_deconvnet"]}}
        return claims(made(dict.fromkeys([*others, "set3_guided"], 0.8), differences))[1]

    assert best(DOWN).verdict == "holds"
    assert best(UP).verdict == "does not hold"
    assert best(EVEN).verdict == "undecided"
    assert len(best(DOWN).comparisons) == 5  # set 3 itself is not its own rival


def test_without_a_baseline_nothing_is_claimed() -> None:
    verdicts = {claim.verdict for claim in claims(made({"set1_guided": 0.9}))}
    assert verdicts == {"not tested"}


def test_agreement_that_was_not_measured_is_not_tested() -> None:
    differences = {"baseline": {"set1_guided": {"macro": UP}}}
    *_, nearer = claims(made({"baseline": 0.8, "set1_guided": 0.85}, differences))
    assert nearer.verdict == "not tested"
    assert "agreement with gaze was not measured" in nearer.summary


def test_a_comparison_is_read_beside_what_it_could_have_shown() -> None:
    known = replace(EVEN, detectable=0.0912, detectable_at=0.05)
    few = replace(EVEN, detectable_at=0.05, detectable_note="too few runs (2; at least 3)")
    (one, other), *_ = (claim.comparisons for claim in found(set1_guided=known, set2_guided=few))
    assert one.sentence.endswith("Holm p 0.800; detectable with 80% power: 0.091")
    assert other.sentence.endswith("detectable with 80% power: not stated: too few runs (2; at least 3)")


@pytest.mark.parametrize(
    ("lack", "why"),
    [
        ({"patients": 5, "discordant": 5}, "too few patients (5; at least 20)"),
        ({"patients": 90, "discordant": 8, "comparisons": 11}, "too few discordant pairs (8; at least 9)"),
        ({"patients": 90, "discordant": 80, "seeds": 2}, "too few runs (2; at least 3)"),
    ],
)
def test_a_claim_does_not_hold_on_too_little_and_says_of_what(lack: dict[str, Any], why: str) -> None:
    raises = found(set1_guided=replace(UP, **lack))[0]
    assert raises.verdict == "undecided"
    assert raises.comparisons[0].says == 0
    assert raises.comparisons[0].sentence.endswith(f", no verdict: {why}")
    assert found(set1_guided=replace(UP, patients=90, discordant=80, seeds=3))[0].verdict == "holds"


def test_a_p_value_at_the_floor_of_the_resampling_is_written_as_a_bound() -> None:
    at_floor = change(0.05, 0.02, p=11 * 2 / 2001, p_is_bound=True)
    assert found(set1_guided=at_floor)[0].comparisons[0].sentence.endswith("Holm p ≤ 0.011")
