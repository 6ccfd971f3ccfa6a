"""Contracts: what every cell, encoder, tagger, embedding and intent head promises.

The tests check them on every built-in part, and `slotfill check --contract` on a user-defined one.
A contract is a function whose name says what holds; it raises ContractError where it does not.
"""
