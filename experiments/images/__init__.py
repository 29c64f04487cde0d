"""Samples images with one solver, in any number, and scores images from any source."""

from experiments.images.case import Case, make_batches, make_case, make_fill, score_all
