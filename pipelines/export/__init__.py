"""Everything that an alert rests on, in one file, for whoever examines it later."""
