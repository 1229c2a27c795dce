"""Form: a hypothesis of which terms make up the latency. Reads ``fit/forms/*.toml``.

A form of scope ``kernel`` has terms in the dimensions of one kernel and is summed over the kernels of a run; a form of
scope ``net`` has terms in NetSpec's own variables, and each group is the sum over the kernels of its kinds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edgeprof import catalogue
from edgeprof.document import shown, value_of
from edgeprof.errors import SpecError
from edgeprof.excerpt import excerpt
from edgeprof.fit.expressions import Expression, as_text, parse
from edgeprof.fit.rules import FEATURES

# What a kernel's terms may name: dimensions (edgeprof.nets.operators.dims), and constants of the machine and the law:
# V float32 lanes of a vector, T threads, L1, L2, L3 bytes of cache, Q blocks of work that run at once. Z bytes that the
# run of the whole network touches, and cold, the part of them that has left the last cache by the next run. GFLOPS and
# GBPS are the board's float32 and memory peaks, 10⁹ a second. Clocks in MHz, of each case as it was measured: of what
# computes (the GPU, or the processor), of its memory, and of the processor that launches kernels on a GPU. What an
# activation takes beside the kernel is 0 where nothing tells it.
PEAKS = ("GFLOPS", "GBPS")
ACTIVATED = ("A", "E")
CLOCKS = ("core_mhz", "memory_mhz", "cpu_mhz")
CONSTANTS = ("V", "T", "L1", "L2", "L3", "Q", *PEAKS)
KERNEL_VARIABLES = (
    "B",
    "C",
    "M",
    "H",
    "W",
    "Hi",
    "Wi",
    "Kh",
    "Kw",
    "S",
    "P",
    "G",
    "R",
    "N",
    "X",
    "Y",
    "A",
    "E",
    "Z",
    "cold",
    *CONSTANTS,
    *CLOCKS,
)
# … and a network's: t tile, D depth, C conv layers, N neurons, F hidden FC layers, K kernel, B batch, k kernels in a
# run.
NET_VARIABLES = ("t", "D", "C", "N", "F", "K", "B", "k", *CONSTANTS, *CLOCKS)

RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
MAX_SEARCHED = 10_000

Term = Annotated[str, Field(min_length=1, max_length=2000)]


class Group(BaseModel):
    """Kernels priced alike: ``kinds`` are shell patterns of kernel kinds, ``terms`` what a kernel's time is made of.

    ``ask`` names dimensions, or products such as ``B*H*W``, by which a fit to single operators may part the kernels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=60)]
    kinds: tuple[str, ...]
    terms: Annotated[tuple[Term, ...], Field(min_length=1, max_length=64)]
    ask: Annotated[tuple[str, ...], Field(max_length=64)] = ()

    @field_validator("ask")
    @classmethod
    def _known(cls, ask: tuple[str, ...]) -> tuple[str, ...]:
        for text in ask:
            if not set(text.split("*")) <= set(FEATURES):
                raise ValueError(f"{text!r} is no dimension or product of dimensions ({', '.join(FEATURES)})")
        return ask

    def covers(self, kind: str) -> bool:
        """True where a kernel of ``kind`` belongs to this group."""
        return any(fnmatchcase(kind, pattern) for pattern in self.kinds)


class Form(BaseModel):
    """A form file. ``define`` names pieces that terms use; they are expressions too, each may use those before it.
    ``search`` has constants that a fit finds, each as a range of whole numbers, ``4..160``.

    ``unit`` says what the coefficients are per: a ``run`` (one batch) or a ``tile``; ``terms`` whether all of them are
    kept, or those that the data ask for; ``composition`` how kernels make up a run (edgeprof.fit.composition);
    ``totals`` that it is for networks whose latency alone is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=100)]
    about: str = ""
    scope: Literal["kernel", "net"]
    unit: Literal["run", "tile"] = "run"
    composition: Literal["sum", "overlap"] = "sum"
    terms: Literal["all", "needed"] = "all"
    totals: bool = False
    search: Mapping[str, str] = {}
    define: Mapping[str, str] = {}
    group: Annotated[tuple[Group, ...], Field(min_length=1, max_length=64)]
    overhead: tuple[Term, ...] = ("1",)

    def model_post_init(self, _: Any) -> None:
        names = [g.name for g in self.group]
        if len(set(names)) < len(names):
            raise SpecError(f"form '{self.name}' has two groups of one name", "call each group differently")
        for term in self.overhead:
            parse(term, NET_VARIABLES)
        assert self.expressions is not None

    @field_validator("search")
    @classmethod
    def _ranges(cls, search: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in search.items():
            found = RANGE.fullmatch(text)
            if name not in CONSTANTS or not found or not 0 < int(found[1]) < int(found[2]) <= MAX_SEARCHED:
                raise ValueError(
                    f"{excerpt(name)} = {shown(text)}: write a range, 4..160, of one of {', '.join(CONSTANTS)}"
                )
        return search

    def candidates(self, name: str) -> range:
        """The values that a fit tries for a constant of ``search``."""
        low, high = self.search[name].split("..")
        return range(int(low), int(high) + 1)

    @property
    def constants(self) -> frozenset[str]:
        """Constants that the form's terms use."""
        used = frozenset[str]().union(*(self._used(g.name) for g in self.group))
        return frozenset(used & set(CONSTANTS)) | ({"L3"} if "cold" in used else set())

    @property
    def clocks(self) -> tuple[str, ...]:
        """Clocks that the form's terms use, those of the overhead too."""
        used = frozenset[str]().union(*(self._used(g.name) for g in self.group))
        used |= {name for text in self.overhead for name in parse(text, NET_VARIABLES).names}
        return tuple(name for name in CLOCKS if name in used)

    @cached_property
    def needs(self) -> dict[str, frozenset[str]]:
        """By group the dimensions that a kernel must have to be priced."""
        known = {*CONSTANTS, *CLOCKS, *ACTIVATED, "Z", "cold", *self.define}
        return {g.name: self._used(g.name) - known for g in self.group}

    def _used(self, group: str) -> frozenset[str]:
        """Every name that the terms of a group use, by way of definitions too."""
        used = {n for term in self.expressions[group] for n in term.names}
        for name, expression in reversed(list(self.definitions.items())):
            if name in used:
                used |= expression.names
        return frozenset(used)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names that terms may use, definitions apart."""
        return KERNEL_VARIABLES if self.scope == "kernel" else NET_VARIABLES

    @cached_property
    def definitions(self) -> dict[str, Expression]:
        """Defined names in order.

        :raises SpecError: a name that is taken, or an expression that is not allowed.
        """
        found: dict[str, Expression] = {}
        for name, text in self.define.items():
            if not name.isidentifier() or name in self.variables:
                raise SpecError(
                    f"form '{self.name}': '{name}' cannot be defined", "use a new name of letters"
                )
            found[name] = parse(text, (*self.variables, *found))
        return found

    @cached_property
    def expressions(self) -> dict[str, tuple[Expression, ...]]:
        """Parsed terms by group."""
        allowed = (*self.variables, *self.definitions)
        return {g.name: tuple(parse(term, allowed) for term in g.terms) for g in self.group}

    def group_of(self, kind: str) -> Group | None:
        """The first group that covers ``kind``."""
        return next((g for g in self.group if g.covers(kind)), None)


def term_text(term: str, names: Collection[str]) -> str:
    """A term as people read it: ``B·H·W·K²``."""
    return as_text(parse(term, names))


def parse_form(data: Mapping[str, Any], source: str) -> Form:
    """A form from the content of its file.

    :raises SpecError: with the key or the term that is wrong.
    """
    return value_of(Form, data, source, "see fit/README.md and the shipped forms")


def read_form(name: str) -> Form:
    """The form called ``name``, or in the file of that name.

    :raises CatalogueError: no such form. :raises SpecError: the file is wrong.
    """
    path = catalogue.find("forms", name)
    return parse_form(
        {"name": path.stem, **catalogue.parse_toml(catalogue.read_text(path), str(path))}, str(path)
    )
