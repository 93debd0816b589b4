"""Translation between the contract and the entities, and nothing else."""
