"""Who calls, and what they may do: authentication, roles, and the guard before every call."""
