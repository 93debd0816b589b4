"""Answers to questions about plans: computed on a snapshot in processes of their own, by the code that decides; nothing is written."""
