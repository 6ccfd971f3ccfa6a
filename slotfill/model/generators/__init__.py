"""One file per generator: a language model of linearised sentences."""
