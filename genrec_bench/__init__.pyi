from .data.loading import load_dataset as load_dataset
from .library.boards import load_board as load_board
from .library.comparing import compare as compare
from .library.ledgers import load_ledger as load_ledger
from .library.splitting import split as split
from .runs.record import RunRecord as RunRecord
from .runs.run import run as run
from .runs.spec import RunSpec as RunSpec

__version__: str
