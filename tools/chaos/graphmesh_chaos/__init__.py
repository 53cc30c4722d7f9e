"""`graphmesh chaos`: a real mesh whose processes die and freeze while runs charge money, and the books afterwards."""
