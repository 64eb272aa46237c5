"""Longer proofs and measurements, each one command; their last output stands under ``results/``."""
