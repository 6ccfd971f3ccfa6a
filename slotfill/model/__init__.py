"""The network: its parts, and how they are put together."""
