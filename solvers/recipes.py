"""What is taken where nothing is asked for: what measured best, as data (README, "Which settings").

Keys: from what guidance scale on (measured at 1, 1.5 and 7.5), and from how many network evaluations on.
"""

KARRAS = {"name": "karras", "rho": 7.0}
PUBLISHED = {  # of dpm_v3 with `published=True`, and of the others where some are given
    "order": 3,
    "variant": "taylor",
    "corrector": True,
    "predictor_pseudo": False,
    "corrector_pseudo": False,
}
PSEUDO = PUBLISHED | {"variant": "dpmsolver", "predictor_pseudo": True, "corrector_pseudo": True}
THIRD = PSEUDO | {"corrector_pseudo": False}
SECOND = PUBLISHED | {"order": 2, "variant": "dpmsolver", "corrector_pseudo": True}
DPM_V3 = {1.0: {1: PSEUDO, 15: THIRD}, 4.0: {1: SECOND}}  # options of dpm_v3, by the guidance of its statistics

# a solver and its grid, by what is at hand: (statistics of the model, the Gaussian of its data), with which `teleport`
# takes the place of all steps above this sigma / alpha
FLAT = KARRAS | {"rho": 5.0}
IPNDM, V3 = {"name": "ipndm", "order": 3, "grid": FLAT}, {"name": "dpm_v3", "grid": FLAT}
WITHOUT = {1: {"name": "ipndm", "order": 3, "grid": KARRAS}}
AUTO = {
    (False, False): {1.0: WITHOUT},
    (True, False): {
        1.0: WITHOUT | {8: {"name": "dpm_v3", "grid": KARRAS | {"rho": 12.0}}},
        4.0: {1: {"name": "dpm_v3", "grid": KARRAS}},
    },
    (False, True): {1.0: {1: IPNDM | {"teleport": 10.0}, 7: IPNDM | {"teleport": 14.0}}},
    (True, True): {1.0: {1: V3 | {"teleport": 10.0}, 7: IPNDM | {"teleport": 14.0}}},
}


def pick(recipes: dict, guidance: float, nfe: int) -> dict:
    """The entry of the largest keys that are at most the guidance scale, and nfe."""
    budgets = recipes[max((least for least in recipes if least <= guidance), default=1.0)]
    return budgets[max(least for least in budgets if least <= nfe)]


def dpm_v3_options(given: dict, nfe: int, guidance: float, published: bool) -> list:
    """The values of the options in PUBLISHED, in that order, from those `given` ({name: value, None for unset})."""
    given = {name: value for name, value in given.items() if value is not None}
    base = PUBLISHED if given or published else pick(DPM_V3, guidance, nfe)
    return list((base | given).values())
