"""Compares the errors of the methods in a directory's convergence.json with those of the official code."""

import numpy as np

from experiments.checks import oracle as official
from experiments.checks.curves import Case
from experiments.checks.runners import NotCovered, build
from experiments.support.scores import format_table

COLUMNS = ("rmse_lower", "official_rmse", "rmse_off", "official_median", "median_off")
SKIPS = {"edm": "logSNR", "vp_sd": "time_uniform"}  # the grid of each schedule, unless a method's name ends in @edmskip
DRAWN = (
    *("dpmpp_1m", "dpmpp_2m", "dpmpp_3m", "dpmpp_2s", "dpmpp_3s", "dpm_2m", "dpm_3m", "dpm_3s"),
    *("unipc_bh1_o3", "unipc_bh2_o2", "unipc_bh2_o3", "unipc_vary_coeff_o3", "deis_tab3", "deis_rho3", "ipndm4"),
    *("ipndm_v4", "ds_heun", "v3_o3", "v3_o2_cp", "v3_o3_c"),
)


def official_cases(oracle: official.Oracle, nfes) -> dict[str, Case]:
    """The mixture of the directory with every method of its convergence.json that a table can be."""
    found, cases = official.read_numbers(oracle), {}
    for name, skip in SKIPS.items():
        tables, refused = {}, set()
        ems = official.load_ems(oracle, official.Case(name, "gmm", "v3_o1", skip, 0, 0, 0))
        for label in found[f"{name}_gmm"]:
            method, _, suffix = label.partition("@")
            for nfe in nfes if suffix in ("", "edmskip") else ():
                case = official.Case(name, "gmm", method, suffix.replace("skip", "") or skip, nfe, nfe, 0)
                try:
                    tables[label, nfe] = build(oracle, case, lambda *_, ems=ems: ems)
                except (NotCovered, ValueError) as error:
                    refused.add(f"{label} is left out at {nfe} evaluations: {error}")
        print("\n".join(sorted(refused)))
        schedule, x = official.SCHEDULES[name], official.noise(name, official.MANY, official.MANY_SEED)
        network = official.network(oracle, name, "gmm")
        cases[f"{name}_gmm"] = Case(network, schedule, (schedule.t_max, schedule.t_min), x, tables)
    return cases


def drawn(rows) -> list[dict]:
    """The rows to draw."""
    return [row for row in rows if row["solver"] in DRAWN]


def add_official(rows, oracle: official.Oracle) -> None:
    """Adds the official numbers to each row, and how far ours are off, relative to them; None where there are none."""
    found = official.read_numbers(oracle)
    for row in rows:
        theirs = found[row["schedule"]][row["solver"]].get(str(row["nfe"]))
        if theirs is None:
            row |= dict.fromkeys(COLUMNS[1:])
            continue
        row |= {"official_rmse": theirs[0], "rmse_off": row["rmse"] / theirs[0] - 1}
        row |= {"official_median": theirs[1], "median_off": row["rmse_lower"] / theirs[1] - 1}


def comparison(rows) -> str:
    """Our numbers beside the official ones, schedule by schedule, and where they are furthest apart."""
    text = []
    for name in dict.fromkeys(row["schedule"] for row in rows):
        both = [row for row in rows if row["schedule"] == name and row["rmse_off"] is not None]
        columns = ("solver", "nfe", "rmse", *COLUMNS[1:3], "rmse_lower", *COLUMNS[3:])
        text += [f"{name}: ours, the official number, and how far ours is off", format_table(both, columns)]
        for column in ("rmse_off", "median_off"):
            off = np.abs([row[column] for row in both])
            worst = both[int(off.argmax())]
            text.append(
                f"{name}: {column} is at most {off.max():.2g} ({worst['solver']}, {worst['nfe']} evaluations), "
                f"{np.median(off):.2g} in the median of {len(off)} numbers"
            )
    return "\n".join(text)
