"""Raw files to manifest rows: bounded header scan, typed facts, walking, comparison with expected lists.

Raw frames of a directory, without an archive (`jobs=1` starts no process):

    from archive_proc.ingest import ingest
    frames = ingest([directory], roots={"samples": directory}).frames
"""

from archive_proc.ingest.examine import frame_issues
from archive_proc.ingest.expected import Comparison, ExpectedManifest, compare, read_expected
from archive_proc.ingest.facts import NotRaw, header_cards, raw_frame
from archive_proc.ingest.ingest import IngestResult, ingest, ingest_batches
from archive_proc.ingest.scan import HeaderScan, scan_header

__all__ = [
    "Comparison",
    "ExpectedManifest",
    "HeaderScan",
    "IngestResult",
    "NotRaw",
    "compare",
    "frame_issues",
    "header_cards",
    "ingest",
    "ingest_batches",
    "raw_frame",
    "read_expected",
    "scan_header",
]
