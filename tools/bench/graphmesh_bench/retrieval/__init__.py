"""`graphmesh bench retrieval`: the speed of a search by the number of passages, and the quality of its ranking."""
