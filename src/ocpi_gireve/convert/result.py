"""What a conversion gives back: the object, and the list of what it could not carry; knows no OCPI object."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import frozen

from ..errors import OcpiError

T_co = TypeVar("T_co", covariant=True)


@frozen
class Loss:
    """One thing that the result does not say as the source did, or that it says and the source did not.

    | code | meaning |
    |---|---|
    | `no-field` | the other version has no field for it: left out |
    | `no-value` | the other version's enum has no such value: left out |
    | `replaced` | something near stands in its place |
    | `condition` | a price whose condition cannot be said: left out |
    | `precision` | the same number, written with other digits or rounded |
    | `assumed` | the result must have it and the source does not say it |
    | `extra` | a property outside the source's version, whose name is a field of the result's |
    | any other | carried as it is, although it breaks this rule of the result's version: `max-length`, \
`charset`, `regex`, `enum`, `empty`, ... |

    Attributes:
        pointer: Where, as a JSON pointer (RFC 6901) into the source; with `assumed`, into the result.
        code: What, for programs.
        message: What, for people; never the value itself.
    """

    pointer: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.message}"


@frozen
class Converted(Generic[T_co]):
    """An object in the other version of OCPI.

    Where there is no loss, the result is one that the constructors of its version accept, and converting it
    back gives the source again.

    Attributes:
        value: The object.
        losses: What could not be carried as it was, in the order of the source.
    """

    value: T_co
    losses: tuple[Loss, ...] = ()


class NotConvertible(OcpiError, ValueError):
    """An object that has no form in the other version, or none that would not mislead.

    Attributes:
        model: The name of the source's class.
        pointer: What prevents it, as a JSON pointer into the source.
        reason: Why.
    """

    def __init__(self, model: str, pointer: str, reason: str) -> None:
        self.model = model
        self.pointer = pointer
        self.reason = reason
        super().__init__(f"{model} not converted: {pointer}: {reason}")
