"""Sampling here beside that of others."""
