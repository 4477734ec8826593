"""The functions of `import radgaze as rg`."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import radgaze as rg
from radgaze.cli import main
from tests.training.conftest import TINY

NO_RUN: Any = "guided"
NOTHING: Any = None

SHORT = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}


@pytest.fixture(scope="module")
def run(store: rg.Store, tmp_path_factory: pytest.TempPathFactory) -> rg.Run:
    """A run in a folder of its own."""
    out = tmp_path_factory.mktemp("run") / "guided"
    return rg.train(rg.config("set3_guided", data=store, seed=1, **SHORT), out)


def test_each_public_name_is_there_and_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, radgaze\n"
        "assert not {'torch', 'polars', 'numpy', 'lightning'} & set(sys.modules), sorted(sys.modules)\n"
        "for name in radgaze.__all__: getattr(radgaze, name)\n"
        "assert set(radgaze.__all__) <= set(dir(radgaze))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert told.returncode == 0, told.stderr


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trainn'"):
        _ = rg.trainn


def test_the_same_configuration_trains_the_same_run_as_the_command(
    run: rg.Run,
    store: rg.Store,
    tmp_path: Path,
) -> None:
    options = [f"--{name}.{key}={value}" for name, section in SHORT.items() for key, value in section.items()]
    chosen = ["--experiment=set3_guided", f"--data={store.path}", "--seed=1", f"--out={tmp_path / 'run'}"]
    assert main(["train", *chosen, "--evaluate=false", *[each.replace(" ", "") for each in options]]) == 0
    assert_array_equal(
        rg.Run.open(tmp_path / "run").predictions().select("^probability_.*$").to_numpy(),
        run.predictions().select("^probability_.*$").to_numpy(),
    )


def test_results_are_a_table_of_what_metrics_json_has(run: rg.Run) -> None:
    results = rg.evaluate(run, resamples=20)
    table = results.to_frame()
    assert table.columns == ["split", "metric", "of", "value", "low", "high"]
    (macro,) = table.filter(split="test", metric="auc", of="macro").iter_rows(named=True)
    stored = results.test.auc["macro"]
    assert (macro["value"], macro["low"], macro["high"]) == (stored.value, stored.low, stored.high)
    assert set(table.filter(metric="nss")["of"]) == set(results.test.agreement)
    assert "<table" in results._repr_html_()
    assert "set3_guided" in repr(results)
    assert "macro" in repr(results)
    assert rg.report(run).is_file()


def test_a_run_predicts_what_its_training_predicted(run: rg.Run) -> None:
    stored = run.predictions().filter(split="test")
    predicted = run.predict(stored["case_id"].to_list(), batch_size=3)
    assert predicted.to_frame()["image"].to_list() == stored["case_id"].to_list()
    assert_allclose(predicted.probabilities, stored.select("^probability_.*$").to_numpy(), atol=1e-6)
    assert isinstance(rg.Run.open(run.path), rg.Run)


def test_runs_are_compared_and_audited(run: rg.Run, store: rg.Store, tmp_path: Path) -> None:
    other = rg.train(rg.config("baseline", data=store, seed=1, **SHORT), tmp_path / "baseline")
    compared = rg.compare([other, run], resamples=20)
    assert compared.to_frame().filter(metric="auc", group="macro")["run"].to_list() == ["guided"]
    assert "<table" in compared._repr_html_()
    audited = rg.audit(run, methods="grad_cam", cases=3, probed=1, resamples=20)
    assert "grad_cam" in audited.table["method"].to_list()


def test_fewer_cases_than_were_asked_for_are_told(run: rg.Run, caplog: pytest.LogCaptureFixture) -> None:
    height = run.predictions().filter(split="test").height
    with caplog.at_level("INFO", logger="radgaze"):
        rg.audit(run, methods="grad_cam", cases=height, probed=1, resamples=20)
        assert "all are audited" not in caplog.text
        rg.audit(run, methods="grad_cam", cases=height + 1, probed=1, resamples=20)
    assert f"has {height} cases, not {height + 1}" in caplog.text


def test_the_page_of_a_store_is_that_of_the_command(store: rg.Store, tmp_path: Path) -> None:
    page = rg.inspect(store, tmp_path / "python", each=1)
    assert main(["inspect", str(store.path), "--out", str(tmp_path / "shell"), "--each=1"]) == 0
    for name in ("inspect.json", "inspect.html"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "shell" / name).read_bytes()
    assert page == tmp_path / "python" / "inspect.html"
    assert rg.inspect(store.path, each=1, resamples=20).is_file()


def test_a_run_without_a_folder_is_removed_with_it(store: rg.Store) -> None:
    made = rg.train(rg.config("no_decoder", data=store.path, seed=1, **SHORT))
    folder = made.path
    assert made.predictions().height
    assert folder.is_dir()
    del made
    gc.collect()
    assert not folder.exists()


def test_a_phantom_is_prepared(tmp_path: Path) -> None:
    raw = rg.phantom(tmp_path / "raw", patients=6, pixels=64, workers=1)
    made = rg.prepare("egd", egd=raw / "egd", mimic=raw / "mimic", out=tmp_path / "store", size=32, workers=1)
    assert made.cases.height
    assert made.classes == rg.Store.open(tmp_path / "store").classes


def test_numbers_of_numpy_are_those_of_python(run: rg.Run, store: rg.Store) -> None:
    values: dict[str, Any] = {
        "seed": np.int64(3),
        "optimisation": {"learning_rate": np.logspace(-4, -2, 3)[0]},
        "objective": {"mask_gaze": {"weight": np.float32(0.5)}, "heatmap": {"scales": (np.int64(1), 2)}},
    }
    made = rg.config("set3_guided", data=store, **values)
    assert (type(made.seed), type(made.optimisation.learning_rate)) == (int, float)
    assert "learning_rate" in repr(made)
    plain: dict[str, Any] = {
        "seed": 3,
        "optimisation": {"learning_rate": 1e-4},
        "objective": {"mask_gaze": {"weight": 0.5}, "heatmap": {"scales": (1, 2)}},
    }
    assert made == rg.config("set3_guided", data=store, **plain)
    assert run.predict(np.zeros((2, 24, 24)), batch_size=np.int64(1)).probabilities.shape[0] == 2
    seed: Any = np.int64(1)
    fold: Any = np.int64(2)
    assert store.resplit("folds", seed=seed, fold=fold).splits.equals(  # type: ignore[union-attr]
        store.resplit("folds", seed=1, fold=2).splits  # type: ignore[arg-type]
    )


def state_of_the_process() -> list[object]:
    numpy: Any = np.random.get_state()  # noqa: NPY002
    return [
        random.getstate(),
        [each.tolist() if isinstance(each, np.ndarray) else each for each in numpy],
        torch.get_rng_state().tolist(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        dict(os.environ),
    ]


def test_a_training_leaves_generators_and_determinism_of_its_process_as_they_were(
    store: rg.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    monkeypatch.setenv("PL_SEED_WORKERS", "0")
    before = state_of_the_process()
    rg.train(rg.config("no_decoder", data=store, seed=1, **SHORT))
    assert state_of_the_process() == before


@pytest.mark.parametrize("out", [None, "run"])
def test_a_training_that_fails_leaves_them_too(
    out: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: object, **__: object) -> None:
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(1)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        raise rg.UserError("the loss is NaN")

    monkeypatch.setattr("radgaze.training.train.train", fit)
    before = state_of_the_process()
    with pytest.raises(rg.UserError, match="the loss is NaN"):
        rg.train(rg.config("no_decoder", data="x"), out and tmp_path / out)
    assert state_of_the_process() == before


def test_a_plugin_is_named_by_a_path_too(tmp_path: Path) -> None:
    (tmp_path / "plugin_named_by_a_path.py").touch()
    assert rg.plugin(tmp_path / "plugin_named_by_a_path.py") == "plugin_named_by_a_path"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda run: rg.evaluate(run, resample=3),
            "evaluate has no option `resample`; did you mean `resamples`",
        ),
        (
            lambda run: run.predict(np.zeros((24, 32, 3))),
            r"colours become greys by `images.mean\(-1\).astype\(images.dtype\)`",
        ),
        (lambda run: rg.audit(run, methods=3), "`methods` must be a sequence of values, got 3"),
        (lambda run: rg.audit(run, methods="grad_camm"), "no method 'grad_camm'.*did you mean grad_cam"),
        (
            lambda run: rg.config("set3_guided", data="x", trainer={"epochs": 1}),
            "no field 'trainer.epochs'.*; did you mean max_epochs?",
        ),
        (lambda run: rg.config("set3_guided", data="x", epochs=1), "; did you mean trainer.max_epochs?"),
        (lambda run: rg.config("set3_guided", data="x", gaze={"zz": 1}), "; there are weight, sigma, unit"),
        (lambda run: run.predict("case", size=3), "predict has no option `size`"),
        (lambda run: rg.prepare("egd", mimic="a", out="b"), "`egd` is missing"),
        (lambda run: rg.prepare("egd", egd="a", mimic="a", out="b", seize=3), "did you mean `size`"),
        (lambda run: rg.prepare("egdd", out="b"), "egdd"),
        (lambda run: rg.evaluate(run, resamples=0), "`resamples` must be from 1"),
        (lambda run: rg.train(run.config, resume=True), "`resume` needs `out`"),
        (
            lambda run: rg.train(run.config, run.path, resume=True, overwrite=True),
            "`resume` goes on with the run in its own folder: leave out `overwrite`, or `resume`",
        ),
        (lambda run: rg.train(run.path), r"`config` must be a Config, which rg\.config makes, got .*guided"),
        (lambda run: rg.config("baseline", data=NOTHING), "`data` must be a path, got None"),
        (lambda run: rg.config("baseline", data=run), "`data` must be a path, got Run guided experiment"),
        (lambda run: rg.evaluate(NO_RUN), r"`run` must be a Run, which rg\.Run\.open makes, got 'guided'"),
        (lambda run: rg.audit(run.path), r"`run` must be a Run, which rg\.Run\.open makes, got .*guided"),
        (lambda run: rg.report(NO_RUN), r"`run` must be a Run, .*, got 'guided'"),
        (lambda run: rg.export(NO_RUN, "out"), r"`run` must be a Run, .*, got 'guided'"),
        (lambda run: rg.card(NOTHING), r"`run` must be a Run, .*, got None"),
        (lambda run: rg.compare(run), "`runs` must be a list of at least two runs, got a Run"),
        (lambda run: rg.compare([run, NO_RUN]), r"`runs` must be a Run, .*, got 'guided'"),
        (lambda run: rg.inspect(NOTHING), r"`store` must be a Store, which rg\.Store\.open makes, got None"),
        (lambda run: rg.Run.open(NOTHING), "`path` must be a path, got None"),
        (lambda run: rg.Store.open(NOTHING), "`path` must be a path, got None"),
        (lambda run: rg.plugin(Path("nowhere.py")), "nowhere.py cannot be imported"),
    ],
)
def test_a_mistake_is_a_user_error_that_says_what_is_wrong(call, message: str, run: rg.Run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(rg.UserError, match=message):
        call(run)
