"""What the best plan gains over published policies: predicted beside measured."""
