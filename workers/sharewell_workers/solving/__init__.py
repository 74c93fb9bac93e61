"""Finding the best plan for an instance: max flows for the floor, python-mip with HiGHS for the rest; no database."""

from sharewell_workers.solving.frontier import frontier
from sharewell_workers.solving.horizon_whatif import Relief, what_would_relieve
from sharewell_workers.solving.memory import Memory
from sharewell_workers.solving.pool import cores
from sharewell_workers.solving.schedule import solve_horizon
from sharewell_workers.solving.solve import solve
from sharewell_workers.solving.whatif import Change, what_would_change

__all__ = [
    "Change", "Memory", "Relief", "cores", "frontier", "solve", "solve_horizon", "what_would_change",
    "what_would_relieve",
]  # fmt: skip
