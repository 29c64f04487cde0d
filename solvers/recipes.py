"""The default settings, which are those that measured best, as data (docs/ems.md, "Which settings").

The keys are lower limits: first of the guidance scale (measured at 1, 1.5 and 7.5), then of the network evaluations.
"""

KARRAS = {"name": "karras", "rho": 7.0}
PUBLISHED = {  # dpm_v3 with `published=True`, and the rest of the options where some are given
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

# The solver `auto` and its grid. Keys: whether there are (statistics of the model, a Gaussian of its data). With the
# Gaussian, `teleport` takes the place of all steps above this sigma / alpha.
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
    """The entry whose keys are the largest ones that do not exceed the guidance scale and nfe."""
    budgets = recipes[max((least for least in recipes if least <= guidance), default=1.0)]
    return budgets[max(least for least in budgets if least <= nfe)]


def dpm_v3_options(given: dict, nfe: int, guidance: float, published: bool) -> list:
    """Options of dpm_v3, in the order of PUBLISHED: those `given` ({name: value or None}), else the defaults."""
    given = {name: value for name, value in given.items() if value is not None}
    base = PUBLISHED if given or published else pick(DPM_V3, guidance, nfe)
    return list((base | given).values())
