"""What is refused about conditions and schemas."""


class ConditionError(ValueError):
    """A condition that cannot be used, with the place of the fault.

    Attributes:
        message: What is wrong, for people.
        line: Line of the fault, from 1.
        column: Column of the fault, from 1.
    """

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"{message} (line {line}, column {column})")
        self.message = message
        self.line = line
        self.column = column


class TooManyPairs(ValueError):
    """A target would have to be evaluated on more pairs of records and sellers than allowed."""

    def __init__(self, fields: tuple[str, ...], pairs: int, limit: int) -> None:
        names = ", ".join(fields) or "no field"
        super().__init__(f"the condition on {names} makes {pairs} pairs of records and sellers, more than {limit}")
        self.fields = fields
        self.pairs = pairs
        self.limit = limit
