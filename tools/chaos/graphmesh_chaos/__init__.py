"""`graphmesh chaos`: fault injection into the processes of a mesh under load, and a check of its databases."""
