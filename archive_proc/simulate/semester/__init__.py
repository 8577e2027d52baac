"""A whole ESO semester as the archive delivers it: tens of thousands of headers, or a small part with pixels."""
