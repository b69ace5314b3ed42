"""How our models look on the wire: camelCase JSON, numbers as other languages send them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

#: Smallest Unix time in milliseconds that is believed: below it, a clock counts seconds.
SMALLEST_MILLIS = 10**11
#: Largest whole number that every reader of JSON keeps exactly (IEEE 754 double).
LARGEST_NUMBER = 2**53


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError("must be a number")
    if value < 0:
        raise ValueError("must not be negative")
    if value > LARGEST_NUMBER:
        raise ValueError("is too large: other readers of JSON would round it")
    return value


def _whole_number(value: object) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("must be a whole number")
    return int(number)


def _unix_millis(value: object) -> int:
    millis = int(_number(value))
    if 0 < millis < SMALLEST_MILLIS:
        raise ValueError("looks like seconds; Unix time in milliseconds is expected")
    return millis


#: A count, size or rate: an integer or a float on the wire, never negative.
Number = Annotated[int | float, BeforeValidator(_number)]
WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
UnixMillis = Annotated[int, BeforeValidator(_unix_millis)]


class WireModel(BaseModel):
    """snake_case in Python, camelCase on the wire (both are read); unknown fields are kept."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="allow",
        frozen=True,
    )
