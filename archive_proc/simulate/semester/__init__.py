"""A whole ESO semester as it comes from the archive: tens of thousands of headers, or a small part of it with pixels."""
