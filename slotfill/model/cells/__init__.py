"""One file per recurrent cell: one step in time."""
