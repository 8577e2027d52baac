"""Faults on purpose: kills, full disks, damaged shards, clocks, rivals, old formats, changing raw files."""
