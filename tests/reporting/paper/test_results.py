import pytest

from radgaze.errors import UserError
from radgaze.reporting.paper import Results
from radgaze.reporting.paper.results import family, members, title
from tests.reporting.paper.grids import REASON, results


def test_the_papers_experiments_come_first_and_others_count_among_ours() -> None:
    found = results(["another", "set1_guided", "baseline"])
    assert found.experiments == ("baseline", "set1_guided", "another")
    assert found.listed[:4] == members("Baselines")
    assert (family("another"), title("another")) == ("Ours", "another")
    assert (family("set2_deconvnet"), title("set2_deconvnet")) == ("Set 2", "Set 2, deconvNet")


def test_an_experiment_without_runs_says_why_in_a_line_without_a_path() -> None:
    found = results(["baseline"], failed={("set1_guided", 0): REASON, ("set1_guided", 1): REASON})
    assert found.reason("baseline") == ""
    assert found.reason("set1_guided") == "failed: CUDA out of memory; the store was …/store"
    assert found.reason("set2_guided") == "not run"
    assert found.attempted == ("baseline", "set1_guided")


def test_a_seed_that_failed_beside_others_is_a_remark() -> None:
    found = results(["baseline"], failed={("baseline", 1): "x" * 500})
    assert found.reason("baseline") == ""
    assert found.remark("baseline").startswith("1 of 2 seeds; seed 1 failed: xxx")
    assert len(found.remark("baseline")) < 200


def test_what_failed_in_a_cross_validation_is_a_fold() -> None:
    found = results(["baseline"], failed={("baseline", 1): "diverged"}, unit="fold")
    assert found.remark("baseline") == "1 of 2 folds; fold 1 failed: diverged"


def test_only_selection_on_test_cases_is_stamped() -> None:
    assert results(["baseline"]).stamp == ""
    assert results(["baseline"], selection="test").stamp.startswith("SELECTED ON TEST")


def test_the_papers_interval_belongs_to_one_seed_of_the_faithful_protocol() -> None:
    assert results(["baseline"], protocol="faithful").has_paper_intervals
    assert not results(["baseline"]).has_paper_intervals
    two = {seed: results(["baseline"]).runs["baseline"][0] for seed in (0, 1)}
    assert not Results("faithful", "validation", {"baseline": two}, {}).has_paper_intervals


def test_runs_of_other_classes_or_none_are_a_users_mistake() -> None:
    with pytest.raises(UserError, match="no run is finished"):
        _ = Results("honest", "validation", {}, {("baseline", 0): "why"}).classes
    both = {"baseline": results(["a"]).runs["a"], "set1_guided": results(["a"], classes=("x", "y")).runs["a"]}
    with pytest.raises(UserError, match="different classes"):
        _ = Results("honest", "validation", both, {}).classes
