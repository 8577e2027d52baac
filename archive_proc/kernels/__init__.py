"""Arrays in, arrays out: no file, no cluster, no instrument name that a table could hold."""
