"""From files to a manifest: bounded header scan, content ids, walking of roots."""
