"""${message}

Revision: ${up_revision}, after ${down_revision | comma,n}.
"""

from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}
# True if servers of the revision before go on working during and after this.
expands = False


def upgrade() -> None:
    """Bring the schema forward."""
    ${upgrades if upgrades else "pass"}
