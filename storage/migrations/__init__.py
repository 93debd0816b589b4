"""Schema migrations, shipped in the wheel."""
