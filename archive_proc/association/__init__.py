"""From raw frames to observations and calibration associations: classify, group, associate. Pure."""
