"""Description of an exported network, for someone who uses it: `model.json`."""

from __future__ import annotations

from dataclasses import asdict

from radgaze.evaluation.metrics.multilabel import THRESHOLD
from radgaze.evaluation.referral.selective import Referral
from radgaze.exporting.network import Exported
from radgaze.models.input_scale import scale_in
from radgaze.predicting.inputs import Preparation
from radgaze.runs.run import Run
from radgaze.store.digest import file_digest
from radgaze.version import __version__

STEPS = (
    "DICOM: stored values by Bits Stored, High Bit and Pixel Representation; a lateral view is refused",
    "DICOM: Modality LUT, else Rescale Slope and Intercept",
    "DICOM, grey_values=window: the first VOI LUT over the largest number of its bits, else the first window "
    "(LINEAR: clip((x − (c − 0.5)) / (w − 1) + 0.5, 0, 1); LINEAR_EXACT and SIGMOID as in PS3.3 C.11.2.1.3), "
    "else least to greatest value that is not padding; grey_values=none: values over their maximum, less a "
    "negative minimum",
    "DICOM: 1 − x for MONOCHROME1, or Presentation LUT Shape INVERSE, once; padding becomes 0",
    "PNG, JPEG, TIFF: 8 bits over 255; more bits from the least to the greatest value",
    "upright by Patient Orientation: turned so that columns run from head to foot, not mirrored otherwise",
    "letterbox: scale = square / max(rows, columns), width and height int(n · scale + 1e-6), bicubic with "
    "antialiasing (Pillow, of the region width/scale × height/scale), clipped, rint(255 · x) as 8 bits, "
    "black "
    "beside it, at ((square − width) // 2, (square − height) // 2)",
    "fit=stretch: the image cut out of the square; fit=pad: the whole square; then to size × size, bilinear "
    "with antialiasing (Pillow), 8 bits",
    "x / 255 as float32, (1, 1, size, size); mean and deviation are in the graph",
)

MEANINGS = {
    "probabilities": "(B, C) probability of each class, in the order of `classes`",
    "logits": "(B, C) before softmax or sigmoid",
    "mask": "(B, 1, S, S) probability of the decoder's mask, of the most probable class where each has one",
    "heatmap": "(B, 1, S, S) in [0, 1], or (B, C, S, S) for target all, in the order of `classes`",
    "uncertainty": "(B,) score of the reject rule",
    "accept": "(B,) whether the rule accepts the prediction; otherwise the case is referred",
}


def about(model: Exported, file: str) -> dict[str, object]:
    """Describe an exported network, as JSON.

    Args:
        model: The network.
        file: Name of its file.
    """
    run = model.run
    return {
        "format": 1,
        "file": file,
        "use": "research only; not a medical device",
        "software": f"radgaze {__version__}",
        "experiment": run.experiment,
        "weights_sha256": [file_digest(each.weights) for each in run.voters],
        "vote": None if run.vote is None else {"rule": run.vote.rule, "runs": len(run.voters)},
        "inputs": {name: _input(name, run.config.input.size) for name in model.inputs},
        "outputs": {name: MEANINGS[name] for name in model.outputs},
        "heatmap": None if model.method is None else {"method": model.method, "target": model.target},
        **decisions(run, model.predictor.referral),
        "preparation": preparation(model),
    }


def decisions(run: Run, rule: Referral | None) -> dict[str, object]:
    """The classes, and how probabilities become decisions."""
    one = run.exclusive
    return {
        "classes": list(run.classes),
        "probabilities": run.config.objective.classification,
        "predicted": "the most probable class" if one else f"each class with p ≥ {THRESHOLD}",
        "calibration": _calibration(rule),
        "reject": _reject(rule),
    }


def preparation(model: Exported) -> dict[str, object]:
    """How a file becomes an input."""
    made = Preparation.of(model.run)
    scale = scale_in(model.predictor.models[0])
    return {
        "square": made.side,
        "grey_values": made.voi,
        "fit": made.fit,
        "size": made.size,
        "range": [0.0, 1.0],
        "black": 0.0,
        "steps": list(STEPS),
        "in_graph": None
        if scale is None
        else {**asdict(scale), "formula": "(low + (high − low) · x − mean) / std, in each channel"},
    }


def _input(name: str, size: int) -> dict[str, object]:
    words = {
        "image": "greys, 0 black, 1 white; see `preparation`",
        "gaze": "gaze map on the same grid, as radgaze makes it; all zero for a case without gaze",
    }
    return {"shape": ["batch", 1, size, size], "dtype": "float32", "content": words[name]}


def _calibration(rule: Referral | None) -> dict[str, object] | None:
    if rule is None:
        return None
    how = "softmax(log p / T)" if rule.kind == "softmax" else "sigmoid(log(p / (1 − p)) / T)"
    return {"temperature": rule.calibration, "formula": how, "applied": False}


def _reject(rule: Referral | None) -> dict[str, object] | None:
    if rule is None:
        return None
    formulas = {
        "alpha": "(1 − g) / g, g = Σ p²",
        "beta": "(1 − m) / m, m = max p",
        "maximum": "1 − max p",
        "entropy": "−Σ p log p",
    }
    text = "accept where the score is at most the threshold"
    if rule.kind == "sigmoid":
        text += "; the score is the largest of those of (p, 1 − p) of each class"
    if rule.temperature != 1:
        text += "; p after division of the logits by `temperature`"
    moved = None
    if rule.magnitude:
        moved = (
            "p is of the image x − magnitude · sign(∂ log score / ∂x), clipped to [0, 1]: it needs a "
            "gradient, "
            "and is not in the graph"
        )
    return {
        "score": rule.score,
        "formula": formulas[rule.score],
        "rule": text,
        "threshold": rule.threshold,
        "temperature": rule.temperature,
        "magnitude": rule.magnitude,
        "perturbation": moved,
        "goal": f"{rule.goal}={rule.value:g}",
        "validation": asdict(rule.validation),
        "in_graph": not rule.magnitude,
    }
