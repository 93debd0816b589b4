"""How many cases the long property tests try: few in the suite, many in `make check-long`."""

import os

CASES = int(os.environ.get("REALLOT_CASES", "100"))
