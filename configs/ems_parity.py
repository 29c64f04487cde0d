"""Statistics estimated here against official ones, and what solvers make of them (experiments/checks/ems_parity.py).

    python main.py --config=configs/ems_parity.py --config.oracle=DIR

On two mixtures of 192 dimensions l, s and b agree to 5e-16, 3e-8 and 2e-9. With 16 random probes instead of exact
Jacobians, and the derivative of l by differences, the RMSE of the published DPM-Solver-v3 changes by 0.1 % (median of
216 cases), and by 1.3 % at most. Takes some 20 minutes on two shared cores, nearly all of it for the statistics.
"""

from configs import default


def get_config():
    c = default.get_config()
    c.experiment = "ems_parity"
    c.nfe = (5, 6, 8, 10, 15, 20)
    c.ems.probes, c.ems.batch, c.ems.seed = 16, 128, 0
    return c
