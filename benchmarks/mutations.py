"""Files that went wrong: mutants of what edgeprof reads, each given to its reader. What must come back is success or an
EdgeprofError; never another exception, a crash, or silence.

``python -m benchmarks.mutations READER SEED FIRST COUNT`` reads mutants in a process of its own, one JSON line for
each; :func:`abuse` starts such processes, watches them, and goes on behind a mutant that brought one down.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from edgeprof import catalogue
from edgeprof.boards.spec import read_board
from edgeprof.errors import EdgeprofError
from edgeprof.fit.forms import read_form
from edgeprof.fit.law_file import law_json, parse_law, read_law
from edgeprof.fit.prediction import predict
from edgeprof.nets.build import model_bytes
from edgeprof.nets.operators import operators, parse_model
from edgeprof.nets.spec import net_spec
from edgeprof.sweeps.spec import read_sweep
from edgeprof.timing.process import Worker

PROGRAM = ("-m", "benchmarks.mutations")
HANG_S = 10.0
START_S = 60.0
MEMORY_BYTES = 6 * 2**30  # of address space: a mutant may ask for any amount
REQUEST = {
    "do": "measure",
    "input": None,
    "seed": 0,
    "threads": 1,
    "providers": ["CPUExecutionProvider"],
    "options": {},
    "stop": {"target_ci": 0.5, "min_runs": 1, "min_s": 0.0, "max_s": 0.001},
    "profile_s": 0,
    "graph": False,
}
NETS = (
    {"conv": 2, "depth": (2, 3), "kernel": 3, "fc": 1, "neurons": 4, "tile": 12},
    {"conv": 1, "depth": 2, "kernel": 3, "padding": "same", "fc": 0, "tile": 8},
    {"conv": 0, "fc": 2, "neurons": 4, "tile": 4},
)
RULES = {
    "operators": {
        "Conv": {"if": ["C", "<", 4], "then": {"kind": "Conv.nchw"}, "else": {"kind": "Conv.nchwc"}},
        "Relu": {"kind": "merged", "seen": 9},
        "Gemm": {"if": ["from", "=", "Flatten"], "then": {"kind": "Gemm"}, "else": {"kind": "Gemm"}},
    },
    "between": {
        "Conv.nchw → Conv.nchwc": {
            "if": ["C", "%", 8],
            "then": {"kind": "none"},
            "else": {"kind": "ReorderInput"},
        }
    },
}


# --- what is mutated


LAWS = ("gtx960-theano", "datasheet:jetson-nano")


@cache
def originals(reader: str) -> tuple[bytes, ...]:
    """Good files of the kind that ``reader`` reads."""
    if reader in ("operators", "worker"):
        return tuple(model_bytes(net_spec(**net), 2) for net in NETS)
    if reader == "law":  # of the shipped ones those that price networks of the family
        return (*(law_json(read_law(name)).encode() for name in LAWS), _kernel_law())
    return tuple(entry.path.read_bytes() for entry in catalogue.entries(f"{reader}s"))  # type: ignore[arg-type]


def _kernel_law() -> bytes:
    """A law per kernel with rules, which no shipped one is."""
    data = json.loads(law_json(read_law("gtx960-theano")))
    term = {"text": "B*H*W*ceil(C/V)", "coefficient": 1e-6, "standard_error": 1e-8}
    groups = [{"name": "Conv", "kinds": ["Conv*"], "terms": [term], "covariance": [[1e-16]]}]
    groups += [{"name": "Gemm", "kinds": ["Gemm"], "terms": [{"text": "R*N*M", "coefficient": 1e-7}]}]
    changes = {"scope": "kernel", "unit": "run", "define": {"lanes": "V*2"}, "groups": groups, "rules": RULES}
    return json.dumps({**data, **changes, "constants": {"V": 16.0}}, ensure_ascii=False).encode()


# --- mutations

Mutation = Callable[[random.Random, bytes], bytes]
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
TOML_VALUE = re.compile(rb"(?m)(?<==)\s*([^\n#=]+)")
JSON_VALUE = re.compile(rb'(?<=:)\s*("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\[\]|\{\})')
HUGE = (
    b"9" * 19,
    b"-1",
    b"0",
    b"1" + b"0" * 400,
    b"9" * 5000,
    b"1e308",
    b"1e999",
    b"-1e-999",
    b"2147483648",
    b"nan",
    *(b"18446744073709551616", b"0.1", b"inf", b"-9223372036854775808", b"65536", b"100000"),
)
WORDS = (
    b"true",
    b'"x"',
    b'""',
    b"[]",
    b"{}",
    b"[[1]]",
    b"-1",
    b"1e400",
    b'"\\u0000"',
    b'["a", 1, true]',
    b'"1..0"',
)
TOML_WORDS = (
    *WORDS,
    b"nan",
    b"1979-05-27T07:32:00Z",
    b"{a = {b = {c = 1}}}",
    b"07:32:00",
    b"'''\n'''",
    b'"1..9 log"',
)
JSON_WORDS = (
    *WORDS,
    b"null",
    b"NaN",
    b"-Infinity",
    b'{"a": {"b": [null]}}',
    b'{"if": ["C", "<", 1]}',
    b'"**C**9**9"',
)
OP_TYPES = (
    "Conv",
    "Gemm",
    "MatMul",
    "Reshape",
    "If",
    "Loop",
    "Resize",
    "ConstantOfShape",
    "Nonsense",
    "",
    "Concat",
)
SIZES = (-1, 0, 1, 2, 7, 2**16, 2**31 - 1, 2**31, 2**62, -(2**63), 2**63 - 1)


def _cut(rng: random.Random, data: bytes, longest: int = 200) -> tuple[int, int]:
    begin = rng.randrange(len(data) + 1)
    return begin, min(len(data), begin + rng.randint(1, longest))


def flip(rng: random.Random, data: bytes) -> bytes:
    """Some bits turned over."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, data: bytes) -> bytes:
    """The beginning alone."""
    return data[: rng.randrange(len(data) + 1)]


def duplicate(rng: random.Random, data: bytes) -> bytes:
    """A piece twice or more."""
    begin, end = _cut(rng, data)
    return data[:end] + data[begin:end] * rng.choice((1, 1, 2, 50)) + data[end:]


def swap(rng: random.Random, data: bytes) -> bytes:
    """Two pieces in each other's place."""
    (a, b), (c, d) = sorted((_cut(rng, data), _cut(rng, data)))
    b, c = min(b, c), max(b, c)
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[max(c, d) :]


def drop(rng: random.Random, data: bytes) -> bytes:
    """A piece left out."""
    begin, end = _cut(rng, data)
    return data[:begin] + data[end:]


def lines(rng: random.Random, data: bytes) -> bytes:
    """Lines in another order, or twice."""
    rows = data.split(b"\n")
    for _ in range(rng.randint(1, 3)):
        rows.insert(rng.randrange(len(rows) + 1), rows[rng.randrange(len(rows))])
        del rows[rng.randrange(len(rows))]
    return b"\n".join(rows)


def _replaced(rng: random.Random, data: bytes, pattern: re.Pattern[bytes], words: Sequence[bytes]) -> bytes:
    places = list(pattern.finditer(data))
    if not places:
        return data + rng.choice(words)
    begin, end = rng.choice(places).span()
    return data[:begin] + b" " + rng.choice(words) + data[end:]


def huge(rng: random.Random, data: bytes) -> bytes:
    """A number that nobody expects."""
    return _replaced(rng, data, NUMBER, HUGE)


def _nested(rng: random.Random, brackets: Sequence[tuple[bytes, bytes]]) -> bytes:
    opening, closing = rng.choice(brackets)
    depth = rng.choice((10, 100, 500, 900, 3000, 100_000))
    return opening * depth + (b"1" + closing * depth if rng.random() < 0.8 else b"")


def toml_nesting(rng: random.Random, data: bytes) -> bytes:
    """Tables in tables in tables, lists in lists, keys of thousands of parts, terms in brackets."""
    match rng.randrange(3):
        case 0:
            return _replaced(rng, data, TOML_VALUE, [_nested(rng, [(b"[", b"]"), (b"{a=", b"}")])])
        case 1:
            key = b"a" + b".a" * rng.choice((10, 500, 3000))
            return rng.choice((b"%s = 1\n", b"[%s]\n", b"[[%s]]\n", b"[net]\n%s = 1\n")) % key + data
        case _:
            return _replaced(rng, data, TOML_VALUE, [b'"' + _nested(rng, BRACKETS) + b'"'])


def json_nesting(rng: random.Random, data: bytes) -> bytes:
    """Objects in objects, lists in lists, terms in brackets."""
    deep = _nested(
        rng, [(b"[", b"]"), (b'{"a":', b"}"), (b'{"if":["C","<",1],"then":{"kind":"a"},"else":', b"}")]
    )
    words = [deep, b'"' + _nested(rng, BRACKETS) + b'"']
    return _replaced(rng, data, JSON_VALUE, words)


BRACKETS = [(b"(", b")"), (b"-", b""), (b"ceil(", b")"), (b"2**", b"1"), (b"min(C,", b")")]


def toml_types(rng: random.Random, data: bytes) -> bytes:
    """A value of another type."""
    return _replaced(rng, data, TOML_VALUE, TOML_WORDS)


def json_types(rng: random.Random, data: bytes) -> bytes:
    """A value of another type."""
    return _replaced(rng, data, JSON_VALUE, JSON_WORDS)


def _edited(change: Callable[[random.Random, onnx.GraphProto], None]) -> Mutation:
    def mutation(rng: random.Random, data: bytes) -> bytes:
        try:
            model = onnx.load_model_from_string(data)
            change(rng, model.graph)
            return bytes(model.SerializeToString())
        except Exception:  # another mutation was here before: there is no graph, or an empty one
            return flip(rng, data)

    return mutation


def _sizes(rng: random.Random, graph: onnx.GraphProto) -> None:
    """Dimensions of values and weights that nobody expects."""
    shapes = [info.type.tensor_type.shape for info in (*graph.input, *graph.output)]
    if rng.random() < 0.5:
        shape = rng.choice(shapes)
        shape.dim[rng.randrange(len(shape.dim))].dim_value = rng.choice(SIZES)
    else:
        tensor = rng.choice(graph.initializer)
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)


def _attributes(rng: random.Random, graph: onnx.GraphProto) -> None:
    """Numbers of attributes, or attributes of another type."""
    attribute = rng.choice([a for node in graph.node for a in node.attribute])
    if attribute.ints and rng.random() < 0.7:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(SIZES)
    else:
        kept = attribute.name
        value: Any = rng.choice((2**62, -1, 1e300, math.nan, b"\xff", [1.5], [0] * 50))
        attribute.CopyFrom(helper.make_attribute(kept, value))


def _wiring(rng: random.Random, graph: onnx.GraphProto) -> None:
    """Nodes of another type, lost, twice, in another order, or in a circle."""
    index = rng.randrange(len(graph.node))
    node = graph.node[index]
    match rng.randrange(6):
        case 0:
            node.op_type = rng.choice(OP_TYPES)
        case 1:
            del graph.node[index]
        case 2:
            graph.node.add().CopyFrom(node)
        case 3:
            node.input[rng.randrange(len(node.input))] = rng.choice(graph.node).output[0]
        case 4:
            node.output[0] = rng.choice(graph.node).output[0]
        case _:
            del node.input[rng.randrange(len(node.input)) :]


def _weights(rng: random.Random, graph: onnx.GraphProto) -> None:
    """Weights of another type, or fewer numbers than their shape asks for."""
    tensor = rng.choice(graph.initializer)
    match rng.randrange(3):
        case 0:
            tensor.data_type = rng.randrange(30)
        case 1:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        case _:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = (
                "location",
                rng.choice(("nowhere.bin", "../../etc/passwd", "/dev/zero", "")),
            )


def _subgraphs(rng: random.Random, graph: onnx.GraphProto) -> None:
    """Graphs in graphs in graphs."""
    inner = helper.make_graph([], "inner", [], [])
    for _ in range(rng.choice((1, 10, 45, 90))):
        node = helper.make_node(
            "If", ["input"], ["output"], then_branch=inner, else_branch=helper.make_graph([], "e", [], [])
        )
        inner = helper.make_graph([node], "inner", [], [])
    rng.choice(graph.node).attribute.append(helper.make_attribute("then_branch", inner))


BYTES: tuple[Mutation, ...] = (flip, truncate, duplicate, swap, drop)
GRAPHS = tuple(map(_edited, (_sizes, _attributes, _wiring, _weights, _subgraphs)))
TOML = (*BYTES, lines, huge, toml_nesting, toml_types, toml_types)
MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "sweep": TOML,
    "board": TOML,
    "form": TOML,
    "law": (*BYTES, lines, huge, json_nesting, json_types, json_types),
    "operators": (*BYTES, *GRAPHS, *GRAPHS),
    "worker": (*BYTES, *GRAPHS, *GRAPHS),
}
READERS = tuple(MUTATIONS)


def mutant(reader: str, seed: int, number: int) -> bytes:
    """A file for ``reader``; the same for the same numbers."""
    rng = random.Random(f"{reader} {seed} {number}")
    data = rng.choice(originals(reader))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(MUTATIONS[reader])(rng, data)
    return data


# --- reading them


def opened(reader: str, folder: Path, stack: ExitStack) -> Callable[[bytes], None]:
    """What ``reader`` does with the content of a file."""
    toml, model = folder / "mutant.toml", folder / "mutant.onnx"

    def by_name(read: Callable[[str], object]) -> Callable[[bytes], None]:
        def give(data: bytes) -> None:
            toml.write_bytes(data)
            read(str(toml))

        return give

    def law(data: bytes) -> None:
        (folder / "mutant.json").write_bytes(data)
        text = catalogue.read_text(folder / "mutant.json")
        predict(parse_law(text, "mutant.json"), net_spec(conv=2), 64)

    if reader == "law":
        return law
    if reader == "operators":
        return lambda data: _ignore(operators(parse_model(data, "mutant.onnx")))
    if reader == "worker":
        worker = stack.enter_context(Worker("edgeprof.backends.ort"))
        worker.ask({"do": "describe"}, START_S)

        def measure(data: bytes) -> None:
            model.write_bytes(data)
            worker.ask({**REQUEST, "model": str(model)}, HANG_S / 2)

        return measure
    return by_name({"sweep": read_sweep, "board": read_board, "form": read_form}[reader])


def _ignore(_: object) -> None:
    pass


def outcome(give: Callable[[bytes], None], data: bytes) -> tuple[str, str]:
    """What came of a file: ``accepted``, ``refused`` with the message, ``unclear`` with it, or ``traceback``."""
    try:
        give(data)
        return "accepted", ""
    except EdgeprofError as error:
        clear = 8 < len(error.message) < 1000 and error.hint
        return ("refused" if clear else "unclear"), error.message[:2000]
    except Exception:
        return "traceback", "".join(traceback.format_exc()[-3000:])


def serve(reader: str, seed: int, first: int, count: int) -> None:
    """One line for each mutant."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        give = opened(reader, Path(name), stack)
        print("ready", flush=True)
        for number in range(first, first + count):
            data = mutant(reader, seed, number)
            begin = time.monotonic()
            what, text = outcome(give, data)
            took = time.monotonic() - begin
            print(json.dumps({"number": number, "outcome": what, "text": text, "s": took}), flush=True)


@dataclass
class Report:
    """What became of the mutants of one reader. ``trouble`` has (number, what happened)."""

    reader: str
    outcomes: Counter[str] = field(default_factory=Counter)
    trouble: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0


def abuse(reader: str, seed: int, count: int) -> Report:
    """Give ``count`` mutants to ``reader``; a process that crashes or hangs is trouble, and another goes on."""
    report, first = Report(reader), 0
    while first < count:
        for line in _answers(reader, seed, first, count - first):
            answer = json.loads(line)
            report.outcomes[answer["outcome"]] += 1
            report.slowest_s = max(report.slowest_s, answer["s"])
            if answer["outcome"] not in ("accepted", "refused"):
                report.trouble.append((answer["number"], f"{answer['outcome']}: {answer['text']}"))
            first = answer["number"] + 1
        if first < count:
            report.outcomes["crash or hang"] += 1
            report.trouble.append((first, "the reading process crashed or hung"))
            first += 1
    return report


def _answers(reader: str, seed: int, first: int, count: int) -> Iterator[str]:
    """Lines of a reading process, until it ends or says nothing for too long."""
    command = [sys.executable, *PROGRAM, reader, str(seed), str(first), str(count)]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                rest, patience_s = b"", START_S
                while selector.select(patience_s) and (part := os.read(process.stdout.fileno(), 2**16)):
                    *whole, rest = (rest + part).split(b"\n")
                    yield from (line.decode() for line in whole if line != b"ready")
                    patience_s = HANG_S
        finally:
            process.kill()


if __name__ == "__main__":
    serve(sys.argv[1], *map(int, sys.argv[2:5]))
