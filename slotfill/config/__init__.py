"""Configs: YAML and overrides to a validated, typed Config; the registry of parts."""
