"""edgeprof: know how fast a network will run on a board before you train it.

The public API by name; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_API = {
    "EdgeprofError": "edgeprof.errors",
    "NetSpec": "edgeprof.nets.spec",
    "net_spec": "edgeprof.nets.spec",
    "build_model": "edgeprof.nets.build",
    "operators": "edgeprof.nets.operators",
    "zoo_names": "edgeprof.nets.zoo",
    "zoo_model": "edgeprof.nets.zoo",
    "read_sweep": "edgeprof.sweeps.spec",
    "expand": "edgeprof.sweeps.expand",
    "Host": "edgeprof.timing.ssh",
    "open_target": "edgeprof.target",
    "run_sweep": "edgeprof.sweep",
    "Store": "edgeprof.store",
    "Measurement": "edgeprof.timing.measurement",
    "read_form": "edgeprof.fit.forms",
    "fit_law": "edgeprof.fit.fitting",
    "Law": "edgeprof.fit.law",
    "read_law": "edgeprof.fit.law_file",
    "write_law": "edgeprof.fit.law_file",
    "predict": "edgeprof.fit.prediction",
    "memory_of": "edgeprof.fit.law_memory",
    "at_clocks": "edgeprof.fit.law_clocks",
    "block": "edgeprof.nets.blocks",
    "validate_law": "edgeprof.validation",
    "profile_model": "edgeprof.profile",
    "parse_requirement": "edgeprof.requirements",
    "query_nets": "edgeprof.query",
    "Goal": "edgeprof.query",
    "explain": "edgeprof.query.explain",
    "build_report": "edgeprof.report.contents",
    "write_page": "edgeprof.report.page",
    "write_figures": "edgeprof.report.static",
    "compare_sides": "edgeprof.compare",
    "judged": "edgeprof.compare.gate",
    "design_page": "edgeprof.report.design",
    "frame": "edgeprof.frames",
    "kernel_frame": "edgeprof.frames",
}

__all__ = ["__version__", *_API]


def __getattr__(name: str) -> Any:
    if name in _API:
        value = globals()[name] = getattr(import_module(_API[name]), name)  # not the module of that name
        return value
    raise AttributeError(f"module 'edgeprof' has no attribute '{name}'")
