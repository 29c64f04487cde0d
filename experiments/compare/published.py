"""Reads published FIDs of teleportation, shown beside those measured here (source: assets/published/teleport.csv)."""

from experiments.build import read_published

COLUMNS = {"CIFAR10": "published_cifar10_fid", "AFHQv2": "published_afhqv2_fid"}
INTERVALS = 18  # of EDM's Heun in the published table


def fids() -> dict:
    """{(data, solver, sigma, nfe): FID}; sigma = 80 means no teleportation."""
    rows = read_published("teleport")
    return {(r["data"], r["solver"], float(r["sigma"]), int(r["nfe"])): float(r["fid"]) for r in rows if r["sigma"]}


def heun_fids() -> dict:
    """{intervals skipped: FID} of EDM's Heun on CIFAR10."""
    return {int(r["skipped"]): float(r["fid"]) for r in read_published("teleport") if r["skipped"]}
