"""The server: wires the contract, the road of a record, schedules and streams over solver and storage."""
