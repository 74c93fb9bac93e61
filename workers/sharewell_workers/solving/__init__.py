"""Finding the best plan for an instance: max flows for the floor, python-mip with HiGHS for the rest; no database."""

from sharewell_workers.solving.solve import solve

__all__ = ["solve"]
