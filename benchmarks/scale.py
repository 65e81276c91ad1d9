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
    *(3, Counts(), 20_000, growth.SIZES, 3_000),
    *(Scope(), Extent(), Sight(), Effort()),
)
QUICK = Scale(
    1,
    Counts(1_000, 200, 2, 2),
    2_000,
    growth.SIZES[:3],
    500,
    Scope(
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
    Extent(stored=20_000, seconds=3.0),
    Sight(Stock(2_000, 500, 200), times=3, seconds=3.0),
    Effort(calls=1_000, warm_up=200, turns=2),
)
