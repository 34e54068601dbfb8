from .runs.record import RunRecord as RunRecord
from .runs.run import run as run
from .runs.spec import RunSpec as RunSpec

__version__: str
