"""The commands of the lab: look into a network, probe how long memories last, compare systems."""

from __future__ import annotations
