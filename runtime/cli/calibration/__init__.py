"""``instinfer calibrate``: measures this machine and describes it as hardware."""
