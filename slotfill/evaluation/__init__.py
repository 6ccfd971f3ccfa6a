"""Evaluation: metrics of predicted slots and intents."""
