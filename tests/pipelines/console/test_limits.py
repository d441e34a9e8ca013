from pipelines.console.limits import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_then_one_at_a_time() -> None:
    clock = Clock()
    limit = RateLimit(burst=3, seconds=10, clock=clock)
    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    assert limit.take("a") == 10
    clock.now = 6
    assert limit.take("a") == 4
    assert limit.take("b") == 0
    clock.now = 10
    assert limit.wait("a") == 0
    assert limit.take("a") == 0
    assert limit.take("a") == 10


def test_asking_how_long_to_wait_takes_nothing() -> None:
    limit = RateLimit(burst=1, seconds=10, clock=Clock())
    assert limit.wait("a") == 0
    assert limit.wait("a") == 0
    assert limit.take("a") == 0
    assert limit.wait("a") == 10


def test_names_beyond_the_most_are_forgotten_the_quietest_first() -> None:
    limit = RateLimit(burst=1, seconds=10, names=2, clock=Clock())
    for name in ("a", "b", "a", "c"):
        limit.take(name)
    assert limit.wait("a") > 0
    assert limit.wait("b") == 0
