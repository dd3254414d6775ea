"""Perturbations: instances → changed copies of instances, one module per family."""
