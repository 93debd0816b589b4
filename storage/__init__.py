"""What is true: tables, migrations and guarded transactions. Knows neither the contract nor the solver."""

from reallot.storage.contract import RecordColumns, RecordFilter, RecordPart, Signal
from reallot.storage.database import Database
from reallot.storage.schema import migrate
from reallot.storage.transaction import ReadTransaction, WriteTransaction

__all__ = ["Database", "ReadTransaction", "RecordColumns", "RecordFilter", "RecordPart", "Signal", "WriteTransaction", "migrate"]
