"""Python code in a process of its own that has imported what takes seconds, but nothing of radgaze.

A process that imports PyTorch, Lightning and the encoders needs six seconds before it does anything. Where a
test is of what the code does in a process of its own, and not of what it imports, a copy of a process that
has these libraries does it: it has its own folder, environment and path, and imports radgaze itself.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

# Reads a line for each process, copies itself, waits, and writes the exit status.
_TEMPLATE = """
import json, os, sys

import lightning, matplotlib.figure, scipy.stats, segmentation_models_pytorch, torchmetrics.classification

def begin(task):
    os.chdir(task["folder"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        opened = os.open(task[name], os.O_RDONLY if number == 0 else os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(task["environment"])
    given = os.environ.get("PYTHONPATH", "")
    sys.path[:] = ["", *filter(None, given.split(os.pathsep)), *(p for p in sys.path if p not in ABSENT)]
    sys.argv[:] = ["-c", *task["arguments"]]
    return compile(task["code"], "<string>", "exec")

def run(code, names):
    import atexit, os, sys, threading, traceback

    for name in [name for name in names if not name.startswith("__")]:
        del names[name]
    status = 1
    try:
        exec(code, names)
        status = 0
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            status = stop.code or 0
        else:
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # as the interpreter ends, but without taking all apart, which takes a second
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 255)

ABSENT = {"", *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
assert not any(name.partition(".")[0] == "radgaze" for name in sys.modules)
if os.path.isdir("/proc/self/task"):  # a copy has one thread alone: Polars, which starts others, is left out
    assert len(os.listdir("/proc/self/task")) == 1
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(begin(json.loads(line)), globals())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def _end(started: subprocess.Popen[str]) -> None:
    """End the process of which the others are copies."""
    started.communicate()


@cache
def _template() -> subprocess.Popen[str]:
    """Start the process of which the others are copies; it ends with this one."""
    started = subprocess.Popen(
        [sys.executable, "-c", _TEMPLATE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(_end, started)
    return started


def python(
    code: str,
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    path: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own.

    Args:
        code: The code.
        arguments: The arguments that it finds in `sys.argv`.
        folder: The folder in which it runs.
        environment: What is added to the environment.
        path: What precedes the path of imports.
    """
    paths = os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as kept:
        files = {name: Path(kept, name) for name in ("stdin", "stdout", "stderr")}
        for file in files.values():
            file.touch()
        task = {
            **{name: str(file) for name, file in files.items()},
            "code": code,
            "arguments": arguments,
            "folder": str(folder),
            "environment": {**os.environ, "PYTHONPATH": paths, **(environment or {})},
        }
        template = _template()
        assert template.stdin
        assert template.stdout
        print(json.dumps(task), file=template.stdin, flush=True)
        status = template.stdout.readline()
        assert status, "the process of libraries ended"
        told = (files[name].read_text(encoding="utf-8") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(["python", "-c", code, *arguments], int(status), *told)
