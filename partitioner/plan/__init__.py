"""Plans: decisions turned into segments, steps, predictions and a report."""
