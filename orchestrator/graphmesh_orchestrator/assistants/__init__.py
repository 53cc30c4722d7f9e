"""Named configurations of graphs."""
