"""Clients of Reallot: the Python client, the `reallot` command, the batch rerun client, the notification follower. Stubs only."""
