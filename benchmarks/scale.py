"""How much is done of everything."""

from dataclasses import dataclass

from benchmarks import growth
from benchmarks.counting import Effort
from benchmarks.end_to_end import Counts
from benchmarks.fairness import Scope
from benchmarks.operators import Extent
from benchmarks.pages import Sight
from benchmarks.stock import Stock


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    rounds: int
    counts: Counts
    limit_operations: int
    sizes: tuple[int, ...]
    growth_calls: int
    scope: Scope
    extent: Extent
    sight: Sight
    effort: Effort


FULL = Scale(
    rounds=3,
    counts=Counts(),
    limit_operations=20_000,
    sizes=growth.SIZES,
    growth_calls=3_000,
    scope=Scope(),
    extent=Extent(),
    sight=Sight(),
    effort=Effort(),
)
QUICK = Scale(
    rounds=1,
    counts=Counts(1_000, 200, 2, 2),
    limit_operations=2_000,
    sizes=growth.SIZES[:3],
    growth_calls=500,
    scope=Scope(
        alone=1.5,
        beside=3.0,
        late=False,
        patience=5.0,
        waiting=(1_000, 10_000),
        neighbour=2_000,
        returning=1_000,
        dead=6.0,
        recovery=30.0,
    ),
    extent=Extent(stored=20_000, seconds=3.0),
    sight=Sight(Stock(2_000, 500, 200), times=3, seconds=3.0),
    effort=Effort(calls=1_000, warm_up=200, turns=2),
)
