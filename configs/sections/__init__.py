"""Every section of the config as a frozen dataclass: name, type, default, bound and meaning of each key, once."""

from configs.sections.analysis import Convergence, Flows, GaussianFit, Learning, ScoreAnalysis, Spectrum, Trajectories
from configs.sections.model import Guidance, Mixture, Model, Schedule
from configs.sections.run import Data, Distributed, Inception, Run
from configs.sections.sampling import Peers, Sampling, Score, Speed, Throughput
from configs.sections.solving import Benchmark, Grid, Published, Solver
from configs.sections.statistics import Ablation, Ems, Teleport
from configs.sections.training import Health, Train

SECTIONS = {
    "solver": Solver,
    "benchmark": Benchmark,
    "published": Published,
    "grid": Grid,
    "schedule": Schedule,
    "model": Model,
    "mixture": Mixture,
    "guidance": Guidance,
    "ems": Ems,
    "teleport": Teleport,
    "data": Data,
    "inception": Inception,
    "score": Score,
    "sample": Sampling,
    "train": Train,
    "speed": Speed,
    "throughput": Throughput,
    "peers": Peers,
    "health": Health,
    "spectrum": Spectrum,
    "ablation": Ablation,
    "gaussian": GaussianFit,
    "learning": Learning,
    "convergence": Convergence,
    "trajectories": Trajectories,
    "flows": Flows,
    "score_analysis": ScoreAnalysis,
    "distributed": Distributed,
}

__all__ = [
    "SECTIONS",
    "Ablation",
    "Benchmark",
    "Convergence",
    "Data",
    "Distributed",
    "Ems",
    "Flows",
    "GaussianFit",
    "Grid",
    "Guidance",
    "Health",
    "Inception",
    "Learning",
    "Mixture",
    "Model",
    "Peers",
    "Published",
    "Run",
    "Sampling",
    "Schedule",
    "Score",
    "ScoreAnalysis",
    "Solver",
    "Spectrum",
    "Speed",
    "Teleport",
    "Throughput",
    "Train",
    "Trajectories",
]
