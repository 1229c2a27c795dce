"""ONNX Runtime on the device: sessions, bound inputs and outputs, profile events, the optimised graph.

Python 3.6 syntax, standard library, NumPy and onnxruntime alone: this file is sent to the worker. Every way to
execute networks offers what is here: ``describe()``, ``noise(…)``, ``load(…)`` and a session with ``inputs``, ``bind``,
``run``, ``run_from_host``, ``observe``, ``profile``, ``graph`` and ``close``; and ``lanes(…)`` where it runs a network
several times at once.
"""

import json
import os
import re
import shutil
import tempfile
import time

import numpy as np

GRAPH_FILE = "optimised.onnx"
OVERLAPS = (1, 11, 1)


def describe():
    """Versions and providers of the runtime; ImportError where it is not installed."""
    import onnxruntime

    return {
        "runtime": "onnxruntime",
        "runtime_version": onnxruntime.__version__,
        "providers": list(onnxruntime.get_available_providers()),
    }


def load(model, threads, providers, options, weights, profiled):
    """A session for ``model`` (bytes or a path). ``options`` are session configuration entries, text by text;
    ``weights`` is the folder of weights outside the model, or None.

    Raises RuntimeError where another provider than the one asked for would run the network.
    """
    return open_session(Session, model, settings_of(threads, options), providers, weights, profiled)


def lanes(depth, model, threads, providers, options, weights):
    """``depth`` ways to run ``model`` at the same time, each from a thread of its own: one session, whose weights and
    threads they share, with inputs and outputs of their own."""
    see_that_runs_overlap()
    first = load(model, threads, providers, options, weights, False)
    return [first] + [Session(first._session, 0.0, None) for _ in range(depth - 1)]


def see_that_runs_overlap():
    """RuntimeError where the runtime holds Python's lock while a network runs, as it did before 1.11.1 (its pull
    request 11248): stamps of several threads would look as if they overlapped."""
    import onnxruntime

    version = tuple(int(part) for part in re.findall("[0-9]+", onnxruntime.__version__)[:3])
    if version < OVERLAPS:
        text = (
            "onnxruntime %s lets no other thread run while a network does: several at once need %s or newer"
        )
        raise RuntimeError(text % (onnxruntime.__version__, ".".join(str(part) for part in OVERLAPS)))


def settings_of(threads, entries):
    """Settings of a session that says nothing and works on ``threads`` threads, with configuration ``entries``."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    for key, value in sorted(entries.items()):
        settings.add_session_config_entry(key, value)
    return settings


def open_session(kind, model, settings, providers, weights, profiled):
    """``kind`` of a runtime's session, the time it took to load (ms) and its folder. ``providers`` are names, or pairs
    of a name and its options; ``weights`` is the folder of weights outside the model, or None.

    Raises RuntimeError where another provider than the one asked for would run the network.
    """
    import onnxruntime

    if weights:  # the runtime looks for them beside a model's file, and in this folder for one in memory
        settings.add_session_config_entry("session.model_external_initializers_file_folder_path", weights)
        with open(model, "rb") as stream:
            model = stream.read()
    folder = None
    if profiled:
        folder = tempfile.mkdtemp(prefix="edgeprof-%d-" % os.getpid())
        settings.enable_profiling = True
        settings.profile_file_prefix = os.path.join(folder, "profile")
        if profiled == "graph":
            settings.optimized_model_filepath = os.path.join(folder, GRAPH_FILE)
            settings.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", "weights.bin"
            )
            settings.add_session_config_entry(
                "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
            )
    try:
        begin = time.perf_counter()
        session = onnxruntime.InferenceSession(model, settings, providers=providers, enable_fallback=0)
        load_ms = (time.perf_counter() - begin) * 1e3
        names = [provider if isinstance(provider, str) else provider[0] for provider in providers]
        used = session.get_providers()
        if used[: len(names)] != names:
            raise RuntimeError("asked for %s, but the session uses %s" % (", ".join(names), ", ".join(used)))
        return kind(session, load_ms, folder)
    except BaseException:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def recorded(settings):
    """``settings`` of a session that can tell which provider runs what (since ONNX Runtime 1.24)."""
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return settings


def assigned_elsewhere(session, provider):
    """Nodes that another provider runs, with its name; none where the runtime does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    return [
        "%s runs %s" % (part.ep_name, ", ".join(node.name for node in part.get_nodes()))
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != provider
    ]


class Session(object):
    """A loaded network with its inputs and outputs bound on the device."""

    def __init__(self, session, load_ms, folder):
        self.load_ms = load_ms
        self._session = session
        self._folder = folder
        self._binding = session.io_binding()
        self._keep = []

    @property
    def shared(self):
        """Whether the device is a GPU whose memory is the processor's."""
        return False

    def inputs(self):
        """What the network takes where all of it is float32: name → shape."""
        return {i.name: {"shape": [int(d) for d in i.shape]} for i in self._session.get_inputs()}

    def bind(self, inputs):
        """Copy ``inputs`` (name → array) to the device and let outputs stay there."""
        import onnxruntime

        self._inputs = inputs
        for name, array in inputs.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            self._keep.append(value)
            self._binding.bind_ortvalue_input(name, value)
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name)

    def run(self):
        """One run, from inputs on the device to outputs on the device."""
        self._session.run_with_iobinding(self._binding)

    def run_from_host(self):
        """One run with the copies of inputs and outputs."""
        return self._session.run(None, self._inputs)

    def observe(self, clock):
        """What is measured beside the latency, by name: nothing on a processor."""
        return {}

    def profile(self, skip):
        """End profiling: (kernels in execution order, without the first ``skip`` runs; microseconds of every run).

        A kernel is a dict of ``name``, ``op_type``, ``provider``, ``inputs`` and ``outputs`` (shapes) and ``us``,
        its times. What runs inside a branch or a loop is part of that.
        """
        runs = self.executed()
        return kernels_of([nodes for _, nodes in runs[skip:]]), [span["dur"] for span, _ in runs]

    def timeline(self, count):
        """End profiling: of the last ``count`` runs the nodes (``events``, as :meth:`profile` has them), and when these
        (``nodes``) and the runs themselves (``runs``) began and ended, in ns of the host's clock (``time.time_ns``).
        The profile's clock is the system's on Linux; its times are cut to whole microseconds."""
        start = self._session.get_profiling_start_time_ns()
        runs = self.executed()[-count:]

        def ends(event):
            return [start + event["ts"] * 1000, start + (event["ts"] + event["dur"]) * 1000]

        return {
            "events": kernels_of([nodes for _, nodes in runs]),
            "nodes": [[ends(node) for node in nodes] for _, nodes in runs],
            "runs": [ends(span) for span, _ in runs],
        }

    def executed(self):
        """End profiling: of every run the event of the whole and those of its nodes, in execution order."""
        path = self._session.end_profiling()
        try:
            with open(path) as stream:
                events = json.load(stream)
        except ValueError:
            where = tempfile.gettempdir()
            raise RuntimeError("the profile is cut short: is there space left in %s?" % where) from None
        runs, current = [], []
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                current.append(event)
            elif event.get("name") == "model_run":
                runs.append((event, _outer(current)))
                current = []
        return runs

    def graph(self):
        """The graph after the runtime's own optimisation (ONNX bytes, large weights left out)."""
        with open(os.path.join(self._folder, GRAPH_FILE), "rb") as stream:
            return stream.read()

    def close(self):
        """Give the session's memory and files back."""
        self._session = self._binding = None
        self._keep = []
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def kernels_of(runs):
    """The kernels of the first of ``runs`` (their events), with the times of all that ran as many."""
    kernels = []
    for order, event in enumerate(runs[0] if runs else []):
        arguments = event["args"]
        kernels.append(
            {
                "name": event["name"][: -len("_kernel_time")],
                "op_type": arguments["op_name"],
                "provider": arguments.get("provider", ""),
                "inputs": _shapes(arguments.get("input_type_shape", [])),
                "outputs": _shapes(arguments.get("output_type_shape", [])),
                "us": [run[order]["dur"] for run in runs if len(run) == len(runs[0])],
            }
        )
    return kernels


def _outer(events):
    """The events of a run, which come as they end, without those inside a node that has graphs of its own."""
    found = []
    for event in events:
        if event["args"]["op_name"] in ("If", "Loop", "Scan"):
            found = [e for e in found if e["ts"] < event["ts"]]
        found.append(event)
    return found


def _shapes(entries):
    return [[int(d) for d in shape] for entry in entries for shape in entry.values()]


def noise(wanted, seed):
    """Seeded uniform noise for an input of ``shape``: in [0, 1) for ``dtype`` float32 (which it is unless told
    otherwise) and other fractions; whole numbers below ``high``. Where that is not known, numbers of one byte, which
    are pixels or quantised values, are anything from 0, and others are ones, as masks and lengths allow."""
    dtype, shape = np.dtype(wanted.get("dtype", "float32")), wanted["shape"]
    random, high = np.random.RandomState(seed), wanted.get("high")
    if dtype.kind == "f":
        return np.asarray(random.random_sample(shape)).astype(dtype)
    if high is None and dtype.itemsize == 1 and dtype.kind != "b":
        high = np.iinfo(dtype).max + 1
    if high is None:
        return np.ones(shape, dtype)
    return np.asarray(random.randint(0, high, size=tuple(shape))).astype(dtype)
