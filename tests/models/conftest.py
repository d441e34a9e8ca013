import pytest

from models.tagger import Tagger, load_tagger


@pytest.fixture(scope="session")
def tagger() -> Tagger:
    """The shipped model, loaded once a run."""
    return load_tagger()
