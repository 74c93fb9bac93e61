"""The reconcile job: every night, prove that the log is complete, record the result, and cry out where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge

from sharewell.wiring import worker_caller

if TYPE_CHECKING:
    from sharewell.wiring import Services
    from sharewell_workers.jobs import Job

log = structlog.get_logger(__name__)

MISSING = Gauge("sharewell_log_missing", "What the last reconciliation by this process found missing or contradictory.")
RECONCILED = Counter("sharewell_log_reconciliations_total", "Reconciliations by this process.", ["end"])


async def reconcile(job: Job, services: Services) -> None:
    """Handle one job; its payload is empty. Raises `LogDamaged` where an entry can no longer be read."""
    try:
        found = await services.completeness.reconcile(worker_caller("reconcile", job.request_id))
    except Exception:
        RECONCILED.labels("failed").inc()
        log.exception("the log could not be reconciled")
        raise
    MISSING.set(sum(found.problems.values()))
    RECONCILED.labels("complete" if found.complete else "incomplete").inc()
    if found.complete:
        log.info("the log is complete", decisions=found.decisions, rows=found.rows)
    else:
        log.error("the log is not complete", problems=found.problems, missing=found.missing)
