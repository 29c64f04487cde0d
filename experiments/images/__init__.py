"""Images of one solver, in any number, and scores of images from anywhere."""

from experiments.images.case import Case, make_batches, make_case, make_fill, score_all

__all__ = ["Case", "make_batches", "make_case", "make_fill", "score_all"]
