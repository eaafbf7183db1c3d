"""`make bench`: Gantry and Glance on the same machine, database server and Keystone, measured in turn."""
