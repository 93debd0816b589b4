"""Units of work that are carried out together, set by set, when several wait: many callers with a record each at the cost of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from reallot.storage.transaction import WriteTransaction

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Function = Callable[[WriteTransaction], Any]


@dataclass(frozen=True, slots=True)
class Joint(Generic[Item, Answer]):
    """A unit of work of which several may become one.

    Attributes:
        together: Carries out items and returns their answers in their order; units with equal ones are joined.
        item: What is to be done.
        subjects: Names of what it is about. Units that share one are never joined, so what they do to it stays apart.
    """

    together: Callable[[WriteTransaction, Sequence[Item]], Sequence[Answer]]
    item: Item
    subjects: frozenset[str]

    def __call__(self, tx: WriteTransaction) -> Answer:
        """Carry it out alone."""
        (answer,) = self.together(tx, [self.item])
        return answer


def can_join(before: Sequence[Function], function: Function) -> bool:
    """Tell whether a unit of work becomes one with others that have been joined."""
    if not isinstance(function, Joint):
        return False
    return all(isinstance(f, Joint) and f.together == function.together and f.subjects.isdisjoint(function.subjects) for f in before)


def carry_out(functions: Sequence[Function], tx: WriteTransaction) -> list[Any]:
    """Carry out units that have been joined, or one of any kind; return their answers."""
    first = functions[0]
    if len(functions) == 1 or not isinstance(first, Joint):
        return [function(tx) for function in functions]
    return list(first.together(tx, [function.item for function in functions if isinstance(function, Joint)]))
