"""Document: what a stranger's file says as a value, or the first thing that is wrong with it, in a plain sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgeprof.errors import SpecError
from edgeprof.excerpt import excerpt

Value = TypeVar("Value", bound=BaseModel)

VERSION = 1  # of every file of the catalogue, where it says one


def value_of(model: type[Value], data: Mapping[str, Any], source: str, hint: str) -> Value:
    """The value that the content of a file describes.

    :raises SpecError: a newer version, or a key that is missing or wrong; ``hint`` says how to mend it.
    """
    version = data.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        text = f"{source} has version {shown(version)}; this edgeprof reads {VERSION}"
        raise SpecError(text, "upgrade edgeprof")
    try:
        return model(**data)
    except ValidationError as error:
        raise SpecError(f"{source}: {first_problem(error)}", hint) from None
    except TypeError as error:
        raise SpecError(f"{source}: {error}", hint) from None


def first_problem(error: ValidationError) -> str:
    """The first complaint of pydantic as one plain sentence, led by where it is."""
    problem = error.errors(include_url=False)[0]
    alternatives = ("function-", "literal[", "tuple[", "constrained-")  # pydantic's, of a union
    where = ".".join(
        excerpt(str(part))
        for part in problem["loc"]
        if part not in ("int", "str", "Range") and not str(part).startswith(alternatives)
    )
    text = problem["msg"].removeprefix("Value error, ")
    given = problem.get("input")
    if problem["loc"][:1] == ("padding",) and "not" not in text:
        return f"padding must be valid, same or pixels from 0 to 1024, not {shown(given)}"
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{where}'"
    what = f", not {shown(given)}" if isinstance(given, str | int | float) and "not" not in text else ""
    return f"{where}: {text}{what}" if where else text


def shown(value: Any) -> str:
    """A value as a message quotes it: short, whatever a stranger's file holds."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, tables in tables in tables
        return f"this {type(value).__name__}"
    return excerpt(text)
