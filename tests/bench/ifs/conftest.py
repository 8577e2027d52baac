"""Makes the folder's own module of small arrays importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
