"""Tables, diagrams and pictures of what others computed; nothing here computes a figure."""
