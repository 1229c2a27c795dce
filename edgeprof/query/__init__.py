"""Query: laws × networks → latency, interval, Pareto front (goal, space → pricing → figures → ranking → answer)."""

from edgeprof.query.answer import Answer, Found, LawAnswer
from edgeprof.query.goal import Goal
from edgeprof.query.search import query_nets

__all__ = ["Answer", "Found", "Goal", "LawAnswer", "query_nets"]
