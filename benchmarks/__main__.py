"""`python -m benchmarks [NAME ...]`: run benchmarks, print their tables, keep them in benchmarks/results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from jsonargparse import auto_cli

from benchmarks.results import Result, write

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark is, as "module:function" within this package; slow ones run only when named."""

    where: str
    about: str
    slow: bool = False

    def load(self) -> Callable[..., Result]:
        module, function = self.where.split(":")
        return getattr(import_module(f"benchmarks.{module}"), function)


BENCHMARKS = {
    "attribution": Benchmark(
        "attribution:run", "a training step with a heatmap loss, against the plain one", slow=True
    ),
    "attribution_maps": Benchmark(
        "attribution_maps:run", "heatmaps to look at, against Captum, MONAI and pytorch-grad-cam", slow=True
    ),
    "auc_intervals": Benchmark("auc_intervals:run", "coverage of intervals of an AUC, simulated", slow=True),
    "auc_intervals_differences": Benchmark(
        "auc_intervals:of_differences", "coverage of intervals of a difference of AUCs, simulated", slow=True
    ),
    "auc_intervals_paper": Benchmark(
        "auc_intervals:of_paper", "coverage of the paper's interval, simulated", slow=True
    ),
    "clinic": Benchmark("clinic:run", "time and memory of predicting folders of DICOM files", slow=True),
    "clinic_10000": Benchmark("clinic:many", "predicting 10,000 DICOM files, beside a plain loop", slow=True),
    "codestream_faults": Benchmark(
        "codestream_faults:run", "damaged codestreams that are refused, and those that are read otherwise"
    ),
    "conaf": Benchmark("conaf:run", "localisation of boxes by conaf, and its controls", slow=True),
    "confounding": Benchmark(
        "confounding:run", "the demo over six seeds: its experiments against the baseline", slow=True
    ),
    "decoy_digits": Benchmark(
        "decoy_digits:run", "each comparison method on digits with a decoy in training", slow=True
    ),
    "encoders": Benchmark(
        "encoders:run", "training steps and maps of transformers, ConvNeXt and a DenseNet", slow=True
    ),
    "epoch": Benchmark("epoch:run", "an epoch of training from the store, against its bare steps", slow=True),
    "gaze_maps": Benchmark("gaze_maps:run", "gaze maps, against rasterising and filtering case by case"),
    "many": Benchmark("many:run", "evaluate, report, inspect and predict on 10,000 cases", slow=True),
    "methods": Benchmark(
        "methods:run", "a training step of each comparison method, against the plain one", slow=True
    ),
    "phantom": Benchmark("preparation:phantom", "making a phantom of 400 patients at 1024 px"),
    "phantom_methods": Benchmark(
        "phantom_methods:run", "each comparison method on the demo's confounded phantoms", slow=True
    ),
    "posthoc": Benchmark(
        "posthoc:run", "gradient maps to look at, against Captum and the bare network", slow=True
    ),
    "power": Benchmark("power:run", "power of differences over seeds, predicted and simulated", slow=True),
    "reasons": Benchmark(
        "reasons:run",
        "what each experiment relies on, and its controls, on four kinds of phantoms",
        slow=True,
    ),
    "reasons_readers": Benchmark(
        "reasons_readers:run",
        "why the case's own gaze adds little on the device: regions, classes and ideal readers",
        slow=True,
    ),
    "reasons_targets": Benchmark(
        "reasons_targets:run", "what the maps hold that comparison methods train towards", slow=True
    ),
    "reasons_tuning": Benchmark(
        "reasons_tuning:run", "settings of counterfactual training, on development phantoms", slow=True
    ),
    "seed_intervals": Benchmark(
        "seed_intervals:run", "coverage and errors of differences over seeds, simulated", slow=True
    ),
    "startup": Benchmark("startup:run", "CPU time of imports, help and mistakes of every verb", slow=True),
    "scale": Benchmark("scale:run", "time and memory of the commands on 377,110 tiny images", slow=True),
    "streaming": Benchmark("streaming:run", "memory of an epoch over stores of growing size"),
    "training_step": Benchmark(
        "training_step:run", "training steps with a heatmap loss on networks nobody tuned for", slow=True
    ),
    "preparation": Benchmark("preparation:few", "preparing 200 radiographs of 1024 px at 512 px"),
    "preparation_1083": Benchmark("preparation:whole", "the same for the size of egd-cxr", slow=True),
    "preparation_memory": Benchmark(
        "preparation_memory:run", "memory of preparing archives of growing size", slow=True
    ),
    "preparation_memory_tables": Benchmark(
        "preparation_memory:tables", "memory of preparing very many tiny images", slow=True
    ),
    "preparation_real_size": Benchmark(
        "preparation:real_size", "preparing 100 radiographs of about 3056×2544 px", slow=True
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Run what is named, or all that is quick; options may follow a single name."""
    first_option = next((k for k, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    names, options = arguments[:first_option], list(arguments[first_option:])
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown or (options and len(names) != 1):
        print(_help(), file=sys.stdout if set(options) <= {"-h", "--help"} and not unknown else sys.stderr)
        if unknown:
            print(f"benchmarks: there is no benchmark {unknown[0]!r}", file=sys.stderr)
        elif not set(options) <= {"-h", "--help"}:
            print("benchmarks: options go with a single name", file=sys.stderr)
        return 2 if unknown or not set(options) <= {"-h", "--help"} else 0
    for name in names or [name for name, benchmark in BENCHMARKS.items() if not benchmark.slow]:
        print(f"{name}: {BENCHMARKS[name].about}", file=sys.stderr)
        result = auto_cli(BENCHMARKS[name].load(), args=options, prog=f"python -m benchmarks {name}")
        print(write(name, result, RESULTS))
    return 0


def _help() -> str:
    lines = [
        f"  {name:<24}{benchmark.about}{' (slow)' if benchmark.slow else ''}"
        for name, benchmark in BENCHMARKS.items()
    ]
    return "\n".join(
        [
            "usage: python -m benchmarks [NAME ...]",
            "       python -m benchmarks NAME [options; --help shows them]",
            "",
            "Without a name the quick ones run. Each prints a table and writes it to benchmarks/results,",
            "as JSON and as Markdown.",
            "",
            *lines,
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
