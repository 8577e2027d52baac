"""The glossary (DESIGN 1) as frozen dataclasses, enums and NewTypes. No I/O."""
