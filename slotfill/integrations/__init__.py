"""Interfaces that other libraries expect: a component of spaCy, an estimator of scikit-learn."""
