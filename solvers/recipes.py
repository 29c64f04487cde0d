"""Which options dpm_v3 has when none are given: those that measured best, as data (README, "Which settings").

Keys: whether the statistics are of a guided model; the least number of evaluations. `published`: with `published=True`,
and for the others where some are given.
"""

PUBLISHED = {
    "order": 3,
    "variant": "taylor",
    "corrector": True,
    "predictor_pseudo": False,
    "corrector_pseudo": False,
}
PSEUDO = PUBLISHED | {"variant": "dpmsolver", "predictor_pseudo": True, "corrector_pseudo": True}
SECOND = PUBLISHED | {"order": 2, "variant": "dpmsolver", "corrector_pseudo": True}
DPM_V3 = {
    False: {1: PSEUDO},
    True: {1: SECOND},
}


def dpm_v3_options(given: dict, nfe: int, guided: bool, published: bool) -> list:
    """The values of the options in PUBLISHED, in that order, from those `given` ({name: value, None for unset})."""
    given = {name: value for name, value in given.items() if value is not None}
    recipes = DPM_V3[guided]
    best = recipes[max(least for least in recipes if least <= nfe)]
    return list(((PUBLISHED if given or published else best) | given).values())
