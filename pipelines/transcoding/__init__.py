"""Making renditions that the recording does not hold: decode once, encode each profile."""
