"""Quicklook pictures and the run report: reads products, draws, seals nothing. The one owner of matplotlib."""
