"""The lab: look into a network, probe how long memories last, compare systems."""
