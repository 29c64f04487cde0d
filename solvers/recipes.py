"""What is taken where nothing is asked for: what measured best, as data (docs/ems.md, "Which settings").

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
IPNDM, V3 = {"name": "ipndm", "order": 3}, {"name": "dpm_v3"}
FLAT, STEEP = KARRAS | {"rho": 5.0}, KARRAS | {"rho": 12.0}
SKIPS = {1: 10.0, 7: 14.0, 10: 20.0, 13: 28.0, 18: 40.0}  # the more evaluations, the less may be left to a Gaussian
WITHOUT = {1: IPNDM | {"grid": KARRAS}}
JUMPS = {nfe: IPNDM | {"grid": FLAT, "teleport": sigma} for nfe, sigma in SKIPS.items()}
AUTO = {
    (False, False): {1.0: WITHOUT},
    (True, False): {1.0: WITHOUT | {8: V3 | {"grid": STEEP}}, 4.0: {1: V3 | {"grid": KARRAS}}},
    (False, True): {1.0: JUMPS},
    (True, True): {
        1.0: JUMPS
        | {1: V3 | {"grid": FLAT, "teleport": SKIPS[1]}}
        | {nfe: V3 | {"grid": KARRAS, "teleport": SKIPS[nfe]} for nfe in (13, 18)}
    },
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
