"""The one road a record travels, one module per stop: change, claim, segment, plan, solve, commit."""
