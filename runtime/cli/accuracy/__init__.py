"""``instinfer accuracy``: what sparse attention costs, and what an accuracy budget buys."""
