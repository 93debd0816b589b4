"""Column types that are the same to a reader and differ by engine underneath."""

from sqlalchemy import BigInteger, Integer, Text
from sqlalchemy.dialects import postgresql

# Ids are sorted and paged by: the order must be that of code points on every engine, whatever locale a database was made with.
Characters = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

# SQLite numbers rows by itself only in a column that is exactly INTEGER.
AutoId = BigInteger().with_variant(Integer, "sqlite")
