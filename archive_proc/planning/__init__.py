"""From observations to a plan: cascade, keys, predicted cost, reasons. Pure."""
