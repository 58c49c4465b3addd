"""What each command shows, as tables of plain values."""
